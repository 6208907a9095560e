"""bs-fig5: final agents in d dimensions for six coupling gains, over a section of the loss (BS Fig. 5).

Command: sdesim figure bs-fig5. One run feeds Figures 4, 5 and 6. All constants are chosen [C].
"""

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from sdesim.claims import Statement, at_least, at_most
from sdesim.papers.boffi_slotine import high_dimensional as high
from sdesim.papers.boffi_slotine.high_dimensional import PRESETS, Config
from sdesim.papers.frame.experiment import Experiment
from sdesim.papers.frame.measured import Runs


def run(config: Config, progress: bool = False) -> xr.Dataset:
    return high.run(config, progress)[["agents", "diverged"]]


def plot(config: Config, data: xr.Dataset) -> Figure:
    # agents are exchangeable, so the first of them are as good as any drawn at random
    z = data["agents"].values[:, :, : config.shown]
    title = f"final agents, QSGD with Nesterov momentum in {config.dims} dimensions (Boffi & Slotine, Fig. 5)"
    what = f"agents, {config.shown} of {config.agents} from each of {data.sizes['sim']} simulations, all planes pooled"
    return high.draw_panels(config, data, z, title, what, dict(marker="o", ms=2.0, color="black", alpha=0.25))


def within(runs: Runs, letter: str) -> np.ndarray:
    """How far each simulation's agents scatter: the mean over coordinates of their standard deviation, (sims,).

    Args:
        runs: the simulations.
        letter: of the panel.
    """
    return high.panel(runs, "agents", letter).std(axis=1).mean(axis=1)


def statements(config: Config) -> list[Statement]:
    minima = config.loss.minima()

    def x(runs: Runs, letter: str) -> np.ndarray:
        return high.panel(runs, "agents", letter)

    def clustered(letter: str, threshold: float, smoke: float) -> list[Statement]:
        return [
            Statement(
                f"5{letter}-clusters",
                "agents are in four clusters near the uncorrupted minima (share within 0.4 of them)",
                lambda runs: high.in_clusters(x(runs, letter), minima),
                at_least(threshold, smoke=smoke),
            ),
            Statement(
                f"5{letter}-all-four",
                "in all four of them (share in the smallest)",
                lambda runs: high.smallest_cluster(x(runs, letter), minima),
                at_least(0.03),
            ),
        ]

    return [
        Statement(
            "5a-uniform",
            "without coupling agents are essentially uniform (largest over smallest count in 4 x 4 squares)",
            lambda runs: high.unevenness(x(runs, "a")),
            at_most(2.5, smoke=4.0),
        ),
        Statement(
            "5a-spread",
            "without coupling they do not agree (standard deviation within a simulation)",
            lambda runs: within(runs, "a"),
            at_least(1.3, smoke=1.3),
        ),
        Statement(
            "5b-more-clustered",
            "a little coupling draws them together (that standard deviation, b over a)",
            lambda runs: float(within(runs, "b").mean() / within(runs, "a").mean()),
            at_most(0.75, smoke=0.75),
        ),
        Statement(
            "5b-insufficient",
            "and is not enough for clusters (share in the four)",
            lambda runs: high.in_clusters(x(runs, "b"), minima),
            at_most(0.25, smoke=0.25),
        ),
        *clustered("c", 0.6, 0.5),
        *clustered("d", 0.8, 0.7),
        Statement(
            "5c-stragglers",
            "the smaller of these two gains has more stragglers between the clusters (share with a coordinate in no "
            "well, c less d)",
            lambda runs: high.stragglers(x(runs, "c")) - high.stragglers(x(runs, "d")),
            at_least(0.05, smoke=0.0),
        ),
        Statement(
            "5e-merging",
            "with more coupling the clusters begin to merge (share of agents outside them)",
            lambda runs: 1 - high.in_clusters(x(runs, "e"), minima),
            at_least(0.3),
        ),
        Statement(
            "5f-near-origin",
            "with too much they stay near the origin (share within 0.4)",
            lambda runs: high.near_origin(x(runs, "f")),
            at_least(0.85, smoke=0.8),
        ),
    ]


EXPERIMENT = Experiment(
    "bs-fig5",
    "Boffi & Slotine, Fig. 5: final agents in many dimensions for six coupling gains",
    "Uncoupled agents are spread uniformly. A little coupling draws them together, more gathers them in four clusters "
    "near the minima of the loss without its cosines, still more makes the clusters merge, and too much keeps all "
    "agents near the origin.",
    PRESETS,
    run,
    plot,
    lambda config, data: Runs(data),
    statements,
)
