"""Arrivals are made as a run asks for them: the same ones in any parts, and never many at a time."""

import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sdesim
from sdesim import noise, observe, random
from sdesim.asynchrony import Asynchronous, AsyncSGD, Deterministic, Exponential, Gamma, PartialBarrier, timetable
from sdesim.asynchrony.arrivals import arrivals_of
from sdesim.asynchrony.clocks import Timing
from sdesim.steppers.base import Setting

P, SIMS = 5, 6


def setting(**more):
    given = dict(agents=P, sims=SIMS, first_sim=4, first=0, steps=0, seed=random.seed_words(3))
    return Setting(**{**given, **more})


@pytest.fixture
def small_pages(monkeypatch):
    for module in ("clocks", "arrivals"):
        monkeypatch.setattr(f"sdesim.asynchrony.{module}.WINDOW", 20 * SIMS)
    monkeypatch.setattr("sdesim.asynchrony.arrivals.KEPT", 0)


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize("given", [False, True], ids=["made", "given"])
@pytest.mark.parametrize("barrier", [None, 3], ids=["free", "barrier"])
def test_arrivals_are_those_of_the_timetable_whoever_reads_them(barrier, given):
    """Two read at their own pace, one of them some simulations twice; the run begins later; times of records."""
    law, records = Gamma(3.0), np.array([0, 7, 100, 400])
    table = timetable(law, workers=P, arrivals=420, sims=SIMS, seed=3, first_sim=4, barrier=barrier)
    timing, begun = Timing(law, barrier=barrier), setting(first=17, steps=403)
    reading = arrivals_of(table if given else None, timing, begun).reading(records)
    lanes = [np.arange(SIMS), np.array([4, 1, 1, 5])]
    readers, place, found = [reading.reader(sims) for sims in lanes], [0, 0], ([], [])
    while min(place) < 403:
        for i, (read, size) in enumerate(zip(readers, (31, 90), strict=True)):
            part = read(place[i], min(403, place[i] + size))["arrival"]
            found[i].append(part)
            place[i] += len(part[0])
    for sims, parts in zip(lanes, found, strict=True):
        worker, job = (np.concatenate(part) for part in zip(*parts, strict=True))
        np.testing.assert_array_equal(worker.T, table.worker[sims, 17:])
        np.testing.assert_array_equal(job.T, table.job[sims, 17:])
    np.testing.assert_array_equal(reading.times().T, table.time[:, 17 + records - 1])


@pytest.mark.usefixtures("small_pages")
def test_arrivals_by_seconds_are_those_before_each_moment():
    law, moments = Exponential(), (0.4, 3.0, 3.1, 20.0)
    table = timetable(law, workers=P, arrivals=250, sims=SIMS, seed=3, first_sim=4)
    arrivals = arrivals_of(None, Timing(law), setting(at=moments, begins=0.3))
    read = arrivals.reading(np.zeros(0, int)).reader(np.arange(SIMS))
    parts = [read(a, min(a + 37, arrivals.steps))["arrival"] for a in range(0, arrivals.steps, 37)]
    worker = np.concatenate([part[0] for part in parts]).reshape(len(moments), arrivals.stride, SIMS)
    for sim in range(SIMS):
        for k, (low, high) in enumerate(zip((0.3, *moments), moments, strict=False)):
            due = table.worker[sim, (table.time[sim] >= low) & (table.time[sim] < high)]
            np.testing.assert_array_equal(worker[k, : due.size, sim], due)
            assert (worker[k, due.size :, sim] == P).all()
    # since the first run began, also where this one goes on from another
    so_far = arrivals.reading(np.zeros(0, int)).arrivals(np.array([0, 5]), np.array([arrivals.stride] * 2))
    np.testing.assert_array_equal(so_far, (table.time < 0.4).sum(axis=1)[[0, 5]])


@pytest.mark.parametrize("moments", [None, 1], ids=["arrivals", "seconds"])
def test_a_long_run_holds_no_more_than_a_short_one(monkeypatch, moments):
    """The most that is held while all are read, in runs of 10 and of 100 pages: its timetable would be ten times."""
    monkeypatch.setattr("sdesim.asynchrony.clocks.WINDOW", 1 << 13)
    monkeypatch.setattr("sdesim.asynchrony.arrivals.KEPT", 0)

    def most(pages):
        count = pages * (1 << 13) // SIMS
        at = None if moments is None else tuple(count / P * (i + 1) / 50 for i in range(50))
        tracemalloc.start()
        try:
            run = arrivals_of(None, Timing(Exponential()), setting(steps=count if at is None else 0, at=at))
            read = run.reading(np.zeros(0, int)).reader(np.arange(SIMS))
            parts = (read(a, min(a + 500, run.steps))["arrival"][0] for a in range(0, run.steps, 500))
            assert sum((part < P).sum() for part in parts) == pytest.approx(count * SIMS, rel=0.1)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    most(2)  # programs are made once
    short, long = most(10), most(100)
    assert long < 1.5 * short
    assert long < 0.25 * 16 * 100 * (1 << 13)  # bytes of the whole timetable


def double_well(x):
    return jnp.sum(0.5 * x**2 + jnp.cos(3 * x))


@pytest.mark.usefixtures("float32")
@pytest.mark.parametrize("how", [dict(steps=240, every=40), dict(at=[2.0, 11.5, 30.0])], ids=["arrivals", "seconds"])
def test_runs_and_sweeps_are_the_same_in_any_pages(monkeypatch, how):
    """In many threads, of some points, with lanes that diverge and take a chunk of theirs again."""
    model = sdesim.Dynamics(double_well, sdesim.coupling.Uncoupled(), noise.Gaussian(1.0), 0.05)
    stepper = Asynchronous(AsyncSGD(), compute=Gamma(3.0))
    more = dict(agents=P, sims=300, init=1.0, seed=3, stepper=stepper, observe=observe.Center())
    whole = sdesim.sweep(model, {"eta": [0.05, 0.5, 1e4]}, **more, **how)
    assert (whole["diverged"].sel(eta=1e4) >= 0).all() and (whole["diverged"].sel(eta=0.05) < 0).all()
    monkeypatch.setattr("sdesim.asynchrony.clocks.WINDOW", 1)
    monkeypatch.setattr("sdesim.asynchrony.arrivals.KEPT", 0)
    monkeypatch.setattr("sdesim.engine.run.GIVEN", 900 * 32)
    parts = sdesim.sweep(model, {"eta": [0.05, 0.5, 1e4]}, **more, **how)
    for name in ("agents", "center", "diverged", "center_series", "time"):
        if name in whole:
            np.testing.assert_array_equal(parts[name], whole[name])


def test_all_may_leave_before_the_end_of_a_run_by_seconds():
    model = sdesim.Dynamics(double_well, sdesim.coupling.Uncoupled(), noise.Silent(), 0.05)
    stepper = Asynchronous(AsyncSGD(), compute=Deterministic(), leave=[2.5, 3.5])
    run = sdesim.simulate(model, agents=2, stepper=stepper, until=50.0, init=1.0)
    gradient, c, read = jax.grad(lambda x: double_well(x[None])), 1.0, [1.0, 1.0]
    for worker in (0, 1, 0, 1, 1):
        c = c - 0.05 * float(gradient(read[worker]))
        read[worker] = c
    np.testing.assert_allclose(run.center[0, 0], c, atol=1e-12)
    with pytest.raises(ValueError, match="leave: all workers have left"):
        sdesim.simulate(model, agents=2, stepper=stepper, steps=6, init=1.0)


def test_a_barrier_has_pages_too(monkeypatch):
    model = sdesim.Dynamics(double_well, sdesim.Elastic(1.0), noise.Gaussian(1.0), 0.05)
    run = lambda: sdesim.simulate(model, agents=P, sims=20, steps=200, stepper=Asynchronous(PartialBarrier(3)))
    whole = run().agents
    monkeypatch.setattr("sdesim.asynchrony.clocks.WINDOW", 1)
    monkeypatch.setattr("sdesim.asynchrony.clocks.DRAWN", 3)
    np.testing.assert_array_equal(run().agents, whole)


def test_a_timetable_that_does_not_fit_is_refused(monkeypatch):
    monkeypatch.setattr("sdesim.asynchrony.clocks.available_memory", lambda: 10_000)
    with pytest.raises(MemoryError, match=r"a timetable of 2 x 1000 arrivals needs about .*: take fewer arrivals"):
        timetable(Gamma(2.0), workers=3, arrivals=1000, sims=2)
