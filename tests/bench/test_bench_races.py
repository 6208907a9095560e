"""The benchmark of workers in virtual time: simpy's program and sdesim are the same process."""

import dataclasses

import numpy as np
import pytest

from sdesim.bench import RACERS, RACES


@pytest.mark.skipif(not RACERS["naive"].installed(), reason="needs simpy")
def test_simpy_runs_the_same_model():
    """Mean and variance of the server after 60 arrivals: steps by worker would leave the mean at a half."""
    small = dataclasses.replace(RACES["async"], sims=800, agents=4, steps=60)
    theirs = RACERS["naive"].build(small)(3)
    ours = np.asarray(RACERS["sdesim"].build(small)(7).center)[:, 0]
    error = np.hypot(ours.std(ddof=1), theirs.std(ddof=1)) / np.sqrt(800)
    assert abs(ours.mean() - theirs.mean()) < 4 * error
    assert abs(np.log(ours.var() / theirs.var())) < 4 * np.sqrt(4 / 800)
