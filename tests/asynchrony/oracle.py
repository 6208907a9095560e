"""Workers in virtual time as a plain Python program: a heap of events, one simulation, one worker at a time.

It shares with the package the words of jobs (those of the lockstep step), the times of jobs and the noise law, whose
covariance must not hang on the point, and nothing of how these become runs: each protocol is written down from its
paper's pseudocode.
"""

import heapq

import jax
import jax.numpy as jnp
import numpy as np

from sdesim import random
from sdesim.asynchrony.compute import job_times
from sdesim.random import Stream


def loss(x):
    return jnp.sum(0.5 * x**2 + 0.4 * jnp.cos(2 * x)) + 0.2 * x[0] * x[1]


def gradient(x):
    return x - 0.8 * np.sin(2 * x) + 0.2 * x[::-1]


def made_beforehand(model, workers, dims, seed, sim, jobs):
    """What the steps of all agents have for their rows: zeta, (jobs, workers, dims), and the words for partners."""
    seed = random.seed_words(seed)

    def step(n):
        keys = [random.step_key(seed, Stream.NOISE + i, n) for i in range(model.noise.word_pairs)]
        words = [random.words(key, jnp.uint32(sim), workers, dims) for key in keys]
        z = model.noise.variates(words, jnp.float64, model.batch)
        still = jnp.zeros((workers, dims))
        key = random.step_key(seed, Stream.PARTNER, n)
        partner = random.words(key, jnp.uint32(sim), workers, 1).own[:, 0]
        return model.noise.apply(z, still, still, model.batch, jnp.ones(())), partner

    return map(np.asarray, jax.jit(jax.vmap(step))(jnp.arange(jobs)))


class World:
    """One simulation.

    Args:
        model: the dynamics: its loss, noise law and numbers.
        law: of compute times.
        workers: p.
        x: where all start, (workers, dims).
        seed: of all words.
        sim: number of the simulation.
        jobs: of each worker, at most.
    """

    def __init__(self, model, law, workers, x, seed, sim, jobs):
        self.model, self.p, self.eta = model, workers, float(model.eta)
        self.x = [np.array(a, float) for a in x]
        self.times = job_times(law, seed, np.array([sim]), np.zeros((1, workers), int), jobs)[0]
        self.noise, self.words = made_beforehand(model, workers, self.x[0].size, seed, sim, jobs)
        self.t = [0] * workers
        self.arrivals = 0

    def descent(self, worker, at):
        """-eta g at a point, with the noise of the worker's job."""
        return -self.eta * gradient(at) + self.eta * self.noise[self.t[worker], worker]

    def word(self, worker):
        """Of the worker's job, for its partner."""
        return int(self.words[self.t[worker], worker])

    def run(self, arrivals, arrive, barrier=None):
        """Handle so many arrivals by `arrive(self, worker)`, before which the worker's job has its number."""
        heap = [(self.times[i, 0], i) for i in range(self.p)]
        heapq.heapify(heap)
        waiting = []
        for self.arrivals in range(arrivals):
            now, i = heapq.heappop(heap)
            arrive(self, i)
            self.t[i] += 1
            waiting.append(i)
            if barrier is None or len(waiting) == barrier:
                for j in waiting:
                    heapq.heappush(heap, (now + self.times[j, self.t[j]], j))
                waiting = []
        return self


def sgd(world, scale=lambda s: 1.0):
    world.c = np.mean(world.x, axis=0)
    world.x = [world.c] * world.p
    world.read = [0] * world.p

    def arrive(w, i):
        s = w.arrivals - w.read[i]
        w.c = w.c + scale(s) * w.descent(i, w.x[i])
        w.x[i], w.read[i] = w.c, w.arrivals + 1

    return arrive


def easgd(world, k, period=1, delta=0.0, lookahead=False):
    alpha = world.eta * k
    world.c = np.mean(world.x, axis=0)
    world.a, world.v = list(world.x), [np.zeros_like(a) for a in world.x]

    def head(w, i):
        w.a[i] = w.x[i]
        if w.count[i] % period == 0:
            d = alpha * (w.a[i] - w.c)
            w.x[i], w.c = w.a[i] - d, w.c + d

    world.count = [0] * world.p
    for i in range(world.p):
        head(world, i)

    def arrive(w, i):
        w.v[i] = delta * w.v[i] + w.descent(i, w.a[i] + (delta * w.v[i] if lookahead else 0.0))
        w.x[i] = w.x[i] + w.v[i]
        w.count[i] += 1
        head(w, i)

    return arrive


def downpour(world, period):
    world.c = np.mean(world.x, axis=0)
    world.x, world.push = [world.c] * world.p, [0.0] * world.p

    def arrive(w, i):
        step = w.descent(i, w.x[i])
        w.x[i], w.push[i] = w.x[i] + step, w.push[i] + step
        if (w.t[i] + 1) % period == 0:
            w.c = w.c + w.push[i]
            w.x[i], w.push[i] = w.c, 0.0

    return arrive


def momentum_downpour(world, delta):
    world.c = np.mean(world.x, axis=0)
    world.x, world.v = [world.c] * world.p, 0.0

    def arrive(w, i):
        w.v = delta * w.v + w.descent(i, w.x[i])
        w.c = w.c + w.v
        w.x[i] = w.c + delta * w.v

    return arrive


def admm(world, rho):
    world.c, world.y = np.mean(world.x, axis=0), [0.0] * world.p
    weight = world.eta * rho

    def arrive(w, i):
        w.y[i] = w.y[i] - (w.x[i] - w.c)
        w.x[i] = (w.x[i] + w.descent(i, w.x[i]) + weight * (w.y[i] + w.c)) / (1 + weight)
        w.c = np.mean([x - y for x, y in zip(w.x, w.y, strict=True)], axis=0)

    return arrive


def gossip(world, k):
    weight = world.eta * k
    world.a = list(world.x)

    def arrive(w, i):
        w.x[i] = w.a[i] = w.x[i] + w.descent(i, w.a[i])
        # 16 bits of the word are enough to choose a partner.
        j = (i + 1 + ((w.word(i) >> 16) * (w.p - 1) >> 16)) % w.p
        middle = (w.x[i] + w.x[j]) / 2
        w.x[i], w.x[j] = w.x[i] + weight * (middle - w.x[i]), w.x[j] + weight * (middle - w.x[j])

    return arrive


def rennala(world, batch):
    world.c = np.mean(world.x, axis=0)
    world.x, world.version, world.read, world.got = [world.c] * world.p, 0, [0] * world.p, []

    def arrive(w, i):
        if w.read[i] == w.version:
            w.got.append(w.descent(i, w.x[i]))
        if len(w.got) == batch:
            w.c, w.got, w.version = w.c + np.mean(w.got, axis=0), [], w.version + 1
        w.x[i], w.read[i] = w.c, w.version

    return arrive


def ringmaster(world, threshold):
    world.c = np.mean(world.x, axis=0)
    world.x, world.version, world.read = [world.c] * world.p, 0, [0] * world.p

    def arrive(w, i):
        if w.version - w.read[i] < threshold:
            w.c, w.version = w.c + w.descent(i, w.x[i]), w.version + 1
        w.x[i], w.read[i] = w.c, w.version

    return arrive


def barrier(world, k, size):
    """EASGD with symmetric rate among those who have come: the center moves by the sum of their pulls."""
    alpha = world.eta * k
    world.c, world.there = np.mean(world.x, axis=0), []
    world.a = list(world.x)

    def meet(w, who):
        pulls = [alpha * (w.x[i] - w.c) for i in who]
        for i, d in zip(who, pulls, strict=True):
            w.a[i], w.x[i] = w.x[i], w.x[i] - d
        w.c = w.c + sum(pulls)

    meet(world, range(world.p))

    def arrive(w, i):
        w.x[i] = w.x[i] + w.descent(i, w.a[i])
        w.there.append(i)
        if len(w.there) == size:
            meet(w, w.there)
            w.there = []

    return arrive


def power_law(exponent):
    return lambda s: (1 + s) ** -exponent


def delay_adaptive(concurrency, limit):
    return lambda s: min(1.0, limit / s) if s > concurrency else 1.0
