"""async-race: how long protocols of asynchronous SGD take to a loss level, by compute times, stragglers and messages.

Command: sdesim figure async-race. All protocols of one server or none and the synchronous minibatch iteration descend a
noisy quadratic, on the same clocks and with the same gradient noise. Each does so at what is fastest in that regime
of a small grid of learning rates, and of gains where there is one, among those at which the loss goes on well below the
level. Compared are the seconds until the median loss has settled below the level, the gradients taken until then, and
the bytes sent. All constants are chosen [C].
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

from sdesim.asynchrony import Deterministic, Exponential, Gamma, Pareto
from sdesim.papers.asynchrony.race import claims, picture, run
from sdesim.papers.asynchrony.race.config import PRESETS, Config
from sdesim.papers.frame import measured
from sdesim.papers.frame.experiment import Experiment
from sdesim.papers.frame.mutations import Mutation, of_law

__all__ = ["EXPERIMENT", "PRESETS", "Config"]


def _own_clocks(right: Callable[..., Any]) -> Callable[..., Any]:
    """The synchronous iteration with random numbers of its own."""
    seed = lambda config, protocol: config.seed + (protocol == "synchronous")
    return lambda config, protocol, *of: right(dataclasses.replace(config, seed=seed(config, protocol)), protocol, *of)


EXPERIMENT = Experiment(
    "async-race",
    "A race of asynchronous SGD: time to a loss level, by protocol and regime",
    "Which protocol is fastest depends on who waits for whom. With equal workers and free messages waiting costs "
    "nothing and gradients are fresh; with stragglers a barrier waits for the slowest, and what does not wait is "
    "stale; where messages are slow, all take longer.",
    PRESETS,
    run.run,
    picture.plot,
    lambda config, data: measured.Runs(data),
    claims.statements,
    mutations={
        "memoryless gamma": of_law(
            "exponential compute times are of shape 4", Exponential, functools.partial(Gamma, 4.0)
        ),
        "memoryless equal": of_law("exponential compute times are equal", Exponential, Deterministic),
        "equal stragglers": of_law(
            "equal compute times are of a Pareto law", Deterministic, functools.partial(Pareto, 2.0)
        ),
        "stragglers equal": of_law("compute times of a Pareto law are equal", Pareto, Deterministic),
        "period 1": Mutation(
            "each job is followed by a message", config=lambda config: dataclasses.replace(config, period=1)
        ),
        "clocks their own": Mutation(
            "the synchronous iteration has other clocks and gradients than the rest",
            names={"papers.asynchrony.race.run._swept": _own_clocks},
        ),
    },
)
