"""z-fig4.5 to z-fig4.7: the methods, each figure with one number of workers (Z Fig. 4.5-4.7).

Command: sdesim figure z-fig4.5, after sdesim data cifar10. Settings and learning rates are Z's (see `chapter4`).
"""

from sdesim.claims import Statement, at_least
from sdesim.papers.frame.experiment import Experiment
from sdesim.papers.zhang.chapter4 import (
    ALONE,
    Config,
    Methods,
    ahead,
    always,
    best_of_others,
    better,
    experiment,
    flat,
    of_chosen,
    tried,
)

FASTER = (1.5, 2.0, 4.0)  # [C], with the smallest, middle and largest number of workers


def elastic(config: Config, agents: int) -> Methods:
    """EASGD and EAMSGD with a number of workers.

    Args:
        config: constants of the experiment.
        agents: number of workers p.
    """
    return {name: tried(config, name, agents, config.period) for name in ("EASGD", "EAMSGD")}


def methods(config: Config, agents: int) -> Methods:
    """p workers, elastic ones with a communication period and DOWNPOUR's without, and one worker alone.

    Args:
        config: constants of the experiment.
        agents: number of workers p.
    """
    pushing = {name: tried(config, name, agents) for name in ("DOWNPOUR", "MDOWNPOUR")}
    return elastic(config, agents) | pushing | {name: tried(config, name) for name in ALONE}


def fewer(config: Config, i: int) -> Methods:
    """The elastic methods with the next smaller number of workers.

    Args:
        config: constants of the experiment.
        i: which of the configuration's numbers of workers is the figure's.
    """
    return elastic(config, config.agents[i - 1]) if i else {}


def statements(config: Config, i: int) -> list[Statement]:
    """What is said of the methods with a number of workers.

    Args:
        config: constants of the experiment.
        i: which of the configuration's numbers of workers is the figure's.
    """
    here = methods(config, config.agents[i])
    return [
        Statement(
            "eamsgd-best",
            "EAMSGD achieves the smallest test error (points below the best of the other methods)",
            best_of_others(here, "EAMSGD"),
            at_least(0.0),
        ),
        Statement(
            "eamsgd-speedup",
            "EAMSGD needs far fewer iterations to the smallest test error of the best other method (points below it in "
            f"1/{FASTER[i]:g} of them; Z has 1/11.1 by the clock, for 16 workers and an error of 21 %)",
            ahead(here, "EAMSGD", FASTER[i]),
            at_least(0.0),
        ),
        *[
            Statement(
                f"more-workers-{name.lower()}",
                f"the smallest achievable test error of {name} falls with p (points, {config.agents[i]} workers "
                f"against {config.agents[i - 1]})",
                better(here[name], arms),
                at_least(0.0),
            )
            for name, arms in fewer(config, i).items()
        ],
        *always(here),
    ]


def _figure(i: int, which: str) -> Experiment:
    """Figure 4.(5 + i), whose number of workers is the i-th of the configuration."""
    return experiment(
        f"4.{5 + i}",
        f"convergence with the {which} number of workers, iterations for time",
        "EAMSGD accelerates most, and the smallest achievable test error of EASGD and EAMSGD falls with the number of "
        "workers. EASGD and EAMSGD communicate every 10 iterations, DOWNPOUR and MDOWNPOUR at each.",
        lambda config: methods(config, config.agents[i]),
        lambda config: statements(config, i),
        lambda config, data: of_chosen(methods(config, config.agents[i]), data),
        lambda config: flat(fewer(config, i)),
    )


EXPERIMENTS = tuple(_figure(i, which) for i, which in enumerate(("smallest", "middle", "largest")))
