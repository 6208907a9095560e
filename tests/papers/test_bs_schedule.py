"""Gains in time, learning rates of the agents, single agents with filters: the theory, and claims that can fail."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import sdesim
from sdesim import claims
from sdesim.papers import EXPERIMENTS
from sdesim.papers.boffi_slotine import filters as bs_filters
from sdesim.papers.boffi_slotine import rates as bs_rates
from sdesim.papers.boffi_slotine import schedule as bs_schedule
from sdesim.papers.boffi_slotine.filters.config import FILTERS, effective_rate, iteration
from sdesim.papers.boffi_slotine.filters.run import dynamics
from sdesim.papers.boffi_slotine.rates.config import Explorers
from sdesim.papers.boffi_slotine.schedule.config import Skewed
from sdesim.schedules import Growth
from sdesim.theory import bounds


def verdicts(name, config, data) -> dict[str, str]:
    experiment = EXPERIMENTS[name]
    found = claims.judge(experiment.statements(config), experiment.ensemble(config, data), smoke=True)
    return {c.id: c.verdict for c in found}


# -- a gain that grows in time -----------------------------------------------------------------------------------------


def test_growth_is_a_power_of_time():
    t = jnp.linspace(0.0, 10.0, 7)
    for power in (0.0, 0.5, 1.0, 2.0):
        found = jax.vmap(lambda s, power=power: Growth(3.0, 2.0, power)(None, s))(t)
        np.testing.assert_allclose(found, 3 * (1 + np.asarray(t) / 2) ** power, rtol=1e-12)
    for change in ({"initial": -1.0}, {"time": 0.0}, {"power": np.nan}):
        with pytest.raises(ValueError, match=next(iter(change))):
            Growth(**{"initial": 1.0, "time": 1.0, **change})


def test_agents_approach_each_other_by_the_product_of_the_growing_gains():
    eta, steps = 0.02, 60
    flat = sdesim.objectives.Quadratic(0.0)
    model = sdesim.Dynamics(flat, sdesim.Quorum(Growth(1.0, 0.5, 1.0)), eta=eta)
    start = np.array([[-1.0], [0.5], [2.0]])
    end = sdesim.simulate(model, agents=3, steps=steps, init=start).agents[0]
    factor = np.prod(1 - eta * (1 + eta * np.arange(steps) / 0.5))
    np.testing.assert_allclose(end, start.mean() + factor * (start - start.mean()), rtol=1e-10)


def test_constants_of_the_skewed_loss():
    problem = Skewed(strength=0.7, weight=1.3, sigma=1.0, agents=4, start=0.0)
    f = lambda z: problem.objective.loss(z[None])
    first, second, third = jax.grad(f), jax.jit(jax.grad(jax.grad(f))), jax.jit(jax.grad(jax.grad(jax.grad(f))))
    bottom = jnp.asarray(problem.minimum)
    assert float(first(bottom)) == pytest.approx(0, abs=1e-12)
    assert float(second(bottom)) == pytest.approx(problem.curvature, rel=1e-12)
    assert float(third(bottom)) == pytest.approx(problem.third, rel=1e-12)
    x = jnp.linspace(-12, 12, 4001)
    curvature, skew = jax.vmap(second)(x), jax.vmap(third)(x)
    assert problem.strength <= float(curvature.min()) and float(curvature.max()) <= problem.smoothness
    assert float(curvature.max()) == pytest.approx(problem.smoothness, rel=1e-4)
    assert float(abs(skew).max()) <= problem.third * (1 + 1e-12)


def test_the_iterations_bound_tends_to_the_theorem():
    """At fixed eta C, the bound's distance from Theorem 5.1 is of first order in eta."""
    k, p, excess = 5.0, 50, []
    for eta in (0.02, 0.01, 0.005):
        problem = Skewed(strength=1.0, weight=1.0, sigma=float((0.5 / eta) ** 0.5), agents=p, start=0.3)
        steps = round(20 / eta)
        bound = problem.distance_bound(np.full(steps, eta), np.full(steps, k))
        theorem = bounds.qsgd_distance(p, 1, eta, 0.5 / eta, problem.third, k, 1.0)
        excess.append(bound[-1] / theorem - 1)
        assert bound[0] == pytest.approx(0.3)
    assert np.diff(np.log(excess)) == pytest.approx(-np.log(2), abs=0.1)
    discrete, continuous = (problem.first_term(0.005, k, discrete=d) for d in (True, False))
    assert continuous == pytest.approx(bounds.qsgd_distance_terms(p, 1, 0.005, 100.0, problem.third, k, 1.0)[0])
    assert 1 < discrete / continuous < 1.05


def test_schedule_claims_can_fail(smoke):
    _, config, data = smoke("bs-schedule")
    wrong = {
        "bias": data.assign({name: 1.3 * data[name] for name in ("bias_constant", "constant_bias")}),
        "power": data.assign(bias_constant=data["bias_constant"].copy(data=data["bias_constant"].values[::-1])),
        "gain": data.assign(constant_bias=data["constant_bias"].copy(data=data["constant_bias"].values[:, ::-1])),
        "sde": data.assign(constant_bias=np.minimum(data["constant_bias"], data["constant_bias"].mean("sim").min("k"))),
        "far": data.assign(quorum=3 * data["quorum"]),
    }
    failed = {
        name: {i for i, v in verdicts("bs-schedule", config, d).items() if v == "fails"} - {"sde-bound-large-step"}
        for name, d in wrong.items()
    }
    assert failed["bias"] >= {"bias-predicted-at-most"}
    assert failed["power"] >= {"first-term-removed", "bias-predicted-at-most", "bias-predicted-at-least"}
    assert failed["gain"] >= {"constant-bound", "constant-tight"}
    assert failed["sde"] >= {"step-limit"}
    assert failed["far"] >= {"distance-bound"}


# -- learning rates that differ ----------------------------------------------------------------------------------------


def test_rates_claims_can_fail(smoke):
    _, config, data = smoke("bs-rates")
    swapped = {}
    for name in ("spread", "quorum"):
        for one, other in (("noise", "iteration"), ("iteration", "noise")):
            swapped[f"quadratic_{one}_{name}"] = data[f"quadratic_{other}_{name}"]
    failed = {i for i, v in verdicts("bs-rates", config, data.assign(swapped)).items() if v == "fails"}
    assert failed >= {"noise-spread-exact", "noise-quorum-exact", "iteration-spread-exact", "iteration-quorum-exact"}
    assert "slow-agents-rule" in failed
    other_way = data.reindex(population=data["population"].values[[1, 0, 3, 2, 4]]).assign_coords(
        population=data["population"].values
    )
    wrong = data.assign(
        quorum_share=other_way["quorum_share"],
        logcosh_noise_spread=2 * data["logcosh_noise_spread"],
        met=data["started"],
    )
    failed = {i for i, v in verdicts("bs-rates", config, wrong).items() if v == "fails"}
    assert failed >= {"spread-bound", "consensus-weighted", "explorers-find", "own-steps-lose"}


# -- filters -----------------------------------------------------------------------------------------------------------


def test_effective_rate_is_the_drift_under_a_constant_force():
    config = bs_filters.Config()
    force = lambda x: -x[0]
    for method, model in dynamics(config, force, sdesim.noise.Silent()).items():
        k = config.k_shown
        scale = 1 - config.momentum if model.momentum is not None else 1.0
        rate = effective_rate(config, k)
        if method not in FILTERS:
            model = dataclasses.replace(model, eta=scale * rate)
        result = sdesim.simulate(model, steps=2000, observe=sdesim.observe.Quorum(), every=1000)
        x = np.asarray(result.observed["quorum"]).ravel()
        drift = (x[-1] - x[-2]) / 1000
        if method == "saturating":  # it runs away: its center cannot follow at that speed
            assert drift < rate
            continue
        assert drift == pytest.approx(rate, rel=1e-6)


def test_transitions_are_the_iterations():
    """One noiseless step of each model on the quadratic is its matrix."""
    config = bs_filters.Config(k=(3.0,), k_shown=3.0)
    rate = effective_rate(config, 3.0)
    quadratic = sdesim.objectives.Quadratic(config.curvature)
    for method, model in dynamics(config, quadratic, sdesim.noise.Silent()).items():
        if method == "saturating":
            continue
        if method != "linear":
            scale = 1 - config.momentum if model.momentum is not None else 1.0
            model = dataclasses.replace(model, eta=scale * rate)
        m = iteration(config, method, 3.0).matrix
        result = sdesim.simulate(model, steps=5, init=1.0)
        state = {"linear": [1.0, 1.0], "sgd": [1.0, 1.0]}.get(method, [1.0, 0.0])
        np.testing.assert_allclose(result.agents.ravel(), (np.linalg.matrix_power(m, 5) @ state)[0], rtol=1e-12)


def test_filter_claims_can_fail(smoke):
    _, config, data = smoke("bs-filters")
    roll = lambda a, by: a.copy(data=np.roll(a.values, by, axis=a.dims.index("algorithm")))
    wrong = data.assign({name: roll(data[name], 1) for name in ("x_variance", "center_variance")})
    wrong = wrong.assign(decay=1.1 * data["decay"], energy=30 * data["energy"], speed=2 * data["speed"])
    wrong["square"] = data["square"].copy(data=data["square"].values[::-1])
    failed = {i for i, v in verdicts("bs-filters", config, wrong).items() if v == "fails"}
    assert failed >= {
        "agent-variance-exact",
        "center-variance-exact",
        "rates-are-eigenvalues",
        "energy-bound",
        "saturating-speed",
        "linear-unstable",
        "saturating-stable",
    }
    quiet = xr.where(data["algorithm"] == "sgd", 0.5, 1.0)
    wrong = data.assign(center_variance=quiet * data["center_variance"], distance=quiet * data["distance"])
    wrong["energy"] = data["energy"] / 10
    failed = {i for i, v in verdicts("bs-filters", config, wrong).items() if v == "fails"}
    assert failed >= {"center-as-quiet-as-sgd", "saturating-quieter", "center-no-farther", "energy-bound-tight"}


# -- configurations ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: bs_schedule.Config(constant_k=(120.0,)), "constant_k=.*must stay below 2"),
        (lambda: bs_schedule.Config(gain=5.0), "gain=5.0.*must stay below 2"),
        (lambda: bs_schedule.Config(floor=0.02), "floor=0.02: must be less than eta"),
        (lambda: bs_schedule.Config(steps=100), "steps=100: must last"),
        (lambda: bs_rates.Config(agents=15), "agents=15: must be even"),
        (lambda: bs_rates.Config(contrast=(0.0, 1.0)), "contrast=.*less than 1"),
        (lambda: bs_rates.Config(contrast=(0.5,)), "contrast=.*must begin with 0"),
        (lambda: bs_rates.Config(k=(60.0,)), "k=.*must be below 2"),
        (lambda: bs_rates.Config(explorers=Explorers(k=(40.0,))), "explorers.k=.*must be below 2"),
        (lambda: bs_filters.Config(k_shown=5.0), "k_shown=5.0: must be one of"),
        (lambda: bs_filters.Config(momentum=1.0), "momentum=1.0"),
        (lambda: bs_filters.Config(k=(8.0, 40.0)), "k=.*must be less than 2"),
    ],
)
def test_unfit_configurations_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
