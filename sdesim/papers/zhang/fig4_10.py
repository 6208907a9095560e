"""z-fig4.10: SGD, its averages and SGD with momentum, of one worker (Z Fig. 4.10).

Command: sdesim figure z-fig4.10, after sdesim data cifar10. Settings and learning rates are Z's (see `chapter4`).
"""

from sdesim.claims import Statement, at_least, at_most
from sdesim.papers.zhang.chapter4 import (
    ALONE,
    Config,
    Methods,
    always,
    better,
    during,
    experiment,
    of_chosen,
    tried,
)


def methods(config: Config) -> Methods:
    return {name: tried(config, name) for name in ALONE}


def statements(config: Config) -> list[Statement]:
    here = methods(config)
    asgd, msgd = here["ASGD"], here["MSGD"]
    beginning = slice(1, 1 + max(1, config.epochs // 10))
    return [
        Statement(
            "asgd-near-msgd",
            "the final test performance of ASGD and MSGD is quite close (difference of smallest test errors, points)",
            lambda runs: abs(better(asgd, msgd)(runs).mean()),
            at_most(2.0),
        ),
        Statement(
            "asgd-faster-at-first",
            "ASGD is much faster than MSGD from the beginning (points of test error, first tenth of the epochs)",
            better(asgd, msgd, lambda data, arms: during(data, arms, beginning)),
            at_least(2.0),
        ),
        *[
            Statement(
                f"msgd-outperforms-{name.lower()}",
                f"MSGD outperforms {name} on the test set (smallest test errors, points)",
                better(msgd, here[name]),
                at_least(0.0),
            )
            for name in ("SGD", "ASGD", "MVASGD")
        ],
        *always(here),
    ]


EXPERIMENT = experiment(
    "4.10",
    "SGD, ASGD, MVASGD and MSGD of one worker, iterations for time",
    "ASGD and MSGD end at a similar test error, and ASGD is much faster from the beginning. MSGD outperforms the "
    "others on the test set.",
    methods,
    statements,
    lambda config, data: of_chosen(methods(config), data),
)
