"""Workers in virtual time: a training equals a plain program of events, and what arrives hangs on no state."""

import dataclasses
import functools
import importlib.util
import pathlib
import sys

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sdesim
from sdesim import coupling, training
from sdesim.asynchrony import (
    ADMM,
    EASGD,
    Asynchronous,
    AsyncSGD,
    DecoupledDiLoCo,
    Downpour,
    EASGDTree,
    Gamma,
    Gossip,
    Link,
    MomentumDownpour,
    PartialBarrier,
    PowerLaw,
    Rennala,
    Ringmaster,
    UpDown,
    timetable,
)
from sdesim.asynchrony.compute import job_times
from sdesim.random import Stream, seed_words, step_key, words_of
from sdesim.training import programs

pytestmark = [pytest.mark.relaxed, pytest.mark.usefixtures("float32")]  # as users have it

_path = pathlib.Path(__file__).parents[1] / "asynchrony" / "oracle.py"
_spec = importlib.util.spec_from_file_location("oracle", _path)
oracle = importlib.util.module_from_spec(_spec)
sys.modules.setdefault("oracle", oracle)
_spec.loader.exec_module(oracle)

P, ETA, K, SEED, RUN, BATCH, HIDDEN, CLASSES = 4, 0.05, 4.0, 3, 5, 8, 5, 3
SETTINGS = dict(agents=P, eta=ETA, batch=BATCH, runs=[RUN], seed=SEED, evaluation_batch=12, train_images=12)
LAW = Gamma(3.0, mean=[1.0, 1.3, 0.7, 1.0])
DATA = training.split(training.synthetic(40, 12, classes=CLASSES, size=3, noise=30.0), validation=0.0)
BATCHES = len(DATA.train_y) // BATCH


class Tiny(nn.Module):
    """A network whose gradient is written down below."""

    @nn.compact
    def __call__(self, x):
        hidden = nn.tanh(nn.Dense(HIDDEN)(x.reshape(x.shape[0], -1)))
        return nn.Dense(CLASSES)(hidden)


def gradient(x, images, labels):
    """Of the mean cross-entropy, in float64, at a point in the order of the parameters' names."""
    inputs = images.shape[1]
    cuts = np.cumsum([HIDDEN, inputs * HIDDEN, CLASSES])
    b0, w0, b1, w1 = np.split(x, cuts)
    w0, w1 = w0.reshape(inputs, HIDDEN), w1.reshape(HIDDEN, CLASSES)
    hidden = np.tanh(images @ w0 + b0)
    said = hidden @ w1 + b1
    share = np.exp(said - said.max(axis=1, keepdims=True))
    share /= share.sum(axis=1, keepdims=True)
    out = (share - np.eye(CLASSES)[labels]) / len(labels)
    back = (out @ w1.T) * (1 - hidden**2)
    return np.concatenate([back.sum(0), (images.T @ back).ravel(), out.sum(0), (hidden.T @ out).ravel()])


class World(oracle.World):
    """The oracle's events, whose jobs are batches: those of the same number of the training that is in step."""

    def __init__(self, x, jobs):
        self.p, self.eta, self.x, self.t, self.arrivals = P, ETA, [np.array(a, float) for a in x], [0] * P, 0
        self.times = job_times(LAW, SEED, np.array([RUN]), np.zeros((1, P), int), jobs)[0]
        self.images = (np.asarray(DATA.train_x, float).reshape(len(DATA.train_y), -1, 3) - DATA.mean) / DATA.std
        self.images, self.orders = self.images.reshape(len(DATA.train_y), -1), {}

    def batch(self, worker):
        epoch, place = divmod(self.t[worker], BATCHES)
        if epoch not in self.orders:
            whose = (jnp.array([RUN], jnp.uint32), P, len(DATA.train_y), BATCHES, BATCH, None)
            self.orders[epoch] = np.asarray(programs.shuffled(seed_words(SEED), jnp.uint32(epoch + 1), *whose))
        return self.orders[epoch][place, 0, worker]

    def descent(self, worker, at):
        which = self.batch(worker)
        return -self.eta * gradient(at, self.images[which], DATA.train_y[which])

    def word(self, worker):
        key = step_key(seed_words(SEED), Stream.PARTNER, jnp.int32(self.t[worker]))
        return int(words_of(key, jnp.uint32(RUN), jnp.int32(worker), 1).own[0, 0])


def began(algorithm, protocol, **more):
    """A training of workers, all of which start at one point or not, as its protocol has it."""
    made = Asynchronous(protocol, compute=LAW, **more)
    return training.Training(Tiny(), DATA, algorithm, **SETTINGS, stepper=made)


def points(training):
    """The parameters of the workers and, last, of their center, (P + 1, dims)."""
    leaves = [np.asarray(a)[0].reshape(P + 1, -1) for a in jax.tree.leaves(training.models)]
    return np.concatenate(leaves, axis=1)


@functools.cache
def starts():
    """Where agents of this seed and run begin, (P, dims)."""
    return points(training.Training(Tiny(), DATA, training.algorithm("sgd"), **SETTINGS))[:P]


ALONE = coupling.Uncoupled

# name: protocol, rule, momentum, the oracle's protocol, its barrier; made in the test, whose precision numbers have
PROTOCOLS = {
    "easgd": (
        *(lambda: EASGD(2), lambda: coupling.Elastic(K), 0.9),
        *(lambda w: oracle.easgd(w, K, 2, 0.9, True), None),
    ),
    "downpour": (lambda: Downpour(3), ALONE, 0.0, lambda w: oracle.downpour(w, 3), None),
    "barrier": (
        *(lambda: PartialBarrier(3), lambda: coupling.Elastic(K), 0.0),
        *(lambda w: oracle.barrier(w, K, 3), 3),
    ),
    "sgd": (lambda: AsyncSGD(PowerLaw(0.7)), ALONE, 0.0, lambda w: oracle.sgd(w, oracle.power_law(0.7)), None),
    "mdownpour": (lambda: MomentumDownpour(0.6), ALONE, 0.0, lambda w: oracle.momentum_downpour(w, 0.6), None),
    "admm": (lambda: ADMM(1.3), ALONE, 0.0, lambda w: oracle.admm(w, 1.3), None),
    "gossip": (lambda: Gossip(), lambda: coupling.Quorum(K), 0.0, lambda w: oracle.gossip(w, K), None),
    "rennala": (lambda: Rennala(3), ALONE, 0.0, lambda w: oracle.rennala(w, 3), None),
    "ringmaster": (lambda: Ringmaster(3), ALONE, 0.0, lambda w: oracle.ringmaster(w, 3), None),
    "diloco": (
        *(lambda: DecoupledDiLoCo(3, 2, 1), lambda: coupling.Outer(1.0, 0.7, 0.6), 0.0),
        *(lambda w: oracle.diloco(w, 3, 2, 1, 0.7, 0.6), None),
    ),
}
ORDINARY = ("easgd", "downpour")


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in ORDINARY else pytest.mark.slow) for n in PROTOCOLS])
def test_a_training_is_the_plain_program_of_events(name):
    """Of every protocol: workers in float32 beside gradients and events in float64, over three epochs of batches."""
    protocol, rule, momentum, arrive, barrier = PROTOCOLS[name]
    mine = began(training.Algorithm(rule(), momentum), protocol())
    world = World(starts(), 4 * BATCHES * P)
    arrive = arrive(world)
    np.testing.assert_allclose(points(mine)[:P], world.x, atol=1e-6)
    mine.step(3 * P * BATCHES)
    world.run(3 * P * BATCHES, arrive, barrier)
    center = world.c if hasattr(world, "c") else np.mean(world.x, axis=0)
    np.testing.assert_allclose(points(mine), [*world.x, center], atol=3e-6)
    assert np.abs(world.x - starts()).max() > 0.1


# -- gradients before their turn ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["easgd", pytest.param("barrier", marks=pytest.mark.slow)])
def test_gradients_that_are_taken_together_are_those_of_one_after_another(monkeypatch, name):
    """To the bit, by one program: each is of the point where its worker has been since its last arrival."""
    protocol, rule, momentum, *_ = PROTOCOLS[name]
    made = training.setup.workers_of
    monkeypatch.setattr(training.setup, "workers_of", lambda *args: dataclasses.replace(made(*args), together=3))
    found, windows = [], []
    for own in (None, False):
        if own is not None:
            monkeypatch.setattr(training.workers.Workers, "own", own)
        one = began(training.Algorithm(rule(), momentum), protocol())
        one.step(50)
        stepping = one._stepping
        windows.append(one._arriving.epoch(3).windows(0, P * BATCHES, stepping.together, stepping.own)[1])
        found.append(points(one))
    np.testing.assert_array_equal(*found)
    assert windows[1] == P * BATCHES
    assert (windows[0] < 0.7 * P * BATCHES) == (name != "barrier")  # whose gradients hang on others


# -- what is told ------------------------------------------------------------------------------------------------------


def test_when_workers_arrive_hangs_on_nothing_but_their_clocks():
    """Whatever protocol and rule; a message is as large as the network."""
    link = Link(None, bandwidth=1000.0, latency=None)
    runs = [began(training.Algorithm(coupling.Elastic(k)), EASGD(2), uplink=link).run(2) for k in (K, 2 * K)]
    law = dataclasses.replace(link, size=4 * starts().shape[1], period=2)
    table = timetable(LAW, workers=P, arrivals=2 * P * BATCHES, seed=SEED, first_sim=RUN, uplink=law)
    for run in runs:
        np.testing.assert_array_equal(run["time"], table.time[:, [P * BATCHES - 1, -1]].T[[0, 0, 1]] * [[0], [1], [1]])
        jobs = np.stack([np.bincount(table.worker[0, : n * P * BATCHES], minlength=P) for n in range(3)])
        np.testing.assert_array_equal(run["jobs"][:, 0].cumsum("epoch"), jobs)
        assert {"time", "epoch"} <= set(run.coords)
    assert (runs[0]["test_loss"] != runs[1]["test_loss"]).any()


def test_an_average_is_of_the_servers_updates():
    """ADOWNPOUR: all centers so far, the start among them, count alike, whoever arrives how often between two."""
    plain, mean = (began(training.algorithm(name), Downpour(3)) for name in ("sgd", "asgd"))
    centers = [points(plain)[-1]]
    for _ in range(P * BATCHES):
        plain.step()
        if ((now := points(plain)[-1]) != centers[-1]).any():
            centers.append(now)
    mean.epoch()
    np.testing.assert_allclose(points(mean)[-1], np.mean(centers, axis=0), atol=1e-6)
    assert 3 < len(centers) <= P * BATCHES / 3 + 1


# -- trees, whose nodes send messages ----------------------------------------------------------------------------------

FANOUT, DELTA = (2, 2), 0.6
NODES = Gamma(3.0, mean=[1.0, 1.3, 0.7, 1.0, 0.9, 1.1, 0.5])  # leaves first


class TreeWorld(oracle.TreeWorld):
    """The oracle's tree, whose leaves' jobs are batches."""

    def __init__(self, x, messages, periods, steps):
        rates = lambda level, up: K
        with jax.enable_x64(True):
            still = sdesim.Dynamics(lambda x: 0.0 * x[0], eta=ETA)
            super().__init__(still, NODES, messages, FANOUT, [periods] * 2, rates, x, SEED, RUN, steps)
        self.of = World(x, 1)

    def ahead(self, leaf, at, delta):
        self.of.t = [t - 1 for t in self.t[:P]]
        self.v[leaf] = delta * self.v[leaf] + self.of.descent(leaf, at + delta * self.v[leaf])
        return self.v[leaf]


@pytest.mark.parametrize("epochs", [(2,), pytest.param((1, 2, 4), marks=pytest.mark.slow)])
def test_a_tree_is_the_plain_program_of_events(epochs, tmp_path):
    """Also one that is kept and taken up again while messages are under way, of which there are ever more."""
    late = Link(None, bandwidth=2000.0, latency=Gamma(2.0, mean=0.2))  # 0.32 s for the 632 bytes of a network
    algorithm = training.Algorithm(coupling.Tree(K, FANOUT), DELTA)
    made = Asynchronous(EASGDTree(UpDown(1, 3)), compute=NODES, uplink=late, downlink=late)
    new = lambda: training.Training(Tiny(), DATA, algorithm, **SETTINGS, stepper=made)
    one = new()
    for number in epochs:
        one.run(number)
        if number < epochs[-1]:
            one.save(tmp_path)
            one = new()
            one.resume(tmp_path)
    links = [dataclasses.replace(late, size=4 * starts().shape[1])] * 2
    world = TreeWorld(starts(), links, (1, 3), 12 * BATCHES)
    arriving = new()._arriving
    found = [arriving.epoch(number) for number in range(1, epochs[-1] + 1)]
    world.run(sum(epoch.event[0, -1] + 1 for epoch in found), DELTA)  # to the end of the last job
    np.testing.assert_allclose(points(one), [*world.x[:P], world.x[-1]], atol=3e-6)
    assert world.t[:P] == sum(epoch.jobs[0] for epoch in found).tolist()
    assert found[0].room > 1 and (len(epochs) == 1 or found[-1].room > found[0].room)


# -- what is refused ---------------------------------------------------------------------------------------------------

REFUSED = {
    "in step": (lambda: began(training.algorithm("local-sgd"), Gossip()), "algorithm: is one of agents that step"),
    "a rule": (
        lambda: began(training.algorithm("easgd"), AsyncSGD()),
        "algorithm: has a rule, Elastic, and AsyncSGD a",
    ),
    "no tree": (lambda: began(training.algorithm("easgd"), EASGDTree()), "algorithm.coupling=Elastic: EASGDTree needs"),
    "period": (lambda: began(training.algorithm("easgd", period=2), EASGD(2)), "period: must be given to the protocol"),
    "momentum": (lambda: began(training.algorithm("msgd"), MomentumDownpour(0.5)), "algorithm.momentum: Momentum"),
    "jumps": (lambda: began(training.algorithm("sd-qsgd"), Gossip()), "algorithm: its rule"),
    "size": (
        lambda: began(training.algorithm("sgd"), PartialBarrier(9)),
        "size=9: must be at most the number of workers",
    ),
    "short": (
        lambda: began_by(timetable(LAW, workers=P, arrivals=P * BATCHES, seed=SEED)).run(2),
        "timetable: ends within epoch 2",
    ),
    "no size": (
        lambda: sdesim.simulate(
            sdesim.Dynamics(lambda x: x @ x),
            agents=2,
            steps=3,
            stepper=Asynchronous(AsyncSGD(), uplink=Link(None, 1.0)),
        ),
        "uplink.size=None: must be given, in bytes",
    ),
}


def began_by(table):
    stepper = Asynchronous(AsyncSGD(), timetable=table)
    return training.Training(Tiny(), DATA, training.algorithm("sgd"), **SETTINGS, stepper=stepper)


@pytest.mark.parametrize("case", REFUSED)
def test_what_has_no_meaning_is_refused(case):
    call, message = REFUSED[case]
    with pytest.raises(ValueError) as refused:
        call()
    assert str(refused.value).startswith(message)
