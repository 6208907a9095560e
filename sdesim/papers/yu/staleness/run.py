"""The runs of y-staleness: without noise, for rates, and with it, for the variance."""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from sdesim import coupling, noise, objectives, observe
from sdesim.dynamics import Dynamics, HeavyBall
from sdesim.ensembles.grids import sweep
from sdesim.papers.frame import measured
from sdesim.papers.yu.staleness.config import Config
from sdesim.steppers.base import AbstractStepper
from sdesim.steppers.delayed import Delayed


class First(observe.AbstractSeries):
    """Where the first agent is, of one coordinate."""

    name = "first"

    def value(self, view: observe.View):
        return view.state.x[0, 0]


def stepper(config: Config, delay: int) -> AbstractStepper:
    """Steps with gradients of so many steps ago, by one program for all delays.

    Args:
        config: constants of the experiment.
        delay: in steps.
    """
    return Delayed(float(delay), longest=config.longest)


def quiet(config: Config, delay: int, progress: bool) -> xr.DataArray:
    """Without noise, two agents that begin together, or opposite to each other: (delta, share, step, what).

    Two simulations, for whichever of mean and difference grows would take the digits of the other.

    Args:
        config: constants of the experiment.
        delay: in steps.
        progress: whether to say how far it is.
    """
    rule = coupling.Quorum(config.coupling * config.curvature)
    data = sweep(
        Dynamics(objectives.Quadratic(config.curvature), rule, eta=0.1, momentum=HeavyBall(0.0)),
        {"momentum.delta": [0.0, config.delta], "eta": list(config.etas(delay, config.learning))},
        stepper=stepper(config, delay),
        agents=2,
        sims=2,
        steps=config.steps,
        seed=config.seed,
        init=config.start * np.array([[[1.0], [1.0]], [[1.0], [-1.0]]]),
        observe=First(),
        every=1,
        keep_agents=False,
        progress=progress,
    )
    seen = data[First.name].drop_attrs().astype(float)
    seen = seen.rename({"sim": "what", "momentum_delta": "delta", "eta": "share"})
    seen = seen.assign_coords(what=["mean", "difference"], share=list(config.learning), delta=[0.0, config.delta])
    return seen.transpose("delta", "share", "step", "what")


def noisy(config: Config, shares: Sequence[float], progress: bool) -> xr.DataArray:
    """With noise at the longest delay: the mean square of agents that began at 0, (quiet, sim).

    Args:
        config: constants of the experiment.
        shares: learning rates, of the limit.
        progress: whether to say how far it is.
    """
    data = sweep(
        Dynamics(objectives.Quadratic(config.curvature), noise=noise.Gaussian(config.sigma), eta=0.1),
        {"eta": list(config.etas(config.longest, tuple(shares)))},
        stepper=stepper(config, config.longest),
        agents=config.agents,
        sims=config.sims,
        steps=config.noisy_steps,
        seed=config.seed,
        init=0.0,
        progress=progress,
    )
    squares = (data["agents"].drop_attrs().astype(float) ** 2).mean(["agent", "dim"])
    return squares.rename(eta="quiet").assign_coords(quiet=list(shares)).transpose("quiet", "sim")


def run(config: Config, progress: bool = False) -> xr.Dataset:
    """Without noise at every delay, and with it at the longest.

    Args:
        config: constants of the experiment.
        progress: whether to say how far it is.

    Returns:
        `path` (delay, delta, share, step, what), and `square` (quiet, sim).
    """
    paths = measured.along("delay", config.delays, [quiet(config, delay, progress) for delay in config.delays])
    return xr.Dataset({"path": paths, "square": noisy(config, config.quiet, progress)})
