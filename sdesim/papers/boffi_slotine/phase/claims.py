"""What is said of the phase diagram."""

import numpy as np

from sdesim import statistics
from sdesim.claims import Statement, at_least, at_most
from sdesim.papers.boffi_slotine.phase.config import BARRIER, Config, P
from sdesim.papers.frame import measured


def statements(config: Config) -> list[Statement]:
    at = lambda which: lambda d: d["cut"].isel(cut_k=which)
    where_critical = int(np.searchsorted(sorted(config.cut_k), config.critical_gain(config.cut)))
    # "Not above" and "not known", so that what is not a number is asked.
    ordered = lambda d: measured.asked(d["plane"] / d["plane_limit"] ** 2, ~(d["plane_slope"] <= 1.2))
    off = lambda d: measured.asked(
        abs(statistics.grid_mean(d["tilted"]) - d["tilted_branch"]), ~np.isnan(d["tilted_branch"])
    )
    return [
        measured.equal(
            "plane",
            "the mean square of the mean of p agents is the exact average over their stationary law, over the plane",
            lambda d: d["plane"],
            lambda d: d["plane_exact"],
        ),
        measured.equal(
            "cut",
            "the same for all p at one temperature, the critical gain included",
            lambda d: d["cut"],
            lambda d: d["cut_exact"],
        ),
        measured.ratio(
            "ordered",
            "well above the critical line (R' > 1.2) agents agree as infinitely many do (least relative mean square)",
            ordered,
            lambda d: 1.0,
            at_least(0.8, smoke=0.6),
        ),
        measured.exponent(
            "below",
            f"below the critical gain (k = {config.cut_k[0]:g}) the mean square vanishes as 1 / p",
            at(0),
            P,
            -1.0,
            0.25,
        ),
        measured.exponent("above", f"above it (k = {config.cut_k[-1]:g}) it does not vanish", at(-1), P, 0.0, 0.05),
        measured.exponent(
            "critical", "at the predicted critical gain it vanishes as 1 / sqrt(p)", at(where_critical), P, -0.5, 0.25
        ),
        Statement(
            "two-agreements",
            "on the tilted well each start settles on its stable branch (largest distance, where the law has settled "
            f"and no barrier is below {BARRIER:g} T / p)",
            lambda runs: statistics.greatest(off(runs.data)),
            at_most(0.1, smoke=0.4),
        ),
        Statement(
            "one-agreement",
            f"with weak coupling (k = {config.tilted_k[0]:g}) both starts settle on the same mean (distance)",
            lambda runs: abs(float(statistics.grid_mean(runs.data["tilted"].isel(tilted_k=0)).diff("start")[0])),
            at_most(0.2, smoke=0.4),
        ),
    ]
