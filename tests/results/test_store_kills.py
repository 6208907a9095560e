"""Drivers of a store are killed at any moment: after a start of the same command nothing is lost, nothing is counted
twice, and nothing that was done is done again."""

import collections
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import store_driver

from sdesim.results.stores.cards import Sums
from sdesim.results.stores.folder import Store

DRIVER = [sys.executable, str(pathlib.Path(store_driver.__file__))]


def kill_drivers(folder, kills, *, seconds, drivers=2, seed=0):
    """Two drivers at once, one or the other killed after a random while and started again; then one to the end."""
    rng = random.Random(seed)
    path, again = folder / "store", 0
    start = lambda: subprocess.Popen([*DRIVER, str(path), str(seconds)])
    running = [start() for _ in range(drivers)]
    done: dict[int, tuple[int, int, bytes]] = {}
    while again < kills:
        time.sleep(rng.uniform(0, 0.09))
        victim = rng.randrange(drivers)
        ended = running[victim].poll()
        assert ended in (None, 0), ended  # a driver dies of nothing but the kill
        if ended == 0 and (path / "manifest.json").exists():  # all is done: a store of its own for the next kills
            check(path, done)
            for process in running:
                assert process.wait() == 0
            path, done = folder / f"store{again}", {}
            running = [start() for _ in range(drivers)]
            continue
        running[victim].send_signal(signal.SIGKILL)
        running[victim].wait()
        again += 1
        look(path, done)
        running[victim] = start()
    for process in running:
        assert process.wait() == 0
    check(path, done)


def look(path, done):
    """What is done stays what it is, to the inode."""
    if not (path / "manifest.json").exists():
        return
    store = Store(path)
    now = {n: store.task_path(n) for n in store.done()}
    for number, (inode, when, blob) in done.items():
        said = os.stat(now[number])
        assert (said.st_ino, said.st_mtime_ns) == (inode, when)
        assert store.get(number) == blob
    done |= {n: (os.stat(p).st_ino, os.stat(p).st_mtime_ns, store.get(n)) for n, p in now.items() if n not in done}


def check(path, done):
    look(path, done)
    store = Store(path)
    rounds = store.rounds()
    assert len(rounds) == 1
    assert sorted(done) == list(range(rounds.tasks)) == list(range(40))
    seen = np.zeros((10, 2, 10), int)
    sums = {}
    for card in store.cards(range(40), lambda number, blob: store_driver.made(store, number).card):
        task = rounds.task(card.number)
        values = store_driver.values_of(task.points, task.sims)
        np.testing.assert_array_equal(np.frombuffer(store.get(card.number)).reshape(values.shape), values)
        np.testing.assert_array_equal(card.sums.mean[:, 0], values.mean(1))
        for i, (k, eta) in enumerate(task.points):
            seen[k, eta, slice(*task.sims)] += 1
            part = Sums(card.sums.n, card.sums.mean[i, 0], card.sums.m2[i, 0])
            sums[k, eta] = sums[k, eta].plus(part) if (k, eta) in sums else part
    assert (seen == 1).all()
    whole = store_driver.values_of(np.array([[3, 1]]), (0, 10))[0]
    np.testing.assert_allclose(sums[3, 1].stderr, whole.std(ddof=1) / np.sqrt(10), rtol=1e-13)
    lines = pathlib.Path(f"{path}.log").read_text().split("\n")
    assert not [line for line in lines if line.endswith("True")]  # what was done when a driver began is not done again
    assert not list((path / "leases").iterdir())
    assert not [p for p in path.rglob(".*.sdesim-*")]


def test_a_hundred_kills(tmp_path):
    began = time.monotonic()
    kill_drivers(tmp_path, 100, seconds=0.01)
    assert time.monotonic() - began < 60  # some seven on a machine of its own


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_two_hundred_kills_five_times(tmp_path, seed):
    kill_drivers(tmp_path, 200, seconds=0.004, seed=1 + seed)


def test_two_drivers_share_the_work(tmp_path):
    path = tmp_path / "store"
    store_driver.create(str(path))
    running = [subprocess.Popen([*DRIVER, str(path), "0.05"]) for _ in range(2)]
    assert [process.wait() for process in running] == [0, 0]
    check(path, {})
    lines = [line.split() for line in pathlib.Path(f"{path}.log").read_text().splitlines()]
    shares = collections.Counter(pid for _, pid, _ in lines)
    assert len(lines) == 40  # nothing twice
    assert min(shares.values()) >= 5
    assert len(shares) == 2
