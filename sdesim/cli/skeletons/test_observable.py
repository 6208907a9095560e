"""The observable Skeleton against NumPy on the final states."""

import jax.numpy as jnp
import numpy as np
from skeleton import Skeleton

import sdesim

MODEL = sdesim.Dynamics(lambda x: jnp.sum(x**2) / 2, sdesim.Quorum(1.0), sdesim.noise.Gaussian(1.0), eta=0.05)


def test_last_record_is_that_of_the_final_state():
    result = sdesim.simulate(MODEL, agents=10, sims=5, steps=40, dims=2, observe=[Skeleton()], every=10)
    series = result.observed["skeleton"]
    assert series.shape == (5, 5, 2)  # sims, records with the initial state, dims
    np.testing.assert_allclose(series[:, -1], np.ptp(result.agents, axis=1), rtol=1e-6)
    np.testing.assert_array_equal(series[:, 0], 0.0)  # all agents start at one point
