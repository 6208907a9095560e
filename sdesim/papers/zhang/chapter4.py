"""z-fig4.1 to 4.7, 4.10, 4.12 and 4.13: Zhang's experiments on CIFAR-10 with all workers in step (Z chapter 4).

Command: sdesim figure z-fig4.1, after sdesim data cifar10. Settings and learning rates are Z's (see `zhang`).
Iterations take the place of wall-clock time. Figures share what they train, by way of the cache: the methods of one
worker, for instance, are trained once for eight of them. How large a difference a statement asks for is chosen [C].
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps

from sdesim.claims import Statement
from sdesim.papers.frame import networks as net
from sdesim.papers.zhang import common as zhang
from sdesim.papers.zhang.common import ALONE, Config, Methods, better, during, smallest, tried

ENOUGH = 100  # epochs after which a network overfits, of which some of Z's statements are
PUSHING = ("DOWNPOUR", "ADOWNPOUR", "MVADOWNPOUR")
SMALL = 4  # the largest communication period at which DOWNPOUR is at its best (Z 4.2)


def _always(methods: Methods, unstable: Sequence[str] = ()) -> list[Statement]:
    """What holds at any size: everything else learns, from one start, and averages are of the plain method's path."""
    stable = {name: arms for name, arms in methods.items() if name not in unstable}
    found = [zhang.learns("learns", stable), zhang.one_start("one-start", zhang.flat(methods))]
    if "ASGD" in methods:
        found.append(zhang.own_path("own-path", methods))
    if "MDOWNPOUR" in methods:
        found.append(zhang.at_one_point("one-point", methods["MDOWNPOUR"]))
    return found


# -- Figures 4.1 to 4.4: communication periods -------------------------------------------------------------------------


def of_period(config: Config, period: int) -> Methods:
    """All methods: p workers at a communication period, and one worker alone."""
    methods = {name: tried(config, name, config.agents[0], period) for name in ("EASGD", "EAMSGD", *PUSHING)}
    if period == 1:
        methods["MDOWNPOUR"] = tried(config, "MDOWNPOUR", config.agents[0])
    return methods | {name: tried(config, name) for name in ALONE}


def _period_statements(config: Config, period: int) -> list[Statement]:
    methods = of_period(config, period)
    easgd, family = methods["EASGD"], [methods[name] for name in PUSHING]
    found = [
        Statement(
            "eamsgd-best",
            f"EAMSGD achieves the smallest test error at tau = {period} (points below the best of the other methods)",
            zhang.best_of_others(methods, "EAMSGD"),
            ">=",
            0.0,
        ),
        Statement(
            "eamsgd-faster",
            "EAMSGD converges faster than all others (mean test error over all epochs, points below the best of them)",
            zhang.best_of_others(methods, "EAMSGD", during),
            ">=",
            0.0,
        ),
    ]
    above = lambda runs: min((smallest(runs.data, m) - smallest(runs.data, easgd) for m in family), key=_mean)
    how = "(points of smallest test error above EASGD's, best of DOWNPOUR, ADOWNPOUR and MVADOWNPOUR)"
    if period <= SMALL:
        text = f"DOWNPOUR-based methods are at their best at small periods, tau = {period} {how}"
        found.append(Statement("downpour-works", text, above, "<=", 3.0))
    else:
        text = f"DOWNPOUR-based methods become highly unstable at tau = {period} {how}"
        found.append(Statement("downpour-unstable", text, above, ">=", 3.0))
    for name, often in _frequent(config, period).items():
        text = f"{name} tends to a smaller test error at tau = {period} than at {config.periods[0]} (points)"
        found.append(Statement(f"longer-is-better-{name.lower()}", text, better(methods[name], often), ">=", 0.0))
    return [*found, *_always(methods, () if period <= SMALL else PUSHING)]


def _frequent(config: Config, period: int) -> Methods:
    """EASGD and EAMSGD at the shortest period, beside those at the longest."""
    if period != config.periods[-1]:
        return {}
    return {name: tried(config, name, config.agents[0], config.periods[0]) for name in ("EASGD", "EAMSGD")}


def _mean(values) -> float:
    return float(values.mean())


def _period_figure(i: int, which: str, says: str):
    """Figure 4.i, whose period is the i-th of the configuration."""
    return zhang.experiment(
        f"4.{i}",
        f"smallest test errors and convergence at the {which} communication period, iterations for time",
        says,
        lambda config: of_period(config, config.periods[i - 1]),
        lambda config: _period_statements(config, config.periods[i - 1]),
        lambda config, data: zhang.of_chosen(of_period(config, config.periods[i - 1]), data),
        lambda config: zhang.flat(_frequent(config, config.periods[i - 1])),
    )


# -- Figures 4.5 to 4.7: numbers of workers ----------------------------------------------------------------------------


def of_workers(config: Config, agents: int) -> Methods:
    """p workers, elastic ones with a communication period and DOWNPOUR's without, and one worker alone."""
    elastic = {name: tried(config, name, agents, config.period) for name in ("EASGD", "EAMSGD")}
    pushing = {name: tried(config, name, agents) for name in ("DOWNPOUR", "MDOWNPOUR")}
    return elastic | pushing | {name: tried(config, name) for name in ALONE}


def _fewer(config: Config, i: int) -> Methods:
    """The elastic methods with the next smaller number of workers."""
    if not i:
        return {}
    return {name: tried(config, name, config.agents[i - 1], config.period) for name in ("EASGD", "EAMSGD")}


def _worker_statements(config: Config, i: int) -> list[Statement]:
    methods, fewer = of_workers(config, config.agents[i]), _fewer(config, i)
    return [
        Statement(
            "eamsgd-best",
            "EAMSGD achieves the smallest test error (points below the best of the other methods)",
            zhang.best_of_others(methods, "EAMSGD"),
            ">=",
            0.0,
        ),
        Statement(
            "eamsgd-speedup",
            "EAMSGD needs far fewer iterations to the smallest test error of the best other method (that method's over "
            "its own; 11.1 in Z, by the clock, for 16 workers and an error of 21 %)",
            zhang.speedup(methods, "EAMSGD"),
            ">=",
            (1.5, 2.0, 4.0)[i],
        ),
        *[
            Statement(
                f"more-workers-{name.lower()}",
                f"the smallest achievable test error of {name} falls with p (points, {config.agents[i]} workers "
                f"against {config.agents[i - 1]})",
                better(methods[name], fewer[name]),
                ">=",
                0.0,
            )
            for name in fewer
        ],
        *_always(methods),
    ]


def _worker_figure(i: int, which: str):
    """Figure 4.(5 + i), whose number of workers is the i-th of the configuration."""
    return zhang.experiment(
        f"4.{5 + i}",
        f"convergence with the {which} number of workers, iterations for time",
        "EAMSGD accelerates most, and the smallest achievable test error of EASGD and EAMSGD falls with the number of "
        "workers. EASGD and EAMSGD communicate every 10 iterations, DOWNPOUR and MDOWNPOUR at each.",
        lambda config: of_workers(config, config.agents[i]),
        lambda config: _worker_statements(config, i),
        lambda config, data: zhang.of_chosen(of_workers(config, config.agents[i]), data),
        lambda config: zhang.flat(_fewer(config, i)),
    )


# -- Figure 4.10: one worker -------------------------------------------------------------------------------------------


def alone(config: Config) -> Methods:
    return {name: tried(config, name) for name in ALONE}


def _alone_statements(config: Config) -> list[Statement]:
    methods = alone(config)
    beginning = slice(1, 1 + max(1, config.epochs // 10))
    return [
        Statement(
            "asgd-near-msgd",
            "the final test performance of ASGD and MSGD is quite close (difference of smallest test errors, points)",
            lambda runs: abs(better(methods["ASGD"], methods["MSGD"])(runs).mean()),
            "<=",
            2.0,
        ),
        Statement(
            "asgd-faster-at-first",
            "ASGD is much faster than MSGD from the beginning (points of test error, first tenth of the epochs)",
            better(methods["ASGD"], methods["MSGD"], lambda data, arms: during(data, arms, beginning)),
            ">=",
            2.0,
        ),
        *[
            Statement(
                f"msgd-outperforms-{name.lower()}",
                f"MSGD outperforms {name} on the test set (smallest test errors, points)",
                better(methods["MSGD"], methods[name]),
                ">=",
                0.0,
            )
            for name in ("SGD", "ASGD", "MVASGD")
        ],
        *_always(methods),
    ]


# -- Figure 4.12: learning rates ---------------------------------------------------------------------------------------


def over_rates(config: Config) -> Methods:
    return {name: tried(config, name, config.agents[-1], config.period) for name in ("EASGD", "EAMSGD")}


def _rate_statements(config: Config) -> list[Statement]:
    methods = {name: sorted(arms, key=lambda arm: arm.eta or 0.0) for name, arms in over_rates(config).items()}
    if any(len(arms) < 2 for arms in methods.values()):
        raise ValueError("easgd, eamsgd: must be two learning rates or more each, to compare them")
    (slow, *_, fast), (slow_m, *_, fast_m) = methods["EASGD"], methods["EAMSGD"]
    late: dict[str, Any] = dict(
        counted=config.epochs >= ENOUGH,
        note="" if config.epochs >= ENOUGH else f"of networks trained to the end: counted from {ENOUGH} epochs on",
    )

    def worse_of_best(runs, arms):
        """Test error at the rate of smallest training loss, above the mean of the other rates."""
        loss = [net.best(runs.data, "train_loss", arm.label).mean() for arm in arms]
        found = [smallest(runs.data, [arm]) for arm in arms]
        best = found.pop(int(np.argmin(loss)))
        return best - np.mean(found, axis=0) if np.isfinite(loss).all() else np.full_like(best, np.nan)

    return [
        Statement(
            "eamsgd-higher-is-better",
            f"higher learning rates lead EAMSGD to better test performance (points, eta = {fast_m.eta:g} against "
            f"{slow_m.eta:g})",
            better([fast_m], [slow_m]),
            ">=",
            0.0,
        ),
        Statement(
            "easgd-higher-is-worse",
            f"larger learning rates hurt EASGD (points, eta = {slow.eta:g} against {fast.eta:g})",
            better([slow], [fast]),
            ">=",
            0.0,
            **late,
        ),
        *[
            Statement(
                f"best-training-worst-test-{name.lower()}",
                f"{name}'s learning rate of best training leads to a worse test performance (points above the mean of "
                "the others)",
                lambda runs, name=name: worse_of_best(runs, methods[name]),
                ">=",
                0.1,
                **late,
            )
            for name in methods
        ],
        zhang.farther("fluctuations-easgd", "higher rates sustain higher fluctuations of EASGD's workers", slow, fast),
        zhang.farther(
            "fluctuations-eamsgd", "higher rates sustain higher fluctuations of EAMSGD's workers", slow_m, fast_m
        ),
        *_always(methods),
    ]


def _rate_curves(config: Config, data) -> list[zhang.Curve]:
    shades = colormaps["viridis"]
    return [
        (
            rf"{name}, $\eta = {arm.eta:g}$",
            arm,
            shades(i / max(1, len(arms) - 1) * 0.85),
            "-" if name == "EASGD" else "--",
        )
        for name, arms in over_rates(config).items()
        for i, arm in enumerate(arms)
    ]


# -- Figure 4.13: long communication periods ---------------------------------------------------------------------------


def over_periods(config: Config) -> Methods:
    """EASGD and EAMSGD at one rate over periods; EAMSGD with a decaying rate too, at the longer half of them."""
    rate, p = (config.rate,), config.agents[-1]
    methods = {
        n: [arm for t in config.long_periods for arm in tried(config, n, p, t, rate)] for n in ("EASGD", "EAMSGD")
    }
    long = config.long_periods[len(config.long_periods) // 2 :]
    methods["EAMSGD, decaying"] = [arm for t in long for arm in tried(config, "EAMSGD", p, t, rate, config.decay)]
    return methods


def _long_statements(config: Config) -> list[Statement]:
    methods = over_periods(config)
    easgd, eamsgd, decaying = methods.values()
    trap = len(config.long_periods) // 2  # 100 of 1, 10, 100, 1000
    ends = config.long_periods[0], config.long_periods[-1]

    def sensitivity(runs, arms):
        found = [smallest(runs.data, [arm]) for arm in arms]
        return max(found, key=_mean) - min(found, key=_mean)

    def lowest(runs, arm):
        return net.best(runs.data, "train_loss", arm.label)

    return [
        Statement(
            "easgd-insensitive",
            f"EASGD converges much alike for tau from {ends[0]} to {ends[1]} (range of smallest test errors, points)",
            lambda runs: sensitivity(runs, easgd),
            "<=",
            5.0,
        ),
        Statement(
            "easgd-less-sensitive",
            "EASGD is less sensitive to the communication period than EAMSGD (points, range of smallest test errors)",
            lambda runs: sensitivity(runs, eamsgd) - sensitivity(runs, easgd),
            ">=",
            0.0,
        ),
        Statement(
            "eamsgd-trapped",
            f"EAMSGD can get trapped at a high energy at tau = {config.long_periods[trap]} (least training loss over "
            f"that at tau = {ends[0]})",
            lambda runs: lowest(runs, eamsgd[trap]) / lowest(runs, eamsgd[0]),
            ">=",
            1.5,
        ),
        Statement(
            "decay-avoids-it",
            "a gradually decreasing learning rate avoids the trap (least training loss over that of the constant rate)",
            lambda runs: lowest(runs, decaying[0]) / lowest(runs, eamsgd[trap]),
            "<=",
            0.9,
        ),
        zhang.farther("apart-easgd", "EASGD's workers go farther alone for longer periods", easgd[0], easgd[-1]),
        zhang.farther("apart-eamsgd", "EAMSGD's workers go farther alone for longer periods", eamsgd[0], eamsgd[-1]),
        zhang.farther(
            "decay-brings-together",
            "as learning rates fall, workers come closer to each other (constant over decaying rate)",
            decaying[0],
            eamsgd[trap],
        ),
        *_always(methods),
    ]


def _long_curves(config: Config, data) -> list[zhang.Curve]:
    shades, styles = colormaps["viridis"], dict(zip(over_periods(config), ("-", "--", ":"), strict=True))
    place = {t: i / (len(config.long_periods) - 1) for i, t in enumerate(config.long_periods)}
    return [
        (rf"{name}, $\tau = {arm.period}$", arm, shades(0.85 * place[arm.period]), styles[name])
        for name, arms in over_periods(config).items()
        for arm in arms
    ]


_EARLY = (
    "EAMSGD outperforms all comparators by faster convergence and a better solution; DOWNPOUR and its averages achieve "
    "their best performance at small communication periods such as this one."
)
_LATE = (
    "EAMSGD outperforms all comparators, by more than at small communication periods; DOWNPOUR and its averages become "
    "highly unstable."
)

EXPERIMENTS = (
    _period_figure(1, "shortest", _EARLY),
    _period_figure(2, "second shortest", _EARLY),
    _period_figure(3, "second longest", _LATE),
    _period_figure(4, "longest", _LATE + " EASGD tends to a better test performance with a larger period too."),
    *[_worker_figure(i, which) for i, which in enumerate(("smallest", "middle", "largest"))],
    zhang.experiment(
        "4.10",
        "SGD, ASGD, MVASGD and MSGD of one worker, iterations for time",
        "ASGD and MSGD end at a similar test error, and ASGD is much faster from the beginning. MSGD outperforms the "
        "others on the test set.",
        alone,
        _alone_statements,
        lambda config, data: zhang.of_chosen(alone(config), data),
    ),
    zhang.experiment(
        "4.12",
        "EASGD and EAMSGD over learning rates",
        "Higher learning rates sustain higher fluctuations of the workers. They lead EAMSGD to a better test "
        "performance, EASGD to a worse one. For both, the rate of best training performance has the worst test "
        "performance.",
        over_rates,
        _rate_statements,
        _rate_curves,
    ),
    zhang.experiment(
        "4.13",
        "EASGD and EAMSGD over communication periods",
        "EASGD converges much alike up to a period of 1000, whereas EAMSGD can get trapped at a high energy at 100, "
        "which a gradually decreasing learning rate avoids.",
        over_periods,
        _long_statements,
        _long_curves,
    ),
)
