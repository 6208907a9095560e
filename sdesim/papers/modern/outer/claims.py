"""What is exact about a round, and what is said of runs. At each statement stands a wrong model of which it fails."""

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from sdesim import statistics
from sdesim.claims import Statement, at_least
from sdesim.papers.frame import measured
from sdesim.papers.frame.measured import Runs
from sdesim.papers.modern.outer.config import Config
from sdesim.theory import outer


def exact_path(config: Config, lr: float, momentum: float, sigma: float) -> NDArray:
    """E of the squared distance of the center after each round, by the map of a round.

    Args:
        config: constants of the experiment.
        lr: outer learning rate.
        momentum: of the outer optimizer.
        sigma: standard deviation of the inner gradients' noise.

    Returns:
        (rounds + 1,).
    """
    total = np.zeros(config.rounds + 1)
    for h in config.curvatures:
        a = outer.curvature(config.eta * h, config.period)
        step = outer.means(a, lr, momentum)
        kick = np.array([lr * (1 + momentum), 1.0])  # of the noise of the way that workers come, on center and velocity
        noise = outer.noise(config.eta * h, config.period, config.agents, (config.eta * sigma) ** 2) * np.outer(
            kick, kick
        )
        second = np.diag([1.0, 0.0])
        for n in range(config.rounds + 1):
            total[n] += second[0, 0]
            second = step @ second @ step.T + noise
    return total


def exact(config: Config, square: xr.DataArray) -> xr.DataArray:
    """`exact_path` over the grid of measurements.

    Args:
        config: constants of the experiment.
        square: with lr, momentum, sigma and round.
    """
    names = ("lr", "momentum", "sigma")
    grid = [square[name].values for name in names]
    found = [
        [[exact_path(config, lr, mu, s)[square["round"].values] for s in grid[2]] for mu in grid[1]] for lr in grid[0]
    ]
    coordinates = {name: square[name].values for name in (*names, "round")}
    return xr.DataArray(np.array(found), coordinates, (*names, "round"))


def limit(config: Config, momentum: float) -> float:
    """The outer learning rate below which all coordinates are stable.

    Args:
        config: constants of the experiment.
        momentum: of the outer optimizer.
    """
    steepest = outer.curvature(config.eta * max(config.curvatures), config.period)
    return float(outer.lr_limit(steepest, momentum))


def stable(config: Config) -> xr.DataArray:
    """Where the grid is stable, (lr, momentum).

    Args:
        config: constants of the experiment.
    """
    found = [[lr < limit(config, mu) for mu in config.momenta] for lr in config.lrs]
    return xr.DataArray(found, {"lr": list(config.lrs), "momentum": list(config.momenta)}, ("lr", "momentum"))


def statements(config: Config) -> list[Statement]:
    quiet, loud = config.sigmas
    rounds = [config.rounds // 4, config.rounds // 2, config.rounds]
    settled = lambda d: measured.asked(d["square"].sel(round=rounds), stable(config))
    theory = lambda d: measured.asked(exact(config, d["square"].sel(round=rounds)), stable(config))
    last = lambda d, sigma, mu: statistics.grid_mean(d["square"].sel(sigma=sigma, momentum=mu).isel(round=-1))

    def edge(runs: Runs) -> float:
        """Of all momenta the least change of the logarithm, in its direction, in the second half of the rounds."""
        found = statistics.grid_mean(runs.data["square"].sel(sigma=quiet))
        growth = xr.DataArray(np.log(found.isel(round=-1) / found.sel(round=config.rounds // 2)))
        inside, changes = stable(config), []
        for mu in config.momenta:
            at, ok = growth.sel(momentum=mu), inside.sel(momentum=mu)
            changes.append(-at.where(ok, drop=True).isel(lr=-1))
            if not ok.all():
                changes.append(at.where(~ok, drop=True).isel(lr=0))
        return statistics.least(changes)

    def beside(runs: Runs, sigma: float, momenta: list[float], beyond: bool) -> float:
        """The least over momenta of the mean square at a rate of 1 over the least at those beyond it, or below."""
        found = [last(runs.data, sigma, mu) for mu in momenta]
        others = lambda d: d.sel(lr=d["lr"] > 1.0 if beyond else d["lr"] < 1.0)
        return statistics.least([d.sel(lr=1.0) / others(d).min(skipna=False) for d in found])

    lesser = [mu for mu in config.momenta if mu <= 0.5]
    greatest = config.momenta[-1]
    return [
        # fails of another outer rate or momentum, of other rounds and of another noise
        measured.equal(
            "path",
            "the mean square of the center's distance is that of the exact map of a round, at every stable outer "
            "learning rate and momentum, with little noise and with much, after a quarter, half and all of the rounds",
            settled,
            theory,
        ),
        # fails of another outer rate and of no momentum
        Statement(
            "limit",
            "it is stable up to lr = 2 (1 + mu) / ((1 + 2 mu) A): at each momentum the greatest rate of the grid below "
            "decays, the least above grows (least change of the logarithm, in its direction)",
            edge,
            at_least(0.0, smoke=0.0),
        ),
        # fails where the rate is 0.7 whatever is asked
        Statement(
            "best-above-1",
            f"with little noise and a momentum of at most 1/2 the best outer rate after {config.rounds} rounds "
            "is above 1 (mean square at 1 over the least beyond, at the momentum at which it is least)",
            lambda runs: beside(runs, quiet, lesser, True),
            at_least(2.0, smoke=2.0),
        ),
        # fails of no momentum, and where the rate is 0.7 whatever is asked
        Statement(
            "momentum-below-1",
            f"with a momentum of {greatest:g} it is below 1 even then (mean square at 1 over the least below)",
            lambda runs: beside(runs, quiet, [greatest], False),
            at_least(1.5, smoke=1.5),
        ),
        # fails where the rate is 0.7 whatever is asked, and of less noise
        Statement(
            "noise-below-1",
            "with much noise it is below 1 at every momentum (the same, at the momentum at which it is least)",
            lambda runs: beside(runs, loud, list(config.momenta), False),
            at_least(1.2, smoke=1.1),
        ),
        # fails of no momentum
        Statement(
            "momentum-pays",
            "on so wide a spectrum DiLoCo (0.7, momentum 0.9) comes closer than Local SGD (1, none) with little noise "
            "(mean square of Local SGD over DiLoCo's)",
            lambda runs: float(last(runs.data, quiet, 0.0).sel(lr=1.0) / last(runs.data, quiet, 0.9).sel(lr=0.7)),
            at_least(3.0, smoke=3.0),
        ),
    ]
