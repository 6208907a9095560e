"""The runs of bs-filters: five methods on convex losses and on the oscillating one."""

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from sdesim import init, noise, objectives, observe
from sdesim.coupling import Filtered, LinearFilter, SaturatingFilter, Uncoupled
from sdesim.dynamics import Dynamics, HeavyBall, Nesterov
from sdesim.ensembles.grids import sweep
from sdesim.ensembles.warnings import DivergenceWarning, StabilityWarning
from sdesim.papers.boffi_slotine import one_dimensional as one
from sdesim.papers.boffi_slotine.filters.config import CONVERGING, FILTERS, Config, effective_rate
from sdesim.papers.frame import measured
from sdesim.results.datasets import dimension

EVERY = 20  # iterations between two records
DIVERGED = 1e6  # farther than this an agent has diverged


def dynamics(config: Config, loss: objectives.AbstractObjective, law: noise.AbstractNoise) -> dict[str, Dynamics]:
    """The five methods, at the gain shown and the full learning rate.

    Args:
        config: constants of the experiment.
        loss: the objective.
        law: of the gradient noise.

    Returns:
        Dynamics by the method's name.
    """
    linear, saturating = LinearFilter(config.rate), SaturatingFilter(config.rate, config.width)
    return {
        "linear": Dynamics(loss, Filtered(config.k_shown, linear), law, config.eta),
        "saturating": Dynamics(loss, Filtered(config.k_shown, saturating), law, config.eta),
        "sgd": Dynamics(loss, Uncoupled(), law, config.eta),
        "heavy ball": Dynamics(loss, Uncoupled(), law, config.eta, HeavyBall(config.momentum)),
        "nesterov": Dynamics(loss, Uncoupled(), law, config.eta, Nesterov(config.momentum)),
    }


def _series(config: Config, model: Dynamics, grid: Mapping[str, Sequence], start: Any, progress: bool) -> xr.Dataset:
    """Series of the agent `x` and of its `center`, of itself where it has none: (grid..., sim, step)."""
    data = sweep(
        model,
        grid,
        sims=config.sims,
        steps=config.steps,
        seed=config.seed,
        init=start,
        observe=[observe.Quorum(), observe.Center()],
        every=EVERY,
        keep_agents=False,
        progress=progress,
    )
    names = {"quorum_series": "x", "center_series": "center"}
    return data[list(names)].isel(dim=0, drop=True).rename(names).astype(float)


def _runs(
    config: Config, models: Mapping[str, Dynamics], further: Mapping[str, Sequence], start: Any, progress: bool
) -> xr.Dataset:
    """Series of each model for each gain, or at its effective rate: (algorithm, further..., k, sim, step)."""
    parts: list[xr.Dataset] = []
    for method, model in models.items():
        scale = 1.0 if model.momentum is None else 1 - config.momentum
        name = "coupling.k" if method in FILTERS else "eta"
        values = list(config.k) if method in FILTERS else [scale * effective_rate(config, k) for k in config.k]
        series = _series(config, model, {**further, name: values}, start, progress)
        parts.append(series.rename({dimension(name): "k"}).assign_coords(k=list(config.k)))
    return xr.concat(parts, dim=xr.IndexVariable("algorithm", list(models)))


def run(config: Config, progress: bool = False) -> xr.Dataset:
    convex = dynamics(config, objectives.LogCosh(config.curvature, config.weight), noise.Gaussian(config.sigma))
    return xr.merge(
        [
            _convex(config, convex, progress),
            _decays(config, convex, progress),
            _stability(config, convex, progress),
            _oscillating(config, progress),
        ]
    )


def _convex(config: Config, models: dict[str, Dynamics], progress: bool) -> xr.Dataset:
    """On the quadratic, which is log cosh of weight 0, and on log cosh, over the second half of each run."""
    weights = {"objective.weight": [0.0, config.weight]}
    series = _runs(config, models, weights, config.start, progress)
    quadratic, convex = (series.isel({"objective_weight": i}, drop=True) for i in (0, 1))
    late = dict(step=slice(config.steps // 2, None))
    energy = convex["x"] ** 2 + convex["k"] / config.rate * convex["center"] ** 2
    shown = convex["center"].sel(k=config.k_shown, drop=True)
    fastest = abs(shown.diff("step")).max("step") / (EVERY * config.eta)
    return xr.Dataset(
        {
            "x_variance": (quadratic["x"].sel(late) ** 2).mean("step", skipna=False),
            "center_variance": (quadratic["center"].sel(late) ** 2).mean("step", skipna=False),
            "energy": energy.sel(late).mean("step", skipna=False),
            "distance": abs(convex["center"].sel(late)).mean("step", skipna=False),
            "approach": abs(shown).mean("sim"),
            "speed": fastest.sel(algorithm="saturating", drop=True),
        }
    )


def _oscillating(config: Config, progress: bool) -> xr.Dataset:
    """Whether agent and center end in the basin of the deepest smoothed minimum, and some of their paths."""
    models = dynamics(config, config.loss.objective(), noise.Uniform(config.noise_half_width))
    start = init.Uniform(-config.init_half_width, config.init_half_width)
    series = _runs(config, models, {}, start, progress)
    found = measured.within(series.isel(step=-1, drop=True), config.landmarks.right, one.NEAR).astype(float)
    paths = series.sel(k=config.k_shown, drop=True).isel(sim=slice(None, 3)).rename(sim="path").drop_vars("path")
    return xr.merge(
        [
            found.rename(x="x_found", center="center_found"),
            paths.rename(x="x_path", center="center_path"),
        ]
    )


def _decays(config: Config, models: dict[str, Dynamics], progress: bool) -> xr.Dataset:
    """Rates at which the linear filter and SGD converge on the quadratic without noise, per iteration."""
    quiet = {m: dataclasses.replace(models[m], noise=noise.Gaussian(0.0)) for m in CONVERGING}
    # of the form and the size of the runs with noise, whose programs serve again
    series = _runs(config, quiet, {"objective.weight": [0.0, config.weight]}, config.start, progress)
    x = series["center"].isel({"objective_weight": 0, "sim": 0}).values
    early, late = ((x < level * config.start).argmax(-1) for level in (1e-1, 1e-3))
    if (late == 0).any():
        raise ValueError(f"steps={config.steps}: too few to converge at all gains k={config.k}; use more")
    reached = [np.take_along_axis(x, at[..., None], -1)[..., 0] for at in (early, late)]
    rate = np.log(reached[0] / reached[1]) / (EVERY * (late - early))
    return xr.Dataset({"decay": (("converging", "k"), rate)}, {"converging": list(CONVERGING), "k": list(config.k)})


def _stability(config: Config, models: dict[str, Dynamics], progress: bool) -> xr.Dataset:
    """Square of the agent on log cosh, over the second half, against the filters' rate: NaN where it diverged."""
    parts: list[xr.DataArray] = []
    for method in FILTERS:
        with warnings.catch_warnings():  # that it diverges is what is looked at
            warnings.simplefilter("ignore", StabilityWarning)
            warnings.simplefilter("ignore", DivergenceWarning)
            warnings.simplefilter("ignore", RuntimeWarning)
            grid = {"coupling.filter.rate": list(config.rates)}
            x = _series(config, models[method], grid, 0.0, progress)["x"]
        x = x.where(abs(x) < DIVERGED).sel(step=slice(config.steps // 2, None))
        parts.append((x**2).mean("step", skipna=False).rename({"coupling_filter_rate": "rate"}))
    return xr.Dataset({"square": xr.concat(parts, dim=xr.IndexVariable("filter", list(FILTERS)))})
