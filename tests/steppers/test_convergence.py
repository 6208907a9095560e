"""Orders of convergence of Euler-Maruyama, on shared Brownian increments, in float64 with Lipschitz drift.

Errors are differences between step lengths h and h / 2 on one path: they vanish with the same order as the distance
from the exact solution, and need no reference. The fitted order must lie within 3.5 standard errors (bootstrap over
simulations, a false alarm in 2000 for each of 21 fits) of the theory's number.
"""

import functools
import itertools

import jax.numpy as jnp
import numpy as np
import pytest

import sdesim
from sdesim import noise

AGENTS, TIME = 3, 1.0


class Paths:
    """Brownian paths on the finest grid, and their increments on coarser ones."""

    def __init__(self, finest: int, sims: int, dims: int = 1, seed: int = 0):
        self.finest, self.sims = finest, sims
        scale = np.sqrt(TIME / finest)
        self.dw = scale * np.random.default_rng(seed).normal(size=(finest, sims, AGENTS, dims))

    def run(self, model, steps: int, init):
        dw = self.dw.reshape(steps, self.finest // steps, *self.dw.shape[1:]).sum(axis=1)
        return sdesim.simulate(
            model, agents=AGENTS, sims=self.sims, dims=self.dw.shape[-1], steps=steps, dt=TIME / steps,
            init=init, increments=dw,
        )  # fmt: skip


@functools.cache
def paths(finest, sims):
    return Paths(finest, sims)


START = np.array([[2.5], [1.0], [1.8]])
LOSS = sdesim.objectives.LogCosh(0.5)
COUPLINGS = {
    "uncoupled": sdesim.Uncoupled(),
    "quorum": sdesim.Quorum(2.0),
    "elastic": sdesim.Elastic(1.0, 2.0),
}


class Rooted:
    """B(x) = strength sqrt(1 + x^2): smooth and globally Lipschitz."""

    def __init__(self, strength):
        self.strength = strength

    def __call__(self, x):
        return self.strength * jnp.sqrt(1 + x * x)


def model_of(kind: str, coupling: str, eta: float = 1.0):
    law = noise.Diffusion(Rooted(0.5)) if kind == "multiplicative" else noise.Gaussian(1.0)
    momentum = {"friction": sdesim.Friction(1.5), "nesterov": sdesim.Friction(lambda t: 3 / (t + 1))}.get(kind)
    return sdesim.Dynamics(LOSS, coupling=COUPLINGS[coupling], noise=law, eta=eta, momentum=momentum)


def root_mean(squares):
    return np.sqrt(squares.mean(axis=-1))


@pytest.mark.parametrize("coupling", COUPLINGS)
@pytest.mark.parametrize(
    ("kind", "order"), [("additive", 1.0), ("friction", 1.0), ("nesterov", 1.0), ("multiplicative", 0.5)]
)
def test_strong_order(kind, order, coupling, fit_order):
    """Root mean square distance of agents and center at the end.

    Semi-implicit momentum keeps the order: what it adds to a position in one step is h times noise, of mean zero.
    """
    levels = [64, 128, 256, 512, 1024, 2048]
    given, model = paths(2048, 1200), model_of(kind, coupling)
    ends = [np.concatenate([r.agents, r.center[:, None]], axis=1) for r in (given.run(model, n, START) for n in levels)]
    squares = np.stack([np.sum((a - b) ** 2, axis=(1, 2)) for a, b in itertools.pairwise(ends)])
    fitted, error = fit_order(TIME / np.array(levels[:-1]), squares, root_mean)
    print(f"{kind} {coupling}: strong {fitted:.4f} +- {error:.4f}")
    assert error < 0.05  # the other order is ten standard errors away
    assert abs(fitted - order) < 3.5 * error


@pytest.mark.parametrize("coupling", COUPLINGS)
@pytest.mark.parametrize("kind", ["additive", "friction", "multiplicative"])
def test_weak_order(kind, coupling, fit_order):
    """Of the second moments of the agents and the center."""
    levels = [16, 32, 64, 128, 256]
    # The difference of two levels fluctuates by the root of h where noise is multiplicative: less of it shows the mean.
    given, model = paths(256, 10_000), model_of(kind, coupling, eta=0.1 if kind == "multiplicative" else 1.0)
    ends = [given.run(model, n, START) for n in levels]
    moments = [np.asarray(jnp.sum(r.agents**2, axis=(1, 2)) + jnp.sum(r.center**2, axis=1)) for r in ends]
    differences = np.stack([a - b for a, b in itertools.pairwise(moments)])
    fitted, error = fit_order(TIME / np.array(levels[:-1]), differences, lambda s: s.mean(axis=-1))
    print(f"{kind} {coupling}: weak {fitted:.4f} +- {error:.4f}")
    assert error < 0.15  # order 1/2 is more than three standard errors away, order 2 more than six
    assert abs(fitted - 1) < 3.5 * error
