"""What is said of agents with different learning rates."""

import numpy as np
import xarray as xr

from sdesim import statistics
from sdesim.claims import Statement, at_least, at_most
from sdesim.papers.boffi_slotine.rates.config import Config
from sdesim.papers.frame import measured
from sdesim.theory import bounds


def spread_bound(config: Config, data: xr.Dataset) -> xr.DataArray:
    """BS 22 with BS 3.4's rates made for the iteration on log cosh, by contrast and gain.

    Args:
        config: constants of the experiment.
        data: with contrast and k.
    """
    found = []
    for contrast in data["contrast"].values:
        eta = config.rates(float(contrast))
        common = (config.agents, eta, config.sigma**2, data["k"].values, -config.curvature)
        smoothness = config.curvature + config.weight
        found.append(bounds.synchronization_level_discrete(*common, smoothness, batch=config.batch))
    return xr.DataArray(np.array(found), dims=("contrast", "k"))


def _best(data: xr.Dataset, name: str, population: str) -> float:
    """The largest share over the gains."""
    return statistics.greatest(statistics.grid_mean(data[name].sel(population=population)))


def _difference(name: str, first: str, other: str):
    """The statistic of how much larger the best share of one population is than that of another."""
    return lambda runs: _best(runs.data, name, first) - _best(runs.data, name, other)


def _explorers() -> list[Statement]:
    """What explorers do for the quorum and for the agents of small rate, compared with other populations."""
    return [
        Statement(
            "explorers-find",
            "with a common drift explorers take the quorum to the deepest minimum more often than small rates do (best "
            "share over the gains, difference)",
            _difference("quorum_share", "noise", "fine"),
            at_least(0.1, smoke=0.1),
        ),
        Statement(
            "explorers-find-more",
            "and more often than equal rates of the same mean (best share over the gains, difference)",
            _difference("quorum_share", "noise", "equal"),
            at_least(0.0),
            note="not asked of explorers by the paper, and within the error",
        ),
        Statement(
            "explorers-refine",
            "and the agents of small rate among them are there more often than agents of the mean rate",
            _difference("fine_share", "noise", "equal"),
            at_least(0.03),
        ),
        Statement(
            "own-steps-find",
            "explorers that take their own steps take it there more often than small rates do",
            _difference("quorum_share", "iteration", "fine"),
            at_least(0.0),
            note="found the other way: slow agents weigh most in what the coupling conserves, and hold the quorum back",
        ),
        Statement(
            "own-steps-lose",
            "explorers that take their own steps take it there less often than agents of the mean rate",
            _difference("quorum_share", "equal", "iteration"),
            at_least(0.3, smoke=0.2),
        ),
        Statement(
            "one-moving-rate",
            "with one moving rate eta_i k_i for all, which conserves the mean, explorers do find it, at larger gains",
            _difference("quorum_share", "moving", "iteration"),
            at_least(0.3, smoke=0.1),
        ),
        Statement(
            "one-moving-rate-refines",
            "and take more of the agents of small rate there than there are of agents of the mean rate",
            _difference("fine_share", "moving", "equal"),
            at_least(0.1, smoke=0.0),
        ),
    ]


def statements(config: Config) -> list[Statement]:
    found = []
    for model, words in (("noise", "a common drift and noise of their own"), ("iteration", "steps of their own")):
        for name, what in (("spread", "the spread of agents"), ("quorum", "the variance of their mean")):
            found.append(
                measured.equal(
                    f"{model}-{name}-exact",
                    f"for agents with {words}, {what} on a quadratic is that of the linear iteration",
                    lambda d, model=model, name=name: d[f"quadratic_{model}_{name}"],
                    lambda d, model=model, name=name: d[f"exact_{model}_{name}"],
                )
            )
    widest = lambda d, model: statistics.grid_mean(d[f"quadratic_{model}_quorum"].isel(contrast=-1, k=-1))
    return [
        *found,
        measured.below(
            "spread-bound",
            "with a common drift, (22) with the mean of eta_i / b_i bounds the spread on log cosh in its discrete form",
            lambda d: d["logcosh_noise_spread"],
            lambda d: spread_bound(config, d),
        ),
        measured.ratio(
            "spread-bound-tight",
            "and is within a factor 2 of it (least ratio)",
            lambda d: d["logcosh_noise_spread"],
            lambda d: spread_bound(config, d),
            at_least(0.5, smoke=0.5),
        ),
        Statement(
            "consensus-weighted",
            "the coupling alone takes agents with their own steps to the mean weighted by 1 / eta_i (largest distance)",
            lambda runs: (statistics.greatest(abs(runs.data["met"] - runs.data["meet"])), 0.0),
            at_most(1e-4, smoke=1e-4),
        ),
        Statement(
            "mean-conserved",
            "which is their mean only if all rates are equal (largest distance then)",
            lambda runs: (statistics.greatest(abs(runs.data["met"] - runs.data["started"]).sel(contrast=0.0)), 0.0),
            at_most(1e-4, smoke=1e-4),
        ),
        Statement(
            "slow-agents-rule",
            "so that at the largest gain the noise of their mean is that of the slow agents (variance, own steps over "
            "common drift)",
            lambda runs: float(widest(runs.data, "iteration") / widest(runs.data, "noise")),
            at_most(0.5, smoke=0.6),
        ),
        *_explorers(),
    ]
