"""Workers as processes of simpy, an independent simulator of events, with the same compute times and messages."""

import numpy as np
import pytest

from sdesim.asynchrony import Exponential, Gamma, timetable
from sdesim.asynchrony.compute import job_times, words_of_jobs
from sdesim.random import Stream

simpy = pytest.importorskip("simpy")
P, N, SEED = 6, 300, 9
COMPUTE, UP, DOWN, FAILURE = Gamma(3.0, mean=[1.0, 0.2, 1.0, 3.0, 1.0, 1.0]), Exponential(mean=0.3), Gamma(2.0), 0.15


def test_workers_are_processes():
    """Messages take their time, some jobs are lost, one worker joins late and one leaves in the middle of a job."""
    start, leave = [0.0, 0.0, -4.0, 0.1, 0.0, 0.0], [np.inf, 8.3, np.inf, np.inf, np.inf, 20.0]
    of_jobs = (np.array([2]), np.zeros((1, P), int), 400)
    compute = job_times(COMPUTE, SEED, *of_jobs)[0]
    up, down = (law.times(SEED, s, *of_jobs)[0] for law, s in ((UP, Stream.UPLINK), (DOWN, Stream.DOWNLINK)))
    lost = words_of_jobs(SEED, Stream.FAILURE, *of_jobs)[0] < FAILURE * 2.0**32
    env, found = simpy.Environment(), []

    def worker(i):
        yield env.timeout(max(-start[i], 0.0))
        for job in range(400):
            began, ahead = env.now, max(start[i], 0.0) if job == 0 else 0.0
            yield env.timeout(max(compute[i, job] - ahead, 0.0))
            yield env.timeout(up[i, job])
            if env.now > leave[i]:
                return
            if not lost[i, job]:
                found.append((env.now, i, job, began))
            yield env.timeout(down[i, job])

    for i in range(P):
        env.process(worker(i))
    while len(found) < N:
        env.step()
    how = dict(uplink=UP, downlink=DOWN, failure=FAILURE, start=start, leave=leave)
    table = timetable(COMPUTE, workers=P, arrivals=N, seed=SEED, first_sim=2, **how)
    time, who, job, began = zip(*found, strict=True)
    np.testing.assert_array_equal(table.worker[0], who)
    np.testing.assert_array_equal(table.job[0], job)
    np.testing.assert_allclose(table.time[0], time, rtol=1e-12)
    np.testing.assert_allclose(table.began[0], began, rtol=1e-12)
