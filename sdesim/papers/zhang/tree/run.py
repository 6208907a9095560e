"""The runs of z-tree: with and without gradient noise, on the same clocks."""

import jax.numpy as jnp
import xarray as xr

from sdesim import coupling, noise, objectives, observe
from sdesim.asynchrony import EASGD, Asynchronous, ByLevel, Deterministic, EASGDTree, Exponential, UpDown
from sdesim.dynamics import Dynamics
from sdesim.ensembles.grids import sweep
from sdesim.papers.frame.measured import along
from sdesim.papers.zhang.tree.config import SCHEMES, Config


class Levels(observe.AbstractSeries):
    """Of each level the mean of one coordinate, and that of the first leaf or node, (levels, 2)."""

    name = "levels"
    axes = ("level", "what")

    def value(self, view: observe.View):
        shared, x = view.state.shared, view.state.x[:, 0]
        parts = [x]
        if isinstance(view.model.coupling, coupling.Tree):
            first = 0
            for size in view.model.coupling.level_sizes[1:]:
                parts.append(shared["nodes"][first : first + size, 0])
                first += size
        else:
            parts.append(view.center)
        return jnp.stack([jnp.stack([jnp.mean(part), part[0]]) for part in parts])

    def numbers(self, agents: int, dims: int):
        return 2 * 8


def protocol(scheme: str, period: int) -> EASGDTree:
    """The tree in a scheme.

    Args:
        scheme: a name of `SCHEMES`.
        period: the slow one; the other is 1.
    """
    return EASGDTree(ByLevel(1, period) if scheme == SCHEMES[0] else UpDown(1, period))


def stepper(scheme: str, period: int, delay: float) -> Asynchronous:
    """Leaves and nodes of exponential times, and messages that take a fixed one.

    Args:
        scheme: a name of `SCHEMES`.
        period: the slow one.
        delay: that a message takes, in m.
    """
    late = Deterministic(mean=delay) if delay else None
    return Asynchronous(protocol(scheme, period), compute=Exponential(), uplink=late, downlink=late)


def rule(config: Config, tree: bool) -> coupling.AbstractCoupling:
    """Elastic averaging of moving rate alpha, in a tree or with one center.

    Args:
        config: constants of the experiment.
        tree: whether in a tree.
    """
    k = config.alpha / config.eta
    return coupling.Tree(k, config.fanout) if tree else coupling.Elastic(k)


def _swept(config: Config, made: Asynchronous, progress: bool) -> xr.DataArray:
    """What is observed, (sigma, alpha, time, level, what, sim)."""
    tree = isinstance(made.protocol, EASGDTree)
    data = sweep(
        Dynamics(
            objectives.Quadratic(config.curvature), rule(config, tree), noise.Gaussian(config.sigma), eta=config.eta
        ),
        {"noise.sigma": [0.0, config.sigma], "coupling.k": [alpha / config.eta for alpha in config.alphas]},
        stepper=made,
        agents=config.leaves,
        sims=config.sims,
        at=config.moments,
        seed=config.seed,
        init=1.0,
        observe=Levels(),
        keep_agents=False,
        progress=progress,
    )
    seen = data[Levels.name].drop_attrs().astype(float)
    seen = seen.rename({"levels_level": "level", "levels_what": "what", "noise_sigma": "sigma", "coupling_k": "alpha"})
    levels = config.levels if tree else ["leaves", "root"]
    seen = seen.assign_coords(alpha=list(config.alphas), level=levels, what=["mean", "first"])
    return seen.transpose("sigma", "alpha", "time", "level", "what", "sim")


def run(config: Config, progress: bool = False) -> xr.Dataset:
    """Trees of all message times, of both schemes, and flat EASGD.

    Args:
        config: constants of the experiment.
        progress: whether to say how far it is.

    Returns:
        `mean` (delay, time, sim): of the root without noise. `squares` (alpha, level, sim): of the levels with noise
        and messages that take no time, averaged over the second half. `scheme_mean` (scheme, period, time, sim) and
        `scheme_square` (scheme, period, level, sim) of the two schemes; `flat_mean` (time, sim), `flat_square` (sim) of
        EASGD with as many workers.
    """
    # All is linear, and the clocks are the same: the difference is what noise does to a tree that starts at its rest.
    fluctuation = lambda seen: (seen.isel(sigma=1) - seen.isel(sigma=0)).sel(what="first", drop=True)
    settled = lambda seen: (fluctuation(seen).sel(time=slice(config.time / 2, None)) ** 2).mean("time")
    quiet = lambda seen: seen.isel(sigma=0, drop=True).sel(what="mean", level="root", alpha=config.alpha, drop=True)
    of_delay = {d: _swept(config, stepper(SCHEMES[1], 1, d), progress) for d in config.delays}
    means, squares = [], []
    for scheme in SCHEMES:
        seen = [
            of_delay[config.delay] if period == 1 else _swept(config, stepper(scheme, period, config.delay), progress)
            for period in config.periods
        ]
        means.append(along("period", config.periods, [quiet(s) for s in seen]))
        here = [settled(s).sel(alpha=config.alpha, drop=True) for s in seen]
        squares.append(along("period", config.periods, here))
    flat = _swept(config, Asynchronous(EASGD(), compute=Exponential()), progress)
    found = {
        "mean": along("delay", config.delays, [quiet(seen) for seen in of_delay.values()]),
        "squares": settled(of_delay[0.0]),
        "scheme_mean": along("scheme", SCHEMES, means),
        "scheme_square": along("scheme", SCHEMES, squares),
        "flat_mean": quiet(flat),
        "flat_square": settled(flat).sel(alpha=config.alpha, level="root"),
    }
    return xr.Dataset({name: value.reset_coords(drop=True) for name, value in found.items()}).transpose(..., "sim")
