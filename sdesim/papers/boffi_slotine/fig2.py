"""bs-fig2: Figure 1 with a learning rate that is halved to a floor (BS Fig. 2).

Command: sdesim figure bs-fig2. The schedule turns the consensus of intermediate coupling into convergence to the
deepest minimum of the true loss, and does much less for uncoupled agents.
"""

import dataclasses
import functools

import xarray as xr
from matplotlib.figure import Figure

from sdesim.claims import Statement, at_least, at_most
from sdesim.fields import check_count, check_sign
from sdesim.papers.boffi_slotine import one_dimensional as one
from sdesim.papers.frame.experiment import Experiment
from sdesim.schedules import Halving


@dataclasses.dataclass(frozen=True)
class Config(one.Config):
    """Constants [C] of Figure 1, and the schedule."""

    halve_every: int = 600
    """Iterations between two halvings of the learning rate."""
    eta_floor: float = 0.0125
    """Where the learning rate stays."""

    def __post_init__(self):
        super().__post_init__()
        check_count("halve_every", self.halve_every)
        check_sign("eta_floor", self.eta_floor, zero=False)


PRESETS = {"smoke": Config(sims=16), "default": Config(), "paper": Config(sims=2000)}


def run(config: Config, progress: bool = False) -> xr.Dataset:
    schedule = Halving(config.eta, config.halve_every, config.eta_floor)
    data = one.final_points(config, one.model(config, eta=schedule), config.k, progress)
    # Panels a and c again at the constant rate: what the schedule gains is a difference, paired by its noise.
    constant = one.final_points(config, one.model(config), (config.k[0], config.k[2]), progress)
    return data.assign({f"constant_{name}": v.rename({one.K: "constant_k"}) for name, v in constant.items()})


def ensemble(config: Config, data: xr.Dataset) -> one.Panels:
    constant = {
        f"constant {panel}": xr.Dataset({n: data[f"constant_{n}"].isel(constant_k=i) for n in ("agents", "quorum")})
        for i, panel in enumerate("ac")
    }
    return one.panels(data, "quorum", **constant)


def plot(config: Config, data: xr.Dataset) -> Figure:
    title = f"QSGD, learning rate halved every {config.halve_every} iterations, final points (Boffi & Slotine, Fig. 2)"
    return one.plot(config, data, title)


def statements(config: Config) -> list[Statement]:
    marks = one.landmarks(config)

    def gain(e: one.Panels, panel: str) -> float:
        share = lambda name: float(one.share_near(e[name].x, marks.deepest, 0.15).mean())
        return share(panel) - share(f"constant {panel}")

    found = [
        Statement(
            "2a-quorum-unmoved",
            "without coupling the schedule does not bring the quorum to the deepest minimum (share within 0.3)",
            lambda e: one.near(e["a"].q, marks.deepest, 0.3),
            at_most(0.02, smoke=0.4),
        ),
        Statement(
            "2a-agents-slightly",
            "and improves agents only slightly (share of agents within 0.15 of the deepest minimum)",
            lambda e: one.share_near(e["a"].x, marks.deepest, 0.15),
            at_most(0.6),
            note="weak: locally the schedule improves uncoupled agents more than slightly",
        ),
        Statement(
            "2a-no-consensus",
            "without coupling agents still do not agree (standard deviation within a simulation)",
            lambda e: e["a"].x.std(axis=1),
            at_least(1.4, smoke=1.4),
        ),
        Statement(
            "2b-quorum-mild",
            "with weak coupling the improvement is mild: no quorum at the deepest minimum (share within 0.3)",
            lambda e: one.near(e["b"].q, marks.deepest, 0.3),
            at_most(0.05, smoke=0.4),
        ),
        Statement(
            "2b-agents-mild",
            "with weak coupling the improvement is mild (share of agents within 0.15 of the deepest minimum)",
            lambda e: one.share_near(e["b"].x, marks.deepest, 0.15),
            at_most(0.5, smoke=0.5),
        ),
        Statement(
            "2ac-gain-ratio",
            "coupling makes the schedule worth more (gain in agents at the deepest minimum, c over a)",
            lambda e: gain(e, "c") / gain(e, "a"),
            at_least(1.7, smoke=1.5),
        ),
    ]
    for p in "cd":
        found += [
            Statement(
                f"2{p}-agents-at-minimum",
                "intermediate coupling: agents converge to the deepest minimum of the true loss (share within 0.15)",
                functools.partial(lambda e, p: one.share_near(e[p].x, marks.deepest, 0.15), p=p),
                at_least(0.93, smoke=0.8),
            ),
            Statement(
                f"2{p}-quorum-at-minimum",
                "intermediate coupling: so does the quorum (share within 0.1)",
                functools.partial(lambda e, p: one.near(e[p].q, marks.deepest, 0.1), p=p),
                at_least(0.95, smoke=0.6),
            ),
        ]
    for p in "ef":
        found += [
            Statement(
                f"2{p}-quorum-near-start",
                "strong coupling: the quorum converges to the true minimum nearest its start (share within 0.05)",
                functools.partial(lambda e, p: one.near(e[p].q, marks.near_start, 0.05), p=p),
                at_least(0.97, smoke=0.6),
            ),
            Statement(
                f"2{p}-agents-near-start",
                "strong coupling: so do the agents (share within 0.2)",
                functools.partial(lambda e, p: one.share_near(e[p].x, marks.near_start, 0.2), p=p),
                at_least(0.95, smoke=0.9),
            ),
        ]
    return found


EXPERIMENT = Experiment(
    "bs-fig2",
    "Boffi & Slotine, Fig. 2: as Fig. 1, with the learning rate halved to a floor",
    "Lowering the learning rate helps agents settle locally and changes little about which minimum the quorum finds.",
    PRESETS,
    run,
    plot,
    ensemble,
    statements,
)
