"""What is said of the smoothed loss, and what the runs tell of it."""

import numpy as np
import xarray as xr

from sdesim import statistics
from sdesim.claims import Statement, at_least, at_most
from sdesim.coupling import ORDERS
from sdesim.papers.boffi_slotine.smoothing.config import WINDOW, Config
from sdesim.papers.boffi_slotine.smoothing.run import factors, slope
from sdesim.papers.frame import measured
from sdesim.papers.frame.measured import Runs
from sdesim.theory.smoothing import Law, averaged, uniform

LEAST = 5.0  # visits a simulation, below which a bin is left out


def averaged_and_narrower(half_width: float, agents: int) -> tuple[Law, Law]:
    """The mean of uniform variables, and one uniform variable of the same variance, which it is not.

    Args:
        half_width: of each uniform variable.
        agents: how many variables the mean is of.
    """
    return averaged(half_width, agents), uniform(half_width / np.sqrt(agents))


def count_minima(slopes: np.ndarray) -> int:
    """Minima of a loss whose slopes are given in order: their changes from - to +. What is 0 has no say.

    Args:
        slopes: at increasing points.
    """
    signs = np.sign(slopes[slopes != 0])
    return int(np.sum((signs[:-1] < 0) & (signs[1:] > 0)))


def synchronized(data: xr.Dataset) -> xr.Dataset:
    """Agents that are brought to their mean before they descend.

    Args:
        data: measurements, as `run` gives them.
    """
    return data.sel(order="gauss-seidel", rate=1.0)


def alone(data: xr.Dataset) -> xr.Dataset:
    """One agent, which no order and no gain concerns.

    Args:
        data: measurements, as `run` gives them.
    """
    return data.sel(p=1, order="jacobi").isel(rate=0)


def per_visit(data: xr.Dataset, name: str) -> xr.DataArray:
    """Sums of a variable over what the mean simulation visits; bins that are hardly visited left out.

    Args:
        data: of one model.
        name: of the variable, a sum by bin.
    """
    visits = statistics.grid_mean(data["visits"])
    return measured.asked(data[name] / visits, ~(visits < LEAST))


def slopes_of(data: xr.Dataset) -> xr.DataArray:
    """The mean slope by bin: its mean over simulations is that over all visits, and so is its standard error.

    Args:
        data: of one model, or of several.
    """
    visits = statistics.grid_mean(data["visits"])
    mean = statistics.grid_mean(data["slope"]) / visits
    return measured.asked(mean + (data["slope"] - mean * data["visits"]) / visits, ~(visits < LEAST))


def factors_of(data: xr.Dataset) -> np.ndarray:
    """The measured factors of one model's smoothing: variance, damping of the slow and of the fast wave.

    Args:
        data: of one model.
    """
    normal = statistics.grid_mean(data["normal"]).transpose("factor", "column").values
    right = statistics.grid_mean(data["right"]).values
    return np.linalg.solve(normal, right) if np.isfinite(normal).all() else np.full_like(right, np.nan)


def measured_minima(data: xr.Dataset) -> float:
    """Minima of the loss whose slopes were measured, counting slopes that are sure of their sign.

    Args:
        data: of one model.
    """
    slopes = slopes_of(data)
    scores = abs(statistics.z_scores(slopes, 0.0))
    if not np.isfinite(scores).all():
        return np.nan
    return count_minima(statistics.grid_mean(slopes).where(scores > 3, 0.0).values)


def misfit(config: Config, data: xr.Dataset) -> xr.DataArray:
    """Of synchronized agents: what the factors of the averaged noise leave of the regression, (p, factor, sim).

    Args:
        config: constants of the experiment.
        data: measurements, as `run` gives them.
    """
    one = synchronized(data)
    exact = [factors(averaged(config.half_width, p), config.loss) for p in config.agents]
    theory = xr.DataArray(exact, {"p": list(config.agents), "column": data["column"]}, ("p", "column"))
    return one["right"] - (one["normal"] * theory).sum("column", skipna=False)


def statements(config: Config) -> list[Statement]:
    loss, many = config.loss, config.agents[-1]
    fast = lambda data: float(factors_of(data)[2])
    pairs = {p: averaged_and_narrower(config.half_width, p) for p in config.agents}
    damped = {p: [law.damping(loss.w2) for law in laws] for p, laws in pairs.items()}
    told = max(damped, key=lambda p: damped[p][0] - damped[p][1])  # where the two laws differ most
    average, narrower = damped[told]

    def law_error(runs: Runs) -> float:
        """The largest difference of a wave's measured damping from that of the agents' law."""
        errors = []
        for p in config.agents[1:]:
            for order in ORDERS:
                for rate in config.rates:
                    expected = np.mean([factors(law, loss) for law in config.agents_laws(p, order, rate)], axis=0)
                    found = factors_of(runs.data.sel(p=p, order=order, rate=rate))
                    errors.append(abs(found - expected)[1:])
        return statistics.greatest(errors)

    grid = np.linspace(-WINDOW, WINDOW, 4001)
    smoothed = [factors(averaged(config.half_width, p), loss) for p in (1, many)]
    few, true = (count_minima(slope(loss, grid, f)) for f in smoothed)
    return [
        measured.equal(
            "one-agent",
            "one agent descends the loss convolved with the noise of a step, at every y",
            lambda data: per_visit(alone(data), "from_averaged"),
            lambda _: 0.0,
        ),
        measured.equal(
            "center-of-mass",
            "the center of mass of synchronized agents descends the loss convolved with their averaged noise, at every "
            "y and p",
            lambda data: per_visit(synchronized(data), "from_averaged"),
            lambda _: 0.0,
        ),
        measured.equal(
            "waves",
            "so does each part of the loss: its width and the damping of both waves",
            lambda data: misfit(config, data),
            lambda _: 0.0,
        ),
        Statement(
            "averaged-not-narrower",
            f"with the law of an average: at p = {told} the fast wave is damped to {average:.3f}, not to the "
            f"{narrower:.3f} of a uniform law of the same width (measured)",
            lambda runs: fast(synchronized(runs.data).sel(p=told)),
            at_least((average + narrower) / 2, smoke=(average + narrower) / 2 if average - narrower > 0.1 else None),
        ),
        Statement(
            "minima-one-agent",
            f"one agent sees hardly a minimum (minima of the measured slope; the smoothed loss has {few})",
            lambda runs: (float(measured_minima(alone(runs.data))), 0.0),
            at_most(few, smoke=few),
        ),
        Statement(
            "minima-many-agents",
            f"the center of mass of {many} sees most of them (minima of the measured slope; smoothed loss {true})",
            lambda runs: (float(measured_minima(synchronized(runs.data).sel(p=many))), 0.0),
            at_least(true - 2, smoke=true - 4),
        ),
        Statement(
            "spread",
            "at any gain and in any order the smoothing is that of the agents' own spread (largest error of a damping)",
            law_error,
            at_most(0.05, smoke=0.15),
        ),
        Statement(
            "not-reduced-at-once",
            f"where agents pull and descend at once, {many} of them smooth no less than one, at the best gain (damping "
            "of the fast wave)",
            lambda runs: statistics.greatest(
                [fast(runs.data.sel(p=many, order="jacobi", rate=rate)) for rate in config.rates]
            ),
            at_most(0.1, smoke=0.15),
        ),
        measured.equal(
            "reduced-at-once",
            "there the center of mass descends the loss smoothed by the averaged noise, at the strongest gain",
            lambda data: per_visit(data.sel(order="jacobi", rate=1.0), "from_averaged"),
            lambda _: 0.0,
            note="does not hold: the distortion is as large as what it distorts, for agents are at least as far apart "
            "as the noise of one step puts them, whatever the gain",
        ),
    ]
