"""z-fig5.20: two workers of EASGD on both sides of a saddle (Z Fig. 5.20).

Command: sdesim figure z-fig5.20. On (1 - x^2)^2 / 4 workers at +- sqrt(1 - rho) and a center at 0 rest; whether they
stay says the least eigenvalue of the Hessian there.
"""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from numpy.typing import NDArray

from sdesim import noise, objectives
from sdesim.claims import Statement, at_most
from sdesim.coupling import Elastic
from sdesim.dynamics import Dynamics
from sdesim.papers.frame.measured import Runs
from sdesim.papers.frame.mutations import formula
from sdesim.papers.zhang import points as shared
from sdesim.papers.zhang.points import Config, Points
from sdesim.statistics import grid_mean
from sdesim.steppers import Iteration
from sdesim.theory import double_well

ETA, STEPS = 0.05, 100
AWAY = 1e-3  # standard deviation of a worker's start from where it rests: the map is that of small departures
RHO = (0.1, 0.3, 0.5, 0.7, 0.8, 0.9)


def _rest(rho: float) -> NDArray:
    return np.array([np.sqrt(1 - rho), -np.sqrt(1 - rho), 0.0])


def _start(config: Config, rho: float) -> NDArray:
    """Workers near where they rest, (sims, 2, 1), and the center at their mean."""
    away = AWAY * np.random.default_rng(config.seed).normal(size=(config.sims, 2, 1))
    return _rest(rho)[:2, None] + away


def _exact(rho: float) -> NDArray:
    """E of the squares of center, workers' mean, and workers, of departures that the Hessian draws back."""
    step = np.eye(3) - ETA * double_well.hessian(_rest(rho), rho)
    start = np.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]]) * AWAY
    covariance, looks = start @ start.T, []
    mean = np.array([0.5, 0.5, 0.0])
    for _ in range(STEPS + 1):
        looks.append([covariance[2, 2], mean @ covariance @ mean, np.nan])
        covariance = step @ covariance @ step.T
    return np.array(looks)


POINTS = Points(
    names=("rho",),
    values=tuple((rho,) for rho in RHO),
    label=lambda rho: rf"$\rho={rho:g}$",
    model=lambda rho: (Dynamics(objectives.QuarticDoubleWell(), Elastic(rho), noise.Silent(), ETA), 2),
    stepper=Iteration(),
    init=_start,
    steps=STEPS,
    exact=_exact,
    radius=lambda rho: 1 - ETA * double_well.least_curvature_apart(rho),
    what=("center", "mean"),
)


def _draw(panel: Axes, config: Config, data: xr.Dataset) -> None:
    rho = np.linspace(0, 0.999, 400)
    panel.plot(rho, [double_well.least_curvature_apart(r) for r in rho], color="0.3", label="least eigenvalue")
    half = STEPS // 2
    rate = lambda last, middle: (1 - (last / middle) ** (0.5 / (STEPS - half))) / ETA
    exact = [rate(*_exact(r)[[-1, half], 1]) for r in rho]
    panel.plot(rho, exact, "--", color="0.3", lw=1.0, label=f"how the mean falls in steps {half} to {STEPS}, exact")
    squares = grid_mean(data["squares"].sel(what="mean"))
    shared.mark(panel, data["rho"], rate(squares.isel(step=-1), squares.isel(step=half)))
    panel.plot([], [], "o", color="0.5", label="and simulated")
    panel.legend(fontsize=8, loc="lower left")
    panel.axhline(0, color="0.6", lw=0.8)
    panel.axvline(2 / 3, color="0.6", lw=0.9, ls=":")
    panel.set(xlabel=r"penalty $\rho$", ylabel="least eigenvalue of the Hessian, rate", ylim=(-0.8, 0.7), xlim=(0, 1))


def _statements(config: Config) -> list[Statement]:
    def critical(runs: Runs) -> tuple[float, float]:
        """Of the penalty at which the least eigenvalue changes its sign, from 2/3."""
        rho = np.linspace(0.5, 0.9, 4001)
        least = np.array([double_well.least_curvature_apart(r) for r in rho])
        return abs(float(rho[np.flatnonzero(least < 0)[0]]) - 2 / 3), 0.0

    points = double_well.critical_points(0.3)
    return [
        Statement(
            "two-thirds",
            "the least eigenvalue is positive in the range rho < 2/3 (distance of its zero from 2/3, of no simulation)",
            critical,
            at_most(2e-4, smoke=2e-4),
        ),
        Statement(
            "no-other",
            "all critical points are of the form x = y or x = -y, for any rho > 0 (others at rho = 0.3, of no "
            "simulation)",
            lambda runs: (float(np.sum(~np.isclose(abs(points[:, 0]), abs(points[:, 1])))), 0.0),
            at_most(0.0, smoke=0.0),
            note="false: for rho < 2/3 there are four saddles more, (x + y)^2 = 1 - 3 rho / 2 and "
            "(x - y)^2 = 1 + rho / 2",
        ),
    ]


EXPERIMENT = shared.experiment(
    "5.20",
    "two workers on both sides of a saddle",
    "If the penalty is below a critical value the local variables can stay on both sides of a saddle point, and it is "
    "a stable configuration: the least eigenvalue is positive in the range rho < 2/3.",
    POINTS,
    _draw,
    _statements,
    shared.presets(2_000, 200),
    {
        "curvature at 1.05 rho": formula(
            "the least eigenvalue is that of a penalty a twentieth too large",
            "double_well.least_curvature_apart",
            lambda right: lambda rho: right(1.05 * rho),
        )
    },
)
