"""Stores: what they keep, on a full disk, with a clock that jumps, in the hands of a stranger."""

import errno
import json
import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import store_driver
from store_driver import create, made, values_of

from sdesim.results import files
from sdesim.results.files import Damaged, write_sealed
from sdesim.results.stores import folder, leases
from sdesim.results.stores.cards import Card, Sums, packed, unpacked
from sdesim.results.stores.cut import Box, Round, Rounds, missing, tasks_in
from sdesim.results.stores.folder import Store, StoreError
from sdesim.results.stores.leases import Leases
from sdesim.results.stores.work import work


@pytest.fixture
def store(tmp_path):
    return create(str(tmp_path / "store"))


def all_tasks(store):
    return work(store, lambda number: made(store, number))


# -- the cut -----------------------------------------------------------------------------------------------------------


def test_tasks_tile_what_is_asked_for():
    """Each simulation of each point in one task, and no task larger than it may be."""
    for sims, lanes in (((0, 10), 7), ((5, 8), 7), ((0, 100), 7), ((0, 7), 7), ((0, 1), 1000)):
        rounds = Rounds(["a", "b"], lanes, [Round(0, 0, {}, (Box(((0, 2, 5), (1, 3)), sims), Box(((7,), (0,)), sims)))])
        seen = np.zeros((8, 4, 100), int)
        for number in range(rounds.tasks):
            task = rounds.task(number)
            assert task.number == number and 1 <= task.lanes <= max(lanes, 1)
            for a, b in task.points:
                seen[a, b, slice(*task.sims)] += 1
        wanted = np.zeros_like(seen)
        wanted[np.ix_((0, 2, 5), (1, 3), range(*sims))] = 1
        wanted[7, 0, slice(*sims)] = 1
        np.testing.assert_array_equal(seen, wanted)
        with pytest.raises(IndexError, match=f"task {rounds.tasks}: there are {rounds.tasks}"):
            rounds.task(rounds.tasks)


def test_missing_is_the_difference_of_sets():
    rng = np.random.default_rng(0)
    cells = lambda boxes: [(p, q, s) for b in boxes for p in b.at[0] for q in b.at[1] for s in range(*b.sims)]
    box = lambda: Box(
        tuple(tuple(rng.choice(5, rng.integers(1, 5), replace=False).tolist()) for _ in range(2)),
        (int(a := rng.integers(0, 5)), int(a + rng.integers(1, 5))),
    )
    for _ in range(200):
        wanted, held = box(), [box() for _ in range(rng.integers(0, 4))]
        left = cells(missing([wanted], held))
        assert len(left) == len(set(left))
        assert set(left) == set(cells([wanted])) - set(cells(held))


def test_rounds_survive_json_and_refuse_what_does_not_fit():
    boxes = (Box(((0, 1, 2, 3, 7), (0,)), (0, 5)),)
    values = {"k": list(range(8)), "eta": [0.1]}
    first = Round(0, 0, values, boxes, {"why": "asked"})
    none = Rounds(["k", "eta"], 4)
    text = json.dumps(first.to_json())
    assert Round.of(json.loads(text), ["k", "eta"], none) == first
    bad = [
        {"boxes": [{"at": [[8], [0]], "sims": [0, 5]}]},
        {"boxes": [{"at": [[0, 0], [0]], "sims": [0, 5]}]},
        {"boxes": [{"at": [[[0, 10**12]], [0]], "sims": [0, 5]}]},
        {"boxes": [{"at": [[-1], [0]], "sims": [0, 5]}]},
        {"boxes": [{"at": [[0]], "sims": [0, 5]}]},
        {"boxes": [{"at": [[0], [0]], "sims": [5, 5]}]},
        {"boxes": 3},
        {"round": 1},
        {"first": 4},
        {"values": {"mu": [1]}},
    ]
    for change in bad:
        with pytest.raises(ValueError, match=r"it is no round|it does not follow|a box of it lies outside"):
            Round.of({**json.loads(text), **change}, ["k", "eta"], none)


def test_the_cut_does_not_change_when_a_store_grows(store):
    before = [store.rounds().task(n) for n in range(40)]
    rounds = store.rounds()
    more = missing([Box((tuple(range(12)), (0, 1)), (0, 15))], rounds.boxes)
    assert store.add({"k": [10, 11]}, more, {}, rounds)
    assert not store.add({"k": [10, 11]}, more, {}, rounds)  # by another driver at the same time
    grown = Store(store.path).rounds()
    assert grown.tasks == 40 + sum(tasks_in(box, 7) for box in more)
    for old, new in zip(before, map(grown.task, range(40)), strict=True):
        np.testing.assert_array_equal(old.points, new.points)
        assert old.sims == new.sims


# -- cards -------------------------------------------------------------------------------------------------------------


def test_sums_of_parts_are_the_sums_of_the_whole():
    values = np.random.default_rng(1).normal(1e4, 1.0, (3, 100))
    parts = [Sums.of(part, 1) for part in np.split(values, [1, 30, 31], axis=1)]
    whole = parts[0].plus(parts[1]).plus(parts[2]).plus(parts[3])
    np.testing.assert_allclose(whole.mean, values.mean(1), rtol=1e-14)
    np.testing.assert_allclose(whole.stderr, values.std(1, ddof=1) / 10, rtol=1e-9)
    nothing = Sums(0, np.zeros(3), np.zeros(3))
    np.testing.assert_array_equal(nothing.plus(parts[1]).stderr, parts[1].stderr)
    np.testing.assert_array_equal(parts[1].plus(nothing).mean, parts[1].mean)
    assert np.isnan(parts[0].stderr).all()
    lost = parts[0].plus(Sums.of(np.array([[np.nan], [np.inf], [1.0]]), 1))
    assert not np.isfinite(lost.mean[:2]).any() and np.isfinite(lost.mean[2])


def test_cards_survive_their_bytes():
    values = {"q": np.arange(12.0).reshape(2, 3, 2), "x": np.ones((2, 3))}
    card = Card.of(7, {"seconds": 1.5}, values, 2)
    again = unpacked(packed({7: card.to_bytes(), 8: b"other"}))
    back = Card.from_bytes(again[7])
    assert (back.number, back.said, bytes(again[8])) == (7, {"seconds": 1.5}, b"other")
    assert back.layout == card.layout == (("q", (2,)), ("x", ()))
    np.testing.assert_array_equal(back.sums.mean, [[2, 3, 1], [8, 9, 1]])
    np.testing.assert_array_equal(back.sums.m2, [[8, 8, 0], [8, 8, 0]])
    assert back.sums.n == 3
    for blob in (b"", b"no line", b"[]\n", card.to_bytes()[:-8], card.to_bytes()[:-24]):
        with pytest.raises(ValueError):
            Card.from_bytes(blob)


def test_a_card_that_is_lost_is_made_again(store):
    all_tasks(store)
    again = lambda number, blob: made(store, number).card
    (store.path / "cards" / "000.pack").unlink()
    store.card_path(3).unlink()
    store.card_path(4).write_bytes(b"noise")
    fresh = Store(store.path)
    cards = list(fresh.cards(range(40), again))
    assert [c.number for c in cards] == list(range(40))
    for n in (3, 4):
        np.testing.assert_array_equal(cards[n].sums.mean, made(store, n).card.sums.mean)
        assert fresh.card_path(n).exists()


# -- what is done ------------------------------------------------------------------------------------------------------


def test_the_first_to_be_linked_counts(store):
    late, early = made(store, 0), made(store, 0)
    assert store.put(0, early.blob, early.card)
    when = os.stat(store.task_path(0))
    assert not store.put(0, b"another, of a worker that was away for a while", late.card)
    assert os.stat(store.task_path(0)) == when
    assert store.get(0) == early.blob


def test_a_worker_that_stood_still_overwrites_nothing(tmp_path):
    """Stopped between its temporary file and its name, overtaken, and let go on."""
    store = create(str(tmp_path / "store"))
    held, go = threading.Event(), threading.Event()
    link = os.link

    def slow(source, target):
        if threading.current_thread().name == "slow" and target.name == "000000.nc":
            held.set()
            assert go.wait(20)
        link(source, target)

    results = {}
    put = lambda name, blob: results.setdefault(name, store.put(0, blob, made(store, 0).card))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files.os, "link", slow)
        slow_one = threading.Thread(target=put, args=("slow", b"late"), name="slow")
        slow_one.start()
        assert held.wait(20)
        put("fast", made(store, 0).blob)
        go.set()
        slow_one.join()
    assert results == {"fast": True, "slow": False}
    assert store.get(0) == made(store, 0).blob


def test_damage_is_found_named_and_computed_again(store):
    all_tasks(store)
    path = store.task_path(5)
    blob = bytearray(path.read_bytes())
    blob[3] ^= 1
    path.write_bytes(blob)
    store.task_path(9).write_bytes(store.task_path(9).read_bytes()[:20])
    found = dict(store.damaged())
    assert list(found) == [5, 9]
    assert "its bytes are not those that were written" in found[5]
    with pytest.raises(Damaged, match=r"task 5=.*000005.nc.*sdesim runs STORE --repair"):
        store.get(5)
    for number in found:
        store.forget(number)
    assert work(store, lambda number: made(store, number)).computed == 2
    assert not list(store.damaged())


def test_a_task_that_fails_is_noted_and_the_others_go_on(store):
    def compute(number):
        if number == 3:
            raise ArithmeticError("no such root")
        return made(store, number)

    worked = work(store, compute)
    assert worked.computed == 39
    assert worked.failed == store.failures() == {3: "ArithmeticError: no such root"}
    assert all_tasks(store).computed == 1
    assert store.failures() == {}


# -- the disk ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["mkstemp", "fsync", "link", "open", "write"])
def test_a_full_disk_at_any_step_loses_nothing(store, monkeypatch, step):
    """Each step of each file fails in turn; the same command goes on when there is room."""
    full = lambda *_, **__: (_ for _ in ()).throw(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    count = {"left": 0}
    module = {"mkstemp": files.tempfile, "open": leases.os, "write": leases.os}.get(step, files.os)
    real = getattr(module, step)

    def now_and_then(*arguments, **options):
        count["left"] -= 1
        return full() if count["left"] == 0 else real(*arguments, **options)

    failed = 0
    with monkeypatch.context() as patch:
        patch.setattr(module, step, now_and_then)
        for i in range(40):
            count["left"] = 1 + (
                2 * (i % 3) if step == "fsync" else i % 5
            )  # every other one is of a folder, and no error
            try:
                all_tasks(store)
            except OSError as error:
                failed += 1
                assert error.errno == errno.ENOSPC
            if len(store.done()) == 40:
                break
    assert failed >= 2
    all_tasks(store)
    assert store.done() == set(range(40))
    assert not list(store.damaged())
    check_values(store)


def check_values(store):
    for n in range(40):
        task = store.rounds().task(n)
        found = np.frombuffer(store.get(n)).reshape(len(task.points), -1)
        np.testing.assert_array_equal(found, values_of(task.points, task.sims))


def test_a_limit_on_files_loses_nothing(tmp_path):
    """The system itself refuses to write on: half a file is never a whole one."""
    path = tmp_path / "store"
    limit = "import resource as r, runpy, sys; r.setrlimit(r.RLIMIT_FSIZE, (300, r.RLIM_INFINITY)); "
    limited = f"{limit} sys.argv[1:] = [{str(path)!r}]; runpy.run_path({store_driver.__file__!r}, run_name='__main__')"
    create(str(path))
    (tmp_path / "store.log").touch()
    stopped = subprocess.run([sys.executable, "-c", limited], capture_output=True, text=True)
    assert stopped.returncode and "File too large" in stopped.stderr
    assert subprocess.run([sys.executable, store_driver.__file__, str(path)]).returncode == 0
    check_values(Store(path))


# -- leases ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def two(tmp_path):
    """Of two machines, as far as they know, with a clock that the test moves."""
    clock = {"now": 0.0}
    observers = [Leases(tmp_path, 30.0, lambda: clock["now"]) for _ in range(2)]
    for i, observer in enumerate(observers):
        observer._me["machine"] = f"machine {i}"
    yield *observers, clock
    for observer in observers:
        observer.close()


def test_a_lease_is_one_process_alone(two):
    a, b, _ = two
    assert a.take(1) and not b.take(1) and b.take(2)
    a.release(1)
    assert b.take(1)


def test_a_lease_dies_by_the_observers_clock(two):
    a, b, clock = two
    assert a.take(1) and not b.take(1)
    clock["now"] = 29.0
    assert not b.take(1)
    clock["now"] = 31.0
    assert b.take(1)  # nothing changed for 31 seconds since b looked first
    a.release(1)  # what is another's now stays
    assert (b.folder / "000001").exists()
    assert not a.take(1)


def test_a_heartbeat_keeps_it_alive(two):
    a, b, clock = two
    assert a.take(1) and not b.take(1)
    for now in (25.0, 50.0, 75.0):
        clock["now"] = now
        os.pwrite(a._held[1], f"{now}".encode(), 1024)
        assert not b.take(1)
    clock["now"] = 106.0
    assert b.take(1)


@pytest.mark.parametrize("when", [0, 10**10])
def test_dates_do_not_matter(two, when):
    """Clocks of machines differ, and jump: neither an old date nor one of the future makes a lease dead, or alive."""
    a, b, clock = two
    assert a.take(1)
    os.utime(b.folder / "000001", (when, when))
    assert not b.take(1)
    clock["now"] = 29.0
    assert not b.take(1)
    clock["now"] = 30.5
    assert b.take(1)


def test_the_heart_beats(tmp_path):
    owner = Leases(tmp_path, patience=0.3)
    assert owner.take(1)
    state = owner._state(tmp_path / "000001")
    time.sleep(0.3)
    assert owner._state(tmp_path / "000001") != state
    owner.close()


def test_a_dead_process_of_this_machine_is_seen_at_once(tmp_path):
    code = f"from sdesim.results.stores.leases import Leases; import os; Leases({str(tmp_path)!r}).take(1); os._exit(0)"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert (tmp_path / "000001").exists()
    observer = Leases(tmp_path, 1e9)
    assert observer.take(1)
    observer.close()


def test_two_may_find_a_lease_dead_at_once(two):
    """Who comes second moves the first one's new lease aside, sees it, and puts it back."""
    a, b, clock = two
    (a.folder / "000001").write_bytes(b"")  # of one who was killed before he wrote his name
    for observer in (a, b):
        assert not observer.take(1)
    clock["now"] = 31.0
    assert b._is_dead(1, b._path(1))
    assert a.take(1)
    assert not b._bury(1, b._path(1)) or not b.take(1)
    assert (a.folder / "000001").exists()
    assert os.stat(a.folder / "000001").st_ino == os.fstat(a._held[1]).st_ino


# -- strangers ---------------------------------------------------------------------------------------------------------


def test_what_is_no_store_is_refused(tmp_path, store):
    with pytest.raises(FileNotFoundError, match="there is no such folder"):
        Store(tmp_path / "none")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").touch()
    with pytest.raises(FileNotFoundError, match=r"it has no manifest.json"):
        Store(tmp_path / "other")
    with pytest.raises(StoreError, match=r"holds 'thesis.tex'; name another"):
        Store.create(tmp_path / "other", store_driver.MANIFEST)
    for manifest in ({}, {"axes": ["k"], "lanes": 0}, {"axes": 3, "lanes": 1}):
        write_sealed(json.dumps(manifest).encode(), store.path / "manifest.json")
        with pytest.raises(StoreError, match="its manifest names no axes, or no size of a task"):
            Store(store.path)
    (store.path / "manifest.json").write_text("{}")
    with pytest.raises(Damaged, match="has no checksum"):
        Store(store.path)


@pytest.mark.parametrize("name", folder.FOLDERS)
def test_a_store_leads_nowhere_else(tmp_path, store, name):
    (store.path / name).rename(tmp_path / "elsewhere")
    (store.path / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match=f"{name}': is a link"):
        Store(store.path)


def test_names_cannot_lead_out(store):
    for name in ("../x", "a/b", "", "A", "x.json", "."):
        with pytest.raises(ValueError, match="must be lower-case letters, digits and dashes"):
            store.note(name, {})
    assert store.note("mixed", {"a": 1})
    assert not store.note("mixed", {"a": 2})
    assert store.noted("mixed") == {"a": 1}
    assert store.noted("nothing") is None
    for stray in ("tasks/000/../../x.nc", "tasks/000/-00001.nc", "tasks/001/000000.nc", "tasks/x/000000.nc"):
        (store.path / stray).parent.mkdir(parents=True, exist_ok=True)
        (store.path / stray).touch()
    assert store.done() == set()


def test_deleting_a_store_deletes_nothing_else(tmp_path, store):
    all_tasks(store)
    (store.path / "notes.txt").write_text("mine")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "kept").touch()
    (store.path / "work" / "link").symlink_to(tmp_path / "elsewhere")
    store.delete()
    assert [p.name for p in store.path.iterdir()] == ["notes.txt"]
    assert (tmp_path / "elsewhere" / "kept").exists()
