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


def diloco(world, period, least, window, lr, momentum):
    """Workers send the way since their read; the server's optimizer is torch's SGD, by the mean of those who sent."""
    world.c = np.mean(world.x, axis=0)
    world.x, world.read = [world.c] * world.p, [world.c] * world.p
    world.buffer, world.inbox, world.since = None, {}, None

    def arrive(w, i):
        w.x[i] = w.x[i] + w.descent(i, w.x[i])
        if (w.t[i] + 1) % period == 0:
            w.inbox[i] = w.x[i]
        if len(w.inbox) >= least and w.since is None:
            w.since = w.arrivals
        if w.since is None or w.arrivals - w.since < window:
            return
        slope = np.mean([w.read[j] - sent for j, sent in w.inbox.items()], axis=0)
        w.buffer = slope if w.buffer is None else momentum * w.buffer + slope
        w.c = w.c - lr * (slope + momentum * w.buffer)
        for j, sent in w.inbox.items():
            w.x[j], w.read[j] = w.c + (w.x[j] - sent), w.c
        w.inbox, w.since = {}, None

    return arrive


class TreeWorld:
    """One simulation of EASGD Tree (Z, Alg. 6): leaves first, then level by level to the root.

    At one instant steps end, then nodes send, then leaves take what has come before, and then messages come.

    Args:
        model: the dynamics: its loss, noise law and numbers.
        law: of the times of all nodes' steps.
        messages: laws of the times of messages up and down, or None.
        fanout: children at each level, leaves first.
        periods: at each level of links, (up, down).
        rates: of each node towards its parent and towards each child: functions of its level.
        x: where the leaves start, (leaves, dims).
        seed: of all words.
        sim: number of the simulation.
        steps: of each node, at most.
    """

    def __init__(self, model, law, messages, fanout, periods, rates, x, seed, sim, steps):
        self.eta, self.p = float(model.eta), len(x)
        levels, self.parent, self.level, first = [np.array(x, float)], {}, [0] * len(x), 0
        for level, fan in enumerate(fanout):
            size = len(levels[-1])
            self.parent |= {first + i: first + size + i // fan for i in range(size)}
            first += size
            levels.append(np.array([levels[-1][i : i + fan].mean(axis=0) for i in range(0, size, fan)]))
            self.level += [level + 1] * (size // fan)
        self.x = [a.copy() for level in levels for a in level]
        self.nodes = len(self.x)
        self.v = [np.zeros_like(a) for a in x]
        first = np.zeros((1, self.nodes), int)
        self.times = job_times(law, seed, np.array([sim]), first, steps)[0]
        made = lambda law, stream: None if law is None else law.times(seed, stream, np.array([sim]), first, steps)[0]
        self.delays = made(messages[0], Stream.UPLINK), made(messages[1], Stream.DOWNLINK)
        self.noise, _ = made_beforehand(model, self.p, x.shape[1], seed, sim, steps)
        self.periods, self.rates, self.t, self.last, self.inbox = periods, rates, [0] * self.nodes, {}, {}

    def sends(self, node):
        """The messages that a node sends at its count: (receiver, link, direction, seconds on the way)."""
        t, found = self.t[node], []
        if node in self.parent and t % self.periods[self.level[node]][0] == 0:
            found.append((self.parent[node], node, 0))
        if self.level[node] and t % self.periods[self.level[node] - 1][1] == 0:
            found += [(child, child, 1) for child, parent in self.parent.items() if parent == node]
        late = lambda link, way: 0.0 if self.delays[way] is None else self.delays[way][link, t]
        return [(whom, link, way, late(link, way)) for whom, link, way in found]

    def pull(self, node, sender, arrived, at):
        up = sender == self.parent.get(node)
        return self.eta * self.rates(self.level[node], up) * (arrived - at)

    def ahead(self, leaf, at, delta):
        """The leaf's displacement with Nesterov's momentum."""
        noise = self.noise[self.t[leaf] - 1, leaf]
        self.v[leaf] = delta * self.v[leaf] - self.eta * (gradient(at + delta * self.v[leaf]) - noise)
        return self.v[leaf]

    def until(self, moment):
        """Handle all that happens before a moment, of nodes that never wait."""
        return self.run(np.inf, until=moment)

    def run(self, events, delta=0.0, until=np.inf):
        """Handle so many ends of jobs and messages that are applied, of nodes that never wait."""
        heap, done = [(0.0, 1, i, 0, 0) for i in range(self.nodes)], 0
        heap += [(self.times[i, 0], 0, i, 0, 0) for i in range(self.nodes)]
        heapq.heapify(heap)
        self.inbox = {i: [] for i in range(self.nodes)}
        letters, head = {}, [0.0] * self.p
        while done < events and heap[0][0] < until:
            now, phase, node, *which = heapq.heappop(heap)
            if phase == 0:  # a step ends
                self.t[node] += 1
                if node < self.p:
                    self.x[node] = self.x[node] + self.ahead(node, self.x[node], delta)
                    head[node] = now
                    done += 1
                heapq.heappush(heap, (now, 1, node, 0, 0))
                heapq.heappush(heap, (now + self.times[node, self.t[node]], 0, node, 0, 0))
            elif phase == 1:  # a node sends
                for whom, link, way, late in self.sends(node):
                    comes = max(now + late, self.last.get((link, way), 0.0))
                    self.last[link, way] = comes
                    letters[link, way, self.t[node]] = whom, node, self.x[node].copy()
                    heapq.heappush(heap, (comes, 3, link, way, self.t[node]))
                heapq.heappush(heap, (now, 2, node, 0, 0))
            elif phase == 3:  # a message comes
                whom, sender, value = letters.pop((node, *which))
                if whom < self.p and head[whom] < now:
                    self.inbox[whom].append((sender, value))
                else:
                    self.x[whom] = self.x[whom] + self.pull(whom, sender, value, self.x[whom])
                    done += 1
            else:
                while self.inbox[node] and done < events:
                    sender, value = self.inbox[node].pop(0)
                    self.x[node] = self.x[node] + self.pull(node, sender, value, self.x[node])
                    done += 1
        return self

    def lockstep(self, steps, delta=0.0):
        """The same where all nodes wait for their neighbors: step after step, from where all were at its start."""
        for _ in range(steps):
            old, new = [a.copy() for a in self.x], [a.copy() for a in self.x]
            for node in range(self.nodes):
                for whom, *_ in self.sends(node):
                    new[whom] = new[whom] + self.pull(whom, node, old[node], old[whom])
            self.t = [t + 1 for t in self.t]
            for leaf in range(self.p):
                new[leaf] = new[leaf] + self.ahead(leaf, old[leaf], delta)
            self.x = new
        return self


def power_law(exponent):
    return lambda s: (1 + s) ** -exponent


def delay_adaptive(concurrency, limit):
    return lambda s: min(1.0, limit / s) if s > concurrency else 1.0
