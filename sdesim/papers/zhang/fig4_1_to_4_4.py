"""z-fig4.1 to z-fig4.4: all methods, each figure at one communication period (Z Fig. 4.1-4.4).

Command: sdesim figure z-fig4.1, after sdesim data cifar10. Settings and learning rates are Z's (see `chapter4`).
"""

import numpy as np

from sdesim.claims import Statement, at_least, at_most
from sdesim.papers.frame.experiment import Experiment
from sdesim.papers.frame.measured import Runs
from sdesim.papers.zhang.chapter4 import (
    ALONE,
    Config,
    Methods,
    always,
    best_of_others,
    better,
    during,
    experiment,
    flat,
    of_chosen,
    smallest,
    tried,
)

ELASTIC = ("EASGD", "EAMSGD")
PUSHING = ("DOWNPOUR", "ADOWNPOUR", "MVADOWNPOUR")
SMALL = 4  # the largest communication period at which DOWNPOUR is at its best (Z 4.2)


def methods(config: Config, period: int) -> Methods:
    """All methods: p workers at a communication period, and one worker alone.

    Args:
        config: constants of the experiment.
        period: iterations between two exchanges.
    """
    found = {name: tried(config, name, config.agents[0], period) for name in (*ELASTIC, *PUSHING)}
    if period == 1:
        found["MDOWNPOUR"] = tried(config, "MDOWNPOUR", config.agents[0])
    return found | {name: tried(config, name) for name in ALONE}


def often(config: Config, period: int) -> Methods:
    """EASGD and EAMSGD at the shortest period, beside those at the longest.

    Args:
        config: constants of the experiment.
        period: that of the figure.
    """
    if period != config.periods[-1]:
        return {}
    return {name: tried(config, name, config.agents[0], config.periods[0]) for name in ELASTIC}


def statements(config: Config, period: int) -> list[Statement]:
    """What is said of the methods at a communication period.

    Args:
        config: constants of the experiment.
        period: iterations between two exchanges.
    """
    here, shortest = methods(config, period), config.periods[0]

    def pushing_above(runs: Runs) -> np.ndarray:
        """Points of smallest test error above EASGD's, of the best of DOWNPOUR's kind."""
        easgd = smallest(runs.data, here["EASGD"])
        return min((smallest(runs.data, here[name]) - easgd for name in PUSHING), key=np.mean)

    how = "(points of smallest test error above EASGD's, best of DOWNPOUR, ADOWNPOUR and MVADOWNPOUR)"
    works = Statement(
        "downpour-works",
        f"DOWNPOUR-based methods are at their best at small periods, tau = {period} {how}",
        pushing_above,
        at_most(3.0),
    )
    unstable = Statement(
        "downpour-unstable",
        f"DOWNPOUR-based methods become highly unstable at tau = {period} {how}",
        pushing_above,
        at_least(3.0),
    )
    return [
        Statement(
            "eamsgd-best",
            f"EAMSGD achieves the smallest test error at tau = {period} (points below the best of the other methods)",
            best_of_others(here, "EAMSGD"),
            at_least(0.0),
        ),
        Statement(
            "eamsgd-faster",
            "EAMSGD converges faster than all others (mean test error over all epochs, points below the best of them)",
            best_of_others(here, "EAMSGD", during),
            at_least(0.0),
        ),
        works if period <= SMALL else unstable,
        *[
            Statement(
                f"longer-is-better-{name.lower()}",
                f"{name} tends to a smaller test error at tau = {period} than at {shortest} (points)",
                better(here[name], arms),
                at_least(0.0),
            )
            for name, arms in often(config, period).items()
        ],
        *always(here, () if period <= SMALL else PUSHING),
    ]


def _figure(i: int, which: str, says: str) -> Experiment:
    """Figure 4.i, whose period is the i-th of the configuration."""
    period = lambda config: config.periods[i - 1]
    return experiment(
        f"4.{i}",
        f"smallest test errors and convergence at the {which} communication period, iterations for time",
        says,
        lambda config: methods(config, period(config)),
        lambda config: statements(config, period(config)),
        lambda config, data: of_chosen(methods(config, period(config)), data),
        lambda config: flat(often(config, period(config))),
    )


_EARLY = (
    "EAMSGD outperforms all comparators by faster convergence and a better solution; DOWNPOUR and its averages achieve "
    "their best performance at small communication periods such as this one."
)
_LATE = (
    "EAMSGD outperforms all comparators, by more than at small communication periods; DOWNPOUR and its averages become "
    "highly unstable."
)

EXPERIMENTS = (
    _figure(1, "shortest", _EARLY),
    _figure(2, "second shortest", _EARLY),
    _figure(3, "second longest", _LATE),
    _figure(4, "longest", _LATE + " EASGD tends to a better test performance with a larger period too."),
)
