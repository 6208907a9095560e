"""EASGD Tree: against a plain program of events, the iteration of `Tree`, and itself in parts."""

import importlib.util
import pathlib
import sys
import tracemalloc

import numpy as np
import pytest

import sdesim
from sdesim import coupling, noise, observe
from sdesim.asynchrony import (
    Asynchronous,
    ByLevel,
    Deterministic,
    EASGDTree,
    Exponential,
    Gamma,
    LogNormal,
    Timing,
    UpDown,
    clocks,
    messages,
    timetable,
)
from sdesim.dynamics import Nesterov
from sdesim.engine.plan import Plan
from sdesim.ensembles.memory import check_memory
from sdesim.steppers.base import Setting

_spec = importlib.util.spec_from_file_location("oracle", pathlib.Path(__file__).with_name("oracle.py"))
oracle = importlib.util.module_from_spec(_spec)
sys.modules.setdefault("oracle", oracle)
_spec.loader.exec_module(oracle)

D, SIMS, ETA, K, SEED = 2, 3, 0.08, 1.7, 11

# name: fanout, scheme, rates up and down, laws of steps and of messages up and down, momentum
LATE = Exponential(mean=0.8)
CASES = {
    "at-once": ((2, 3), UpDown(1, 1), {}, Gamma(3.0), (None, None), 0.0),
    "by-level": ((3, 2), ByLevel(1, 3), {}, Exponential(), (LATE, LATE), 0.0),
    "up-down": ((2, 2, 2), UpDown(1, 4), {}, LogNormal(0.8), (Exponential(mean=2.5), Gamma(2.0, mean=0.3)), 0.0),
    "rates": ((3, 2), UpDown(2, 1), {"up": 4.0, "down": 0.7}, Gamma(3.0), (LATE, None), 0.0),
    "momentum": ((6,), UpDown(1, 2), {}, Exponential(), (None, LATE), 0.9),
    "slow-nodes": (
        (2, 3),
        ByLevel(2, 1),
        {},
        Gamma(2.0, mean=np.linspace(0.5, 2.0, 10)),
        (Deterministic(mean=0.4), Deterministic(mean=3.0)),
        0.0,
    ),
}


def made(fanout, scheme, rates, law, messages, delta, synchronous=False):
    momentum = Nesterov(delta) if delta else None
    tree = coupling.Tree(K, fanout, **rates)
    model = sdesim.Dynamics(oracle.loss, tree, noise.Gaussian(0.5), eta=ETA, momentum=momentum)
    up, down = messages
    return model, Asynchronous(EASGDTree(scheme, synchronous), compute=law, uplink=up, downlink=down)


def world_of(case, x, sim, steps=400):
    fanout, scheme, rates, law, messages, _ = case
    model, _ = made(*case)
    periods = {
        ByLevel: lambda s: [(int(s.leaves),) * 2, *[(int(s.above),) * 2] * (len(fanout) - 1)],
        UpDown: lambda s: [(int(s.up), int(s.down))] * len(fanout),
    }[type(scheme)](scheme)

    def rate(level, up):
        if up:
            return rates.get("down", K) if level else K
        return rates["up"] / fanout[level - 1] if rates else K

    return oracle.TreeWorld(model, law, messages, fanout, periods, rate, x, SEED, sim, steps)


def start(fanout):
    return np.random.default_rng(0).normal(size=(SIMS, int(np.prod(fanout)), D))


def simulate(model, stepper, x=None, **more):
    if x is not None:
        more = {"agents": x.shape[1], "sims": len(x), "dims": x.shape[2], "init": x, "seed": SEED, **more}
    return sdesim.simulate(model, stepper=stepper, **more)


@pytest.mark.parametrize("name", CASES)
def test_a_tree_does_what_the_pseudocode_says(name):
    case = CASES[name]
    x = start(case[0])
    run = simulate(*made(*case), x, steps=300)
    for sim in range(SIMS):
        world = world_of(case, x[sim], sim).run(300, case[-1])
        np.testing.assert_allclose(run.agents[sim], world.x[: world.p], rtol=0, atol=1e-11)
        np.testing.assert_allclose(run.state.shared["nodes"][..., sim], world.x[world.p :], rtol=0, atol=1e-11)
        np.testing.assert_array_equal(run.center[sim], run.state.shared["nodes"][-1, :, sim])
    assert np.ptp(np.asarray(run.agents)) > 0.1  # something happened


def counts(stepper, model, x, steps):
    """How many steps each node has ended, after so many events of each simulation."""
    from sdesim import random
    from sdesim.asynchrony.messages import messages_of
    from sdesim.steppers.base import Setting

    links = stepper.protocol.links(model.coupling)
    setting = Setting(x.shape[1], len(x), 0, 0, steps, random.seed_words(SEED))
    page = messages_of(links, Timing(stepper.compute, uplink=stepper.uplink, downlink=stepper.downlink), setting).page
    ended = np.zeros((len(x), links.nodes), int)
    for node in range(links.nodes):
        mine = (page.node == node) & (page.sender == node)
        ended[:, node] = np.where(mine, page.job + 1, 0).max(axis=1)
    return ended


@pytest.mark.parametrize("momentum", [0.0, 0.7], ids=["plain", "nesterov"])
@pytest.mark.parametrize("rates", [{}, {"up": 4.0, "down": 0.7}], ids=["symmetric", "rates"])
def test_a_synchronous_tree_is_the_iteration(rates, momentum):
    """Whatever the times: where a node ended its n-th step it was where the lockstep rule has it after n steps."""
    case = ((2, 3), UpDown(1, 1), rates, Exponential(), (LATE, LATE), momentum)
    model, stepper = made(*case, synchronous=True)
    x, events = start((2, 3)), 500
    run = simulate(model, stepper, x, steps=events)
    points = np.concatenate([run.state.kept.own["points"], run.state.shared["points"]])
    ended = counts(stepper, model, x, events)
    assert ended.min() > 10 and np.ptp(ended) > 0
    for n in np.unique(ended):
        plain = sdesim.iterate(model, agents=6, sims=SIMS, dims=D, steps=int(n), init=x, seed=SEED)
        lockstep = np.concatenate([plain.state.x, *plain.state.shared])
        for node, sim in zip(*np.nonzero(n == ended.T), strict=True):
            np.testing.assert_allclose(points[node, :, sim], lockstep[node, :, sim], rtol=0, atol=1e-12)


@pytest.mark.parametrize("scheme", [ByLevel(2, 3), UpDown(1, 4)], ids=["by-level", "up-down"])
def test_a_synchronous_tree_of_periods(scheme):
    """Equal times and messages at once: all nodes are in step, and exchange at counts that the periods divide."""
    case = ((2, 2, 2), scheme, {}, Deterministic(), (None, None), 0.0)
    model, stepper = made(*case, synchronous=True)
    x = start((2, 2, 2))
    run = simulate(model, stepper, x, at=[25.5])
    points = np.concatenate([run.state.kept.own["points"], run.state.shared["points"]])
    for sim in range(SIMS):
        world = world_of(case, x[sim], sim).lockstep(25)
        np.testing.assert_allclose(points[..., sim], world.x, rtol=0, atol=1e-12)


def test_nodes_that_are_in_step_are_taken_in_turn():
    """Equal times, messages at once: what is sent at an instant is what nodes are once all steps have ended."""
    case = ((3, 2), ByLevel(1, 2), {}, Deterministic(), (None, None), 0.0)
    x = start((3, 2))
    run = simulate(*made(*case), x, at=[20.5])
    for sim in range(SIMS):
        world = world_of(case, x[sim], sim)
        world.until(20.5)
        np.testing.assert_allclose(run.agents[sim], world.x[: world.p], rtol=0, atol=1e-12)
        np.testing.assert_allclose(run.center[sim], world.x[-1], rtol=0, atol=1e-12)


@pytest.mark.usefixtures("float32")
@pytest.mark.parametrize("synchronous", [False, True], ids=["free", "synchronous"])
def test_bits_hang_on_the_simulation_alone(synchronous):
    """In a batch of any size, and in parts: a run that goes on has its messages on their way."""
    late = Exponential(mean=30.0)
    model, stepper = made((3, 4), UpDown(1, 1), {}, Exponential(), (late, late), 0.0, synchronous)
    sizes = dict(agents=12, dims=D, seed=SEED)
    whole = simulate(model, stepper, sims=60, steps=400, init=1.0, **sizes)
    part = simulate(model, stepper, sims=7, first_sim=53, steps=400, init=1.0, **sizes)
    equal(part.agents, whole.agents[53:])
    first = simulate(model, stepper, sims=60, steps=12, init=1.0, **sizes)
    rest = simulate(model, stepper, init=first, steps=388)
    equal(rest.agents, whole.agents)
    equal(rest.state.shared["nodes"], whole.state.shared["nodes"])
    assert synchronous or whole.state.shared["kept"].shape[0] > first.state.shared["kept"].shape[0]  # it has grown


@pytest.mark.usefixtures("float32")
def test_by_seconds_goes_on_as_if_never_stopped(tmp_path):
    model, stepper = made(*CASES["up-down"])
    watch = observe.Center()
    sizes = dict(agents=8, dims=D, sims=30, init=1.0, seed=SEED)
    whole = simulate(model, stepper, until=12.0, at=12, observe=watch, **sizes)
    first = simulate(model, stepper, until=2.0, at=2, observe=watch, **sizes)
    first.save(tmp_path / "first.nc")
    for begin in (first, sdesim.load(tmp_path / "first.nc")):
        rest = simulate(model, stepper, init=begin, at=list(range(3, 13)), observe=watch)
        equal(rest.agents, whole.agents)
        equal(rest.observed["center"], whole.observed["center"][:, 2:])
    equal(whole.records, np.arange(13.0))
    # the clock counts the leaves' jobs alone
    np.testing.assert_allclose(np.mean(whole.time), 12.0 * ETA, rtol=0.05)


def equal(a, b):
    np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


def test_sweeps_take_periods_and_gains():
    model, stepper = made(*CASES["by-level"])
    grid = {"stepper.protocol.scheme.above": [1, 3], "coupling.k": [0.5, K]}
    sizes = dict(agents=6, sims=4, dims=D, init=1.0, seed=SEED)
    data = sdesim.sweep(model, grid, stepper=stepper, until=5.0, **sizes)
    alone = simulate(model, stepper, until=5.0, **sizes)
    picked = data.sel(stepper_protocol_scheme_above=3, coupling_k=K, method="nearest")
    np.testing.assert_allclose(picked["center"], alone.center, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: simulate(sdesim.Dynamics(oracle.loss, eta=ETA), Asynchronous(EASGDTree()), steps=3), "coupling="),
        (lambda: simulate(*made(*CASES["at-once"]), agents=5, dims=2, steps=3), "agents=5"),
        (lambda: simulate(*tree_of(eta=np.full(4, 0.1)), agents=4, dims=2, steps=3), "eta"),
        (lambda: simulate(*tree_of(failure=0.1), agents=4, dims=2, steps=3), "failure=0.1"),
        (lambda: simulate(*tree_of(leave=[9.0] * 7), agents=4, dims=2, steps=3), "leave="),
        (lambda: simulate(*tree_of(compute=Gamma(2.0, mean=[1.0] * 4)), agents=4, dims=2, steps=3), "mean"),
        (lambda: simulate(*tree_of(synchronous=True, start="staggered"), agents=4, dims=2, steps=3), "start="),
        (lambda: simulate(*tree_of(timetable=TABLE), agents=4, dims=2, steps=3), "timetable"),
        (lambda: EASGDTree("up"), "scheme='up'"),
        (lambda: EASGDTree(synchronous=1), "synchronous=1"),
        (lambda: UpDown(0, 1), "up"),
        (lambda: ByLevel(1, 1.5), "above"),
        (lambda: sdesim.analysis.linearize(*tree_of(), agents=4), "messages are under way"),
    ],
)
def test_bad_input_is_refused_by_name(call, words):
    with pytest.raises((ValueError, TypeError), match=words):
        call()


@pytest.mark.parametrize("how", [dict(steps=2000), dict(until=50.0)], ids=["steps", "seconds"])
@pytest.mark.parametrize("synchronous", [False, True], ids=["free", "synchronous"])
def test_messages_that_do_not_fit_are_refused(monkeypatch, how, synchronous):
    """Before they are made: more bytes than they take, and not many times as many."""
    sizes, needs = dict(agents=4, sims=300, dims=1), []
    real = clocks.check_room
    monkeypatch.setattr(messages, "check_room", lambda need, *words: needs.append(need) or real(need, *words))
    model, stepper = tree_of(synchronous)
    links = stepper.protocol.links(model.coupling)
    seed = sdesim.random.seed_words(0)
    at = None if "steps" in how else (how["until"],)
    setting = Setting(4, 300, 0, 0, how.get("steps", 0), seed, at)
    messages.messages_of(links, Timing(stepper.compute), setting)  # programs are made once
    tracemalloc.start()
    try:
        messages.messages_of(links, Timing(stepper.compute), setting)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < needs[-1] < 4 * most
    monkeypatch.setattr(clocks, "available_memory", lambda: most)
    with pytest.raises(MemoryError, match=r"300 x .* events .* needs about .* GiB, .*: take fewer sims"):
        simulate(model, stepper, **sizes, **how)


def test_slots_of_messages_are_room_that_a_run_needs():
    """As many values as are under way are kept, before and after a chunk of steps."""
    model, _ = tree_of()
    dims, lanes = 1000, 64
    plan = Plan(4, dims, None, None, lockstep=False)
    need = lambda slots: check_memory(
        plan, Asynchronous(EASGDTree(slots=slots)), model, lanes, 10, (), None, exact=False
    )
    assert need(1000) - need(1) >= 2 * 999 * dims * lanes * np.dtype(float).itemsize


TABLE = timetable(Gamma(2.0), workers=7, arrivals=20)


def tree_of(synchronous=False, eta=0.1, **how):
    model = sdesim.Dynamics(oracle.loss, coupling.Tree(1.0, (2, 2)), noise.Gaussian(0.5), eta=eta)
    return model, Asynchronous(EASGDTree(synchronous=synchronous), **how)
