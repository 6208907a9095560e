"""Every number that a public function of theory takes is tried with NaN, infinity and -1.5: what is not finite is
refused by its name, and so is what is negative, unless its sign is free; then what comes back is finite. A new function
must have a good call here."""

import importlib
import inspect
import pkgutil
import warnings
from typing import Any

import numpy as np
import pytest

from sdesim import asynchrony, objectives, theory
from sdesim.theory import averages, linear, meanfield, trees
from sdesim.theory import convergence as far
from sdesim.theory import synchronization as near

# One good call of each, by module and name. Numbers are those that are tried.
AGENTS: dict[str, Any] = {"agents": 4, "eta": 0.1, "noise_trace": 1.0, "batch": 2}
LOSS: dict[str, Any] = {"dims": 2, "third": 0.5}
CONVEX: dict[str, Any] = {"strong_convexity": 1.0, "smoothness": 2.0}
CHAIN: dict[str, Any] = {"k": 3.0, "dt": 0.1}
MOMENTUM: dict[str, Any] = {"k1": 2.0, "k2": 1.0, "mu": 1.5, **CONVEX}
EASGD: dict[str, Any] = {"eta_h": 0.3, "alpha": 0.1, "beta": 0.4}
OUTER: dict[str, Any] = {"a": 0.5, "lr": 0.7, "momentum": 0.5}
REFINED: dict[str, Any] = {"eta": 0.1, "curvature": 1.0, "multiplicative": 0.5}
GAMMA: dict[str, Any] = {"shape": 0.5, "rate": 0.5}
SAMPLES: dict[str, Any] = {"eta": 0.1, "mean": 1.0, "variance": 2.0}
BOUND: dict[str, Any] = {"workers": 4, "eta": 0.1, "alpha": 0.1, "beta": 0.4, "mu": 1.0, "smoothness": 2.0}
LAW = {"law": asynchrony.Gamma(2.0), "workers": 3}
TWINS: dict[str, Any] = {"workers": 3, "a": 0.1, "samples": 10, "arrivals": 5}
WELLS = meanfield.SelfConsistency(objectives.QuarticDoubleWell(), meanfield.Grid(-3.0, 3.0, 60))
GOOD: dict[str, dict[str, Any]] = {
    "averages.average_covariance": {"matrix": 1.0, "covariance": 1.0, "agents": 3, "k": 1.0},
    "averages.quorum_chain": {"eta": 0.1, "preconditioners": [1.0, 2.0], "matrix": 1.0, "noise": 1.0, "k": 1.0},
    "convergence.sgd_distance": {"eta": 0.1, "noise_trace": 1.0, "strong_convexity": 1.0, "batch": 2},
    "convergence.qsgd_distance_terms": {**AGENTS, **LOSS, "k": 1.0, "strong_convexity": 1.0},
    "convergence.qsgd_distance": {**AGENTS, **LOSS, "k": 1.0, "strong_convexity": 1.0},
    "convergence.qsgd_distance_discrete_terms": {**AGENTS, **LOSS, **CHAIN, **CONVEX},
    "convergence.qsgd_distance_discrete": {**AGENTS, **LOSS, **CHAIN, **CONVEX},
    "convergence.qsgd_distance_scheduled": {**AGENTS, **LOSS, **CONVEX, "eta": [0.1, 0.2], "k": 1.0, "start": 1.0},
    "convergence.easgd_rate": {"agents": 4, "k": 1.0, "strong_convexity": 1.0},
    "convergence.easgd_distance": {**AGENTS, **LOSS, "k": 1.0, "strong_convexity": 1.0},
    "convergence.easgd_stability_limit": {"agents": 4, "k": 1.0, "smoothness": 1.0},
    "convergence.momentum_metric": {"mu": 1.5, **CONVEX, "c": 0.75},
    "convergence.momentum_distance": {**AGENTS, **LOSS, **MOMENTUM, "c": 0.75},
    "double_well.critical_points": {"rho": 0.3},
    "double_well.gradient": {"point": [0.1, 0.2, 0.3], "rho": 0.3},
    "double_well.hessian": {"point": [0.1, 0.2, 0.3], "rho": 0.3},
    "double_well.least_curvature_apart": {"rho": 0.3},
    "generalization.stability_bound": {
        **{"samples": 10, "rates": [0.1, 0.1], "delays": [0, 1], "smoothness": 1.0},
        **{"diameter": 2.0, "distance": 1.0, "least_loss": 0.1},
    },
    "generalization.regular_twins": TWINS,
    "generalization.memoryless_twins": TWINS,
    "generalization.regression_limit": {"workers": [1, 4], "dims": 3},
    "linear.ou_covariance": {"matrix": 1.0, "covariance": 1.0, "agents": 3},
    "linear.ou_covariance_discrete": {"matrix": 1.0, "covariance": 1.0, "dt": 0.1, "agents": 3},
    "linear.easgd_covariance": {"curvature": 1.0, "covariance": 1.0, "agents": 3, "k": 1.0},
    "linear.normal_length": {"dims": 3},
    "meanfield.Grid": {"low": -1.0, "high": 1.0, "cells": 10},
    "meanfield.linear_noise": {"variance": 0.1, "k": 1.0, "temperature": 0.5},
    "meanfield.quorum_moments": {"loss": WELLS, "k": 1.0, "temperature": 0.5, "agents": 3, "points": 11},
    "multiplicative.gamma_law": GAMMA,
    "multiplicative.sgd_factor": {**SAMPLES, "batch": 2},
    "multiplicative.best_eta": {"mean": 1.0, "variance": 2.0, "batch": 2},
    "multiplicative.momentum_moments": {**SAMPLES, "delta": 0.5},
    "multiplicative.easgd_moments": {**SAMPLES, "workers": 4, "alpha": 0.1, "beta": 0.4},
    "multiplicative.eamsgd_moments": {**SAMPLES, "workers": 4, "delta": 0.5, "alpha": 0.1, "beta": 0.4},
    "multiplicative.easgd_limit": {**GAMMA, "alpha": 0.1, "beta": 0.4},
    "multiplicative.widest_alpha": GAMMA,
    "outer.curvature": {"eta_h": 0.3, "period": 4},
    "outer.noise": {"eta_h": 0.3, "period": 4, "workers": 2, "step": 1.0},
    "outer.fixed_point": {"eta_h": [0.1, 0.2], "minimum": [0.5, 1.0], "period": 4},
    "outer.means": OUTER,
    "outer.lr_limit": {"a": 0.5, "momentum": 0.5},
    "outer.radius": OUTER,
    "outer.best_momentum": {"a": 0.5, "lr": 0.7},
    "outer.stationary": {**OUTER, "noise": 1.0},
    "perturbation.quorum_perturbation": {
        **{"agents": 3, "eta": [0.1, 0.2], "sigma": 1.0, "third": 0.5, "k": [1.0, 2.0], "curvature": 1.0}
    },
    "quadratic.center_roots": {"workers": 4, "eta_h": 0.3, "alpha": 0.1},
    "quadratic.center_mean": {"steps": [0, 5], "workers": 4, "eta_h": 0.3, "alpha": 0.1, "center": 1.0, "mean": 0.5},
    "quadratic.center_variance": {"steps": [0, 5], "workers": 4, "eta_h": 0.3, "alpha": 0.1, "noise": 1.0},
    "quadratic.center_square": {
        **{"steps": 5, "workers": 4, "eta_h": 0.3, "alpha": 0.1, "noise": 1.0, "center": 1.0, "mean": 0.5}
    },
    "quadratic.center_limit": {"eta_h": 0.3, "beta": 0.4},
    "quadratic.double_average_variance": {"workers": 4, "h": 1.0, "variance": 1.0},
    "quadratic.sgd_variance": {"eta_h": 0.3, "noise": 1.0, "batch": 2},
    "quadratic.momentum_moments": {"eta_h": 0.3, "delta_h": 0.5},
    "quadratic.momentum_stationary": {"eta_h": 0.3, "delta_h": 0.5, "noise": 1.0},
    "quadratic.easgd_moments": EASGD,
    "quadratic.easgd_stationary": {**EASGD, "workers": 4, "noise": 1.0},
    "quadratic.eamsgd_means": {**EASGD, "delta_h": 0.5},
    "quadratic.eamsgd_moments": {**EASGD, "delta_h": 0.5},
    "quadratic.eamsgd_stationary": {**EASGD, "workers": 4, "delta_h": 0.5, "noise": 1.0},
    "rates.agents_covariance": {
        **{"eta": [0.1, 0.2], "noise_trace": 1.0, "k": 1.0, "curvature": 1.0, "batch": 2, "dt": 0.1, "own_steps": True}
    },
    "rates.spread_and_variance": {"covariance": np.array([[1.0, 0.5], [0.5, 1.0]])},
    "rates.consensus": {"start": [0.0, 1.0], "eta": [0.1, 0.2]},
    "renewals.count_law": {**LAW, "window": 1.0},
    "renewals.dispersion": {**LAW, "windows": [1.0, 2.0]},
    "renewals.poisson_distance": {**LAW, "window": 1.0},
    "renewals.staleness_moments": LAW,
    "renewals.staleness_law": {**LAW, "most": 4},
    "smoothing.uniform": {"half_width": 1.0},
    "smoothing.averaged": {"half_width": 1.0, "agents": 3},
    "smoothing.agents_law": {"half_width": 1.0, "agents": 3, "order": "jacobi", "rate": 0.5, "step": 3},
    "stability.radius": {"matrix": [[0.5, 0.1], [0.2, 0.3]]},
    "stability.in_unit_circle": {"b": 0.3, "c": 0.2},
    "stability.momentum_is_stable": {"eta_h": 0.3, "delta_h": 0.5},
    "stability.best_momentum": {"eta_h": 0.3},
    "stability.center_is_stable": {"workers": 4, "eta_h": 0.3, "alpha": 0.1},
    "stability.reduced_is_stable": EASGD,
    "stability.easgd_drift": {**EASGD, "workers": 4},
    "stability.eamsgd_drift": {**EASGD, "workers": 4, "delta_h": 0.5},
    "refinement.second_moment": {**REFINED, "level": 4.0, "sigma": 1.0},
    "refinement.path": {**REFINED, "level": 4.0, "steps": 3, "start": 1.0, "sigma": 1.0},
    "refinement.stable_eta": {"level": 4.0, "curvature": 1.0, "multiplicative": 0.5},
    "refinement.fourth_moment": {"eta": 0.1, "level": 4.0, "curvature": 1.0, "sigma": 1.0, "excess": 2.0},
    "refinement.moved": REFINED,
    "refinement.largest_eta": {"tolerance": 0.1, "curvature": 1.0, "multiplicative": 0.5},
    "stability.easgd_spectrum": EASGD,
    "stability.eamsgd_spectrum": {**EASGD, "delta_h": 0.5},
    "stability.best_reduced_alpha": {"eta_h": 0.3, "beta": 0.4},
    "stability.best_alpha": {"eta_h": 0.3, "beta": 0.4},
    "stability.easgd_sweep": {"workers": 4, "eta_h": 0.3, "alpha": 0.1},
    "stability.easgd_in_turn_limit": {"eta_h": 0.3},
    "stability.admm_turn": {"workers": 4, "worker": 1, "eta": 0.1, "rho": 2.5, "h": 1.0},
    "stability.admm_sweep": {"workers": 4, "eta": 0.1, "rho": 2.5, "h": 1.0},
    "stability.gauss_seidel_drift": EASGD,
    "stability.gauss_seidel_case": EASGD,
    "staleness.characteristic_roots": {"h": 0.5, "delay": 1.0, "pull": 0.1, "friction": 0.5, "count": 1},
    "staleness.stability_limit": {"delay": 1.0, "pull": 0.1, "friction": 0.5},
    "staleness.best_gain": {"delay": 1.0, "pull": 0.1, "friction": 0.5},
    "staleness.best_workers": {"a": 0.1, "compute": 1.0},
    "staleness.most_workers": {"a": 0.1, "compute": 1.0},
    "staleness.delay_variance": {"h": 1.0, "delay": 0.5, "noise": 1.0},
    "staleness.delay_root": {"h": 1.0, "delay": 0.5, "shape": 2.0},
    "staleness.newton": {"function": lambda s: s - 1, "slope": lambda s: 1.0 + 0 * s, "start": 0.5},
    "staleness.gamma_delay_limit": {"shape": 2.0},
    "staleness.step_radius": {"a": 0.1, "delay": 2.0, "delta": 0.5, "coupling": 0.1},
    "staleness.step_limit": {"delay": 2.0, "delta": 0.5, "coupling": 0.1},
    "staleness.delay_law": {"delay": 1.0},
    "staleness.gamma_delay": {"mean": 1.0, "shape": 2.0},
    "staleness.sampled_delay": {"times": [1.0, 2.0], "weights": [1.0, 1.0]},
    "staleness.uniform_delay": {"low": 0.5, "high": 1.0},
    "staleness.quantile_delay": {"quantiles": lambda u: u, "longest": 0.9},
    "staleness.mixed_delay": {"laws": [1.0, 2.0], "weights": [1.0, 1.0]},
    "staleness.workers_delay": {"compute": 1.0, "means": [1.0, 2.0]},
    "staleness.threshold_delay": {"quantiles": lambda u: u, "workers": 4.0, "threshold": 3.0},
    "staleness.geometric_staleness": {"workers": 4, "most": 3},
    "staleness.mean_rate": {"workers": [1, 4], "a": 0.1},
    "staleness.saturation": {"a": 0.1},
    "staleness.mean_square_limit": {"a": 0.1},
    "staleness.sgd_moments": {"workers": 4, "a": 0.1},
    "staleness.sgd_stationary": {"workers": 4, "a": 0.1, "noise": 1.0},
    "staleness.mean_path": {"workers": 4, "a": 0.1, "times": [0.0, 1.0]},
    "staleness.moment_path": {"workers": 4, "a": 0.1, "times": [0.0, 1.0], "noise": 1.0},
    "staleness.square_rate": {"workers": 4, "a": 0.1},
    "staleness.unequal_means": {"means": [1.0, 2.0], "a": 0.1},
    "staleness.easgd_moments": {"workers": 4, "a": 0.1, "alpha": 0.1},
    "staleness.easgd_stationary": {"workers": 4, "a": 0.1, "alpha": 0.1, "noise": 1.0},
    "staleness.regular_limit": {"workers": 4},
    "staleness.regular_radius": {"workers": 4, "a": 0.1},
    "staleness.regular_rate": {"workers": 4, "a": 0.1},
    "staleness.regular_path": {"workers": 4, "a": 0.1, "arrivals": 5},
    "strongly_convex.easgd_bound": {**BOUND, "noise": 1.0},
    "strongly_convex.easgd_bound_path": {**BOUND, "noise": 1.0, "steps": 3, "start": 1.0},
    "strongly_convex.easgd_bound_limit": {**BOUND, "noise": 1.0},
    "synchronization.synchronization_rate": {"k": 1.0, "concavity": 0.5},
    "synchronization.state_dependent_rate": {"total_gain": 1.0, "concavity": 0.5},
    "synchronization.synchronization_level": {**AGENTS, "k": 1.0, "concavity": 0.5},
    "synchronization.synchronization_level_discrete": {**AGENTS, **CHAIN, "concavity": 0.5, "smoothness": 1.0},
    "synchronization.disturbance": {**AGENTS, **LOSS, "k": 1.0, "concavity": 0.5},
    "synchronization.disturbance_discrete": {**AGENTS, **LOSS, **CHAIN, "concavity": 0.5, "smoothness": 1.0},
    "synchronization.quorum_noise_covariance": {"covariance": 1.0, "agents": 4, "eta": 0.1, "batch": 2},
    "synchronization.momentum_synchronization_rate": MOMENTUM,
    "synchronization.momentum_synchronization_level": {**AGENTS, **MOMENTUM},
    "synchronization.momentum_spread": {**AGENTS, "k": 1.0, "mu": 1.5, "curvature": 1.0},
    "transition.effective_rate": {"eta": 0.1, "k": 1.0, "rate": 1.0},
    "transition.sgd_transition": {"eta": 0.1, "noise_trace": 1.0, "curvature": 1.0},
    "transition.momentum_transition": {"eta": 0.1, "noise_trace": 1.0, "curvature": 1.0, "delta": 0.5},
    "transition.filter_transition": {"eta": 0.1, "noise_trace": 1.0, "curvature": 1.0, "k": 1.0, "rate": 1.0},
    "transition.filter_energy": {"eta": 0.1, "noise_trace": 1.0, "k": 1.0, "rate": 1.0, **CONVEX},
    "trees.tree_mean": {"fanout": [2, 2], "a": 0.1, "alpha": 0.2, "times": [0.0, 0.1], "delay": 0.05},
    "trees.tree_second": {"fanout": [2, 2], "a": 0.1, "alpha": 0.2, "noise": 1.0},
}
MODULES = {"convergence": far, "synchronization": near, "linear": linear, "averages": averages, "trees": trees}

# Of which any finite number is taken: moving rates and curvatures of a map that is asked for its stability, places, and
# numbers that are drawn with a sign.
SIGNED = {
    *("eta_h", "delta_h", "alpha", "beta", "b", "c", "center", "mean", "point", "start", "matrix", "covariance"),
    *(
        "third",
        "excess",
        "concavity",
        "function",
        "slope",
        "preconditioners",
        "noise of quorum_chain",
        "delta of momentum_moments",
        "delta of eamsgd_moments",
        "strong_convexity of momentum_synchronization_rate",
        "strong_convexity of momentum_synchronization_level",
        "minimum",
        *(f"{a} of {of}" for a in OUTER for of in ("means", "radius")),
        "low",
        "high",
    ),
}
# Infinity is taken, and NaN refused: the limit of many steps.
INFINITE = {"quadratic.center_mean(steps)", "quadratic.center_variance(steps)", "quadratic.center_square(steps)"} | {
    f"refinement.{of}(level)" for of in ("second_moment", "fourth_moment", "path", "stable_eta")
}
# Called by public functions, after checks of their own.
INSIDE = {
    *("linear.system", "linear.check_stable", "synchronization.level", "synchronization.step"),
    *("synchronization.contraction", "synchronization.disturbance_of"),
}
# What takes losses, models and points, whose numbers are tried in tests of their own.
ELSEWHERE = {"curvature", "meanfield"}
TRIED = [
    (name, argument)
    for name, call in GOOD.items()
    for argument, value in call.items()
    if not isinstance(value, bool | str) and np.asarray(value).dtype.kind in "fi"
]
RIGHT = ("must", "needs", "stable", "no stationary law")


def named(name: str) -> Any:
    module, _, function = name.partition(".")
    return getattr(MODULES.get(module) or getattr(theory, module), function)


def with_one(value: Any, bad: float) -> Any:
    """A number that is bad, or a sequence whose last number is."""
    found = np.array(value, float)
    found.reshape(-1)[-1] = bad
    return bad if found.ndim == 0 else found.tolist()


def numbers_of(found: Any) -> list[np.ndarray]:
    """All numbers in what a function gave."""
    if found is None:
        return []
    if hasattr(found, "__dataclass_fields__"):
        return (
            [np.zeros(0)]
            if isinstance(found, meanfield.Grid)
            else numbers_of(tuple(v for k, v in vars(found).items() if k != "edge"))
        )
    if isinstance(found, tuple):
        return [a for part in found for a in numbers_of(part)]
    return [np.asarray(found)]


def tried(name: str, argument: str, bad: float) -> Exception | Any:
    """What a good call gives with one bad number: the error, or the result."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            return named(name)(**{**GOOD[name], argument: with_one(GOOD[name][argument], bad)})
        except (ValueError, TypeError) as error:
            return error


def check_refusal(error: Any, argument: str) -> None:
    said = str(error)
    assert isinstance(error, ValueError | TypeError), f"taken: {said}"
    assert argument in said and any(word in said for word in RIGHT), said
    assert "\n" not in said and len(said) <= 300, said


@pytest.mark.parametrize("name", GOOD)
def test_a_good_call_is_taken(name):
    assert all(np.isfinite(a).all() for a in numbers_of(named(name)(**GOOD[name])) if a.dtype.kind in "fc")


@pytest.mark.parametrize(("name", "argument"), TRIED)
def test_what_is_not_finite_is_refused(name, argument):
    check_refusal(tried(name, argument, np.nan), argument)
    if f"{name}({argument})" in INFINITE:
        assert not isinstance(tried(name, argument, np.inf), Exception)
    else:
        check_refusal(tried(name, argument, np.inf), argument)


@pytest.mark.parametrize(("name", "argument"), TRIED)
def test_a_negative_number_is_refused_unless_its_sign_is_free(name, argument):
    found = tried(name, argument, -1.5)
    free = SIGNED & {argument, f"{argument} of {name.rpartition('.')[2]}"}
    if isinstance(found, Exception):
        check_refusal(found, argument)
    else:
        assert free and all(np.isfinite(a).all() for a in numbers_of(found) if a.dtype.kind in "fc")


@pytest.mark.parametrize("name", ["trees.tree_mean", "trees.tree_second"])
def test_a_tree_without_levels_is_refused(name):
    with pytest.raises(ValueError, match=r"^fanout=\(\): must have"):
        named(name)(**{**GOOD[name], "fanout": ()})


def test_every_function_of_theory_is_tried():
    """Of the modules that are public, and of those that `bounds` is made of."""
    missing = []
    for found in pkgutil.walk_packages(theory.__path__, "sdesim.theory."):
        module, short = importlib.import_module(found.name), found.name.removeprefix("sdesim.theory.").split(".")[0]
        for name, value in vars(module).items():
            own = inspect.isfunction(value) and value.__module__ == found.name and not name.startswith("_")
            known = {short, f"{short}.{name}"} & (ELSEWHERE | INSIDE | GOOD.keys() | {"arguments"})
            missing += [f"{short}.{name}"] if own and not known else []
    assert missing == []
