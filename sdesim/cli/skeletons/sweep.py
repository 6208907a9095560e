"""The sweep skeleton, as a program: `sdesim sweep skeleton.py --store runs/skeleton`."""

import jax.numpy as jnp
import numpy as np

import sdesim


def loss(x):
    return jnp.sum(0.25 * x**4 - 0.5 * x**2)  # of a point (dims,) to one number


# The arguments of sdesim.sweep. `--NAME VALUE` changes one for a call: --sims 1000, --model.eta 0.01.
SWEEP = dict(
    model=sdesim.Dynamics(loss, sdesim.Quorum(k=1.0), sdesim.noise.Uniform(2.0), eta=0.05),
    grid={"coupling.k": np.geomspace(0.1, 10, 4), "noise.half_width": [1.0, 2.0]},
    agents=8,
    sims=20,
    steps=100,
    init=sdesim.init.Uniform(-1, 1),
    observe=sdesim.observe.Spread(),
    seed=1,
)
