"""The rule Skeleton against what it must do exactly."""

import jax.numpy as jnp
import numpy as np
import optax
from skeleton import Skeleton

import sdesim

ETA, STEPS = 0.05, 20
START = jnp.linspace(-1.0, 3.0, 8)[:, None]


def run(k):
    """Eight agents on a flat loss, without noise: the rule alone."""
    flat = sdesim.Dynamics(lambda x: 0.0 * jnp.sum(x), Skeleton(k=k), eta=ETA)
    return sdesim.simulate(flat, agents=8, sims=1, steps=STEPS, init=START).agents[0]


def test_agents_approach_their_mean_at_rate_k():
    # One step of Euler-Maruyama multiplies every distance from the mean by 1 - eta k.
    expected = START.mean() + (START - START.mean()) * (1 - ETA * 2.0) ** STEPS
    np.testing.assert_allclose(run(2.0), expected, atol=1e-5)


def test_without_gain_nothing_moves():
    np.testing.assert_array_equal(run(0.0), START)


def test_networks_are_pulled_by_the_same_rule():
    # The same step as an optax transformation, of parameters that stack the agents; no loss, so the pull alone.
    optimizer = sdesim.couple(Skeleton(k=2.0), ETA)
    parameters = {"weights": START}
    nothing = {"weights": jnp.zeros_like(START)}
    updates, _ = optimizer.update(nothing, optimizer.init(parameters), parameters)
    moved = optax.apply_updates(parameters, updates)["weights"]
    np.testing.assert_allclose(moved, START + ETA * 2.0 * (START.mean() - START), atol=1e-6)
