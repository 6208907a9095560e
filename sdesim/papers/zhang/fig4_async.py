"""z-fig4.1-async to z-fig4.7-async, z-fig4.10-async, z-fig4.12-async to z-fig4.14-async: chapter 4 by the clock.

Command: sdesim figure z-fig4.1-async, after sdesim data cifar10. Methods, rates and statements are those of z-fig4.1
and so on, whose workers are in step; here they are asynchronous, as Zhang's (see `in_time`).
"""

from sdesim.claims import Statement
from sdesim.papers.frame.experiment import Experiment
from sdesim.papers.zhang import fig4_1_to_4_4, fig4_5_to_4_7, fig4_10, fig4_12, fig4_13
from sdesim.papers.zhang.chapter4 import always, flat, of_chosen, tried
from sdesim.papers.zhang.in_time import experiment
from sdesim.papers.zhang.in_time.config import Config
from sdesim.papers.zhang.in_time.levels import ByWorkers, apart, bars, fastest

TIMES = " Wall clocks are virtual seconds: the times of computation, loading and communication of Table 4.4."


def _of_period(i: int) -> Experiment:
    """Figure 4.i, whose period is the i-th of the configuration."""
    period = lambda config: config.periods[i - 1]
    in_step = fig4_1_to_4_4.EXPERIMENTS[i - 1]
    methods = lambda config: fig4_1_to_4_4.methods(config, period(config))
    return experiment(
        f"4.{i}",
        ("shortest", "second shortest", "second longest", "longest")[i - 1]
        + " communication period of asynchronous workers, against virtual time",
        in_step.says + TIMES,
        methods,
        lambda config: fig4_1_to_4_4.statements(config, period(config)),
        lambda config, data: of_chosen(methods(config), data),
        lambda config: flat(fig4_1_to_4_4.often(config, period(config))),
    )


def _of_workers(i: int) -> Experiment:
    """Figure 4.(5 + i), whose number of workers is the i-th of the configuration."""
    methods = lambda config: fig4_5_to_4_7.methods(config, config.agents[i])
    return experiment(
        f"4.{5 + i}",
        f"the {('smallest', 'middle', 'largest')[i]} number of asynchronous workers, against virtual time",
        fig4_5_to_4_7.EXPERIMENTS[i].says + TIMES,
        methods,
        lambda config: fig4_5_to_4_7.statements(config, i),
        lambda config, data: of_chosen(methods(config), data),
        lambda config: flat(fig4_5_to_4_7.fewer(config, i)),
    )


# -- 4.14 --------------------------------------------------------------------------------------------------------------

PARALLEL = ("EASGD", "EAMSGD", "DOWNPOUR", "MDOWNPOUR")


def by_workers(config: Config) -> ByWorkers:
    """Arms by the method, and by the number of its workers.

    Args:
        config: constants of the experiment.
    """
    period = lambda name: config.period if name.startswith("EA") else 1
    many = {name: {p: tried(config, name, p, period(name)) for p in config.agents} for name in PARALLEL}
    return many | {"MSGD": {1: tried(config, "MSGD")}}


def statements_4_14(config: Config) -> list[Statement]:
    """EAMSGD is the fastest at every level, and of the others with a server EASGD.

    Args:
        config: constants of the experiment.
    """
    arms = by_workers(config)

    return [
        fastest(
            "eamsgd-fastest",
            "EAMSGD achieves significant speed-up over other methods for all test error levels and numbers of workers",
            "EAMSGD",
            ("EASGD", "DOWNPOUR", "MDOWNPOUR"),
            arms,
            config,
        ),
        fastest(
            "easgd-faster-than-downpour",
            "of EASGD, DOWNPOUR and MDOWNPOUR, EASGD needs less time to all levels of test error",
            "EASGD",
            ("DOWNPOUR", "MDOWNPOUR"),
            arms,
            config,
        ),
        *always(apart(arms)),
    ]


EXPERIMENTS = (
    *(_of_period(i) for i in (1, 2, 3, 4)),
    *(_of_workers(i) for i in range(3)),
    experiment(
        "4.10",
        "SGD, ASGD, MVASGD and MSGD of one worker, against virtual time",
        fig4_10.EXPERIMENT.says + TIMES,
        fig4_10.methods,
        fig4_10.statements,
        lambda config, data: of_chosen(fig4_10.methods(config), data),
    ),
    experiment(
        "4.12",
        "asynchronous EASGD and EAMSGD over learning rates",
        fig4_12.EXPERIMENT.says + TIMES,
        fig4_12.methods,
        fig4_12.statements,
        fig4_12.curves,
    ),
    experiment(
        "4.13",
        "asynchronous EASGD and EAMSGD over communication periods",
        fig4_13.EXPERIMENT.says + TIMES,
        fig4_13.methods,
        fig4_13.statements,
        fig4_13.curves,
        small=fig4_13.SMALL,
    ),
    experiment(
        "4.14",
        "virtual time to a level of test error against the number of workers",
        "With more workers each method does not necessarily need less time, as its learning rate is chosen by the "
        "smallest test error. EAMSGD is by far the fastest at all levels; of EASGD, DOWNPOUR and MDOWNPOUR it is "
        "EASGD. A bar that is missing is of a method that never gets there." + TIMES,
        lambda config: apart(by_workers(config)),
        statements_4_14,
        lambda config, data, title: bars(config, data, title, by_workers(config)),
        curves=False,
    ),
)
