"""`sdesim sweep` and what is done with its stores, as users call it."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
import xarray as xr

import sdesim
from sdesim.cli import main
from sdesim.ensembles.asked import asked_in
from sdesim.results.stores.folder import Store

pytestmark = pytest.mark.usefixtures("float32")

TOML = """
agents = 4
steps = 20
sims = 20
every = 5
observe = [{kind = "Spread"}]
init = {kind = "Uniform", low = -1.0, high = 1.0}

[model]
objective = {kind = "QuarticDoubleWell"}
coupling = {kind = "Elastic", k = {kind = "Growth", initial = 1.0, time = 2.0}}
noise = {kind = "Uniform", half_width = 1.0}
momentum = {kind = "Nesterov", delta = 0.5}
eta = 0.05

[grid]
"noise.half_width" = {from = 0.1, to = 10, count = 3, scale = "log"}
eta = [0.01, 0.05]
"""

PYTHON = """
import jax.numpy as jnp
import sdesim

SCALE = 0.25

def loss(x):
    return jnp.sum(SCALE * x**4 - 0.5 * x**2)

SWEEP = dict(
    model=sdesim.Dynamics(loss, sdesim.Quorum(1.0), sdesim.noise.Uniform(1.0), eta=0.05),
    grid={"coupling.k": [0.0, 1.0, 2.0]},
    agents=4, sims=20, steps=20, init=sdesim.init.Uniform(-1, 1), lanes=10,
)
"""


@pytest.fixture
def toml(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "phase.toml").write_text(TOML)
    return "phase.toml"


@pytest.fixture
def python(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())  # to which the folder of the file comes
    (tmp_path / "phase.py").write_text(PYTHON)
    return "phase.py"


def test_a_file_is_a_call(toml):
    model = sdesim.Dynamics(
        sdesim.objectives.QuarticDoubleWell(),
        coupling=sdesim.Elastic(sdesim.schedules.Growth(1.0, 2.0)),
        noise=sdesim.noise.Uniform(1.0),
        momentum=sdesim.Nesterov(0.5),
        eta=0.05,
    )
    run = dict(agents=4, steps=20, sims=20, every=5, observe=[sdesim.observe.Spread()], init=sdesim.init.Uniform(-1, 1))
    grid = {"noise.half_width": [0.1, 1.0, 10.0], "eta": [0.01, 0.05]}
    assert main(["sweep", toml, "--store", "store", "--lanes", "30"]) == 0
    whole, data = sdesim.sweep(model, grid, **run), sdesim.open("store")
    np.testing.assert_array_equal(data["agents"], whole["agents"])
    np.testing.assert_array_equal(data["spread_series"], whole["spread_series"])
    assert data["noise_half_width"].values.tolist() == pytest.approx([0.1, 1.0, 10.0])


def test_what_is_given_changes_the_file(toml):
    changes = {"sims": "7", "model.eta": "0.5", "grid.eta": "0.1, 0.2", "grid.noise.half_width": "3", "seed": "4"}
    asked = asked_in(toml, changes)
    assert (asked["sims"], asked["seed"], float(asked["model"].eta)) == (7, 4, 0.5)
    assert asked["grid"] == {"noise.half_width": [3], "eta": [0.1, 0.2]}


def test_the_course_of_a_store(python, capsys):
    """Begun, looked at, grown, damaged, repaired, exported, joined, removed."""
    said = lambda: capsys.readouterr().out
    assert main(["sweep", python, "--dry-run"]) == 0
    assert "3 points, 60 simulations in 6 tasks: about" in said()
    assert main(["sweep", python, "--worker", "--store", "store"]) == 0
    assert said() == "" and main(["sweep", python, "--store", "store"]) == 0
    assert "store: 6 of 6 tasks, 60 of 60 simulations" in said()
    assert main(["sweep", python, "--store", "store", "--sims", "25", "--worker"]) == 0
    assert said() == ""
    assert main(["runs", "store"]) == 0
    assert "store: 8 of 8 tasks, 75 of 75 simulations" in said()
    store = Store("store")
    store.task_path(4).write_bytes(store.task_path(4).read_bytes()[:-1])
    assert main(["runs", "store", "--check"]) == 1
    assert "task 4='store/tasks/000/000004.nc'" in said()
    assert main(["runs", "store", "--repair"]) == 0
    assert "1 of 8 tasks are damaged; they will be computed again" in said()
    assert main(["runs", "store"]) == 0
    assert "7 of 8 tasks, 65 of 75 simulations" in said()
    assert main(["sweep", python, "--store", "store", "--sims", "25"]) == 0
    assert main(["runs", "store", "--check"]) == 0
    data = sdesim.open("store")
    assert data.attrs["made_by"] == f"sdesim sweep phase.py --store store\n# phase.py:\n{PYTHON.rstrip()}"
    assert main(["export", "store", "--out", "store.csv"]) == 0
    header, first, *_ = pathlib.Path("store.csv").read_text().splitlines()
    row = dict(zip(header.split(","), first.split(","), strict=True))
    assert float(row["quorum_mean"]) == float(data["quorum_mean"][0, 0])
    assert row["done"] == "25"
    assert main(["export", "store", "--out", "store.nc"]) == 0
    assert main(["join", "store", "--out", "joined.nc"]) == 0
    for name in ("store.nc", "joined.nc"):
        xr.testing.assert_equal(xr.load_dataset(name, engine="h5netcdf")["agents"], data["agents"])
    assert main(["export", "store", "--out", "store.txt"]) == 2
    assert main(["runs", "store", "--prune"]) == 0
    assert main(["runs", "store", "--delete"]) == 0
    assert not pathlib.Path("store").exists()


def test_one_zarr(python):
    zarr = pytest.importorskip("zarr")
    assert main(["sweep", python, "--store", "store"]) == 0
    assert main(["export", "store", "--out", "store.zarr"]) == 0
    data, again = sdesim.open("store"), xr.open_zarr("store.zarr", consolidated=False)
    assert zarr.open_group("store.zarr", mode="r").metadata.zarr_format == 3
    xr.testing.assert_equal(again.load(), data.load())
    assert again.attrs["settings"] == data.attrs["settings"]
    assert again["quorum"].attrs == data["quorum"].attrs
    assert main(["export", "store", "--out", "store.zarr"]) == 3  # is there already


@pytest.mark.parametrize("count", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_processes_of_one_machine(python, users_environment, count):
    """Some that were started by hand at the same time."""
    command = [sys.executable, "-m", "sdesim", "sweep", python, "--store", "store", "--worker"]
    workers = [subprocess.Popen(command, env=users_environment) for _ in range(count)]
    assert [w.wait() for w in workers] == [0] * count
    data = sdesim.open("store")
    assert data["done"].values.tolist() == [20, 20, 20]
    asked = asked_in(python)
    asked.pop("lanes")
    with jax.enable_x64(False):
        whole = sdesim.sweep(**asked)
    np.testing.assert_array_equal(data["agents"], whole["agents"])


@pytest.mark.parametrize(
    ("arguments", "message", "status"),
    [
        (["sweep", "none.toml", "--store", "s"], "file='none.toml': there is no such file", 3),
        (["sweep", "phase.toml"], "--store: must be the folder that keeps what is done", 2),
        (["sweep", "phase.toml", "--store", "s", "--sim", "3"], "did you mean 'sims'?", 2),
        (["sweep", "phase.toml", "--store", "s", "3"], "3: must come after an option", 2),
        (["sweep", "phase.toml", "--store", "s", "--sims"], "--sims: needs a value", 2),
        (["sweep", "phase.toml", "--store", "s", "--lanes", "x"], "--lanes='x': must be an integer", 2),
        (["sweep", "phase.toml", "--store", "s", "--model.eat", "1"], "did you mean 'eta'?", 2),
        (["sweep", "bad.toml", "--store", "s"], "file='bad.toml': is no TOML", 3),
        (["sweep", "kind.toml", "--store", "s"], "kind='Quoum': did you mean 'Quorum'?", 2),
        (["sweep", "field.toml", "--store", "s"], "did you mean 'half_width'?", 2),
        (["sweep", "axis.toml", "--store", "s"], "grid.eta: must have to", 2),
        (["sweep", "phase.txt", "--store", "s"], "must be a .py with a dictionary SWEEP, or a .toml", 2),
        (["runs", "none"], "store='none': must be the folder of a sweep", 3),
        (["runs", "a", "b"], "runs: takes the folder of one store", 2),
        (["export", "none", "--out", "x.csv"], "none: there is no such store or file", 3),
        (["join", "--out", "x.nc"], "join: takes stores or files", 2),
    ],
)
def test_mistakes_are_said(toml, capsys, arguments, message, status):
    pathlib.Path("bad.toml").write_text("steps = ")
    pathlib.Path("kind.toml").write_text(TOML.replace("Elastic", "Quoum"))
    pathlib.Path("field.toml").write_text(TOML.replace("half_width = 1.0", "half_widht = 1.0"))
    pathlib.Path("axis.toml").write_text(TOML.replace("eta = [0.01, 0.05]", "eta = {from = 1, count = 3}"))
    assert main(arguments) == status
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not pathlib.Path("s").exists()


ENGINES = {"alone": [], "processes": ["--workers", "2"], "dask": ["--scheduler", "local", "--workers", "2"]}


@pytest.mark.parametrize(
    "engine", [pytest.param(name, marks=[] if name == "alone" else pytest.mark.slow) for name in ENGINES]
)
def test_an_interrupted_sweep_goes_on(python, users_environment, engine):
    """Ctrl-C in the middle, and the same command again: what was done is not done again, and nobody is left."""
    command = [sys.executable, "-m", "sdesim", "sweep", python, "--store", "store", "--steps", "20000", "--lanes", "2"]
    command += ENGINES[engine]
    group = dict(start_new_session=True)
    stopped = subprocess.Popen(command, env=users_environment, stderr=subprocess.PIPE, text=True, **group)
    done = lambda: Store("store").done() if pathlib.Path("store/manifest.json").exists() else set()
    while len(done()) < 2:
        assert stopped.poll() is None
        time.sleep(0.01)
    stopped.send_signal(signal.SIGINT)
    assert stopped.wait(30) == 130
    assert "interrupted" in stopped.stderr.read()  # to its end: all that had it too are gone
    said = lambda n: (os.stat(path := Store("store").task_path(n)).st_ino, os.stat(path).st_mtime_ns)
    before = {n: said(n) for n in done()}
    assert len(before) < 30
    assert int(sdesim.open("store")["done"].sum()) == 2 * len(before)
    subprocess.run(command, env=users_environment, check=True)
    assert len(done()) == 30
    assert {n: said(n) for n in before} == before
