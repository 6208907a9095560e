"""Zhang's computed figures: their claims fail of wrong models, of points that are swapped, and of wrong formulas."""

import dataclasses

import numpy as np
import pytest
import xarray as xr

from sdesim import claims, noise
from sdesim.coupling import Uncoupled
from sdesim.dynamics import Nesterov
from sdesim.papers import EXPERIMENTS
from sdesim.papers.zhang.points import runs
from sdesim.theory import double_well, multiplicative, quadratic, stability


def failed(name, data, among=None):
    """Counted claims of a smoke preset that fail of some data."""
    experiment = EXPERIMENTS[name]
    config = experiment.preset("smoke")
    asked = [s for s in experiment.statements(config) if s.counted and (among is None or s.id in among)]
    return {c.id for c in claims.failed(claims.judge(asked, experiment.ensemble(config, data), smoke=True))}


# -- wrong models ------------------------------------------------------------------------------------------------------


def half_the_noise(model):
    law = model.noise
    gaussian = isinstance(law, noise.Gaussian)
    return dataclasses.replace(
        model, noise=noise.Gaussian(law.sigma / 2) if gaussian else noise.GammaMultiplicative(4 * law.shape)
    )


def momentum(change):
    return lambda model: dataclasses.replace(model, momentum=Nesterov(change(model.momentum.delta)))


MODELS = {
    "half the noise": half_the_noise,
    "a greater learning rate": lambda model: dataclasses.replace(model, eta=1.1 * model.eta),
    "no coupling": lambda model: dataclasses.replace(model, coupling=Uncoupled()),
    "less momentum": momentum(lambda delta: abs(delta - 0.05)),
    "no momentum": momentum(lambda delta: 0.0 * delta),
}
QUICK = [
    ("z-fig3.3", "a greater learning rate", {"moments"}),
    ("z-fig5.1", "half the noise", {"moments"}),
    ("z-fig5.1", "less momentum", {"moments"}),
    ("z-fig5.2", "no coupling", {"moments", "best-reduced"}),
    ("z-fig5.3", "no coupling", {"moments", "border", "workers-part"}),
    ("z-fig5.3", "half the noise", {"moments", "center-is-stable"}),
    ("z-fig5.7", "half the noise", {"moments", "settled"}),
    ("z-fig5.8", "less momentum", {"moments"}),
    ("z-fig5.14", "no momentum", {"moments", "small-slope"}),
    ("z-fig5.20", "no coupling", {"moments", "border"}),
    ("z-fig6.2.1", "a greater learning rate", {"moments"}),
]
SLOW = [
    *((f"z-fig{n}", "half the noise", {e}) for n, e in (("3.1", "lemma-3.1.1"), ("5.2", "moments"))),
    *((f"z-fig5.{n}", "half the noise", {"moments"}) for n in (*range(10, 14), *range(15, 20))),
    *((f"z-fig5.{n}", "a greater learning rate", {"moments"}) for n in range(1, 20) if n != 9),
    *((f"z-fig5.{n}", "no coupling", {"moments"}) for n in (4, 5, 6, 7, 8, *range(15, 20))),
    *((f"z-fig5.{n}", "less momentum", {"moments"}) for n in (10, 11, 12, 13)),
    ("z-fig3.1", "no coupling", {"lemma-3.1.1", "variance-reduction"}),
    ("z-fig3.2", "a greater learning rate", {"moments"}),
]


@pytest.mark.parametrize(
    ("name", "wrong", "expected"), [*QUICK, *(pytest.param(*case, marks=pytest.mark.slow) for case in SLOW)]
)
def test_claims_fail_of_wrong_models(name, wrong, expected, monkeypatch, float32):
    experiment, right = EXPERIMENTS[name], runs.simulate
    monkeypatch.setattr(runs, "simulate", lambda model, **how: right(MODELS[wrong](model), **how))
    assert failed(name, experiment.run(experiment.preset("smoke"), False), expected) == expected


# -- points that are taken for others ----------------------------------------------------------------------------------

SWAPPED = {
    "z-fig3.1": {"lemma-3.1.1", "variance-reduction"},
    "z-fig3.2": {"moments", "border"},
    "z-fig3.3": {"moments", "border", "unstable", "stable-beyond"},
    "z-fig5.1": {"moments", "border", "best-momentum"},
    "z-fig5.2": {"moments", "border", "best-reduced"},
    "z-fig5.3": {"moments", "border", "workers-part", "center-is-stable"},
    **{f"z-fig5.{n}": {"moments", "border", "least"} for n in (4, 5)},
    "z-fig5.6": {"moments", "border", "corrected"},
    "z-fig5.7": {"moments", "settles-lower", "settled"},
    "z-fig5.8": {"moments", "border", "best-is-positive"},
    **{f"z-fig5.{n}": {"moments", "border", "no-momentum", "momentum-helps"} for n in (10, 11, 12)},
    "z-fig5.13": {"moments", "zero-0.5", "zero-1", "zero-2"},
    "z-fig5.14": {"moments"},
    **{f"z-fig5.{n}": {"moments", "border", "workers-help"} for n in (15, 16, 17, 18)},
    "z-fig5.19": {"moments", "border", "positive"},
    "z-fig5.20": {"moments", "border"},
    "z-fig6.2.1": {"moments", "border", "cases", "singleton"},
}


@pytest.mark.parametrize("name", SWAPPED)
def test_claims_fail_of_points_in_reverse_order(name, smoke):
    """Stable ones are taken for unstable ones, and the best for others: of another rate or momentum than is said."""
    _, _, data = smoke(name)
    swapped = data.assign(squares=data["squares"].copy(data=data["squares"].values[::-1]))
    assert failed(name, swapped, SWAPPED[name]) == SWAPPED[name]


# -- wrong formulas: of what is said of no simulation ------------------------------------------------------------------


def printed_product(right):
    """Moments of EASGD by (5.32) as it is printed, whose third line lacks the workers' pull in the center's step."""

    def moments(workers, eta, alpha, beta, mean, variance):
        matrix = right(workers, eta, alpha, beta, mean, variance).copy()
        matrix[..., 2, 2] -= alpha * beta
        return matrix

    return moments


# Of the losses (5.1) and (5.22) as they are printed the gradient is twice that of the updates.
of_printed_loss = lambda right: lambda eta, *rest: right(2 * eta, *rest)

wider = lambda right: lambda shape, rate: (right(shape, rate)[0], 1.1 * right(shape, rate)[1])
FORMULAS = [
    ("z-fig3.1", stability, "center_is_stable", lambda f: lambda p, n, a: f(p, n, 1.1 * a), {"condition-3.4"}),
    ("z-fig3.1", quadratic, "center_limit", lambda f: lambda n, b: 1.01 * f(n, b), {"corollary-3.1.1"}),
    ("z-fig3.2", stability, "admm_sweep", lambda f: lambda p, n, r: f(p, n, 1.1 * r), {"printed"}),
    ("z-fig5.1", stability, "momentum_is_stable", lambda f: lambda n, d: (abs(d) < 1) & (n < 2), {"condition"}),
    ("z-fig5.1", stability, "eamsgd_drift", lambda f: lambda p, n, *rest: f(p, 2 * n, *rest), {"moments"}),
    ("z-fig5.10", multiplicative, "momentum_moments", of_printed_loss, {"moments"}),
    ("z-fig5.15", multiplicative, "easgd_moments", printed_product, {"moments"}),
    ("z-fig5.2", stability, "best_reduced_alpha", lambda f: lambda n, b: 1.1 * f(n, b), {"best-formula"}),
    *(
        (
            f"z-fig5.{i}",
            stability,
            "best_alpha",
            lambda f: lambda n, b: (f(n, b)[0], 1.01 * f(n, b)[1]),
            {"least-radius"},
        )
        for i in (4, 5)
    ),
    ("z-fig5.8", stability, "eamsgd_spectrum", lambda f: lambda n, d, a, b: f(n, 0.0 * d, a, b), {"best-rises"}),
    ("z-fig5.8", stability, "eamsgd_drift", lambda f: lambda p, n, d, a, b: f(p, n, d, a, p * b), {"any-number"}),
    *((f"z-fig5.{i}", multiplicative, "gamma_law", wider, {"least"}) for i in (10, 11, 12)),
    ("z-fig5.13", multiplicative, "gamma_law", wider, {"zero"}),
    ("z-fig5.14", multiplicative, "momentum_moments", lambda f: lambda n, d, *law: f(n, 0.0, *law), {"helps-below"}),
    *((f"z-fig5.{i}", multiplicative, "gamma_law", wider, {"printed"}) for i in (15, 16, 17, 18)),
    ("z-fig5.19", multiplicative, "gamma_law", wider, {"printed", "widest"}),
    ("z-fig5.20", double_well, "least_curvature_apart", lambda f: lambda r: f(1.05 * r), {"two-thirds"}),
    ("z-fig6.2.1", stability, "gauss_seidel_case", lambda f: lambda n, a, b: f(n, 1.1 * a, b), {"theorem"}),
]


@pytest.mark.parametrize(
    ("name", "module", "formula", "wrong", "expected"), FORMULAS, ids=[f"{case[0]}-{case[2]}" for case in FORMULAS]
)
def test_claims_fail_of_wrong_formulas(name, module, formula, wrong, expected, smoke, monkeypatch):
    _, _, data = smoke(name)
    monkeypatch.setattr(module, formula, wrong(getattr(module, formula)))
    assert failed(name, data, expected) == expected


def test_every_counted_claim_has_a_wrong_model():
    for name in SWAPPED:
        experiment = EXPERIMENTS[name]
        broken = SWAPPED[name].union(*(case[-1] for case in [*QUICK, *SLOW, *FORMULAS] if case[0] == name))
        assert {s.id for s in experiment.statements(experiment.preset("smoke")) if s.counted} == broken


# -- the law of a minibatch's curvature --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        (lambda rng, p, n: rng.gamma(p, 1 / p, n), {"mean-and-variance", "gamma"}),  # of another shape
        (lambda rng, p, n: rng.normal(1, np.sqrt(2 / p), n), {"gamma"}),
        (lambda rng, p, n: rng.gamma(0.5, 2.0, n), {"mean-and-variance", "gamma", "concentrates"}),  # no minibatch
    ],
    ids=["shape", "normal", "batch ignored"],
)
def test_claims_of_the_gamma_law_fail_of_others(wrong, expected, smoke):
    _, config, data = smoke("z-fig5.9")
    rng = np.random.default_rng(0)
    drawn = np.stack([wrong(rng, int(p), config.sims) for p in data["batch"].values])
    assert failed("z-fig5.9", xr.Dataset({"xi": data["xi"].copy(data=drawn)})) == expected
