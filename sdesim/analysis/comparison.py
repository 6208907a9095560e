"""Coupling rules side by side on one loss: how far they are stable, how tight they can be, and what agents gain.

Every number is of the second-moment map of the code that simulates, `linearize`; nothing is simulated.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping

import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax.typing import ArrayLike

from sdesim import coupling, noise, objectives
from sdesim.analysis.linear import linearize
from sdesim.analysis.moments import Linear
from sdesim.analysis.optimum import least_of
from sdesim.analysis.stability import crossing, said_of
from sdesim.dynamics import Dynamics, Nesterov
from sdesim.ensembles.points import with_value
from sdesim.fields import check_count, numeric_fields, shown
from sdesim.steppers import AbstractStepper, Iteration

WORDS = {
    "limit": "learning rate below which it is stable in mean square",
    "best_gain": "gain at which an agent's stationary mean square is least",
    "agent": "stationary mean square of an agent",
    "quorum": "stationary mean square of the mean over agents",
    "center": "stationary mean square of the center that agents share",
    "rate": "rate at which means decay, in 1 / step",
    "speed_up": "mean square of one agent without coupling, over that of the center, or of the quorum where none is",
}
GRID = 17  # gains that are looked at before the best is closed in on
FAR = 1e6  # a number that is stable at so many times its value has no limit


def rules_compared(eta: float = 0.1, gain: float = 1.0, delta: float = 0.9) -> dict[str, Dynamics]:
    """The rules of the registry, without and with Nesterov's momentum, on x^2 / 2 with noise of variance 1.

    To first order a saturating filter is a linear one, and `Spiking` between its jumps is `Quorum`.

    Args:
        eta: learning rate, in time.
        gain: k of every coupling, of four agents together where each has its own, and the rate of a filter, in 1/time.
        delta: momentum, without unit.

    Returns:
        Models by name.
    """
    model = functools.partial(Dynamics, objectives.Quadratic(), noise=noise.Gaussian(1.0), eta=eta)
    made = {  # of four agents
        "SGD": coupling.Uncoupled(),
        "QSGD": coupling.Quorum(gain),
        "SD-QSGD": coupling.StateDependent(lambda x, t: gain / 4 * jnp.exp(-jnp.sum(x * x))),
        "EASGD": coupling.Elastic(gain),
        "EASGD Tree, 2 x 2": coupling.Tree(gain, (2, 2)),
        "mixing on a ring": coupling.Mixing(gain, coupling.ring(4)),
        "outer optimizer": coupling.Outer(gain, 0.7, 0.5),
        "linear filter": coupling.Filtered(gain, coupling.LinearFilter(gain)),
    }
    plain = {name: model(coupling=rule) for name, rule in made.items()}
    pushed = {f"{name}, momentum": model(coupling=rule, momentum=Nesterov(delta)) for name, rule in made.items()}
    return plain | pushed


def compare(
    models: Mapping[str, Dynamics] | None = None,
    *,
    agents: int = 4,
    stepper: AbstractStepper | None = None,
    at: ArrayLike = 0.0,
) -> xr.Dataset:
    """How far models are stable, at which gain agents are tightest, and what more of them gain.

    Args:
        models: by name, of a loss that is quadratic about the point; those of `rules_compared` by default.
        agents: p of all.
        stepper: what one step is, as for `linearize`; the discrete algorithm by default.
        at: the point at which all rest, a number or (dims,).

    Returns:
        A Dataset over `model`, of which `.to_dataframe()` is a table; mean squares are summed over coordinates:
        `limit`, the learning rate beyond which steps are not stable, the nearest to the model's own; `best_gain`, of
        "coupling.k" at the model's learning rate, NaN for rules without one number k; `agent`, `quorum` and `center`,
        stationary, NaN where nothing is, and of the center where agents do not share one point; `rate`, at which means
        decay, in 1 / step; `speed_up` in mean square over one agent of the same model without coupling, of the center,
        or of the quorum where there is none.

    Raises:
        TypeError: for what is no mapping of models.
        ValueError: for steps that `linearize` refuses, with the model's name and the reason.
    """
    models = rules_compared() if models is None else models
    if not isinstance(models, Mapping) or not all(isinstance(m, Dynamics) for m in models.values()) or not models:
        raise TypeError(f"models={shown(models)}: must be sdesim.Dynamics by name, one or more")
    p, stepper = check_count("agents", agents), Iteration() if stepper is None else stepper
    found = []
    for name, model in models.items():
        try:
            found.append(_said(lambda m, many=p: linearize(m, stepper, agents=many, at=at), model, np.size(at)))
        except ValueError as error:
            raise ValueError(f"models[{name!r}]: {error}") from error
    variables = {key: ("model", [one[key] for one in found], {"long_name": WORDS[key]}) for key in WORDS}
    return xr.Dataset(variables, {"model": list(models)}, {"agents": p})


def markdown(data: xr.Dataset) -> str:
    """What `compare` found, as a table of Markdown with four digits.

    Args:
        data: of `compare`.

    Returns:
        The lines of the table.
    """
    names = list(WORDS)
    said = lambda v: "" if np.isnan(v) else f"{v:.4g}"
    rows = [[str(m), *(said(float(data[n].sel(model=m))) for n in names)] for m in data["model"].values]
    heads = ["", *(name.replace("_", " ") for name in names)]
    lines = [heads, ["---"] + ["---:"] * len(names), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _said(of: Callable[..., Linear], model: Dynamics, dims: int) -> dict[str, float]:
    """All of one model; `of` makes the map of a model and perhaps of another number of agents."""
    step = of(model)
    outer = isinstance(model.coupling, coupling.Outer)
    mean, agent, center = _squares(step, dims, outer)
    alone, _, _ = _squares(
        of(dataclasses.replace(model, coupling=coupling.Uncoupled(), velocity_coupling=None), 1), dims
    )
    best = np.nan
    k = numeric_fields(model).get("coupling.k")
    if k is not None and np.ndim(k) == 0 and float(k) > 0:
        with_gain = lambda gain: of(with_value(model, "coupling.k", gain))
        best = _best(lambda gain: _squares(with_gain(gain), dims)[1], _limit(lambda g: with_gain(g).radius(), float(k)))
    limit = _limit(lambda eta: of(with_value(model, "eta", eta)).radius(), float(np.asarray(model.eta)))
    shown_at = mean if np.isnan(center) else center
    stationary = dict(agent=agent, quorum=mean, center=center, speed_up=alone / shown_at)
    return dict(limit=limit, best_gain=best, rate=step.mean_rate(), **stationary)


def _squares(step: Linear, dims: int, outer: bool = False) -> tuple[float, float, float]:
    """Stationary mean squares of the quorum, an agent and the center, summed over coordinates."""
    said = said_of(step, dims)
    total = lambda name: float(
        np.sum(said[name][:dims])
    )  # of an outer optimizer the center first, and then its velocity
    return total("quorum"), total("own"), total("shared") if outer or step.shared == dims else np.nan


def _limit(radius: Callable[[float], float], value: float) -> float:
    """The nearest number to a value beyond which the radius is above 1; infinite if there is none."""
    stable = lambda v: radius(v) < 1
    low = high = value
    if stable(value):
        while stable(high):
            low, high = high, 1.5 * high
            if high > FAR * value:
                return np.inf
    else:
        while not stable(low):
            low, high = low / 1.5, low
            if low < value / FAR:
                return np.nan
    return crossing(lambda v: radius(v) - 1, low, high)


def _best(square: Callable[[float], float], limit: float) -> float:
    """The number from 0 to a limit at which something is least."""
    if not np.isfinite(limit):
        return np.nan
    known = lambda value: np.inf if np.isnan(found := square(value)) else found
    return least_of(known, np.linspace(0, limit * (1 - 1e-9), GRID + 1))[0]
