"""The protocol Skeleton against a plain program of one worker, and of its events."""

import jax.numpy as jnp
import numpy as np
from skeleton import Skeleton

import sdesim
from sdesim.asynchrony import Asynchronous, Deterministic

ETA = 0.1
MODEL = sdesim.Dynamics(lambda x: jnp.sum(x**2) / 2, eta=ETA)  # no noise: the gradient is x


def test_workers_that_take_turns():
    stepper = Asynchronous(Skeleton(), compute=Deterministic(), start="staggered")
    run = sdesim.simulate(MODEL, agents=3, sims=1, steps=30, stepper=stepper, init=1.0)
    # Workers of equal times arrive in turns: a gradient is of the center two arrivals ago.
    center, last, read, centers = 1.0, 0.0, [1.0] * 3, []
    for arrival in range(30):
        step = -ETA * read[arrival % 3]
        center, last = center + (step + last) / 2, step
        read[arrival % 3] = center
        centers.append(center)
    np.testing.assert_allclose(run.center[0, 0], centers[-1], rtol=1e-5)
    np.testing.assert_allclose(np.sort(run.agents[0, :, 0]), np.sort(read), rtol=1e-5)
