"""Files that are whole or not there: full disks, kills, damage, and what is not ours."""

import contextlib
import errno
import io
import os
import resource
import signal
import subprocess
import sys

import numpy as np
import pytest
import xarray as xr

import sdesim
from sdesim.results import datasets, files

DATA = xr.Dataset(
    {"x": ("n", np.arange(5000.0) ** 0.5), "text": ("m", ["a", "bc"])}, {"n": np.arange(5000)}, {"a": "é"}
)


@contextlib.contextmanager
def full_disk(folder):
    """A disk of 64 kB mounted at a folder, for those who may; else a limit on the size of a file."""
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], capture_output=True)
    if mounted.returncode == 0:
        try:
            yield errno.ENOSPC
        finally:
            subprocess.run(["umount", "-l", folder], check=True)
        return
    with small_files(10_000):
        yield errno.EFBIG


@contextlib.contextmanager
def small_files(size):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def saved(folder):
    """The bytes of a saved result, and its path."""
    model = sdesim.Dynamics(sdesim.objectives.Quadratic(), sdesim.Quorum(1.0), sdesim.noise.Uniform(1.0), eta=0.1)
    path = folder / "run.nc"
    sdesim.simulate(model, agents=2, sims=3, steps=4).save(path)
    return path.read_bytes(), path


# -- whole -------------------------------------------------------------------------------------------------------------


def test_a_file_is_what_was_written_and_anyone_can_read_it(tmp_path):
    path = tmp_path / "a.nc"
    datasets.write_dataset(DATA, path)
    assert datasets.read_dataset(path).identical(DATA)
    with xr.open_dataset(path, engine="h5netcdf") as opened:
        assert opened.load().identical(DATA)
    assert [p.name for p in tmp_path.iterdir()] == ["a.nc"]
    assert path.stat().st_mode & 0o077 == 0o077 & 0o666 & ~_umask()


def _umask():
    now = os.umask(0)
    os.umask(now)
    return now


def test_a_full_disk_is_one_line_and_leaves_the_old_file(tmp_path):
    old = xr.Dataset({"x": ("n", np.zeros(3))})
    with full_disk(tmp_path / "disk") as number:
        path = tmp_path / "disk" / "a.nc"
        datasets.write_dataset(old, path)
        noise = xr.Dataset({"x": ("n", np.random.default_rng(0).normal(size=30_000))})
        with pytest.raises(
            files.WriteError, match=r"^path=.*a.nc': could not be written .*before is untouched$"
        ) as said:
            datasets.write_dataset(noise, path)
        assert said.value.errno == number and "\n" not in str(said.value)
        assert datasets.read_dataset(path).identical(old)
        assert [p.name for p in path.parent.iterdir()] == ["a.nc"]
        with pytest.raises(files.WriteError, match="nothing is left of it"):
            datasets.write_dataset(noise, path.with_name("b.nc"))


def test_a_limit_on_files_kills_nobody(tmp_path):
    with small_files(5_000), pytest.raises(files.WriteError, match="File too large"):
        datasets.write_dataset(DATA, tmp_path / "a.nc")
    assert not list(tmp_path.iterdir())


def test_what_does_not_reach_the_disk_is_not_written(tmp_path, monkeypatch):
    """A system may say that the disk is full only when the file is synchronized."""
    asked = []

    def full(handle):
        asked.append(handle)
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(files.WriteError, match="Disk quota exceeded"):
        datasets.write_dataset(DATA, tmp_path / "a.nc")
    assert asked and not list(tmp_path.iterdir())


def test_file_and_folder_are_synchronized_in_order(tmp_path, monkeypatch):
    done = []
    sync, replace = os.fsync, os.replace
    kind = lambda handle: "folder" if os.path.isdir(f"/proc/self/fd/{handle}") else "file"
    monkeypatch.setattr(os, "fsync", lambda handle: (done.append(kind(handle)), sync(handle)))
    monkeypatch.setattr(os, "replace", lambda a, b: (done.append("rename"), replace(a, b)))
    datasets.write_dataset(DATA, tmp_path / "a.nc")
    assert done in (["file", "rename", "folder"], ["file", "folder"])  # pathlib's rename may be its own


# -- temporaries -------------------------------------------------------------------------------------------------------

KILLED = """
import os, signal, sys
from sdesim.results import files
with files.replacing(sys.argv[1]) as temporary, files.temporary_folder(os.path.dirname(sys.argv[1])) as folder:
    temporary.write_bytes(b"half")
    (folder / "part").write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_temporaries_of_a_killed_process_are_removed_by_the_next(tmp_path):
    killed = subprocess.run([sys.executable, "-c", KILLED, tmp_path / "a.nc"], timeout=60)
    assert killed.returncode == -signal.SIGKILL
    assert len(list(tmp_path.glob(".*"))) == 2
    with files.replacing(tmp_path / "other.png") as living, files.temporary_folder(tmp_path, "other") as folder:
        assert len(list(tmp_path.glob(".*"))) == 3 + 1  # those of another name wait for a run that looks at the folder
        files.check_writable(tmp_path)
        assert {*tmp_path.glob(".*")} == {living, folder}
        living.write_bytes(b"whole")
    assert [p.name for p in tmp_path.iterdir()] == ["other.png"]


# -- damage ------------------------------------------------------------------------------------------------------------


def test_every_flipped_bit_is_said_before_hdf5_looks(tmp_path, monkeypatch):
    whole, path = saved(tmp_path)
    looked = []
    monkeypatch.setattr(xr, "open_dataset", lambda *a, **k: looked.append(a))
    places = np.linspace(0, len(whole) - 1, 60, dtype=int).tolist()
    for place in [*places, len(whole) - 2, len(whole) - 70, len(whole) - 80]:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 16]) + whole[place + 1 :])
        with pytest.raises(ValueError, match=r"^path=.*run.nc': (is damaged|has no checksum)"):
            sdesim.load(path)
    assert not looked


def _png():
    file = io.BytesIO()
    from matplotlib.figure import Figure

    Figure().savefig(file)
    return file.getvalue()


def test_what_is_not_ours_is_one_line(tmp_path):
    whole, path = saved(tmp_path)
    of_others = bytes(DATA.to_netcdf(engine="h5netcdf"))
    cases = {
        whole[: len(whole) // 2]: "has no checksum of sdesim's at its end",
        whole[:-1]: "has no checksum of sdesim's at its end",
        b"": "is empty",
        _png(): "has no checksum of sdesim's at its end",
        of_others: "has no checksum of sdesim's at its end",
    }
    for blob, said in cases.items():
        path.write_bytes(blob)
        with pytest.raises(ValueError, match=f"^path=.*run.nc': {said}.*; put back a copy of it, or make it again$"):
            sdesim.load(path)
    with pytest.raises(ValueError, match=r"^path=.*: is a folder, not a file"):
        sdesim.load(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"^path=.*: there is no such file$"):
        sdesim.load(tmp_path / "none.nc")
    files.write_sealed(b"some text", path)
    with pytest.raises(ValueError, match=r"^path=.*: is no netCDF file"):
        sdesim.load(path)
    data = xr.open_dataset(io.BytesIO(whole), engine="h5netcdf").load()
    for attributes, said in (
        ({"sdesim_kind": "sweep"}, "is a sweep, and not a run of simulate or iterate"),
        ({"sdesim_format": 99}, "is of format 99, written by sdesim .*, and this version, .*, reads up to 4"),
    ):
        datasets.write_dataset(data.assign_attrs(attributes), path)
        with pytest.raises(ValueError, match=said):
            sdesim.load(path)
    path.write_bytes(whole)
    assert sdesim.load(path).step == 4
