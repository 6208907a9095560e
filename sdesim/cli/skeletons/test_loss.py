"""The loss Skeleton against differences and a descent."""

import jax
import jax.numpy as jnp
import numpy as np
from skeleton import Skeleton

import sdesim


def test_gradient_is_that_of_central_differences():
    loss, x, step = Skeleton(), jnp.array([0.3, -1.1]), 1e-2
    unit = jnp.eye(2)
    differences = [(loss.loss(x + step * e) - loss.loss(x - step * e)) / (2 * step) for e in unit]
    np.testing.assert_allclose(jax.grad(loss.loss)(x), differences, rtol=0.02)  # step^2 frequency^2 / 6, and float32


def test_descent_ends_where_the_gradient_is_zero():
    model = sdesim.Dynamics(Skeleton(), eta=0.05)  # no noise and no coupling: gradient descent
    end = sdesim.simulate(model, agents=1, sims=1, steps=2000, dims=2, init=1.0).agents[0, 0]
    np.testing.assert_allclose(jax.grad(Skeleton().loss)(end), 0.0, atol=1e-4)
