"""A training's folder: every damage is said in one line, no interruption loses an epoch, and one process at a time."""

import errno
import os
import shutil
import subprocess
import sys
import warnings

import flax.linen as nn
import numpy as np
import pytest

from sdesim import training
from sdesim.results import datasets, files
from sdesim.training import store as checkpoints

pytestmark = [pytest.mark.relaxed, pytest.mark.usefixtures("float32")]


class Small(nn.Module):
    @nn.compact
    def __call__(self, x, train: bool = False):
        return nn.Dense(4)(x.reshape(x.shape[0], -1))


DATA = training.split(training.synthetic(64, 16, classes=4, size=8))


def train(folder, **changes):
    options = {"agents": 2, "batch": 16, "epochs": 1, "resume": True, **changes}
    return training.train(Small(), DATA, training.algorithm("easgd"), folder=folder, **options).history


_TRAINED = []


@pytest.fixture
def trained(tmp_path_factory):
    """A training, made once: not by a fixture of the module, which would have the precision of the oracles."""
    if not _TRAINED:
        _TRAINED.append(tmp_path_factory.mktemp("trained"))
        train(_TRAINED[0])
    return _TRAINED[0]


@pytest.fixture
def copy(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "copy")
    return tmp_path / "copy"


def parts(folder):
    return sorted(p for p in folder.rglob("*") if p.is_file() and p.name != ".lock")


def flip(path):
    blob = bytearray(path.read_bytes())
    blob[len(blob) // 2] ^= 1
    path.write_bytes(blob)


def as_folder(path):
    path.unlink()
    path.mkdir()


DAMAGE = {
    "a bit": flip,
    "cut": lambda path: os.truncate(path, path.stat().st_size - 1),
    "empty": lambda path: path.write_bytes(b""),
    "missing": lambda path: path.unlink(),
    "a folder": as_folder,
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_every_file_damaged_in_every_way_is_said(damage, copy, trained):
    names = [path.relative_to(copy) for path in parts(copy)]
    assert len(names) > 5
    for name in names:
        path = copy / name
        if not path.exists() or not path.stat().st_size:
            continue  # an empty file has no bit to flip
        DAMAGE[damage](path)
        with pytest.raises(ValueError, match=r"^folder='.*': .*; put back a copy of .*or delete the folder") as said:
            train(copy, epochs=2)
        told = str(said.value)
        assert "\n" not in told and name.parts[0] in told, told
        if len(name.parts) > 1:
            assert "/".join(name.parts[1:]) in told, told
        shutil.rmtree(copy)
        shutil.copytree(trained, copy)


def test_a_checkpoint_that_is_gone_or_a_file_is_said(copy):
    shutil.rmtree(copy / "checkpoint-1")
    with pytest.raises(ValueError, match=r"^folder=.*: checkpoint-1: is missing; put back a copy of checkpoint-1"):
        train(copy)
    (copy / "checkpoint-1").write_text("")
    with pytest.raises(ValueError, match=r"^folder=.*: checkpoint-1: is a file, not a folder"):
        train(copy)


@pytest.mark.parametrize("resume", [True, False])
def test_nothing_starts_over_in_silence(resume, copy):
    (copy / "history.nc").unlink()
    with pytest.raises(ValueError, match=r"^folder=.*: history.nc: is missing, beside checkpoint-1; put back"):
        train(copy, resume=resume)
    assert (copy / "checkpoint-1").is_dir()


def test_a_training_that_was_cut_off_before_its_first_history_starts_over(tmp_path, monkeypatch):
    """Between a checkpoint and its history a process can be killed: of the first nothing is lost that had been kept."""
    whole = train(tmp_path / "whole")

    class KilledError(BaseException):
        pass

    def killed(*_):
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "write_dataset", killed)
        with pytest.raises(KilledError):
            train(tmp_path / "cut")
    assert {path.name for path in (tmp_path / "cut").glob("checkpoint-*")} == {"checkpoint-0"}
    np.testing.assert_array_equal(train(tmp_path / "cut")["test_loss"], whole["test_loss"])
    assert {path.name for path in (tmp_path / "cut").iterdir()} == {"history.nc", "checkpoint-1", ".lock"}


def test_other_kinds_and_versions_are_said(copy):
    whole = datasets.read_dataset(copy / "history.nc")
    for attributes, said in (
        ({"sdesim_kind": "run"}, "is a run of simulate or iterate, and not a training"),
        ({"sdesim_format": 9, "sdesim_version": "7.1"}, "is of format 9, written by sdesim 7.1, and this version"),
    ):
        datasets.write_dataset(whole.assign_attrs(attributes), copy / "history.nc")
        with pytest.raises(ValueError, match=rf"^folder=.*: history.nc: {said}"):
            train(copy)


def test_the_epoch_before_is_kept_until_the_new_one_is_whole(copy, monkeypatch):
    """Whatever fails in writing an epoch: the training goes on, its numbers are returned, and it can be resumed."""
    whole = train(copy.with_name("whole"), epochs=3)
    for fails in ("_sums", "write_sealed", "write_dataset"):
        folder = copy.with_name(fails)
        shutil.copytree(copy, folder)

        def full(*_):
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(checkpoints, fails, full)
            with pytest.warns(UserWarning, match="No space left on device.*; the training goes on") as said:
                history = train(folder, epochs=3)
            assert len(said) == 2
            last = str(said[-1].message)  # after which nothing goes on
            assert "the training goes on" not in last and "what was measured is returned, and not all of it" in last
        np.testing.assert_array_equal(history["test_loss"], whole["test_loss"])
        assert datasets.read_dataset(folder / "history.nc").attrs["checkpoint"] == 1
        resumed = train(folder, epochs=3)
        np.testing.assert_array_equal(resumed["test_loss"], whole["test_loss"])
        assert {p.name for p in folder.iterdir()} == {"history.nc", "checkpoint-3", ".lock"}


# Threads of orbax that meet the full disk leave event loops behind, which Python tells of when it collects them.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_full_disk_ends_no_training(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", disk], capture_output=True)
    if mounted.returncode:
        pytest.skip("needs to mount a small disk")
    try:
        (disk / "filler").write_bytes(b"0" * 100_000)
        with pytest.warns(UserWarning, match="could not be written .*; the training goes on"):
            history = train(disk)
        assert history.sizes["epoch"] == 2
        assert not [p for p in disk.iterdir() if p.name not in ("filler", ".lock", "checkpoint-0")]
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


HOLD = """
import sys
from sdesim.training.store import Store
with Store(sys.argv[1], "").lock(False):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_training_in_a_folder_is_told_at_once(tmp_path):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(FileExistsError, match=rf"another process \({holder.pid} on .*\) trains in it; wait for it"):
            train(tmp_path, resume=False)
        told = []

        def end(message, *_):
            told.append(str(message))
            holder.stdin.close()  # and so it ends

        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.showwarning = end
            assert train(tmp_path).sizes["epoch"] == 2
        assert f"another process ({holder.pid} on" in told[0] and "is waited for" in told[0]
    finally:
        holder.kill()
        holder.wait()
    assert {p.name for p in tmp_path.iterdir()} == {"history.nc", "checkpoint-1", ".lock"}


def test_what_a_killed_training_left_is_removed(copy):
    half = copy / ".checkpoint-2.sdesim-abc"
    half.mkdir()
    (half / "part").write_bytes(b"half")
    (copy / ".history.sdesim-abc.nc").write_bytes(b"half")
    train(copy)
    assert {p.name for p in copy.iterdir()} == {"history.nc", "checkpoint-1", ".lock"}
    assert files.read_sealed(copy / "checkpoint-1" / checkpoints.SUMS)
