"""SGD against its SDEs: weak error O(eta) of the first-order model, O(eta^2) with the modified drift.

Both are driven by one Brownian path, the iteration by its increments over eta, so that what is averaged is a small
difference. The SDE is resolved by steps of eta / 8 and eta / 16, and extrapolated: 2 X(h/2) - X(h) has a bias of
O(h^2) in the mean, which is measured from a third step at the largest eta, and must be below a twentieth of the error
that is tested.
"""

import numpy as np
import pytest

import sdesim

AGENTS, TIME, FINE = 2, 1.0, 16


class Waxing:
    """A gain that depends on the agent and on the time: the modified drift has a term of dF/dt."""

    def __call__(self, x, t):
        return 0.5 + 4.0 * t + 0.3 * x[0] ** 2 / (1 + x[0] ** 2)


MODELS = {
    "uncoupled": (sdesim.Uncoupled(), 1.0),
    "quorum": (sdesim.Quorum(1.5), 1.0),
    "elastic": (sdesim.Elastic(1.0, 1.5), 1.0),
    "own rates": (sdesim.Elastic(1.0, 1.5), np.array([0.5, 1.5])),
    "gain of x and t": (sdesim.Elastic(Waxing(), 2.0), 1.0),
}


def statistic(result):
    """A smooth function of agents and center, one number a simulation."""
    x, c = np.asarray(result.agents)[..., 0], np.asarray(result.center)[:, 0]
    return np.sum(x**2, axis=1) + c**2


def differences(name: str, weak_order: int, iterations: int, *, sims: int, sigma: float, start, bias: bool):
    """At eta = 1 / iterations: SDE less SGD for each simulation, and if asked for the bias of its mean that remains."""
    eta = TIME / iterations
    coupling, rates = MODELS[name]
    make = lambda order: sdesim.Dynamics(
        sdesim.objectives.LogCosh(0.5), coupling=coupling, noise=sdesim.noise.Gaussian(sigma), eta=eta * rates,
        weak_order=order,
    )  # fmt: skip
    dw = np.random.default_rng(iterations).normal(size=(iterations, FINE, sims, AGENTS, 1))
    dw *= np.sqrt(eta / FINE)
    sizes = dict(agents=AGENTS, sims=sims, init=np.array(start)[:, None])
    sgd = statistic(sdesim.iterate(make(1), steps=iterations, increments=dw.sum(axis=1) / np.sqrt(eta), **sizes))

    def sde(n):
        given = dw.reshape(iterations * n, FINE // n, *dw.shape[2:]).sum(axis=1)
        return statistic(sdesim.simulate(make(weak_order), steps=iterations * n, dt=eta / n, increments=given, **sizes))

    half, full = sde(FINE // 2), sde(FINE)
    # Extrapolations from (h, h/2) and (h/2, h/4) differ by three times the bias of the second.
    remains = np.mean((2 * half - sde(FINE // 4)) - (2 * full - half)) / 3 if bias else None
    return 2 * full - half - sgd, remains


QUICK = ("quorum", "own rates")  # the others take as long and say the same of another term

# For the second order: stronger noise, longer steps, and a start at which no part of the error cancels another.
SETTINGS = {
    1: dict(sims=1500, sigma=1.0, start=(2.5, 1.0)),
    2: dict(sims=12_000, sigma=2.0, start=(2.5, -1.5)),
}


@pytest.mark.parametrize(("weak_order", "iterations"), [(1, (24, 40, 64, 96)), (2, (8, 14, 24, 40))])
@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in MODELS])
def test_weak_error_of_the_sde(name, weak_order, iterations, fit_order):
    """Within 3.5 standard errors: a false alarm in 2000 for each of the 10 fits."""
    runs = [differences(name, weak_order, n, bias=n == iterations[0], **SETTINGS[weak_order]) for n in iterations]
    samples, bias = np.stack([values for values, _ in runs]), abs(runs[0][1] / runs[0][0].mean())
    assert bias < 0.05
    fitted, error = fit_order(TIME / np.array(iterations), samples, lambda s: s.mean(axis=-1))
    print(f"{name}, weak order {weak_order}: {fitted:.3f} +- {error:.3f}, bias {bias:.4f}")
    assert error < 0.1  # the other order is ten standard errors away
    assert abs(fitted - weak_order) < 3.5 * error
