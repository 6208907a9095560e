"""z-fig5.1: SGD with momentum under additive noise: how fast second moments fall (Z Fig. 5.1).

Command: sdesim figure z-fig5.1.
"""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from numpy.typing import NDArray

from sdesim import noise, objectives
from sdesim.claims import Statement, at_most
from sdesim.coupling import Uncoupled
from sdesim.dynamics import Dynamics, Nesterov
from sdesim.papers.frame.mutations import formula
from sdesim.papers.zhang import points as shared
from sdesim.papers.zhang.points import Config, Points
from sdesim.steppers import Iteration
from sdesim.theory import quadratic, stability

SIGMA = 0.1  # standard deviation of a gradient [C]; the start is at 1
STEPS = 12
SLOW = 0.1  # the learning rate at which three momenta are compared
BEST = float(stability.best_momentum(SLOW) / (1 - SLOW))


def _radius(eta: float, delta: float) -> float:
    return float(stability.radius(quadratic.momentum_moments(eta, delta * (1 - eta))))


def _exact(eta: float, delta: float) -> NDArray:
    found = shared.additive(STEPS, 1, eta, delta * (1 - eta), noise=(eta * SIGMA) ** 2, mean=1.0)
    return found[:, [1, 1, 1]]  # one agent is its own mean and center


POINTS = Points(
    names=("eta", "delta"),
    values=((SLOW, 0.0), (SLOW, BEST), (SLOW, 0.9), (1.0, 0.5), (1.4, 0.5), (1.8, 0.5), (1.9, 0.9)),
    label=lambda eta, delta: f"$\\eta={eta:g}$, $\\delta={delta:.2g}$",
    model=lambda eta, delta: (
        Dynamics(objectives.Quadratic(1.0), Uncoupled(), noise.Gaussian(SIGMA), eta, Nesterov(delta)),
        1,
    ),
    stepper=Iteration(),
    init=1.0,
    steps=STEPS,
    exact=_exact,
    radius=_radius,
)


def _axes(config: Config) -> tuple[NDArray, NDArray]:
    eta = np.linspace(0, 2, config.resolution + 2)[1:-1]
    return eta, np.linspace(-1, 1, config.resolution + 2)[1:-1]


def _map(eta: NDArray, delta: NDArray) -> NDArray:
    """The greatest eigenvalue of (5.6), the square of that of the means' own step: (delta, eta)."""
    return np.abs(stability.eamsgd_spectrum(eta, delta[:, None] * (1 - eta), 0.0, 1.0)[..., 2:]).max(axis=-1) ** 2


def _draw(panel: Axes, config: Config, data: xr.Dataset) -> None:
    eta, delta = _axes(config)
    shared.radius_map(panel, eta, delta, _map(eta, delta), "greatest eigenvalue of (5.6)")
    small = eta[eta < 0.97]
    best = stability.best_momentum(small) / (1 - small)
    panel.plot(small, best, "--", color="white", lw=1.3, label=r"best $\delta$, $\delta_h=(\sqrt{\eta_h}-1)^2$")
    shared.mark(panel, data["eta"], data["delta"])
    panel.set(xlabel=r"learning rate $\eta$  $(h=1)$", ylabel=r"momentum $\delta$", xlim=(0, 2), ylim=(-1, 1))
    shared.legend(panel, "lower left")


def _statements(config: Config) -> list[Statement]:
    def border(data: xr.Dataset) -> float:
        """Largest difference, over the map, of the sign of radius - 1 and what (5.7) asks."""
        eta, delta = _axes(config)
        said = stability.momentum_is_stable(eta[None], delta[:, None] * (1 - eta[None]))
        return float(np.mean(said != (_map(eta, delta) < 1)))

    return [
        # fails of another momentum at the point that is called the best
        shared.faster(
            "best-momentum",
            f"at eta h = {SLOW:g} squares fall faster at delta_h = (sqrt(eta_h) - 1)^2 than at delta = 0 and 0.9",
            best=1,
            others=(0, 2),
            least_log=0.5,
        ),
        # fails of a border at eta_h = 2, that of no momentum
        Statement(
            "condition",
            "it is stable if and only if |delta_h| < 1 and 0 < eta_h < 2 (1 + delta_h) (share of the map where the "
            "radius says otherwise, of no simulation)",
            lambda runs: (border(runs.data), 0.0),
            at_most(0.0, smoke=0.0),
        ),
    ]


EXPERIMENT = shared.experiment(
    "5.1",
    "SGD with momentum under additive noise",
    "Momentum helps where the learning rate is small: for a given one second moments fall fastest at delta_h = "
    "(sqrt(eta_h) - 1)^2, where their eigenvalues turn from real to complex. It is stable if and only if |delta_h| < 1 "
    "and 0 < eta_h < 2 (1 + delta_h).",
    POINTS,
    _draw,
    _statements,
    shared.presets(),
    {
        "(5.7) without momentum": formula(
            "the condition is that of no momentum, eta_h < 2",
            "stability.momentum_is_stable",
            lambda right: lambda n, d: (abs(d) < 1) & (n < 2),
        )
    },
)
