"""z-fig5.15 to z-fig5.19: EASGD under multiplicative noise (Z Fig. 5.15-5.19).

Command: sdesim figure z-fig5.15. The curvature of a sample is of a gamma law of shape lambda and rate omega, and the
center's moving rate is 0.9.
"""

from collections.abc import Callable, Iterable

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from numpy.typing import ArrayLike, NDArray

from sdesim import noise
from sdesim.analysis.optimum import least_of
from sdesim.claims import Statement, at_least
from sdesim.coupling import Elastic
from sdesim.dynamics import Dynamics
from sdesim.papers.frame.experiment import Experiment
from sdesim.papers.zhang import points as shared
from sdesim.papers.zhang.points import Config, Points
from sdesim.steppers import Iteration
from sdesim.theory import multiplicative, stability

BETA = 0.9
STEPS = 3  # few: the squares' own squares grow much faster than they
WORKERS = np.arange(1, 65)
SIMULATED = (2, 8)  # numbers of workers of the runs [C]

PRINTED = {15: (0.5, 6, 0.3814, 0.5742), 16: (1.0, 7, 0.5225, 0.4317), 17: (2.0, 9, 0.6647, 0.2945)}
PRINTED[18] = 10.0, 29, 0.8929, 0.0868
"""Of a figure lambda = omega, and as printed workers and learning rate of the least eigenvalue, and that."""
BETWEEN = {15: 0.38145, 16: 0.52206, 17: 0.66442, 18: 0.89224}
"""Of a figure the learning rate of the least eigenvalue of all, not of those of a grid [C]."""
MANY = 100, 0.5, 0.4343, 0.2525, 0.5024
"""Of Fig. 5.19 workers, lambda = omega, and as printed both rates of the least eigenvalue, and that."""

BETWEEN_OF_MANY = 0.43533, 0.25375, 0.50244
"""Both rates of the least eigenvalue of all, and that [C]."""


def _radius(workers: ArrayLike, eta: ArrayLike, alpha: ArrayLike, size: float) -> NDArray:
    """The greatest eigenvalue of (5.34); arguments broadcast."""
    law = multiplicative.gamma_law(size, size)
    return stability.radius(multiplicative.easgd_moments(workers, eta, alpha, BETA, *law))


def _explain(panel: Axes, loc: str, best: str) -> None:
    """Say what the line and the star of a map are.

    Args:
        panel: where to draw.
        loc: as matplotlib has it.
        best: where the eigenvalue is least.
    """
    panel.plot([], [], color="white", lw=1.4, label="border of stability")
    panel.plot([], [], "*", ms=9, color="white", mec="0.2", ls="none", label=best)
    shared.legend(panel, loc)


def _points(
    names: tuple[str, ...],
    values: Iterable[tuple[float, ...]],
    of: Callable[..., tuple],
    size: float,
    label: Callable[..., str],
) -> Points:
    """Runs of workers and center from 1; `of` makes (workers, eta, alpha) of a point."""

    def model(*values: float) -> tuple[Dynamics, int]:
        workers, eta, alpha = of(*values)
        loss, law = noise.zhang_multiplicative(size, size)
        return Dynamics(loss, Elastic.from_moving_rates(alpha, BETA, eta), law, eta), int(workers)

    def exact(*values: float) -> NDArray:
        workers, eta, alpha = of(*values)
        law = multiplicative.gamma_law(size, size)
        return shared.multiplicative_easgd(STEPS, int(workers), eta, alpha, BETA, *law)

    def radius(*values: float) -> float:
        workers, eta, alpha = of(*values)
        return float(_radius(workers, eta, alpha, size))

    return Points(names, tuple(values), label, model, Iteration(), 1.0, STEPS, exact, radius)


# -- over learning rate and number of workers --------------------------------------------------------------------------


def _over_workers(number: int) -> Experiment:
    size, best_p, best_eta, least = PRINTED[number]
    top = 2.0 if number == 18 else 1.0
    limit = 2 * size / (size + 1)  # of one worker by itself
    rates = (0.5 * best_eta, best_eta)
    values = (*((p, eta) for p in SIMULATED for eta in rates), (SIMULATED[-1], 1.4 * limit))
    label = lambda p, eta: f"$p={p:g}$, $\\eta={eta:.3g}$"
    points = _points(("workers", "eta"), values, lambda p, eta: (p, eta, BETA / p), size, label)

    def of_grid() -> tuple[float, float, float]:
        """The least eigenvalue, its number of workers and its learning rate, of 1000 rates as the thesis has it."""
        eta = np.linspace(0, top, 1000)[1:]
        found = _radius(WORKERS[:, None], eta, BETA / WORKERS[:, None], size)
        row, column = np.unravel_index(np.argmin(found), found.shape)
        return float(found[row, column]), float(WORKERS[row]), float(eta[column])

    def between() -> tuple[float, float]:
        """The number of workers and the learning rate of the least eigenvalue of all learning rates."""
        of = {
            p: least_of(lambda eta, p=p: float(_radius(p, eta, BETA / p, size)), np.linspace(0, top, 101)[1:])
            for p in (best_p - 1, best_p, best_p + 1)
        }
        best = min(of, key=lambda p: of[p][1])
        return best, of[best][0]

    def draw(panel: Axes, config: Config, data: xr.Dataset) -> None:
        edge = max(top, 1.5 * limit)
        eta = np.linspace(0, edge, config.resolution + 1)[1:]
        radius = _radius(WORKERS[:, None], eta, BETA / WORKERS[:, None], size)
        shared.radius_map(panel, eta, WORKERS, radius, "greatest eigenvalue of (5.34)", (best_eta, best_p))
        shared.mark(panel, data["eta"], data["workers"])
        panel.set(xlabel=r"learning rate $\eta$", ylabel="workers $p$", xlim=(0, edge), ylim=(1, 64))
        _explain(
            panel,
            "upper right",
            f"least, {least:.4f}:\n$p={best_p}$, $\\eta={best_eta:.4f}$\n(of all rates, {BETWEEN[number]:.5f})",
        )

    said = lambda config: [
        # fails of another variance of the gamma law
        shared.printed(
            "printed",
            "the least eigenvalue, the number of workers of which it is, and the learning rate",
            of_grid,
            (least, best_p, best_eta),
            (4, 0, 4),
        ),
        # fails of another variance of the gamma law
        shared.printed(
            "between",
            "of all learning rates, which the thesis does not print, the number of workers and the learning rate",
            between,
            (best_p, BETWEEN[number]),
            (0, 5),
        ),
        # fails of no coupling
        shared.faster(
            "workers-help",
            f"at eta = {best_eta:g} the mean of {SIMULATED[1]} workers falls faster than that of {SIMULATED[0]}",
            best=3,
            others=(1,),
            least_log=0.02,
        ),
    ]
    return shared.experiment(
        f"5.{number}",
        f"EASGD under multiplicative noise, $\\lambda=\\omega={size:g}$, $\\alpha=\\beta/p$, $\\beta={BETA}$",
        "EASGD improves the optimal rate of convergence over momentum, and its best is achieved for some finite number "
        "of workers; the stability region in the learning rate remains that of SGD as p grows.",
        points,
        draw,
        said,
        shared.presets(60_000, 20_000),
    )


# -- over learning rate and moving rate --------------------------------------------------------------------------------

_P, _SIZE, _ETA, _ALPHA, _LEAST = MANY
FREE = _points(
    ("eta", "alpha"),
    ((_ETA, _ALPHA), (_ETA, 0.009), (_ETA, 0.7), (0.2, 0.0), (0.6, 0.29), (0.6, -0.8), (0.9, 0.5)),
    lambda eta, alpha: (SIMULATED[-1], eta, alpha),
    _SIZE,
    lambda eta, alpha: f"$p={SIMULATED[-1]}$, $\\eta={eta:.3g}$, $\\alpha={alpha:.3g}$",
)


def _draw_free(panel: Axes, config: Config, data: xr.Dataset) -> None:
    eta = np.linspace(0, 1, config.resolution + 1)[1:]
    alpha = np.linspace(-1, 1, config.resolution + 1)
    radius = _radius(_P, eta, alpha[:, None], _SIZE)
    shared.radius_map(panel, eta, alpha, radius, f"greatest eigenvalue of (5.34), $p={_P}$", (_ETA, _ALPHA))
    inside = alpha[(alpha > 0) & (alpha < 1)]
    panel.plot(multiplicative.easgd_limit(_SIZE, _SIZE, inside, BETA), inside, "--", color="white", lw=1.3)
    panel.plot([], [], "--", color="white", label=r"border for $p\to\infty$")
    widest = multiplicative.widest_alpha(_SIZE, _SIZE)
    panel.plot(widest[1], widest[0], "D", ms=5, color="white", mec="0.2", label=r"$\alpha=1-\sqrt{\lambda}$")
    shared.mark(panel, data["eta"], data["alpha"])
    panel.set(xlabel=r"learning rate $\eta$", ylabel=r"moving rate $\alpha$", xlim=(0, 1), ylim=(-1, 1))
    _explain(panel, "lower left", f"least, {_LEAST:.4f} (of all rates, {BETWEEN_OF_MANY[2]:.5f})")


def _of_free(config: Config) -> list[Statement]:
    rates, moving = np.linspace(0, 1, 100)[1:], np.linspace(-1, 1, 100)  # as the thesis has it, 100 by 100

    def least() -> tuple[float, float, float]:
        found = _radius(_P, rates, moving[:, None], _SIZE)
        row, column = np.unravel_index(np.argmin(found), found.shape)
        return float(found[row, column]), float(rates[column]), float(moving[row])

    def between() -> tuple[float, float, float]:
        """Both rates of the least eigenvalue of all, and that."""
        of = lambda eta: least_of(lambda alpha: float(_radius(_P, eta, alpha, _SIZE)), np.linspace(-1, 1, 21))
        eta, radius, _ = least_of(lambda eta: of(eta)[1], np.linspace(0.3, 0.6, 4))
        return eta, of(eta)[0], radius

    widest = multiplicative.widest_alpha(_SIZE, _SIZE)
    stable = lambda alpha: float(_radius(10**8, 0.99 * widest[1], alpha, _SIZE))
    return [
        # fails of another variance of the gamma law
        shared.printed(
            "printed",
            "the least eigenvalue, and its learning rate and moving rate",
            least,
            (_LEAST, _ETA, _ALPHA),
            (4, 4, 4),
        ),
        # fails of another variance of the gamma law
        shared.printed(
            "between",
            "of all rates, which the thesis does not print, the learning rate and the moving rate of the least "
            "eigenvalue, and that",
            between,
            BETWEEN_OF_MANY,
            (5, 5, 5),
        ),
        # fails of the elastic moving rate in place of the best
        shared.faster(
            "positive",
            f"in contrast to additive noise a positive moving rate is best: squares fall faster at alpha = {_ALPHA} "
            "than at beta / p and at 0.7",
            best=0,
            others=(1, 2),
            what="workers",
            least_log=0.02,
        ),
        Statement(
            "widest",
            f"alpha = 1 - sqrt(lambda) = {widest[0]:.4f} has the widest stable range of learning rates, to omega / "
            "sqrt(lambda), of many workers: just inside it is stable, and at twice and half of it is not (least radius "
            "of the two over its own, of no simulation)",
            lambda runs: (
                min(stable(2 * widest[0]), stable(widest[0] / 2)) if stable(widest[0]) < 1 else -np.inf,
                0.0,
            ),
            at_least(1.0, smoke=1.0),
        ),
    ]


EXPERIMENTS = (
    *(_over_workers(number) for number in PRINTED),
    shared.experiment(
        "5.19",
        f"EASGD under multiplicative noise, $\\lambda=\\omega={_SIZE:g}$, $p={_P}$, $\\beta={BETA}$",
        "With a moving rate that is free of p the best one can be positive for many workers, and the stable range of "
        "learning rates is widest at alpha = 1 - sqrt(lambda).",
        FREE,
        _draw_free,
        _of_free,
        shared.presets(60_000, 10_000),
    ),
)
