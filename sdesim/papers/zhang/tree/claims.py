"""What is exact of a tree, and what is said of its runs. Times are in units of m, the mean time of a step.

At each statement stands a wrong model of which it fails; the tests run them.
"""

import numpy as np
import xarray as xr

from sdesim.claims import Statement, at_least
from sdesim.papers.frame import measured
from sdesim.papers.frame.measured import Runs
from sdesim.papers.zhang.tree.config import SCHEMES, Config
from sdesim.statistics import grid_mean, least
from sdesim.theory import trees


def reaches(config: Config, mean: xr.DataArray) -> float:
    """When the mean of the root over simulations has come below the level to stay there.

    Args:
        config: constants of the experiment.
        mean: (time, sim).

    Returns:
        In m; NaN where it does not.
    """
    return measured.settled(mean["time"], grid_mean(mean), config.level)


def exact_mean(config: Config, mean: xr.DataArray) -> xr.DataArray:
    """The mean of the root of trees whose messages take fixed times.

    Args:
        config: constants of the experiment.
        mean: measured, with its delays and times.

    Returns:
        (delay, time).
    """
    delays, times = mean["delay"].values, mean["time"].values
    found = [trees.tree_mean(config.fanout, config.a, config.alpha, times, float(d))[:, -1] for d in delays]
    return xr.DataArray(np.array(found), {"delay": delays, "time": times}, ("delay", "time"))


def exact_squares(config: Config, alphas: np.ndarray) -> xr.DataArray:
    """The stationary mean squares of the levels, of messages that take no time.

    Args:
        config: constants of the experiment.
        alphas: moving rates.

    Returns:
        (alpha, level).
    """
    found = [trees.tree_second(config.fanout, config.a, float(alpha), config.noise) for alpha in alphas]
    return xr.DataArray(np.array(found), {"alpha": alphas, "level": config.levels}, ("alpha", "level"))


def statements(config: Config) -> list[Statement]:
    first, second = SCHEMES
    period, slow = config.periods[-1], config.delays[-1]
    # Before, the root stands still where messages take longest, and nothing is left to chance.
    moves = lambda d: d["mean"].where(d["time"] > 2 * slow, drop=True)
    time_of = lambda runs, scheme: reaches(config, runs.data["scheme_mean"].sel(scheme=scheme, period=period))
    square = lambda runs, scheme, level: float(
        grid_mean(runs.data["scheme_square"].sel(scheme=scheme, period=period, level=level))
    )
    own = lambda runs: grid_mean(runs.data["squares"].sel(alpha=config.alpha))
    of_delay = lambda runs, delay: reaches(config, runs.data["mean"].sel(delay=delay))

    def averaged(runs: Runs) -> float:
        """The least ratio of the variance of a level to that of the next one above."""
        levels = own(runs).values
        return least(levels[:-1] / levels[1:])

    return [
        # fails of half the moving rate, of exchanges that move both, and of messages that take no time
        measured.equal(
            "mean",
            "the mean of the root is that of linear equations with a delay, at every time and time of messages",
            moves,
            lambda d: exact_mean(config, moves(d)),
        ),
        # fails of half the moving rate, and of exchanges that move both
        measured.equal(
            "squares",
            "the stationary variances of leaves, nodes and root are those of the linear law of second moments",
            lambda d: d["squares"],
            lambda d: exact_squares(config, d["alpha"].values),
        ),
        # fails of a moving rate of 0.9, at which all nodes copy each other
        Statement(
            "averaging",
            "nodes average at several scales: from each level to the next the variance falls (least ratio)",
            averaged,
            at_least(1.8, smoke=1.6),
        ),
        # fails of messages that take no time
        Statement(
            "messages",
            f"messages that take time slow the root down: of {slow:g} m, time to {config.level:g} over that of "
            "messages at once",
            lambda runs: of_delay(runs, slow) / of_delay(runs, 0.0),
            at_least(1.5, smoke=1.2),
        ),
        # fails of a moving rate of 0.9 in the tree
        Statement(
            "flat-variance",
            "a tree averages more than one center does: variance of flat EASGD over that of the root, messages at once",
            lambda runs: float(grid_mean(runs.data["flat_square"])) / float(own(runs).sel(level="root")),
            at_least(1.2, smoke=1.0),
        ),
        # fails of schemes that are swapped
        Statement(
            "informed",
            f"fast messages upwards inform the root: time to {config.level:g} in the first scheme over that in the "
            f"second, at a slow period of {period}",
            lambda runs: time_of(runs, first) / time_of(runs, second),
            at_least(1.3, smoke=1.2),
        ),
        # fails of schemes that are swapped
        Statement(
            "less-at-the-root",
            f"but the first averages more: variance of the root in the second over that in the first, at {period}",
            lambda runs: square(runs, second, "root") / square(runs, first, "root"),
            at_least(1.5, smoke=1.3),
        ),
        # fails of schemes that are swapped
        Statement(
            "more-at-the-leaves",
            "and leaves that seldom hear from above fluctuate more: their variance in the second scheme over that in "
            "the first",
            lambda runs: square(runs, second, "leaves") / square(runs, first, "leaves"),
            at_least(1.3, smoke=1.2),
        ),
        Statement(
            "first-converges-faster",
            "Z 6.1.2: the first scheme converges faster (time of the second over that of the first)",
            lambda runs: time_of(runs, second) / time_of(runs, first),
            at_least(1.0, smoke=1.0),
            note="of the training loss of networks, with tau_1 = 10 and tau_2 = 100 against tau_u = 8 and tau_d = 80",
        ),
    ]
