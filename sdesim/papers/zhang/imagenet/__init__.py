"""z-fig4.8, 4.9, 4.11, and by the clock 4.8-async, 4.9-async, 4.15-async: ImageNet (Z Fig. 4.8, 4.9, 4.11, 4.15).

Command: sdesim figure z-fig4.8 --data-folder DIR, a folder with train/CLASS/*.JPEG and val/CLASS/*.JPEG. Settings and
learning rates are Z's: the eleven-layer network on 221 x 221 crops, each method at its rate of Table 4.3, which falls
twice. Photographs are decoded while networks train. Z crops from all of an image, here from the square in its middle
[C]. As in chapter 4, figures whose workers are in step have iterations in place of time, and share what they train.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from sdesim.claims import Statement, at_least, at_most
from sdesim.papers.frame import networks as net
from sdesim.papers.frame.experiment import Experiment
from sdesim.papers.frame.measured import Runs
from sdesim.papers.frame.networks.picture import heading, plot_iterations
from sdesim.papers.zhang.chapter4 import ALONE, Methods, ahead, better, flat, of_chosen
from sdesim.papers.zhang.chapter4.claims import one_start, own_path
from sdesim.papers.zhang.chapter4.picture import size
from sdesim.papers.zhang.imagenet.config import Config, InTime, presets
from sdesim.papers.zhang.in_time import by_the_clock
from sdesim.papers.zhang.in_time.levels import ByWorkers, apart, bars, behind, fastest, slowest
from sdesim.statistics import greatest

FASTER = 1.2  # [C]
STRIKING = 2.0  # points of test error [C]
PARALLEL = ("EASGD", "EAMSGD", "DOWNPOUR")

# -- what is compared, and what is said of it --------------------------------------------------------------------------


def of_workers(config: Config, i: int) -> Methods:
    """p workers, the elastic methods with a communication period, and MSGD of one, the best of those alone (Z 4.3.1).

    Args:
        config: constants of the experiment.
        i: which of the configuration's numbers of workers is the figure's.
    """
    return {name: config.arms(name, config.agents[i]) for name in PARALLEL} | {"MSGD": config.arms("MSGD")}


def alone(config: Config) -> Methods:
    """One worker.

    Args:
        config: constants of the experiment.
    """
    return {name: config.arms(name) for name in ALONE}


def at_all_sizes(config: Config, methods: Methods) -> list[Statement]:
    """Every method learns, from one start, and averages are of SGD's own path.

    Args:
        config: constants of the experiment.
        methods: all of a figure.
    """

    def worst(runs: Runs) -> tuple[float, float]:
        found = [net.best(runs.data, "agents_train_loss", arm.label) for arm in flat(methods)]
        return greatest(found) / np.log(config.classes), 0.0

    text = "the workers of every method learn in every run (worst of the least training losses, over that of guessing)"
    found = [Statement("learns", text, worst, at_most(0.9, smoke=0.95)), one_start("one-start", flat(methods))]
    return [*found, own_path("own-path", methods)] if "ASGD" in methods else found


def statements_of_workers(config: Config, i: int) -> list[Statement]:
    """EAMSGD accelerates most.

    Args:
        config: constants of the experiment.
        i: which of the configuration's numbers of workers is the figure's.
    """
    here = of_workers(config, i)
    said = ("", "; 1/1.8 in Z, by the clock, to an error of 49 %")[i]
    return [
        Statement(
            "eamsgd-speedup",
            "EAMSGD needs less than others to the smallest test error of the best other method (points below it in "
            f"1/{FASTER:g} of the epochs{said})",
            ahead(here, "EAMSGD", FASTER),
            at_least(0.0),
        ),
        *at_all_sizes(config, here),
    ]


def statements_alone(config: Config) -> list[Statement]:
    """MSGD is the best, and of the averages the running one is not the moving one.

    Args:
        config: constants of the experiment.
    """
    here = alone(config)
    return [
        *[
            Statement(
                f"msgd-outperforms-{name.lower()}",
                f"MSGD outperforms {name} on the test set (smallest test errors, points)",
                better(here["MSGD"], here[name]),
                at_least(0.0),
            )
            for name in ("SGD", "ASGD", "MVASGD")
        ],
        Statement(
            "averages-differ",
            "the difference between ASGD and MVASGD is striking (of their smallest test errors, points)",
            lambda runs: abs(better(here["ASGD"], here["MVASGD"])(runs).mean()),
            at_least(STRIKING),
        ),
        *at_all_sizes(config, here),
    ]


# -- 4.15 --------------------------------------------------------------------------------------------------------------


def by_workers(config: InTime) -> ByWorkers:
    """Arms by the method, and by the number of its workers.

    Args:
        config: constants of the experiment.
    """
    many = {name: {p: config.arms(name, p) for p in config.agents} for name in PARALLEL}
    return many | {"MSGD": {1: config.arms("MSGD")}}


def statements_of_levels(config: InTime) -> list[Statement]:
    """All methods outperform MSGD, and EAMSGD is the first at all levels.

    Args:
        config: constants of the experiment.
    """
    arms = apart(by_workers(config))
    several = [of for name, of in arms.items() if not name.startswith("MSGD")]
    msgd = {"MSGD": config.arms("MSGD")}

    def worst(runs: Runs) -> float:
        return slowest([q for of in several for q in behind(runs.data, of, msgd, config)])

    return [
        Statement(
            "all-outperform-msgd",
            "all methods, with either number of workers, need less time than MSGD to all levels of test error (their "
            "time over MSGD's, greatest)",
            worst,
            at_most(1.0),
        ),
        fastest(
            "eamsgd-fastest",
            "EAMSGD achieves significant speed-up over other methods for all test error levels and numbers of workers",
            "EAMSGD",
            ("EASGD", "DOWNPOUR"),
            by_workers(config),
            config,
        ),
        *at_all_sizes(config, arms),
    ]


# -- the experiments ---------------------------------------------------------------------------------------------------


def experiment(
    number: str,
    title: str,
    says: str,
    kind: type[Any],
    methods: Callable[[Any], Methods],
    statements: Callable[[Any], list[Statement]],
    picture: Callable[[Any, xr.Dataset, str], Figure] | None = None,
) -> Experiment:
    """The experiment of one of Z's figures.

    Args:
        number: of the figure.
        title: what it shows.
        says: what Z says of it.
        kind: its configuration, of workers in step or in virtual time.
        methods: of a configuration, the methods that it shows.
        statements: of a configuration, what is said of them.
        picture: of configuration, data and title; curves of the methods by default.
    """
    clocked = issubclass(kind, InTime)
    title = f"Zhang, Fig. {number}: {title}"
    seen = lambda config: size(config, flat(methods(config)))

    def run(config: Any, progress: bool) -> xr.Dataset:
        data = net.train(config, flat(methods(config)), progress)
        return by_the_clock(data, config.seconds) if clocked else data

    def plot(config: Any, data: xr.Dataset) -> Figure:
        told = heading(title, seen(config), data)
        if picture is not None:
            return picture(config, data, told)
        curves = of_chosen(methods(config), data)
        if clocked:
            return plot_iterations(curves, data, told, config.seconds, "virtual time (s)")
        return plot_iterations(curves, data, told, config.iterations)

    name = f"z-fig{number}" + "-async" * clocked
    made = net.experiment(name, title, says, presets(kind), lambda c: [*flat(methods(c))], statements, plot, size=seen)
    return dataclasses.replace(made, run=run, ensemble=lambda config, data: Runs(net.guessing(data, config.classes)))


def _of_workers(i: int, kind: type[Any]) -> Experiment:
    what = "asynchronous workers, against virtual time" if kind is InTime else "workers, iterations for time"
    times = " Wall clocks are virtual seconds: the times of Table 4.4." if kind is InTime else ""
    return experiment(
        f"4.{8 + i}",
        f"ImageNet with the {('smaller', 'larger')[i]} number of {what}",
        "EAMSGD achieves significant accelerations, and communicates every 10 iterations where DOWNPOUR does at each. "
        f"Learning rates have to be reduced by hand, and the final performance depends on when.{times}",
        kind,
        lambda config: of_workers(config, i),
        lambda config: statements_of_workers(config, i),
    )


EXPERIMENTS = (
    _of_workers(0, Config),
    _of_workers(1, Config),
    experiment(
        "4.11",
        "SGD, ASGD, MVASGD and MSGD of one worker on ImageNet, iterations for time",
        "MSGD outperforms the others on the test set. ASGD averages from when the learning rate is first reduced, and "
        "differs strikingly from MVASGD.",
        Config,
        alone,
        statements_alone,
    ),
    _of_workers(0, InTime),
    _of_workers(1, InTime),
    experiment(
        "4.15",
        "virtual time to a level of test error on ImageNet",
        "All methods outperform MSGD, with either number of workers, and EAMSGD is the fastest at all levels. A bar "
        "that is missing is of a method that never gets there. Clocks are virtual: the times of Table 4.4.",
        InTime,
        lambda config: apart(by_workers(config)),
        statements_of_levels,
        lambda config, data, title: bars(config, data, title, by_workers(config)),
    ),
)
