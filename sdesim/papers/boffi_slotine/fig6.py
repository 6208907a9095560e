"""bs-fig6: final quorum in d dimensions for six coupling gains, over a section of the loss (BS Fig. 6).

Command: sdesim figure bs-fig6. One run feeds Figures 4, 5 and 6. All constants are chosen [C].
"""

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from sdesim.claims import Statement, at_least, at_most
from sdesim.papers.boffi_slotine import high_dimensional as high
from sdesim.papers.boffi_slotine.high_dimensional import PRESETS, Config
from sdesim.papers.frame.experiment import Experiment
from sdesim.papers.frame.measured import Runs
from sdesim.plot import theme


def run(config: Config, progress: bool = False) -> xr.Dataset:
    return high.run(config, progress)[["quorum", "agents", "diverged"]]


def plot(config: Config, data: xr.Dataset) -> Figure:
    title = f"final quorum, QSGD with Nesterov momentum in {config.dims} dimensions (Boffi & Slotine, Fig. 6)"
    what = f"quorum of {data.sizes['sim']} simulations, all planes pooled"
    style = dict(marker="o", ms=3.0, color=theme.QUORUM, alpha=0.5)
    return high.draw_panels(config, data, data["quorum"].values, title, what, style)


def statements(config: Config) -> list[Statement]:
    minima = config.loss.minima()
    wells = float(np.mean(np.abs(minima)))

    def q(runs: Runs, letter: str) -> np.ndarray:
        return high.panel(runs, "quorum", letter)

    def at_zero(runs: Runs) -> float:
        """Of panel e's coordinates outside the squares about the minima, the share near 0."""
        z = q(runs, "e")
        if not np.isfinite(z).all():
            return np.nan
        outside = np.min([np.abs(z - m) for m in minima], axis=0) >= high.NEAR
        return float((np.abs(z[outside]) < high.NEAR).mean()) if outside.any() else np.nan

    def clustered(letter: str) -> list[Statement]:
        return [
            Statement(
                f"6{letter}-clusters",
                "quorums are in four clusters (share within 0.4 of the uncorrupted minima)",
                lambda runs: high.in_clusters(q(runs, letter), minima),
                at_least(0.9, smoke=0.75),
            ),
            Statement(
                f"6{letter}-all-four",
                "in all four of them (share in the smallest)",
                lambda runs: high.smallest_cluster(q(runs, letter), minima),
                at_least(0.03),
            ),
            Statement(
                f"6{letter}-at-minima",
                "close to those minima (mean distance of coordinates from 0, off that of the minima)",
                lambda runs: abs(high.distance_in_wells(q(runs, letter)) - wells),
                at_most(0.15, smoke=0.2),
            ),
        ]

    return [
        Statement(
            "6a-near-origin",
            "without coupling the quorum is near the origin (root mean square of a coordinate)",
            lambda runs: float(np.sqrt(np.mean(q(runs, "a") ** 2))),
            at_most(0.25, smoke=0.3),
        ),
        Statement(
            "6b-shifted",
            "a little coupling shifts it towards the bottom left (mean coordinate)",
            lambda runs: q(runs, "b").mean(axis=1),
            at_most(-0.2, smoke=-0.1),
        ),
        Statement(
            "6b-shifted-by-coupling",
            "farther than without coupling (mean coordinate, a less b)",
            lambda runs: q(runs, "a").mean(axis=1) - q(runs, "b").mean(axis=1),
            at_least(0.12, smoke=0.05),
        ),
        Statement(
            "6b-bottom-left",
            "most of it into that quadrant (share of quorums)",
            lambda runs: high.bottom_left(q(runs, "b")),
            at_least(0.5),
        ),
        Statement(
            "6b-no-clusters",
            "and not yet into clusters (share in the four)",
            lambda runs: high.in_clusters(q(runs, "b"), minima),
            at_most(0.1, smoke=0.1),
        ),
        *clustered("c"),
        *clustered("d"),
        Statement(
            "6e-scattered",
            "with more coupling quorums are scattered between the clusters (share outside the four)",
            lambda runs: 1 - high.in_clusters(q(runs, "e"), minima),
            at_least(0.3),
        ),
        Statement(
            "6e-not-at-origin",
            "and not all at the origin (share within 0.4)",
            lambda runs: high.near_origin(q(runs, "e")),
            at_most(0.3, smoke=0.4),
        ),
        Statement(
            "6e-at-zero",
            "the coordinates that scatter stay near zero, in no well (share of them within 0.4)",
            at_zero,
            at_least(0.9),
            note="the scatter is that of coordinates which are each in a well or at zero",
        ),
        Statement(
            "6f-near-origin",
            "with too much it stays near the origin (share within 0.4)",
            lambda runs: high.near_origin(q(runs, "f")),
            at_least(0.95, smoke=0.8),
        ),
        Statement(
            "6f-agents-near-origin",
            "and so do the agents, which without coupling would not (share within 0.4)",
            lambda runs: high.near_origin(high.panel(runs, "agents", "f")),
            at_least(0.85, smoke=0.8),
        ),
    ]


EXPERIMENT = Experiment(
    "bs-fig6",
    "Boffi & Slotine, Fig. 6: final quorum in many dimensions for six coupling gains",
    "Without coupling the quorum is near the origin, with a little it moves towards the bottom left. Good gains bring "
    "it into four clusters near the minima of the loss without its cosines, larger ones scatter it between them, and "
    "the largest leave it near the origin.",
    PRESETS,
    run,
    plot,
    lambda config, data: Runs(data),
    statements,
)
