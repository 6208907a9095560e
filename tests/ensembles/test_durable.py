"""Sweeps in stores: the numbers of the sweep in memory, to the bit, however they are cut, interrupted and added to."""

import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sdesim
from sdesim.asynchrony import Asynchronous, Gamma, KAsyncSGD
from sdesim.ensembles import durable, identity, simulations
from sdesim.ensembles.durable import Durable, MemoryWarning, SweepError
from sdesim.ensembles.grids import OtherProgramWarning, asked_of, stored_in
from sdesim.ensembles.points import Sweep
from sdesim.ensembles.simulations import Simulations
from sdesim.results.files import Damaged
from sdesim.results.stores.folder import Store, StoreError

pytestmark = pytest.mark.usefixtures("float32")  # as users have it

FACTOR = np.array([1.0], np.float32)


def loss(x):
    return jnp.sum(FACTOR[0] * 0.25 * x**4 - 0.5 * x**2)


def model(fn=loss, **changes):
    parts = dict(coupling=sdesim.Quorum(1.0), noise=sdesim.noise.Uniform(1.0), eta=0.05)
    return sdesim.Dynamics(fn, **{**parts, **changes})


with jax.enable_x64(False):
    INIT = sdesim.init.Uniform(-1, 1)
RUN = dict(agents=4, sims=20, steps=20, init=INIT, seed=5, observe=sdesim.observe.Spread(), every=5)
GRID = {"coupling.k": [0.0, 1.0, 2.0], "eta": [0.01, 0.1]}


def same(one, other):
    """To the bit; means of what lies in several files to rounding."""
    for name in other.variables:
        a, b = one[name], other[name]
        assert a.dims == b.dims, name
        if str(name).endswith(("_mean", "_stderr")):
            np.testing.assert_allclose(a.values, b.values, rtol=1e-12, err_msg=str(name))
        else:
            assert a.dtype == b.dtype, name
            np.testing.assert_array_equal(a.values, b.values, err_msg=str(name))
        assert a.attrs == b.attrs, name


@pytest.fixture(scope="module")
def whole():
    with jax.enable_x64(False):
        return sdesim.sweep(model(), GRID, **RUN)


@pytest.mark.parametrize("lanes", [7, 20, 45, None])
def test_a_store_has_the_numbers_of_memory(tmp_path, whole, lanes):
    """However it is cut: part of a point's simulations, a point, several points, all."""
    data = sdesim.sweep(model(), GRID, store=tmp_path / "store", lanes=lanes, **RUN)
    same(data, whole)
    assert set(data.data_vars) - set(whole.data_vars) == {"done"}
    assert (data["done"] == 20).all()
    same(sdesim.open(tmp_path / "store"), whole)
    same(data.isel({"eta": [1, 0], "sim": slice(3, 9)}), whole.isel({"eta": [1, 0], "sim": slice(3, 9)}).drop_vars(
        [name for name in whole if str(name).endswith(("_mean", "_stderr"))]
    ))  # fmt: skip


def test_sizes_and_steppers_are_points_too(tmp_path):
    grid = {"agents": [3], "coupling.k": [0.0, 1.0], "steps": [10, 25], "stepper.period": [1, 2]}
    run = {k: v for k, v in RUN.items() if k not in ("agents", "steps")} | dict(stepper=sdesim.Iteration(period=1))
    data = sdesim.sweep(model(), grid, store=tmp_path / "store", lanes=16, **run)
    same(data, sdesim.sweep(model(), grid, **run))
    assert data["spread_series"].dims[-1] == "step"
    assert np.isnan(data["spread_series"].sel(n_steps=10, step=25)).all()


def test_what_begins_to_count_late_is_estimated():
    """By a run that ends long before."""
    observe = sdesim.observe.Moments(after=10**7 - 100)
    run = dict(agents=4, steps=10**7, every=20, observe=observe)
    assert Simulations(asked_of(model(), GRID, **run)).estimate().lanes == 6


def test_arrays_of_simulations_are_cut_with_them(tmp_path):
    rng = np.random.default_rng(0)
    run = {**RUN, "init": rng.normal(size=(20, 4, 1)).astype(np.float32)}
    run["increments"] = rng.normal(size=(20, 20, 4, 1)).astype(np.float32) * 0.2
    data = sdesim.sweep(model(), GRID, store=tmp_path / "store", lanes=7, first_sim=3, **run)
    same(data, sdesim.sweep(model(), GRID, first_sim=3, **run))
    with pytest.raises(StoreError, match="is of another sweep: init is"):
        sdesim.sweep(model(), GRID, store=tmp_path / "store", first_sim=3, **{**run, "init": run["init"] + 1})


def test_workers_in_virtual_time(tmp_path):
    """Traced numbers of the protocol and of a law, one that is static, and one of where agents start."""
    barrier = Asynchronous(KAsyncSGD(2), compute=Gamma(2.0))
    run = dict(agents=3, sims=4, until=2.0, at=2, exact=True, stepper=barrier, init=INIT)
    run["observe"] = sdesim.observe.QuorumLoss()
    asynchronous = model(coupling=sdesim.Uncoupled())
    grid = {"stepper.compute.shape": [1.0, 4.0], "eta": [0.01, 0.1], "stepper.protocol.size": [3], "init.low": [-2, 0]}
    data = sdesim.sweep(asynchronous, grid, store=tmp_path / "store", lanes=8, **run)
    same(data, sdesim.sweep(asynchronous, grid, **run))
    with pytest.raises(StoreError, match=r"stepper\.compute\.mean is 1.0 there and 2.0 here"):
        other = {**run, "stepper": Asynchronous(KAsyncSGD(2), compute=Gamma(2.0, mean=2.0))}
        sdesim.sweep(asynchronous, grid, store=tmp_path / "store", **other)
    swept = {**run, "stepper": Asynchronous(KAsyncSGD(3), compute=Gamma(9.0)), "init": sdesim.init.Uniform(-3, 1)}
    same(sdesim.sweep(asynchronous, grid, store=tmp_path / "store", **swept), data)  # what is swept does not matter
    told = Simulations(asked_of(asynchronous, {**grid, "stepper.compute.shape": [1.0]}, **run)).estimate(8)
    assert told.tasks == 2
    assert 0 < told.seconds < 60
    assert 0 < told.bytes - 2 * 5000 < sum(p.stat().st_size for p in (tmp_path / "store" / "tasks").rglob("*.nc"))


# -- growth ------------------------------------------------------------------------------------------------------------


def test_more_simulations_and_values_run_alone(tmp_path):
    path = tmp_path / "store"
    small = {"coupling.k": [2.0, 0.0], "eta": [0.1]}
    sdesim.sweep(model(), small, store=path, lanes=7, **{**RUN, "sims": 9})
    store = Store(path)
    said = lambda n: (os.stat(store.task_path(n)).st_ino, os.stat(store.task_path(n)).st_mtime_ns)
    before = {n: said(n) for n in store.done()}
    data = sdesim.sweep(model(), GRID, store=path, **RUN)
    assert {n: said(n) for n in before} == before
    fresh = Store(path).rounds()
    assert len(fresh) == 2
    assert sum(fresh.task(n).lanes for n in range(fresh.tasks)) == 6 * 20
    same(data, sdesim.sweep(model(), GRID, **RUN))
    assert sdesim.open(path)["coupling_k"].values.tolist() == [2.0, 0.0, 1.0]  # in the order in which they came
    again = sdesim.sweep(model(), small, store=path, **{**RUN, "sims": 9})  # asks for less, and runs nothing
    assert len(Store(path).rounds()) == 2
    whole = sdesim.sweep(model(), small, exact=True, **{**RUN, "sims": 9})
    np.testing.assert_array_equal(again["agents"], whole["agents"])


def test_a_task_is_as_large_in_a_large_grid(tmp_path):
    """Else files grow with the square of the number of points."""
    few, many = (
        Durable.of(Simulations(asked_of(model(), {"eta": np.linspace(0, 0.1, n)}, **RUN)), tmp_path / str(n), lanes=20)
        for n in (2, 2000)
    )
    few.plan()
    many.plan()
    assert abs(len(few.compute(0).blob) - len(many.compute(0).blob)) < 200


def test_what_is_not_done_is_nan(tmp_path, whole):
    asked = Sweep.of(model(), GRID, **{**SIGNATURE, **RUN})
    made = Durable.of(Simulations(asked), tmp_path / "store", lanes=7)
    assert len(sdesim.open(tmp_path / "store").data_vars) == 1
    made.plan()
    empty = sdesim.open(tmp_path / "store")
    assert (empty["done"] == 0).all() and empty.sizes["sim"] == 20
    half = [n for n in range(made.store.rounds().tasks) if n % 3]
    for n in half:
        done = made.compute(n)
        made.store.put(n, done.blob, done.card)
    data = sdesim.open(tmp_path / "store")
    there = np.isfinite(data["spread"].values)
    np.testing.assert_array_equal(there.sum(-1), data["done"])
    assert there.sum() == sum(made.store.rounds().task(n).lanes for n in half) < there.size
    np.testing.assert_array_equal(data["spread"].values[there], whole["spread"].values[there])
    assert np.isnan(data["diverged"].values[~there]).all()
    for i, j in np.ndindex(3, 2):
        values = whole["spread"].values[i, j][there[i, j]].astype(float)
        np.testing.assert_allclose(data["spread_mean"][i, j], values.mean(), rtol=1e-12)
        np.testing.assert_allclose(data["spread_stderr"][i, j], values.std(ddof=1) / np.sqrt(len(values)), rtol=1e-12)
    same(sdesim.sweep(model(), GRID, store=tmp_path / "store", **RUN), whole)


SIGNATURE = dict(
    steps=None, until=None, at=None, agents=None, sims=1, dims=None, seed=0, random=None, init=None, velocity=None,
    stepper=None, dt=None, order=None, epoch=None, observe=(), every=None, increments=None, keep_agents=True,
    first_sim=None, exact=None, fast=True,
)  # fmt: skip


def test_opening_reads_no_task(tmp_path, whole, monkeypatch):
    sdesim.sweep(model(), GRID, store=tmp_path / "store", lanes=7, **RUN)
    read = []
    get = Store.get
    monkeypatch.setattr(Store, "get", lambda self, number: read.append(number) or get(self, number))
    data = sdesim.open(tmp_path / "store")
    np.testing.assert_allclose(data["quorum_loss_mean"], whole["quorum_loss_mean"], rtol=1e-12)
    assert read == []
    data["agents"].isel(coupling_k=1, eta=0, sim=3).load()
    assert len(read) == 1


def test_cards_follow_from_files(tmp_path, whole):
    sdesim.sweep(model(), GRID, store=tmp_path / "store", lanes=20, **RUN)
    for lost in (2, 3):
        (tmp_path / "store" / "cards" / "000" / f"{lost:06d}").unlink()
    (tmp_path / "store" / "cards" / "000.pack").unlink()
    data = sdesim.open(tmp_path / "store")
    np.testing.assert_allclose(data["spread_series_stderr"], whole["spread_series_stderr"], rtol=1e-14)
    assert Store(tmp_path / "store").card_path(2).exists()


# -- another sweep -----------------------------------------------------------------------------------------------------


def test_the_same_functions_defined_anew_are_the_same(tmp_path):
    make = lambda a: lambda x: jnp.sum(jnp.float32(a) * x**2)
    run = dict(RUN, sims=2)
    sdesim.sweep(model(make(1.0)), {"eta": [0.1]}, store=tmp_path / "store", **run)
    sdesim.sweep(
        model(make(1.0), eta=0.7), {"eta": [0.1]}, store=tmp_path / "store", **run
    )  # what is swept does not matter
    with pytest.raises(
        StoreError, match="the loss, the rule, the noise, an observable or a schedule computes something"
    ):
        sdesim.sweep(model(make(2.0)), {"eta": [0.1]}, store=tmp_path / "store", **run)


def test_what_functions_close_over_counts(tmp_path, monkeypatch):
    run = dict(RUN, sims=2)
    sdesim.sweep(model(), {"eta": [0.1]}, store=tmp_path / "store", **run)
    monkeypatch.setattr(sys.modules[__name__], "FACTOR", np.array([2.0], np.float32))
    with pytest.raises(StoreError, match="computes something else"):
        sdesim.sweep(model(), {"eta": [0.1]}, store=tmp_path / "store", **run)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda: dict(seed=6), "seed is 5 there and 6 here"),
        (lambda: dict(steps=30), "steps is 20 there and 30 here"),
        (lambda: dict(agents=5), "agents is 4 there and 5 here"),
        (lambda: dict(every=4), "every is 5 there and 4 here"),
        (lambda: dict(init=sdesim.init.Uniform(-2, 1)), r"init.low is -1.0 there and -2.0 here"),
        (lambda: dict(observe=sdesim.observe.MeanLoss()), "observe is .*spread.* there and .*mean_loss.* here"),
        (lambda: dict(keep_agents=False), "keep_agents is True there and False here"),
        (lambda: dict(fast=False), "fast is True there and False here"),
        (lambda: dict(model=model(coupling=sdesim.Quorum(3.0))), "coupling.k is 1.0 there and 3.0 here"),
        (lambda: dict(model=model(coupling=sdesim.Elastic(1.0))), "coupling.center_rate|computes something else"),
        (lambda: dict(grid={"noise.half_width": [1.0]}), "grid is"),
        (lambda: dict(lanes=8), "lanes=8: .*cut into tasks of 7 lanes for good; leave lanes out"),
    ],
)
def test_another_configuration_is_refused(tmp_path, change, message):
    asked = dict(model=model(), grid={"eta": [0.1]}, store=tmp_path / "store", **{**RUN, "sims": 2})
    sdesim.sweep(**asked, lanes=7)
    before = {p: p.read_bytes() for p in (tmp_path / "store").rglob("*") if p.is_file()}
    with pytest.raises(StoreError, match=message) as told:
        sdesim.sweep(**{**asked, **change()})
    assert "\n" not in str(told.value)
    assert {p: p.read_bytes() for p in (tmp_path / "store").rglob("*") if p.is_file()} == before


def test_a_folder_of_stores_tells_of_the_same_settings_by_another_program(tmp_path):
    """As of a figure that an earlier version began: nothing is taken of it, and nothing is begun anew in silence."""
    small = dict(agents=2, sims=2, steps=2, init=INIT)
    both = [model(), model(lambda x: jnp.sum(x**2))]
    for case in (both, both[::-1]):  # its own stores, made before or within, are none of another program
        with stored_in(tmp_path / "own"):
            for one in case:
                sdesim.sweep(one, {"coupling.k": [0.0]}, **small)
    with stored_in(tmp_path / "own"), pytest.warns(OtherProgramWarning, match="begins anew") as said:
        sdesim.sweep(model(lambda x: jnp.sum(x**6)), {"coupling.k": [0.0]}, **small)
    assert len(said) == 2 and len(list((tmp_path / "own").iterdir())) == 3


def test_other_versions_are_mixed_on_request_alone(tmp_path, monkeypatch):
    asked = dict(model=model(), grid={"eta": [0.1]}, store=tmp_path / "store", **{**RUN, "sims": 2})
    sdesim.sweep(**asked)
    now = {**identity.versions(), "jax": "0.99"}
    monkeypatch.setattr(durable, "versions", lambda: now)
    with pytest.raises(
        StoreError, match=r"was begun with others: jax is .* there and '0.99' here; use those, or mix_versions=True"
    ):
        sdesim.sweep(**{**asked, "sims": 3})
    data = sdesim.sweep(**{**asked, "sims": 3}, mix_versions=True)
    assert data.sizes["sim"] == 3
    store = Store(tmp_path / "store")
    assert [store.noted(n) for n in store.notes() if n.startswith("mixed-")] == [now]
    with pytest.raises(StoreError, match="seed is 5 there and 6 here"):
        sdesim.sweep(**{**asked, "seed": 6}, mix_versions=True)


# -- trouble -----------------------------------------------------------------------------------------------------------


def test_too_little_memory_computes_the_same_in_parts(tmp_path, whole, monkeypatch):
    run = simulations.run_points
    most = {"lanes": 40}

    def small(sweep, here, columns, *, sims, width=None, **rest):
        lanes = sims * len(next(iter(columns.values())))
        if max(lanes, width or 128) > most["lanes"]:  # a block is held whole
            raise MemoryError("no room")
        return run(sweep, here, columns, sims=sims, width=width, **rest)

    monkeypatch.setattr(simulations, "run_points", small)
    most["lanes"] = 128
    data = sdesim.sweep(model(), GRID, store=tmp_path / "a", lanes=200, **{**RUN, "sims": 50})
    same(data, sdesim.sweep(model(), GRID, **{**RUN, "sims": 50}))
    most["lanes"] = 40
    with pytest.warns(MemoryWarning, match="in blocks of 32 lanes in place of 128, for want of memory"):
        data = sdesim.sweep(model(), GRID, store=tmp_path / "b", lanes=20, **RUN)
    np.testing.assert_allclose(data["agents"], whole["agents"], rtol=1e-4, atol=1e-5)


def test_damage_is_said_when_it_is_read(tmp_path):
    path = tmp_path / "store"
    data = sdesim.sweep(model(), GRID, store=path, lanes=20, **RUN)
    task = Store(path).task_path(2)
    task.write_bytes(task.read_bytes()[:-5])
    assert np.isfinite(data["spread_mean"]).all()
    with pytest.raises(Damaged, match=r"task 2=.*000002.nc.*`sdesim runs STORE --repair`"):
        data["agents"].load()


def test_failed_tasks_are_told_and_tried_again(tmp_path, whole, monkeypatch):
    run = simulations.run_points

    def broken(sweep, here, columns, **rest):
        if columns["coupling.k"][0] == 1.0:
            raise ArithmeticError("no root")
        return run(sweep, here, columns, **rest)

    with monkeypatch.context() as patch:
        patch.setattr(simulations, "run_points", broken)
        with pytest.raises(SweepError, match="2 of 6 tasks failed, the first, task 2, with ArithmeticError: no root"):
            sdesim.sweep(model(), GRID, store=tmp_path / "store", lanes=20, **RUN)
    assert sdesim.open(tmp_path / "store")["done"].sum() == 80
    same(sdesim.sweep(model(), GRID, store=tmp_path / "store", **RUN), whole)


def test_divergence_is_told(tmp_path):
    run = {**RUN, "init": sdesim.init.Point(3.0)}
    with (
        pytest.warns(sdesim.StabilityWarning),
        pytest.warns(sdesim.DivergenceWarning, match=r"20 of 40 simulations \(50.0%\)"),
    ):
        data = sdesim.sweep(model(), {"eta": [0.05, 5.0]}, store=tmp_path / "store", **run)
    assert (data["diverged"].sel(eta=5.0) > 0).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(store=3), "store=3: must be the name of a folder"),
        (dict(lanes=0), "lanes=0: must be an integer of at least 1"),
        (dict(mix_versions=1), "mix_versions=1: must be True or False"),
    ],
)
def test_bad_arguments(tmp_path, change, message):
    with pytest.raises((ValueError, TypeError), match=message):
        sdesim.sweep(model(), GRID, **{"store": tmp_path / "store", **RUN, **change})


# -- kills -------------------------------------------------------------------------------------------------------------

SCRIPT = """
import sys
sys.path.insert(0, {folder!r})
import test_durable as t, sdesim
sdesim.sweep(t.model(), t.GRID, store=sys.argv[1], lanes=2, **t.RUN)
"""


@pytest.mark.slow
def test_ten_kills_of_the_engine(tmp_path, whole, users_environment):
    """Two processes that compile and simulate, killed at any moment."""
    script = tmp_path / "drive.py"
    script.write_text(SCRIPT.format(folder=str(pathlib.Path(__file__).parent)))
    rng, path = random.Random(0), tmp_path / "store"
    start = lambda: subprocess.Popen([sys.executable, str(script), str(path)], env=users_environment)
    running, kills = [start(), start()], 0
    until = lambda: Store(path).done() if (path / "manifest.json").exists() else set()
    while kills < 10:
        before, began = until(), time.monotonic()
        while (
            until() == before and kills % 3 and time.monotonic() - began < 60
        ):  # one in three dies before it did a task
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.3))
        victim = rng.randrange(2)
        if running[victim].poll() is not None:
            assert running[victim].returncode == 0
            break
        running[victim].send_signal(signal.SIGKILL)
        running[victim].wait()
        kills += 1
        assert before <= until()
        running[victim] = start()
    assert [process.wait() for process in running] == [0, 0]
    assert kills >= 5
    same(sdesim.open(path), whole)


def test_a_timetable_is_refused(tmp_path):
    """Its rows are of the run's simulations, and a task is some of them."""
    from sdesim.asynchrony import Asynchronous, AsyncSGD, Exponential, timetable

    table = timetable(Exponential(), workers=4, arrivals=20, sims=20, seed=0)
    given = {**RUN, "stepper": Asynchronous(AsyncSGD(), timetable=table)}
    with pytest.raises(ValueError, match=r"timetable: must be left out with store="):
        sdesim.sweep(model(coupling=sdesim.Uncoupled()), {"eta": [0.01, 0.1]}, **given, store=str(tmp_path / "store"))
    assert not (tmp_path / "store").exists()
