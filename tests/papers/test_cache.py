"""Runs that are kept: found again only where they would come out the same, whole or not at all, and never too many."""

import os
import warnings

import jax
import numpy as np
import pytest
import xarray as xr

from sdesim.papers.frame import cache
from sdesim.results import files


@pytest.fixture(autouse=True)
def runs(tmp_path, monkeypatch):
    """An empty cache, in the process and on disk; the folder of its files."""
    monkeypatch.setenv("SDESIM_CACHE", str(tmp_path))
    cache.forget()
    yield tmp_path / "runs"
    cache.forget()


class Run:
    """A run that counts how often it is made, and warns."""

    def __init__(self, value=1.0, warning=None):
        self.value, self.warning, self.made = value, warning, 0

    def __call__(self):
        self.made += 1
        if self.warning is not None:
            warnings.warn(self.warning, RunWarning, stacklevel=1)
        x = self.value / 3 + np.arange(2000).reshape(2, 1000)
        return xr.Dataset(
            {
                "x": (("sim", "dim"), x.astype(np.float32)),
                "n": (("sim",), np.array([-1, 7])),
                "y": (("k",), [np.pi] * 2),
            },
            {"k": [0.1, 0.2]},
        )


class RunWarning(UserWarning):
    pass


def test_a_run_is_made_once_and_found_on_disk_bit_by_bit(runs):
    run = Run()
    first = cache.cached("a", {"k": 1}, run)
    again = cache.cached("a", {"k": 1}, run)
    cache.forget()
    from_disk = cache.cached("a", {"k": 1}, run)
    assert run.made == 1
    assert [p.suffix for p in runs.iterdir()] == [".nc"]
    for data in (again, from_disk):
        assert data.identical(first)
        assert {n: v.dtype for n, v in data.variables.items()} == {n: v.dtype for n, v in first.variables.items()}
    assert first.attrs == {}


def test_what_a_caller_does_to_a_run_is_his_own():
    run = Run()
    cache.cached("a", {}, run)["x"].values[:] = 0
    again = cache.cached("a", {}, run)
    assert again.identical(run())


def test_everything_that_decides_the_numbers_makes_another_name(monkeypatch):
    names = [cache.key("a", {"k": 1}), cache.key("b", {"k": 1}), cache.key("a", {"k": 2})]
    with jax.enable_x64(False):
        names.append(cache.key("a", {"k": 1}))
    monkeypatch.setattr(cache, "SOURCES", "edited")
    names.append(cache.key("a", {"k": 1}))
    for what in ("jax_version", "device", "platform", "sdesim_version"):
        origin = {**cache.provenance(), what: "another"}
        with monkeypatch.context() as patch:
            patch.setattr(cache, "provenance", lambda origin=origin: origin)
            names.append(cache.key("a", {"k": 1}))
    assert len(set(names)) == len(names) == 9


def test_time_and_commit_make_no_other_name(monkeypatch):
    name = cache.key("a", {})
    origin = {**cache.provenance(), "written": "later", "commit": "another"}
    monkeypatch.setattr(cache, "provenance", lambda: origin)
    assert cache.key("a", {}) == name


@pytest.mark.parametrize("damage", ["cut", "text", "empty", "foreign", "bit"])
def test_a_file_that_cannot_be_read_is_replaced(damage, runs):
    run = Run()
    first = cache.cached("a", {}, run)
    (path,) = runs.iterdir()
    whole = path.read_bytes()
    if damage == "foreign":
        path.unlink()
        xr.Dataset({"x": ("a", [1.0])}).to_netcdf(path, engine="h5netcdf")
    elif damage == "bit":
        path.write_bytes(whole[:3000] + bytes([whole[3000] ^ 1]) + whole[3001:])
    else:
        path.write_bytes({"cut": whole[: len(whole) // 2], "text": b"not a run", "empty": b""}[damage])
    cache.forget()
    assert cache.cached("a", {}, run).identical(first)
    assert run.made == 2
    cache.forget()
    assert cache.cached("a", {}, run).identical(first)
    assert run.made == 2


def test_a_run_that_fails_leaves_nothing(runs, monkeypatch):
    def broken():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.cached("a", {}, broken)
    assert not runs.exists()

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    run = Run()
    with pytest.warns(UserWarning, match="could not be kept .*No space left"):
        assert cache.cached("a", {}, run).identical(run())
    assert list(runs.iterdir()) == []


def test_files_used_longest_ago_go(runs, monkeypatch):
    monkeypatch.setattr(cache, "KEPT", 3)
    run = Run()
    names = {i: f"{cache.key('a', {'i': i})}.nc" for i in range(6)}
    for i in range(3):
        cache.cached("a", {"i": i}, run)
        os.utime(runs / names[i], (i, i))
    cache.forget()
    cache.cached("a", {"i": 0}, run)  # reading is using
    assert run.made == 3
    for i in (3, 4):
        cache.cached("a", {"i": i}, run)
    assert {p.name for p in runs.iterdir()} == {names[i] for i in (0, 3, 4)}


def test_files_of_a_killed_process_go_too(runs):
    runs.mkdir()
    for i in range(5):
        (runs / f".a.sdesim-{i}.nc").write_bytes(b"half")
    with files.replacing(runs / "b.nc") as living:  # of a process that is still at it
        cache.cached("a", {}, Run())
        assert {p.name for p in runs.iterdir()} == {f"{cache.key('a', {})}.nc", living.name}


def test_the_process_remembers_few(monkeypatch):
    monkeypatch.setenv("SDESIM_CACHE", "")
    run = Run()
    for i in range(cache.REMEMBERED):
        cache.cached("a", {"i": i}, run)
    cache.cached("a", {"i": 0}, run)  # used again, so the next to go is another
    cache.cached("a", {"i": "new"}, run)
    made = run.made
    assert made == cache.REMEMBERED + 1
    cache.cached("a", {"i": 0}, run)
    assert run.made == made
    cache.cached("a", {"i": 1}, run)
    assert run.made == made + 1


def test_warnings_of_a_run_are_said_every_time():
    run = Run(warning="3 of 4 simulations diverged")
    for _ in range(3):
        with pytest.warns(UserWarning, match="3 of 4 simulations diverged") as said:
            cache.cached("a", {}, run)
        assert len(said) == 1
    cache.forget()
    with pytest.warns(UserWarning, match="3 of 4 simulations diverged"):
        cache.cached("a", {}, run)
    assert run.made == 1


def test_where_files_are(tmp_path, monkeypatch):
    home = tmp_path / "home"
    monkeypatch.setenv("HOME", str(home))
    assert cache.folder() == tmp_path / "runs"
    monkeypatch.setenv("SDESIM_CACHE", "~/mine")
    assert cache.folder() == home / "mine" / "runs"
    monkeypatch.delenv("SDESIM_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.folder() == tmp_path / "xdg" / "sdesim" / "runs"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache.folder() == home / ".cache" / "sdesim" / "runs"
    monkeypatch.setenv("SDESIM_CACHE", "")
    assert cache.folder() is None
    run = Run()
    cache.cached("a", {}, run)
    assert run.made == 1 and not home.exists()


def test_a_folder_that_cannot_be_made_costs_a_warning(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SDESIM_CACHE", str(tmp_path / "file"))
    run = Run()
    with pytest.warns(UserWarning, match="the run could not be kept"):
        data = cache.cached("a", {}, run)
    assert data.identical(run())
