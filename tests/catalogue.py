"""What tests ask for every one of, once, by name: rules, laws and momenta; and a loss for them.

Functions make them, because numbers take the precision of the time. The tests of a room say which they take, and
add what only they need; `test_catalogue.py` says that no rule and no law of the package is missing. The comparison of
two commits takes them too, with the package of each: so they are made of names that both have.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import sdesim
from sdesim import coupling, noise

Made = dict[str, Callable[[], Any]]


def some(made: Made, *names: str) -> Made:
    """Those of these names."""
    return {name: made[name] for name in names}


def loss(x):
    """A bowl with ripples, whose first and last coordinate feel each other."""
    return jnp.sum(0.5 * x * x + 0.3 * jnp.cos(2 * x)) + 0.2 * x[0] * x[-1]


def near(x, t):
    """A gain that falls with the distance from the origin and with time; of an agent's array or pytree."""
    return jnp.exp(-0.1 * sum(jnp.sum(a * a) for a in jax.tree.leaves(x)) - t)


def rules(agents: int) -> Made:
    """Coupling rules for an even number of agents, one or more a kind."""
    half = agents // 2
    return {
        "uncoupled": lambda: coupling.Uncoupled(),
        "quorum": lambda: coupling.Quorum(2.0),
        "quorum-each": lambda: coupling.Quorum(np.linspace(0.5, 2, agents)),
        "quorum-function": lambda: coupling.Quorum(lambda x, t: 1 + 1 / (1 + t)),
        "elastic": lambda: coupling.Elastic(0.7),
        "elastic-rates": lambda: coupling.Elastic(2.0, 1.0),
        "elastic-each": lambda: coupling.Elastic(np.linspace(0.2, 0.8, agents)),
        "state-dependent": lambda: coupling.StateDependent(near),
        "spiking": lambda: coupling.Spiking(1.0, 6.0, 0.2, 0.5),
        "filtered": lambda: coupling.Filtered(2.0, coupling.LinearFilter(1.5)),
        "saturating": lambda: coupling.Filtered(2.0, coupling.SaturatingFilter(1.5, 0.3)),
        "tree": lambda: coupling.Tree(1.0, (half, 2)),
        "outer": lambda: coupling.Outer(2.0, 0.7, 0.6),
        "outer-heavy-ball": lambda: coupling.Outer(1.5, 0.9, 0.4, nesterov=False),
        "mixing": lambda: coupling.Mixing(2.0, coupling.ring(agents)),
        "mixing-turns": lambda: coupling.Mixing(2.0, coupling.one_peer(agents), switch=20.0),
        "streaming": lambda: coupling.Streaming(coupling.Outer(2.0, 0.7, 0.6), 2, switch=20.0),
        "tree-rates": lambda: coupling.Tree(1.0, (2, half), up=2.0, down=0.5),
    }


def laws(dims: int) -> Made:
    """Laws of the gradient noise, one or more a kind; "gamma" is the iteration's alone."""
    return {
        "silent": lambda: noise.Silent(),
        "uniform": lambda: noise.Uniform(1.2),
        "gaussian": lambda: noise.Gaussian(0.7),
        "gaussian-each": lambda: noise.Gaussian(np.linspace(0.5, 1, dims)),
        "student-t": lambda: noise.StudentT(0.5, 5.0),
        "diagonal": lambda: noise.Diffusion(lambda x: 0.5 * jnp.sqrt(1 + x * x)),
        "full": lambda: noise.Diffusion(lambda x: 0.3 * jnp.eye(dims) + 0.1 * x[:, None], "full"),
        "gamma": lambda: noise.GammaMultiplicative(2.0),
        "svag": lambda: noise.Svag(noise.Uniform(1.2), 4.0),
    }


DELTA = 0.8

MOMENTA: Made = {
    "none": lambda: None,
    "heavy-ball": lambda: sdesim.HeavyBall(DELTA),
    "nesterov": lambda: sdesim.Nesterov(DELTA),
    "friction": lambda: sdesim.Friction(0.9),
}
DISCRETE = ("none", "heavy-ball", "nesterov")
"""Momenta of the discrete algorithms."""
