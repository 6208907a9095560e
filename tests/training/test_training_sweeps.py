"""Sweeps of trainings: the numbers of each training by itself, in stores that lose nothing."""

import os
import signal
import subprocess
import sys

import flax.linen as nn
import numpy as np
import pytest
from places import ROOT

import sdesim
from sdesim import training
from sdesim.ensembles.asked import asked_in
from sdesim.ensembles.designs import random_design
from sdesim.ensembles.durable import SweepError
from sdesim.results.stores.folder import Store, StoreError
from sdesim.training import sweeps
from sdesim.training.asked import trainings_of

pytestmark = [pytest.mark.relaxed, pytest.mark.usefixtures("float32")]


class Small(nn.Module):
    @nn.compact
    def __call__(self, x, train: bool = False):
        return nn.Dense(4)(x.reshape(x.shape[0], -1))


DATA = training.split(training.synthetic(64, 16, classes=4, size=8))
EASGD = training.algorithm("easgd")
RUN = dict(epochs=2, sims=2, batch=16)


def sweep(grid, algorithm=EASGD, network=None, **changes):
    return training.sweep(network or Small(), DATA, algorithm, grid, **{**RUN, **changes})


def test_each_point_is_its_training_to_the_bit(tmp_path):
    """What is added later runs alone."""
    grid, store = {"agents": [2, 3], "eta": [0.05]}, Store
    data = sweep(grid, store=tmp_path / "store")
    one = training.train(Small(), DATA, EASGD, agents=3, eta=0.05, epochs=2, batch=16, runs=2).history
    point = data.sel(n_agents=3).isel(eta=0)
    for name, values in one.drop_vars("seconds").data_vars.items():
        found = point["eta_series" if name == "eta" else name]
        np.testing.assert_array_equal(found, values.transpose("run", ...), err_msg=str(name))
    np.testing.assert_allclose(point["test_loss"].mean("sim").values, point["test_loss_mean"].values, rtol=1e-6)
    few = data["test_loss"].sel(n_agents=2)
    assert few.sizes["model"] == 4 and np.isnan(few.sel(model="agent 2")).all()
    assert np.isfinite(few.sel(model=["agent 0", "agent 1", "center"])).all()

    done = lambda: {n: os.stat(store(tmp_path / "store").task_path(n)).st_mtime_ns for n in (0, 1)}
    before = done()
    more = sweep({**grid, "eta": [0.1, 0.05]}, store=tmp_path / "store")
    assert done() == before and more["done"].values.tolist() == [[2, 2]] * 2
    np.testing.assert_array_equal(more["spread"].sel(eta=[0.05]).values, data["spread"].values)


@pytest.fixture
def seen(monkeypatch):
    """Epochs after which a task would be kept, each at once; and an epoch at which it fails, once."""
    monkeypatch.setattr(sweeps, "KEEP", 0.0)
    after, said = sweeps.KeepIfLong.after_epoch, {"epochs": [], "fails": None}

    def told(self, of):
        after(self, of)
        said["epochs"].append(of.epochs_done)
        if of.epochs_done == said["fails"]:
            said["fails"] = None
            raise RuntimeError("a cable was pulled")

    monkeypatch.setattr(sweeps.KeepIfLong, "after_epoch", told)
    return said


def test_a_task_goes_on_from_where_it_was(tmp_path, seen):
    grid, store = {"eta": [0.05]}, Store
    whole = sweep(grid, agents=2, epochs=4)
    assert seen["epochs"] == [0, 1, 2, 3, 4]
    seen.update(epochs=[], fails=3)
    with pytest.raises(SweepError, match="a cable was pulled"):
        sweep(grid, agents=2, epochs=4, store=tmp_path / "store")
    (kept,) = store(tmp_path / "store").work_folder(0).iterdir()
    assert (kept / "checkpoint-3").is_dir()
    data = sweep(grid, agents=2, epochs=4, store=tmp_path / "store")
    assert seen["epochs"] == [0, 1, 2, 3, 4]
    assert list((tmp_path / "store" / "work").iterdir()) == []
    for name in whole.data_vars:
        np.testing.assert_array_equal(data[name].values, whole[name].values, err_msg=str(name))

    # What is damaged costs the time that it took, and nothing else.
    seen.update(epochs=[], fails=3)
    with pytest.raises(SweepError):
        sweep(grid, agents=2, epochs=4, store=tmp_path / "damaged")
    (kept,) = store(tmp_path / "damaged").work_folder(0).iterdir()
    os.truncate(kept / "history.nc", 100)
    with pytest.warns(UserWarning, match="this training of a task starts over"):
        data = sweep(grid, agents=2, epochs=4, store=tmp_path / "damaged")
    assert seen["epochs"] == [0, 1, 2, 3, 0, 1, 2, 3, 4]
    np.testing.assert_array_equal(data["test_loss"].values, whole["test_loss"].values)


FILE = """
import os, signal
import flax.linen as nn
from sdesim import training
from sdesim.training import sweeps

sweeps.KEEP = 0.0  # each epoch is kept
after = sweeps.KeepIfLong.after_epoch

def told(self, of):
    after(self, of)
    with open("epochs", "a") as file:
        print(os.getpid(), of.fingerprint, of.epochs_done, file=file)
    if of.epochs_done == 3:
        try:
            os.close(os.open("killed", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return
        os.kill(os.getpid(), signal.SIGKILL)

sweeps.KeepIfLong.after_epoch = told

class Small(nn.Module):
    @nn.compact
    def __call__(self, x, train: bool = False):
        return nn.Dense(4)(x.reshape(x.shape[0], -1))

SWEEP = dict(
    network=Small(), data=training.split(training.synthetic(64, 16, classes=4, size=8)),
    algorithm=training.algorithm("easgd"), grid={"eta": [0.01, 0.02, 0.05, 0.1]}, agents=2, epochs=5, sims=2, batch=16,
)
"""


@pytest.mark.slow  # three processes that import and compile
def test_two_workers_share_a_store_and_one_is_killed_in_a_training(tmp_path):
    """kill -9 of a real one, after its third epoch: the other goes on with that very training, to the same bits."""
    (tmp_path / "file.py").write_text(FILE)
    command = [sys.executable, "-m", "sdesim", "sweep", "file.py", "--store", "store", "--worker"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    workers = [subprocess.Popen(command, cwd=tmp_path, env=environment) for _ in range(2)]
    assert sorted(worker.wait(600) for worker in workers) == [-signal.SIGKILL, 0]
    told = [line.split() for line in (tmp_path / "epochs").read_text().splitlines()]
    killed = str(next(worker.pid for worker in workers if worker.returncode))
    of = next(fingerprint for pid, fingerprint, epoch in told if pid == killed and epoch == "3")
    assert [(pid == killed, epoch) for pid, what, epoch in told if what == of] == [
        *((True, str(epoch)) for epoch in range(4)),
        *((False, str(epoch)) for epoch in (4, 5)),
    ]
    assert len({(what, epoch) for _, what, epoch in told}) == len(told) == 4 * 6  # and nothing was trained twice
    data = sdesim.open(tmp_path / "store")
    assert (data["done"] == 2).all() and not list((tmp_path / "store" / "work").iterdir())
    undisturbed = sweep({"eta": [0.01, 0.02, 0.05, 0.1]}, agents=2, epochs=5)
    for name in undisturbed.data_vars:
        np.testing.assert_array_equal(data[name].values, undisturbed[name].values, err_msg=str(name))


# -- what is another sweep, and what is none ---------------------------------------------------------------------------


def test_another_training_is_refused(tmp_path):
    grid = {"eta": [0.05]}
    run = dict(store=tmp_path / "store", epochs=0, sims=1)
    sweep(grid, **run)
    sweep(grid, **run)
    with pytest.raises(StoreError, match="is of another sweep: batch is 16 there and 8 here"):
        sweep(grid, **{**run, "batch": 8})
    with pytest.raises(StoreError, match="is of another sweep: algorithm is 'easgd' there and 'qsgd' here"):
        sweep(grid, training.algorithm("qsgd"), **run)

    class Twice(nn.Module):
        @nn.compact
        def __call__(self, x, train: bool = False):
            return nn.Dense(4)(2 * x.reshape(x.shape[0], -1))

    with pytest.raises(StoreError, match=r"the network, the rule, .* computes something else"):
        sweep(grid, network=Twice(), **run)
    other = DATA._replace(train_x=DATA.train_x[::-1])
    with pytest.raises(StoreError, match=r"data is '.*' there and '.*' here"):
        training.sweep(Small(), other, EASGD, grid, **{**RUN, **run})


@pytest.mark.parametrize(
    ("grid", "changes", "error", "message"),
    [
        ({"et": [0.1]}, {}, ValueError, r"grid='et': .*did you mean 'eta'|grid.*eta"),
        ({"eta": []}, {}, ValueError, "non-empty sequence of values"),
        ({"eta": [0.1, 0.1]}, {}, ValueError, "each there once"),
        ({"eta": [0.1]}, dict(eta=0.2), ValueError, "eta=0.2: is in the grid already; leave it out"),
        ({"eta": [0.1]}, dict(runs=3), TypeError, "runs: must be left out: sims is how many"),
        ({"algorithm": ["easgd", "easg"]}, {}, ValueError, "algorithm='easg'"),
        ({"algorithm.fanout": [2]}, {}, ValueError, "grid"),
        (
            random_design({"agents": (1.0, 2.0)}, 2),
            {},
            ValueError,
            "a design is of numbers, and agents shapes programs",
        ),
        ({"eta": [0.1]}, dict(most=3), ValueError, "most=3: must be left out"),
    ],
)
def test_what_no_sweep_has_is_said(grid, changes, error, message):
    with pytest.raises(error, match=message):
        sweep(grid, **changes)


TOML = """
data = "synthetic"
images = 60
network = {name = "three-layer", channels = [2, 2, 2]}
algorithm = "qsgd"
schedule = "constant"
agents = 2
epochs = 1
sims = 2
batch = 16

[grid]
eta = {from = 0.01, to = 0.1, count = 2, scale = "log"}
algorithm.momentum = [0.0, 0.9]
"""


def test_a_file_is_a_sweep_of_trainings(tmp_path):
    (tmp_path / "file.toml").write_text(TOML)
    asked = trainings_of(asked_in(tmp_path / "file.toml", {"algorithm.k": "2.0", "grid.eta": "0.5"}))
    assert asked.grid == {"eta": [0.5], "algorithm.momentum": [0.0, 0.9]}
    assert asked.algorithm == training.algorithm("qsgd", k=2.0)
    assert asked.network == training.ThreeLayer(10, channels=(2, 2, 2))
    assert asked.given["schedule"] == training.Constant() and asked.given["agents"] == 2
    assert len(asked.data.train_y) == 48
    assert (asked.epochs, asked.sims) == (1, 2)
