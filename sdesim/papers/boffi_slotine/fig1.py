"""bs-fig1: final points of QSGD in one dimension for six coupling gains (BS Fig. 1).

Command: sdesim figure bs-fig1. Without coupling agents spread over the whole landscape; with intermediate coupling they
agree on the deepest minimum of the smoothed loss; with strong coupling they stay where they began.
"""

import dataclasses

import xarray as xr
from matplotlib.figure import Figure

from sdesim.claims import Statement, at_least, at_most
from sdesim.papers.boffi_slotine import one_dimensional as one
from sdesim.papers.boffi_slotine.one_dimensional import Config, Landmarks, Panels
from sdesim.papers.frame.experiment import Experiment
from sdesim.papers.frame.mutations import Mutation

PRESETS = {"smoke": Config(sims=16), "default": Config(), "paper": Config(sims=2000)}


def run(config: Config, progress: bool = False) -> xr.Dataset:
    return one.final_points(config, one.model(config), config.k, progress)


def plot(config: Config, data: xr.Dataset) -> Figure:
    return one.plot(config, data, "QSGD, final points (Boffi & Slotine, Fig. 1)")


def consensus(panel: str, marks: Landmarks) -> list[Statement]:
    """Panels c and d: agents agree on the deepest smoothed minimum.

    Args:
        panel: its letter.
        marks: of the loss.
    """
    return [
        Statement(
            f"1{panel}-quorum-at-minimum",
            "the quorum converges to the global minimum of the smoothed loss (share within 0.4)",
            lambda e: one.near(e[panel].q, marks.right, 0.4),
            at_least(0.95, smoke=0.6),
        ),
        Statement(
            f"1{panel}-quorum-sharp",
            "its distribution there is very sharp (robust width)",
            lambda e: one.width(e[panel].q),
            at_most(0.08),
        ),
        Statement(
            f"1{panel}-agents-centered",
            "agents are centered about that minimum (distance of their median)",
            lambda e: abs(one.median(e[panel].x) - marks.right),
            at_most(0.25, smoke=0.3),
        ),
    ]


def near_start(panel: str, name: str) -> list[Statement]:
    """Panels e and f: the mean is at zero without any coupling too; that agents are there is the coupling's doing.

    Args:
        panel: its letter.
        name: what the signal is called, the quorum or the center.
    """
    return [
        Statement(
            f"1{panel}-near-start",
            f"strong coupling leaves the {name} near where it began (share within 0.4 of zero)",
            lambda e: one.near(e[panel].q, 0.0, 0.4),
            at_least(0.95, smoke=0.6),
        ),
        Statement(
            f"1{panel}-agents-near-start",
            "and the agents with it (share within 0.8, two steps' noise)",
            lambda e: one.share_near(e[panel].x, 0.0, 0.8),
            at_least(0.8, smoke=0.7),
        ),
    ]


def statements(config: Config, name: str = "quorum") -> list[Statement]:
    """What is said of final points in one dimension.

    Args:
        config: constants of the experiment.
        name: what the signal is called, the quorum or the center.
    """
    marks = one.landmarks(config)
    x, q = (lambda e, p: e[p].x), (lambda e, p: e[p].q)

    def correlations(e: Panels) -> tuple[float, float]:
        return one.loss_correlation(x(e, "b"), config)

    return [
        Statement(
            "1a-quorum-at-zero",
            f"without coupling the {name} gathers about zero (distance of its mean)",
            lambda e: abs(q(e, "a").mean()),
            at_most(0.25, smoke=0.3),
        ),
        Statement(
            "1a-quorum-peaked",
            f"without coupling the {name} is sharply peaked (standard deviation)",
            lambda e: q(e, "a").std(),
            at_most(0.14, smoke=0.2),
        ),
        Statement(
            "1a-nearly-uniform",
            "without coupling agents are nearly uniform (largest over smallest density)",
            lambda e: one.peak_ratio(x(e, "a")),
            at_most(3.0),
        ),
        Statement(
            "1a-divergence-from-uniform",
            "without coupling agents are nearly uniform (divergence from uniform)",
            lambda e: one.divergence_from_uniform(x(e, "a")),
            at_most(0.06, smoke=0.1),
        ),
        Statement(
            "1ac-divergence-ratio",
            "coupling makes them far from uniform (divergence, c over a)",
            lambda e: one.divergence_from_uniform(x(e, "c")) / one.divergence_from_uniform(x(e, "a")),
            at_least(10.0, smoke=5.0),
        ),
        Statement(
            "1a-deep-excess",
            "they are slightly more often in the two deepest regions (relative density)",
            lambda e: one.deep_excess(x(e, "a"), marks),
            at_least(1.1, smoke=1.05),
        ),
        Statement(
            "1a-no-consensus",
            "without coupling agents do not agree (standard deviation within a simulation)",
            lambda e: x(e, "a").std(axis=1),
            at_least(1.3, smoke=1.3),
        ),
        Statement(
            "1b-wide-basins",
            "weak coupling concentrates agents in wide basins (correlation with the smoothed loss)",
            lambda e: correlations(e)[0],
            at_least(0.5),
            note="weak: no stronger than without coupling",
        ),
        Statement(
            "1b-sharp-minima-avoided",
            "and away from sharp minima (that correlation less the one with what smoothing removes)",
            lambda e: correlations(e)[0] - abs(correlations(e)[1]),
            at_least(0.2),
            note="weak: no stronger than without coupling",
        ),
        Statement(
            "1b-quorum-wide",
            f"with weak coupling the {name} is too wide (width, b over c)",
            lambda e: one.width(q(e, "b")) / one.width(q(e, "c")),
            at_least(1.8),
        ),
        Statement(
            "1b-quorum-unreliable",
            f"and the {name} does not converge to the deepest smoothed minimum (share within 0.4)",
            lambda e: one.near(q(e, "b"), marks.right, 0.4),
            at_most(0.05, smoke=0.4),
        ),
        Statement(
            "1b-agents-drawn",
            "although it draws agents together (standard deviation within a simulation, b over a)",
            lambda e: x(e, "b").std(axis=1).mean() / x(e, "a").std(axis=1).mean(),
            at_most(0.95, smoke=0.97),
        ),
        *consensus("c", marks),
        *consensus("d", marks),
        *[statement for p in "ef" for statement in near_start(p, name)],
    ]


MUTATIONS = {
    "two agents": Mutation("there are two agents", config=lambda config: dataclasses.replace(config, agents=2)),
}

EXPERIMENT = Experiment(
    "bs-fig1",
    "Boffi & Slotine, Fig. 1: QSGD in one dimension for six coupling gains",
    "Uncoupled agents are spread nearly uniformly and only their mean is sharp. With moderate coupling agents "
    "and quorum concentrate in the deepest minimum of the smoothed loss. With strong coupling they stay near "
    "where they began.",
    PRESETS,
    run,
    plot,
    lambda config, data: one.panels(data),
    statements,
    mutations=MUTATIONS,
)
