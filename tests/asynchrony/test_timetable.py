"""Laws of compute times, and who arrives when: against an event-by-event simulation, and against what is exact."""

import functools
import heapq
import math

import numpy as np
import pytest
from scipy import stats

from sdesim import random
from sdesim.asynchrony import (
    AbstractCompute,
    Deterministic,
    Exponential,
    Gamma,
    LogNormal,
    Measured,
    Pareto,
    Slowed,
    Timetable,
    timetable,
)
from sdesim.asynchrony.clocks import Clocks, Timing
from sdesim.asynchrony.compute import job_times, words_of_jobs
from sdesim.random import Stream
from sdesim.threads import beside

LAWS = {
    "deterministic": lambda **mean: Deterministic(**mean),
    "exponential": lambda **mean: Exponential(**mean),
    "gamma": lambda **mean: Gamma(4.0, **mean),
    "irregular": lambda **mean: Gamma(0.5, **mean),
    "pareto": lambda **mean: Pareto(2.5, **mean),
    "log-normal": lambda **mean: LogNormal(1.0, **mean),
    "measured": lambda **mean: Measured([1.0, 2.0, 2.0, 7.0], **mean),
}
RANDOM = {name: law for name, law in LAWS.items() if name not in ("deterministic", "measured")}


@pytest.mark.parametrize("name", RANDOM)
def test_times_are_of_their_law(name):
    law = RANDOM[name](mean=3.0)
    times = job_times(law, 1, np.arange(50), np.zeros((50, 10), int), 40).ravel()
    exact = law.distribution()
    assert stats.kstest(times / 3.0, exact.cdf).pvalue > 1e-3
    words = np.linspace(0, 2**32 - 1, 10_001).astype(np.uint32)
    share = (words + 0.5) * 2.0**-32
    right = np.where(share < 0.5, exact.ppf(share), exact.isf((2.0**32 - words - 0.5) * 2.0**-32))
    np.testing.assert_allclose(law.quantiles(words), right, rtol=3e-6)
    mean = exact.mean()
    assert mean == pytest.approx(1.0)


@pytest.mark.parametrize("name", LAWS)
def test_what_is_left_of_a_job_under_way(name):
    """Of density P(time > x): mean E t^2 / 2, and at each x the integral of the share beyond."""
    law = LAWS[name]()
    words = (np.arange(400_000, dtype=np.float64) / 400_000 * 2**32).astype(np.uint32)
    left = np.sort(law.residuals(words))
    times = np.sort(law.quantiles(words))
    for x in (0.1, 0.5, 1.0, 2.0):
        below = np.searchsorted(left, x) / left.size
        assert below == pytest.approx(np.minimum(times, x).mean(), abs=2e-3)


def test_words_are_those_of_the_step_of_the_same_number():
    words = words_of_jobs(7, Stream.COMPUTE, np.array([3, 9]), np.full((2, 5), 11), 4)
    for s, sim in enumerate((3, 9)):
        for n in range(4):
            key = random.step_key(random.seed_words(7), Stream.COMPUTE, 11 + n)
            np.testing.assert_array_equal(words[s, :, n], random.words(key, sim, 5, 1).own[:, 0])


def by_events(law, workers, arrivals, seed, sim, ahead=None):
    """One simulation with a heap, job by job."""
    times = job_times(law, seed, np.array([sim]), np.zeros((1, workers), int), arrivals + 1)[0]
    heap = [(times[w, 0] - (0 if ahead is None else ahead[w]), w, 0) for w in range(workers)]
    heapq.heapify(heap)
    found = []
    for _ in range(arrivals):
        time, w, job = heapq.heappop(heap)
        found.append((time, w, job))
        heapq.heappush(heap, (time + times[w, job + 1], w, job + 1))
    return found


@pytest.mark.parametrize("mean", [1.0, [1.0, 1.0, 0.2, 5.0, 1.0]], ids=["equal", "unequal"])
@pytest.mark.parametrize("name", LAWS)
def test_arrivals_are_those_of_an_event_by_event_simulation(name, mean):
    """Equal times, of the deterministic law too, in the order of the workers."""
    law = LAWS[name](mean=mean)
    found = timetable(law, workers=5, arrivals=60, sims=3, seed=2, first_sim=4)
    for i in range(3):
        events = by_events(law, 5, 60, 2, 4 + i)
        np.testing.assert_allclose(found.time[i], [e[0] for e in events], rtol=1e-13)
        assert [*zip(found.worker[i], found.job[i], strict=True)] == [e[1:] for e in events]


def test_a_simulation_is_the_same_in_any_part_and_of_any_length():
    law = Gamma(2.0)
    whole = timetable(law, workers=8, arrivals=300, sims=6, seed=5)
    part = timetable(law, workers=8, arrivals=100, sims=2, seed=5, first_sim=3)
    for name in ("time", "worker", "job"):
        np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[3:5, :100])
    fewer = job_times(law, 5, np.arange(6), np.zeros((6, 3), int), 20)
    np.testing.assert_array_equal(fewer, job_times(law, 5, np.arange(6), np.zeros((6, 8), int), 20)[:, :3])


def test_starts():
    law, p = Deterministic(mean=2.0), 4
    together, staggered = (timetable(law, workers=p, arrivals=8, start=s) for s in ("together", "staggered"))
    np.testing.assert_allclose(together.time[0], [2.0] * 4 + [4.0] * 4)
    assert together.worker[0].tolist() == [0, 1, 2, 3] * 2
    np.testing.assert_allclose(staggered.time[0], 0.5 * np.arange(1, 9))
    assert staggered.worker[0].tolist() == [3, 2, 1, 0] * 2
    given = timetable(law, workers=p, arrivals=8, start=[0.0, 1.5, 0.5, 1.0])
    assert given.worker[0].tolist() == [1, 3, 2, 0] * 2
    settled = timetable(law, workers=p, arrivals=8, sims=4000, start="stationary")
    first = np.sort(settled.time[:, :4], axis=1)
    np.testing.assert_allclose(first.mean(0), 2.0 * np.arange(1, 5) / 5, atol=4 * 0.4 / np.sqrt(4000))


@pytest.mark.parametrize("name", LAWS)
def test_mean_staleness_is_the_number_of_the_others(name):
    """For every law, unequal workers too: each arrival of one is between two of every other, on average once."""
    for mean in (1.0, [0.5, 1.0, 1.0, 4.0]):
        found = timetable(LAWS[name](mean=mean), workers=4, arrivals=4000, sims=20, seed=3, start="stationary")
        seen = found.staleness()[:, 500:].mean(1)
        assert abs(seen.mean() - 3) < 4.5 * seen.std(ddof=1) / np.sqrt(20) + 0.02  # ends of a finite window


def test_staleness_without_memory_is_geometric():
    p, after = 5, 200
    found = timetable(Exponential(), workers=p, arrivals=4200, sims=40, seed=11)
    law = found.law_of_staleness(after)
    for s in range(8):
        exact = (1 / p) * (1 - 1 / p) ** s
        values = law[:, s]
        assert abs(values.mean() - exact) < 4.5 * values.std(ddof=1) / np.sqrt(40)
    regular = timetable(Deterministic(), workers=p, arrivals=100, start="staggered").law_of_staleness(p)
    assert regular.shape == (1, p) and regular[0, p - 1] == 1.0
    # Independent Bernoulli draws would be narrower for regular times: variance over mean at gamma 4 is p / 4.
    wide = timetable(Gamma(4.0), workers=64, arrivals=30_000, sims=4, seed=1, start="stationary").staleness()[:, 2000:]
    assert wide.var() / wide.mean() == pytest.approx(16, rel=0.06)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Gamma(0.0), "^shape=0.0: must be finite and greater than 0"),
        (lambda: Pareto(1.0), "^index=1.0: must be greater than 1, or the times have no mean"),
        (lambda: Exponential(mean=-1.0), "^mean=-1.0: must be"),
        (lambda: Measured([1.0, 0.0]), "^sample="),
        (
            lambda: timetable(Exponential(mean=[1.0, 2.0]), workers=3, arrivals=1),
            "compute.mean: must be a number or of shape",
        ),
        (lambda: timetable(Exponential(), workers=0, arrivals=1), "^workers=0: must be"),
        (
            lambda: timetable(Exponential(), workers=2, arrivals=3, start="later"),
            "^start='later': did you mean 'together'",
        ),
        (lambda: timetable(Exponential(), workers=2, arrivals=3, start=[1.0]), "^start: must be in words or of shape"),
    ],
)
def test_bad_arguments_are_refused(make, said):
    with pytest.raises(ValueError, match=said):
        make()


# -- messages, failures, those who come and go ------------------------------------------------------------------------


def test_messages_take_their_time():
    """Without a law of any width a cycle is compute, up and down; the first arrival has no answer behind it."""
    parts = dict(uplink=Deterministic(mean=0.25), downlink=Deterministic(mean=0.5))
    table = timetable(Deterministic(mean=2.0), workers=2, arrivals=6, **parts)
    np.testing.assert_allclose(table.time[0], [2.25, 2.25, 5.0, 5.0, 7.75, 7.75])
    np.testing.assert_allclose(table.began[0], [0, 0, 2.75, 2.75, 5.5, 5.5])


def test_messages_have_words_of_their_own():
    plain = timetable(Gamma(2.0), workers=4, arrivals=200, sims=3, seed=5)
    same = timetable(Gamma(2.0), workers=4, arrivals=200, sims=3, seed=5, uplink=Deterministic(mean=1e-12))
    np.testing.assert_array_equal(plain.worker, same.worker)
    slow = timetable(Exponential(), workers=3, arrivals=6000, sims=2, uplink=Exponential(), downlink=Exponential())
    assert slow.time[:, -1] / 6000 * 3 == pytest.approx(3.0, rel=0.05)  # three seconds a cycle
    gap = np.diff(np.sort(slow.time[0][slow.worker[0] == 0]))
    assert gap.var() == pytest.approx(3.0, rel=0.15)  # of three independent times


def test_a_lost_job_keeps_its_number_and_nobody_elses_is_touched():
    whole = timetable(Gamma(3.0), workers=3, arrivals=300, sims=4, seed=2)
    some = timetable(Gamma(3.0), workers=3, arrivals=200, sims=4, seed=2, failure=0.2)
    for sim in range(4):
        known = {(w, j): t for w, j, t in zip(whole.worker[sim], whole.job[sim], whole.time[sim], strict=True)}
        for w, j, t in zip(some.worker[sim], some.job[sim], some.time[sim], strict=True):
            assert (w, j) not in known or known[w, j] == t
        assert all(np.diff(some.job[sim][some.worker[sim] == w]).min() >= 1 for w in range(3))
    lost = 1 - 200 * 4 / sum((some.job[s][some.worker[s] == w].max() + 1) for s in range(4) for w in range(3))
    assert abs(lost - 0.2) < 4 * np.sqrt(0.2 * 0.8 / 1000)


def test_who_leaves_loses_only_its_own_job():
    whole = timetable(Gamma(3.0), workers=3, arrivals=120, sims=4, seed=2)
    left = timetable(Gamma(3.0), workers=3, arrivals=60, sims=4, seed=2, leave=[np.inf, 7.0, np.inf])
    for sim in range(4):
        stays = (whole.worker[sim] != 1) | (whole.time[sim] <= 7.0)
        np.testing.assert_array_equal(left.time[sim], whole.time[sim][stays][:60])
        np.testing.assert_array_equal(left.worker[sim], whole.worker[sim][stays][:60])
    with pytest.raises(ValueError, match="leave: all workers have left"):
        timetable(Gamma(3.0), workers=2, arrivals=60, leave=[3.0, 4.0])


def test_who_joins_later_begins_then():
    table = timetable(Deterministic(), workers=3, arrivals=10, start=[0.0, 0.5, -2.0])
    np.testing.assert_allclose(table.time[0][table.worker[0] == 2][:2], [3.0, 4.0])
    np.testing.assert_allclose(table.time[0][table.worker[0] == 1][:2], [0.5, 1.5])


def test_slowdowns_come_and_go():
    law = Slowed(Deterministic(), 5.0, 0.3, 10)
    times = job_times(law, 1, np.arange(40), np.zeros((40, 6), int), 200).reshape(40, 6, 20, 10)
    assert set(np.unique(times)) == {1.0, 5.0}
    assert (times == times[..., :1]).all()  # a stretch is slow as a whole
    share = (times[..., 0] == 5.0).mean()
    assert abs(share - 0.3) < 4 * np.sqrt(0.3 * 0.7 / (40 * 6 * 20))
    assert law.average == pytest.approx(2.2)
    later = job_times(law, 1, np.arange(40), np.full((40, 6), 37), 50)
    np.testing.assert_array_equal(later, times.reshape(40, 6, 200)[..., 37:87])


def test_windows_do_not_matter(monkeypatch):
    how = dict(workers=5, arrivals=400, sims=3, seed=9, failure=0.1, downlink=Gamma(2.0, mean=0.3), start="stationary")
    whole = timetable(Gamma(2.0), **how)
    monkeypatch.setattr("sdesim.asynchrony.clocks.WINDOW", 90)
    parts = timetable(Gamma(2.0), **how)
    for name in ("time", "worker", "job", "began"):
        np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name))


@pytest.mark.parametrize("cores", [1, 3])
def test_simulations_in_which_a_worker_does_much_more_are_drawn_again(monkeypatch, cores):
    """Many parts, one after another and in threads, of times whose number in a window is far from what is expected."""
    law, asked = Slowed(Gamma(0.2), 400.0, 0.9, 10), []
    monkeypatch.setattr("sdesim.threads.cores", lambda: list(range(cores)))
    monkeypatch.setattr("sdesim.asynchrony.clocks.CACHED", 4000)
    window = Clocks._window
    monkeypatch.setattr(Clocks, "_window", lambda self, rows, *how: asked.append(rows) or window(self, rows, *how))
    found = timetable(law, workers=3, arrivals=200, sims=150, seed=2)
    again = np.concatenate(asked[math.ceil(150 / asked[0].size) :])
    assert 0 < np.unique(again).size < 150  # of some, and not of all
    for sim in (*np.unique(again)[:8], *np.setdiff1d(np.arange(150), again)[:8]):
        events = by_events(law, 3, 200, 2, sim)
        np.testing.assert_allclose(found.time[sim], [e[0] for e in events], rtol=1e-12)
        assert [*zip(found.worker[sim], found.job[sim], strict=True)] == [e[1:] for e in events]


def test_arrivals_made_ahead_are_the_next_ones():
    """In another thread, between those that are taken here; what they compile has been compiled by these."""
    clocks = [Clocks(Timing(LogNormal(2.0)), 4, np.arange(50), 5) for _ in range(2)]
    for ahead in (False, True, True, False):
        one = clocks[0].take(300)
        other = beside(functools.partial(clocks[1].ahead, 300))()() if ahead else clocks[1].take(300)
        for name in ("time", "worker", "job"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_a_barrier_makes_workers_wait():
    table = timetable(Exponential(), workers=4, arrivals=4000, sims=2, seed=1, barrier=4)
    rounds = table.time.reshape(2, 1000, 4)
    np.testing.assert_array_equal(table.began.reshape(2, 1000, 4)[:, 1:], np.repeat(rounds[:, :-1, -1:], 4, axis=2))
    # the greatest of four exponential times is 1 + 1/2 + 1/3 + 1/4 on average
    assert rounds[:, -1, -1] / 1000 == pytest.approx(25 / 12, rel=0.1)
    np.testing.assert_allclose(table.busy().mean(), 12 / 25, rtol=0.1)
    free = timetable(Exponential(), workers=4, arrivals=400, seed=1)
    last = free.time[0, -1]
    under_way = last - np.array([free.time[0][free.worker[0] == w].max() for w in range(4)])
    np.testing.assert_allclose(free.busy()[0], 1 - under_way / last)


# -- files -------------------------------------------------------------------------------------------------------------


def test_a_timetable_is_saved_and_read_to_the_bit(tmp_path):
    table = timetable(Gamma(2.0), workers=4, arrivals=50, sims=3, seed=5, failure=0.2)
    table.save(tmp_path / "table.csv")
    read = Timetable.load(tmp_path / "table.csv")
    for name in ("time", "worker", "job", "began"):
        np.testing.assert_array_equal(getattr(read, name), getattr(table, name))


def test_measured_arrivals(tmp_path):
    path = tmp_path / "measured.csv"
    path.write_text("time,worker\n2.5,1\n0.5,0\n1.5,0\n2.5,0\n")
    table = Timetable.load(path, workers=3)
    np.testing.assert_array_equal(table.worker, [[0, 0, 0, 1]])
    np.testing.assert_array_equal(table.job, [[0, 1, 2, 0]])
    assert table.workers == 3 and table.began is None
    with pytest.raises(ValueError, match="began"):
        table.busy()
    for text, words in (
        ("worker\n1\n", "column 'time'"),
        ("worker,time\n", "no arrival"),
        ("worker,time\n1,2\n1,soon\n", "line 3 has no number for 'time'"),
        ("worker,time\n1,2\n\n0.5,3\n", "line 4 has worker=0.5: must be a whole number from 0"),
        ("worker,time\n1,2\n-1,3\n", "line 3 has worker=-1: must be a whole number from 0"),
        ("worker,time\nnan,2\n", "line 2 has worker=nan"),
        ("worker,time\n4294967296,2\n", "line 2 has worker=4294967296"),
        ("worker,time,job\n0,2,0\n0,3,1.5\n", "line 3 has job=1.5"),
        ("worker,time,sim\n0,2,0.5\n", "line 2 has sim=0.5"),
        ("worker,time\n0,-2\n", "line 2 has time=-2: must be finite and at least 0"),
        ("worker,time\n0,inf\n", "line 2 has time=inf"),
        ("worker,time,began\n0,2,1\n0,3,nan\n", "line 3 has began=nan: must be known of all arrivals, or of none"),
        ("worker,time,began\n0,2,-1\n", "line 2 has began=-1"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=words):
            Timetable.load(path)


def test_a_file_of_a_spreadsheet_is_read(tmp_path):
    path = tmp_path / "measured.csv"
    path.write_text("worker,time\n1,2.5\n0,0.5\n", encoding="utf-8-sig")  # begins with a mark of the order of bytes
    np.testing.assert_array_equal(Timetable.load(path).time, [[0.5, 2.5]])


@pytest.mark.parametrize(
    "more, words",
    [
        (dict(worker=np.array([[0.0, 1.0]])), "^worker: must be whole numbers"),
        (dict(job=np.array([[0.5, 0.0]])), "^job: must be whole numbers"),
        (dict(time=np.array([[-1.0, 1.0]])), "^time: must be finite, at least 0"),
        (dict(began=np.array([[-1.0, 1.0]])), "^began: must be from 0"),
        (dict(began=np.array([[np.nan, 1.0]])), "^began: must be from 0"),
    ],
)
def test_a_timetable_of_bad_numbers_is_refused(more, words):
    good = dict(time=np.array([[1.0, 2.0]]), worker=np.array([[0, 1]]), job=np.zeros((1, 2), int))
    Timetable(**good, workers=2)
    with pytest.raises(ValueError, match=words):
        Timetable(**{**good, **more}, workers=2)


@pytest.mark.parametrize("workers", [1, 3])
def test_of_no_arrivals_there_are_no_shares(workers):
    none = timetable(Gamma(2.0), workers=workers, arrivals=0, sims=2)
    assert none.busy().shape == (2, workers) and np.isnan(none.busy()).all()
    assert none.law_of_staleness().shape == (2, 1) and np.isnan(none.law_of_staleness()).all()


def test_what_a_law_of_ones_own_returns_is_not_written_into():
    """Not by its mean, nor by the start, nor by messages: a law may look its times up where it keeps them."""
    kept = np.float32([0.5, 1.5])

    class Kept(AbstractCompute):
        def quantiles(self, words):
            times = np.broadcast_to(kept, (*words.shape[:-1], 2)) if words.shape[-1] == 2 else np.ones(words.shape)
            times.flags.writeable = False
            return times

    for count in (2, 5):
        times = job_times(Kept(mean=3.0), 1, np.arange(2), np.zeros((2, 4), int), count)
        assert times.dtype == np.float64 and times.flags.writeable
        np.testing.assert_array_equal(times, np.broadcast_to(3 * kept if count == 2 else 3.0, (2, 4, count)))
    table = timetable(Kept(mean=2.0), workers=2, arrivals=4, start=[0.0, 0.5], uplink=Deterministic(mean=0.25))
    np.testing.assert_allclose(table.time[0], [1.75, 2.25, 4.0, 4.5])


@pytest.mark.parametrize("bad", [-0.5, np.nan, np.inf])
def test_bad_times_of_a_law_of_ones_own_are_refused(bad):
    class Bad(AbstractCompute):
        def quantiles(self, words):
            return np.where(words % 7 == 0, bad, 1.0)

    for how in (dict(compute=Bad()), dict(compute=Deterministic(), uplink=Bad())):
        with pytest.raises(ValueError, match=f"^Bad.*must be finite and at least 0, and one is {bad:g}"):
            timetable(**how, workers=4, arrivals=40, sims=3)


@pytest.mark.parametrize(
    "how, words",
    [
        (dict(failure=1.0), "failure=1"),
        (dict(leave=[1.0]), "leave"),
        (dict(uplink=0.5), "uplink=0.5"),
        (dict(barrier=3), "barrier=3"),
        (dict(barrier=2, failure=0.1), "^failure=0.1: .*never wait"),
        (dict(barrier=2, leave=[1.0, 2.0]), "^leave=.*never wait"),
        (dict(barrier=2, downlink=Gamma(2.0)), "^downlink=.*never wait"),
        (dict(start=[1.0, np.inf]), "start"),
    ],
)
def test_bad_timing_is_refused_by_name(how, words):
    with pytest.raises((ValueError, TypeError), match=words):
        timetable(Gamma(2.0), workers=2, arrivals=5, **how)
