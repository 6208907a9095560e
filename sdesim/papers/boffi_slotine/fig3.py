"""bs-fig3: QSGD with Nesterov momentum in one dimension for six coupling gains (BS Fig. 3).

Command: sdesim figure bs-fig3. The trend is that of Figure 1 at much higher gains: differences of velocity keep agents
apart that their positions would not. What is seen belongs to the number of agents: with 4000, panel (f) stays at its
start (docs/models.md).
"""

import dataclasses
import functools

import xarray as xr
from matplotlib.figure import Figure

from sdesim.claims import Statement, at_least, at_most
from sdesim.dynamics import Nesterov
from sdesim.fields import check_sign
from sdesim.papers.boffi_slotine import one_dimensional as one
from sdesim.papers.frame.experiment import Experiment


@dataclasses.dataclass(frozen=True)
class Config(one.Config):
    """Constants [C] of Figure 3."""

    k: tuple[float, ...] = (0.0, 6.0, 20.0, 24.0, 28.0, 40.0)
    agents: int = 150
    eta: float = 0.015
    smoothing: float | None = 0.4
    momentum: float = 0.9
    """Momentum delta of the Nesterov iteration."""
    k_degraded: float = 60.0
    """A gain at which strong coupling degrades the result here too."""

    def __post_init__(self):
        super().__post_init__()
        check_sign("k_degraded", self.k_degraded)
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum={self.momentum}: must be at least 0 and less than 1")


PRESETS = {"smoke": Config(sims=16), "default": Config(), "paper": Config(sims=2000)}


def run(config: Config, progress: bool = False) -> xr.Dataset:
    with_momentum = one.model(config, momentum=Nesterov(config.momentum))
    data = one.final_points(config, with_momentum, (*config.k, config.k_degraded), progress)
    without = one.final_points(config, one.model(config), (config.k[-1],), progress)
    return data.assign({f"plain_{name}": v.isel({one.K: 0}, drop=True) for name, v in without.items()})


def ensemble(config: Config, data: xr.Dataset) -> one.Panels:
    plain = xr.Dataset({name: data[f"plain_{name}"] for name in ("agents", "quorum")})
    return one.panels(data, plain=plain)


def plot(config: Config, data: xr.Dataset) -> Figure:
    title = rf"QSGD with Nesterov momentum, $\delta={config.momentum:g}$, final points (Boffi & Slotine, Fig. 3)"
    return one.plot(config, data.isel({one.K: slice(0, 6)}), title)


def statements(config: Config) -> list[Statement]:
    marks = one.landmarks(config)
    x, q = (lambda e, p: e[p].x), (lambda e, p: e[p].q)

    def two_deepest(e: one.Panels, p: str):
        return one.share_near(x(e, p), marks.right, one.NEAR) + one.share_near(x(e, p), marks.left, one.NEAR)

    found = [
        Statement(
            "3a-spread",
            "without coupling agents spread over the landscape (standard deviation)",
            lambda e: x(e, "a").std(),
            at_least(1.45, smoke=1.4),
        ),
        Statement(
            "3a-nearly-uniform",
            "without coupling agents are nearly uniform (divergence from uniform)",
            lambda e: one.divergence_from_uniform(x(e, "a")),
            at_most(0.08, smoke=0.15),
        ),
        Statement(
            "3a-quorum-at-zero",
            "without coupling the quorum gathers about zero (distance of its mean)",
            lambda e: abs(q(e, "a").mean()),
            at_most(0.25, smoke=0.4),
        ),
        Statement(
            "3b-localized",
            "weak coupling localizes agents (standard deviation, b over a)",
            lambda e: x(e, "b").std() / x(e, "a").std(),
            at_most(0.85, smoke=0.9),
        ),
        Statement(
            "3b-about-center",
            "about the center of the landscape (distance of the mean)",
            lambda e: abs(q(e, "b").mean()),
            at_most(0.4, smoke=0.6),
        ),
        Statement(
            "3b-not-deepest",
            "and not in the two deepest basins (share of agents)",
            lambda e: two_deepest(e, "b"),
            at_most(0.5, smoke=0.55),
        ),
        Statement(
            "3b-no-minimum",
            "nor in any other minimum (divergence from uniform)",
            lambda e: one.divergence_from_uniform(x(e, "b")),
            at_most(0.08, smoke=0.15),
        ),
    ]
    for p in "cde":
        found += [
            Statement(
                f"3{p}-two-deepest",
                "agents gather in the two deepest smoothed minima (share within 0.4)",
                functools.partial(lambda e, p: two_deepest(e, p), p=p),
                at_least(0.55, smoke=0.5),
            ),
            Statement(
                f"3{p}-left-too",
                "the left one among them (share of agents within 0.4)",
                functools.partial(lambda e, p: one.share_near(x(e, p), marks.left, one.NEAR), p=p),
                at_least(0.015),
            ),
            Statement(
                f"3{p}-quorum-wide",
                "and the quorum is still too wide for reliable convergence (standard deviation)",
                functools.partial(lambda e, p: q(e, p).std(), p=p),
                at_least(0.4),
            ),
        ]
    return [
        *found,
        Statement(
            "3f-reliable",
            "the strongest coupling of the panels converges reliably to the right minimum (share within 0.4)",
            lambda e: one.near(q(e, "f"), marks.right, one.NEAR),
            at_least(0.97, smoke=0.6),
        ),
        Statement(
            "3f-quorum-sharp", "its quorum is sharp (robust width)", lambda e: one.width(q(e, "f")), at_most(0.06)
        ),
        Statement(
            "3f-agents-at-minimum",
            "and agents are there too (share within 0.4)",
            lambda e: one.share_near(x(e, "f"), marks.right, one.NEAR),
            at_least(0.88, smoke=0.8),
        ),
        Statement(
            "3-high-gain-tolerated",
            "that gain degrades the result without momentum (share of quorums within 0.4 of their start)",
            lambda e: one.near(q(e, "plain"), 0.0, 0.4),
            at_least(0.95),
            note="weak: does not discriminate, the smaller learning rate alone would explain it",
        ),
        Statement(
            "3-degrades",
            "a still higher gain degrades it with momentum too (share of quorums within 0.4 of their start)",
            lambda e: one.near(q(e, "g"), 0.0, 0.4),
            at_least(0.95, smoke=0.6),
        ),
        Statement(
            "3-degrades-agents",
            "agents are kept there with it (share within 0.4)",
            lambda e: one.share_near(x(e, "g"), 0.0, 0.4),
            at_least(0.85, smoke=0.6),
        ),
    ]


EXPERIMENT = Experiment(
    "bs-fig3",
    "Boffi & Slotine, Fig. 3: QSGD with Nesterov momentum in one dimension",
    "With momentum the trend is that of Figure 1 at much higher gains: differences of velocity keep agents "
    "apart that their positions would not.",
    PRESETS,
    run,
    plot,
    ensemble,
    statements,
)
