"""z-fig6.2.1: EASGD and DOWNPOUR as one method, in ten cases (Z Theorem 6.2.1).

Command: sdesim figure z-fig6.2.1. Gauss-Seidel EASGD on a quadratic with h = 1; alpha = 1 and beta = p is DOWNPOUR.
"""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from numpy.typing import NDArray

from sdesim import init, noise, objectives
from sdesim.claims import Statement, at_least, at_most
from sdesim.coupling import Elastic
from sdesim.dynamics import Dynamics
from sdesim.papers.frame.measured import Runs
from sdesim.papers.frame.mutations import formula
from sdesim.papers.zhang import points as shared
from sdesim.papers.zhang.points import Config, Points
from sdesim.statistics import grid_mean, least
from sdesim.steppers import Iteration
from sdesim.theory import stability

WORKERS, STEPS = 4, 20
EXACT = 16  # steps to which the rounding of workers that part is far below what their mean does
ETA = 0.5  # of the map
CASES = (  # eta, alpha, beta: one of each case, three that are not stable, and DOWNPOUR
    *((ETA, 0.5, 0.5), (ETA, 2.0, 1.0), (ETA, 0.8, 1.5), (ETA, 1.2, 4.0), (1.0, 0.7, 1.5)),
    *((1.5, 0.5, 0.5), (1.5, 0.3, 1.0), (1.5, 0.3, 1.3), (3.0, 0.9, 0.4), (4.5, 1.1, 0.3)),
    *((ETA, 0.5, 5.0), (ETA, 3.2, 1.0), (0.1, 0.9, 16.0), (0.1, 1.0, 16.0)),
)


def _whole(eta: float, alpha: float, beta: float) -> NDArray:
    """One step of all workers and the center, (p + 1, p + 1)."""
    p = WORKERS
    pulled = np.block([[(1 - alpha) * np.eye(p), np.full((p, 1), alpha)], [np.zeros((1, p)), np.ones((1, 1))]])
    descended = np.diag([*np.full(p, 1 - eta), 1.0])
    follows = np.eye(p + 1)
    follows[-1] = [*np.full(p, beta / p), 1 - beta]
    return follows @ descended @ pulled


def _exact(eta: float, alpha: float, beta: float) -> NDArray:
    step, p, looks = _whole(eta, alpha, beta), WORKERS, []
    start = np.vstack([np.eye(p), np.full((1, p), 1 / p)])
    covariance = start @ start.T
    for _ in range(STEPS + 1):
        own = covariance[:-1, :-1]
        looks.append([covariance[-1, -1], own.mean(), np.trace(own) / p])
        covariance = step @ covariance @ step.T
    return np.array(looks)


POINTS = Points(
    names=("eta", "alpha", "beta"),
    values=CASES,
    label=lambda eta, alpha, beta: rf"$\eta={eta:g}$, $\alpha={alpha:g}$, $\beta={beta:g}$",
    model=lambda eta, alpha, beta: (
        Dynamics(objectives.Quadratic(1.0), Elastic.from_moving_rates(alpha, beta, eta), noise.Silent(), eta),
        WORKERS,
    ),
    stepper=Iteration(order="gauss-seidel"),
    init=lambda config, *values: init.Normal(),
    steps=STEPS,
    exact=_exact,
    compared=EXACT,
    radius=lambda eta, alpha, beta: float(stability.radius(_whole(eta, alpha, beta))),
)


def _draw(panel: Axes, config: Config, data: xr.Dataset) -> None:
    beta = np.linspace(0, 9, config.resolution + 2)[1:-1]
    alpha = np.linspace(0, 4.2, config.resolution + 2)[1:-1]
    radius = stability.radius(stability.gauss_seidel_drift(ETA, alpha[:, None], beta))
    shared.radius_map(panel, beta, alpha, radius, rf"radius of mean and center, $\eta={ETA:g}$")
    panel.axhline(1 + 1 / (1 - ETA), color="white", lw=1.2, ls="--", label="workers' differences diverge above")
    here = data["eta"].values == ETA
    shared.mark(panel, data["beta"].values, np.where(here, data["alpha"].values, np.nan))
    panel.set(xlabel=r"moving rate of the center $\beta$", ylabel=r"moving rate of the workers $\alpha$")
    panel.set(xlim=(0, 9), ylim=(0, 4.2))
    shared.legend(panel, "upper right")


def _statements(config: Config) -> list[Statement]:
    rng = np.random.default_rng(0)
    tried = rng.uniform(0.01, (6.0, 3.0, 6.0), (4_000, 3))
    found = [stability.gauss_seidel_case(*values) for values in CASES]

    def differ(runs: Runs) -> tuple[float, float]:
        """The share of triples at which the ten cases and the eigenvalues disagree."""
        stable = stability.radius(stability.gauss_seidel_drift(*tried.T)) < 1
        return float(np.mean(stable != [stability.gauss_seidel_case(*values) is not None for values in tried])), 0.0

    def of_mean(runs: Runs) -> float:
        """The least logarithm by which mean and center fall at points of a case, and grow at the others."""
        squares = grid_mean(runs.data["squares"].sel(what=["center", "mean"]).sum("what", skipna=False))
        fallen = np.log((squares.isel(step=0) / squares.isel(step=-1)).values)
        if set(found) != {None, *range(1, 11)}:
            return np.nan
        return float(np.min(np.where([case is not None for case in found], fallen, -fallen)))

    def fallen(runs: Runs, case: tuple[float, float, float], what: str) -> float:
        """The logarithm by which squares fall at a point."""
        squares = grid_mean(runs.data["squares"].sel(what=what).isel(point=CASES.index(case)))
        return float(np.log(squares.isel(step=0) / squares.isel(step=-1)))

    def singleton(runs: Runs) -> float:
        radius = stability.radius(stability.gauss_seidel_drift(np.geomspace(1e-6, 8, 2_000), 0.9, 16.0)).min()
        falls, grows = fallen(runs, (0.1, 1.0, 16.0), "center"), -fallen(runs, (0.1, 0.9, 16.0), "center")
        return least([falls, grows]) if radius > 1 else np.nan

    any_alpha = lambda runs: fallen(runs, (ETA, 3.2, 1.0), "workers")
    return [
        # fails of a case that is taken for none, and of the order of Jacobi
        Statement(
            "cases",
            "mean and center of the runs fall at a point of each of the ten cases, and grow where none holds (least "
            "logarithm of how much)",
            of_mean,
            at_least(0.0, smoke=0.0),
        ),
        # fails of a case of another border
        Statement(
            "theorem",
            "the ten cases together are the stability of mean and center (share of 4,000 triples at which its "
            "eigenvalues say otherwise, of no simulation)",
            differ,
            at_most(0.0, smoke=0.0),
        ),
        # fails of another moving rate
        Statement(
            "singleton",
            "DOWNPOUR is a singleton: at eta = 0.1 and beta = 16 squares of the center fall with alpha = 1, and grow "
            "with alpha = 0.9, of which no learning rate is stable (the lesser of the logarithms of how much)",
            singleton,
            at_least(0.0, smoke=0.0),
        ),
        Statement(
            "any-alpha",
            "beta = 1 is stable with any alpha > 0 (logarithm by which the workers' squares fall at eta = 0.5, alpha = "
            "3.2)",
            any_alpha,
            at_least(0.0, smoke=0.0),
            note="false but for mean and center: the workers' differences have the factor (1 - eta) (1 - alpha)",
        ),
    ]


EXPERIMENT = shared.experiment(
    "6.2.1",
    "EASGD and DOWNPOUR as Gauss and Seidel have it",
    "Both are one method, with other moving rates. DOWNPOUR is a very peculiar singleton of it, stable with alpha very "
    "close to one alone; EASGD has much more room. (The ten cases speak of the workers' mean and the center; all "
    "workers need |(1 - eta) (1 - alpha)| < 1 besides).",
    POINTS,
    _draw,
    _statements,
    shared.presets(2_000, 400),
    {
        "cases at 1.1 alpha": formula(
            "the ten cases are those of a moving rate a tenth too large",
            "stability.gauss_seidel_case",
            lambda right: lambda n, a, b: right(n, 1.1 * a, b),
        )
    },
)
