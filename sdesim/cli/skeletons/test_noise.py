"""The law Skeleton against its own moments."""

import jax.numpy as jnp
import numpy as np
from skeleton import Skeleton

import sdesim

SCALE, ETA = 3.0, 0.1


def sample():
    """Increments of one step on a flat loss, over the learning rate: the noise itself."""
    flat = sdesim.Dynamics(lambda x: 0.0 * jnp.sum(x), noise=Skeleton(scale=SCALE), eta=ETA)
    step = sdesim.simulate(flat, agents=100, sims=1000, steps=1, seed=0)
    return np.asarray(step.agents, float).ravel() / ETA


def test_mean_and_variance():
    z = sample()
    variance = (SCALE * Skeleton(scale=SCALE).variate_std) ** 2
    # Within four standard errors, those of the sample: a mean that is off by 2 %, or a variance by 3 %, fails.
    assert abs(z.mean()) < 4 * z.std() / z.size**0.5
    assert abs((z**2).mean() - variance) < 4 * (z**2).std() / z.size**0.5


def test_agents_are_independent():
    z = sample().reshape(1000, 100)
    assert abs(np.corrcoef(z[:, 0], z[:, 1])[0, 1]) < 4 / 1000**0.5
