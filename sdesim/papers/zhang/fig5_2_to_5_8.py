"""z-fig5.2 to z-fig5.8: EASGD and EAMSGD under additive noise: eigenvalues, and what they leave out (Z Fig. 5.2-5.8).

Command: sdesim figure z-fig5.2. Everywhere h = 1 and beta = 0.9.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from numpy.typing import NDArray

from sdesim import init, noise, objectives
from sdesim.claims import Statement, at_least, at_most
from sdesim.coupling import Elastic
from sdesim.dynamics import Dynamics, Nesterov
from sdesim.papers.frame import measured
from sdesim.papers.frame.experiment import Experiment
from sdesim.papers.frame.measured import Runs
from sdesim.papers.frame.mutations import Mutation, formula
from sdesim.papers.zhang import points as shared
from sdesim.papers.zhang.points import Config, Points
from sdesim.plot import theme
from sdesim.statistics import grid_mean
from sdesim.steppers import Iteration
from sdesim.theory import quadratic, stability

BETA = 0.9
WORKERS = 4
DELTA = 0.99  # of EAMSGD
SLOW, FAST = 0.1, 1.5  # learning rates below and above beta
STEPS = 12
LONG, SIGMA = 120, 0.01  # of the trajectories [C]
EXACT = 40  # steps to which the rounding of workers that part is far below what the center does


def _reduced(eta: float) -> float:
    """The moving rate of (5.17), best for mean and center."""
    return float(stability.best_reduced_alpha(eta, BETA))


def _model(eta: float, alpha: float, sigma: float, momentum: float | None = None) -> tuple[Dynamics, int]:
    rule = Elastic.from_moving_rates(alpha, BETA, eta)
    law = noise.Gaussian(sigma)  # of 0 too, which is the same program
    return Dynamics(objectives.Quadratic(1.0), rule, law, eta, Nesterov(momentum) if momentum else None), WORKERS


def _spectrum(eta: NDArray | float, alpha: NDArray | float) -> NDArray:
    return np.abs(stability.easgd_spectrum(eta, alpha, BETA))


def _points(
    values: Sequence[tuple[float, float]],
    radius: Callable[[float, float], float],
    *,
    sigma: float = 0.0,
    momentum: float | None = None,
    steps: int = STEPS,
    what: tuple[str, ...] = ("center", "mean", "workers"),
    compared: int | None = None,
) -> Points:
    """Runs at some learning and moving rates: from 1 with gradient noise, or without it from random starts."""
    start = dict(mean=1.0) if sigma else dict(spread=1.0)
    delta_h = lambda eta: 0.0 if momentum is None else momentum * (1 - eta)
    exact = lambda eta, alpha: shared.additive(
        steps, WORKERS, eta, delta_h(eta), alpha, BETA, noise=(eta * sigma) ** 2, **start
    )
    return Points(
        names=("eta", "alpha"),
        values=tuple(values),
        label=lambda eta, alpha: f"$\\eta={eta:g}$, $\\alpha={alpha:.3g}$",
        model=lambda eta, alpha: _model(eta, alpha, sigma, momentum),
        stepper=Iteration(),
        init=lambda config, *values: 1.0 if sigma else init.Normal(),
        steps=steps,
        exact=exact,
        radius=radius,
        what=what,
        compared=compared,
    )


# -- maps over learning rate and moving rate ---------------------------------------------------------------------------

REDUCED = _points(
    [(SLOW, _reduced(SLOW)), (SLOW, 0.0), (SLOW, BETA / WORKERS), (0.5, -0.7), (1.0, 0.5), (1.4, 0.6), (1.9, 0.3)],
    lambda eta, alpha: float(_spectrum(eta, alpha)[1:].max() ** 2),
    sigma=0.05,
    what=("center", "mean"),
)
WHOLE = _points(
    [
        (FAST, stability.best_alpha(FAST, BETA)[0]),
        (FAST, _reduced(FAST)),
        (SLOW, 0.0),
        (SLOW, _reduced(SLOW)),
        (0.9, 0.4),
        (1.4, 0.6),
        (1.9, 0.3),
    ],
    lambda eta, alpha: float(_spectrum(eta, alpha).max()),
)
MOMENTUM = _points(
    [(0.1, 0.82), (0.1, 0.225), (0.5, 0.5), (0.8, 0.2), (1.2, -0.4), (1.2, 0.5), (1.7, 0.1)],
    lambda eta, alpha: float(np.abs(stability.eamsgd_spectrum(eta, DELTA * (1 - eta), alpha, BETA)).max()),
    momentum=DELTA,
    steps=24,
)


def _axes(config: Config) -> tuple[NDArray, NDArray]:
    eta = np.linspace(0, 2, config.resolution + 2)[1:-1]
    return eta, np.linspace(-1, 1, config.resolution + 1)


def _map(points: Points, label: str, radius: Callable[[NDArray, NDArray], NDArray], best: Callable | None = None):
    def draw(panel: Axes, config: Config, data: xr.Dataset) -> None:
        eta, alpha = _axes(config)
        shared.radius_map(panel, eta, alpha, radius(eta, alpha[:, None]), label)
        if best is not None:
            panel.plot(eta, [best(n) for n in eta], "--", color="white", lw=1.3, label=r"best $\alpha$")
            shared.legend(panel, "upper right")
        shared.mark(panel, data["eta"], data["alpha"])
        panel.set(xlabel=r"learning rate $\eta$  $(h=1)$", ylabel=r"moving rate $\alpha$", xlim=(0, 2), ylim=(-1, 1))

    return draw


def _of_reduced(config: Config) -> list[Statement]:
    def off(runs: Runs) -> tuple[float, float]:
        """Of the least on a grid from -(sqrt(beta) - sqrt(eta_h))^2, over learning rates."""
        alpha = np.linspace(-1, 1, 4001)
        rates = np.linspace(0.05, 1.95, 39)
        least = [alpha[np.argmin(_spectrum(n, alpha)[:, 1:].max(axis=-1))] for n in rates]
        return float(np.abs(least - stability.best_reduced_alpha(rates, BETA)).max()), 0.0

    return [
        # fails of any other moving rate that is called the best
        shared.faster(
            "best-reduced",
            f"at eta = {SLOW:g} mean and center fall faster at alpha = -(sqrt(beta) - sqrt(eta_h))^2 than at 0 and "
            "at beta / p",
            best=0,
            others=(1, 2),
            what="center",
            least_log=0.5,
        ),
        Statement(
            "best-formula",
            "that is the best moving rate of mean and center at every learning rate (distance on a grid, of no "
            "simulation)",
            off,
            at_most(2e-3, smoke=2e-3),
        ),
    ]


def _of_whole(config: Config) -> list[Statement]:
    found = lambda eta: stability.best_alpha(eta, BETA)
    return [
        # fails of the thesis' moving rate in place of the best one
        shared.faster(
            "corrected",
            f"at eta = {FAST:g} workers fall faster at alpha = {found(FAST)[0]:.4f} than at {_reduced(FAST):.4f}, "
            "which the thesis says is the best there",
            best=0,
            others=(1,),
            what="workers",
            least_log=0.5,
        ),
        Statement(
            "thesis-best",
            f"of beta < eta_h the best is alpha = -(sqrt(beta) - sqrt(eta_h))^2, at eta = {FAST:g} too (its radius "
            "over the least one, of no simulation)",
            lambda runs: (float(_spectrum(FAST, _reduced(FAST)).max() / found(FAST)[1]), 0.0),
            at_most(1.001, smoke=1.001),
            note=f"false: the factor 1 - alpha - eta_h of the workers' differences is greater there; the least radius, "
            f"{found(FAST)[1]:.5f}, is at {found(FAST)[0]:.5f}",
        ),
    ]


def _of_momentum(config: Config) -> list[Statement]:
    alpha = np.linspace(-1, 1, 2001)

    def best(eta: float) -> float:
        return float(
            alpha[np.argmin(np.abs(stability.eamsgd_spectrum(eta, DELTA * (1 - eta), alpha, BETA)).max(axis=-1))]
        )

    def independent(runs: Runs) -> tuple[float, float]:
        """Of the radius of eight workers from that of two, over the points."""
        of = lambda p, eta, a: stability.radius(stability.eamsgd_drift(p, eta, DELTA * (1 - eta), a, BETA))
        return max(abs(of(8, *v) - of(2, *v)) for v in MOMENTUM.values), 0.0

    printed = [(1.2, -0.40, 2), (1.0, -0.003, 3), (0.5, 0.50, 2), (0.1, 0.82, 2)]
    return [
        # fails of the smaller moving rate in place of the best
        shared.faster(
            "best-is-positive",
            "at eta = 0.1 workers fall faster at alpha = 0.82 than at beta / p, so that it can be positive",
            best=0,
            others=(1,),
            what="workers",
            least_log=0.3,
        ),
        Statement(
            "best-rises",
            "the best moving rate rises as the learning rate falls: "
            + ", ".join(f"{a:g} at {eta:g}" for eta, a, _ in printed)
            + " (least rise, of no simulation)",
            lambda runs: (float(np.diff([best(eta) for eta, _, _ in printed]).min()), 0.0),
            at_least(0.1, smoke=0.1),
        ),
        Statement(
            "any-number",
            "the radius does not depend on the number of workers above one (largest difference, of no simulation)",
            independent,
            at_most(1e-6, smoke=1e-6),
        ),
    ]


# -- eigenvalues against the moving rate -------------------------------------------------------------------------------


def _curves(points: Points, eta: float):
    def draw(panel: Axes, config: Config, data: xr.Dataset) -> None:
        alpha = np.linspace(-1, 1, 801)
        for i, (values, style) in enumerate(zip(_spectrum(eta, alpha).T, ("-", "--", "-."), strict=True)):
            panel.plot(
                alpha,
                values,
                style,
                color=(theme.QUORUM, theme.SMOOTHED, theme.OTHER)[i],
                lw=1.4,
                label=f"$|z_{i + 1}|$",
            )
        best, radius = stability.best_alpha(eta, BETA)
        panel.axvline(_reduced(eta), color="0.6", lw=0.9, ls=":", label=r"$-(\sqrt{\beta}-\sqrt{\eta_h})^2$")
        panel.plot(best, radius, "*", ms=11, color="0.2", label="least radius")
        panel.axhline(1, color="0.6", lw=0.8)
        shared.mark(panel, data["alpha"], [points.radius(*values) for values in points.values])
        panel.set(
            xlabel=r"moving rate $\alpha$", ylabel=rf"eigenvalues of $M_p$, $\eta={eta:g}$", xlim=(-1, 1), ylim=(0, 2)
        )
        panel.legend(fontsize=8, loc="best")

    return draw


def _of_curves(eta: float) -> Callable[[Config], list[Statement]]:
    """At the least radius workers fall faster than at the other stable points."""

    def statements(config: Config) -> list[Statement]:
        best, radius = stability.best_alpha(eta, BETA)

        def least(runs: Runs) -> tuple[float, float]:
            alpha = np.linspace(-1, 1, 20_001)
            radii = _spectrum(eta, alpha).max(axis=-1)
            return abs(float(alpha[np.argmin(radii)]) - best) + abs(float(radii.min()) - radius), 0.0

        return [
            # fails of any other moving rate in its place
            shared.faster(
                "least",
                f"workers fall fastest at alpha = {best:.4g}, where the greatest eigenvalue is least",
                best=0,
                others=(1, 2),
                what="workers",
                least_log=0.1,
            ),
            Statement(
                "least-radius",
                f"and that is {radius:.5f} (distances on a grid of 20,001 moving rates, of no simulation)",
                least,
                at_most(4e-4, smoke=4e-4),
            ),
        ]

    return statements


def _along(eta: float, alphas: Sequence[float], steps: int = STEPS) -> Points:
    return _points([(eta, a) for a in alphas], lambda n, a: float(_spectrum(n, a).max()), steps=steps)


SLOW_CURVE = _along(SLOW, (0.0, -0.05, 0.6, -0.2, 0.9), 30)
FAST_CURVE = _along(FAST, (stability.best_alpha(FAST, BETA)[0], _reduced(FAST), 0.1, -0.8, 0.6))

# -- runs at the moving rate that is best for mean and center ----------------------------------------------------------


def _paths(points: Points):
    def draw(panel: Axes, config: Config, data: xr.Dataset) -> None:
        steps = data["step"].values
        for i, ((eta, alpha), color) in enumerate(zip(points.values, shared.colors(2), strict=True)):
            center = data["squares"].sel(what="center").isel(point=i)
            style = dict(color=color, lw=0.9, alpha=0.8)
            panel.plot(steps, center.isel(sim=slice(3)), **style, label=[points.label(eta, alpha), "", ""])
            exact = points.exact(eta, alpha)
            panel.plot(steps, exact[:, 0], "--", color=color, lw=1.6)
            panel.plot(steps, exact[:, 2] - exact[:, 1], ":", color=color, lw=1.6)
        panel.plot([], [], "--", color="0.4", label=r"$E\,\tilde x^2$, exact")
        panel.plot([], [], ":", color="0.4", label="variance of workers about their mean, exact")
        panel.set(yscale="log", xlabel="step", ylabel=r"$\tilde x^2$, three runs each")
        panel.set_ylim(1e-9, None)
        panel.legend(fontsize=7.5, loc="best")

    return draw


def _trajectories(eta: float) -> Points:
    return _points(
        [(eta, BETA / WORKERS), (eta, _reduced(eta))],
        lambda n, a: float(_spectrum(n, a).max()),
        sigma=SIGMA,
        steps=LONG,
        compared=EXACT,
    )


SPLIT, JOINED = _trajectories(SLOW), _trajectories(FAST)


def _of_split(config: Config) -> list[Statement]:
    squares = lambda runs: grid_mean(runs.data["squares"].isel(point=1))

    def growth(runs: Runs) -> float:
        """By which factor the workers' distances from their mean grow in a step, less what theory says."""
        apart = (squares(runs).sel(what="workers") - squares(runs).sel(what="mean")).values
        return float(np.abs(np.sqrt(apart[EXACT] / apart[EXACT - 1]) - abs(1 - SLOW - _reduced(SLOW))))

    def center(runs: Runs, step: int) -> float:
        """E of the center's square, over what exact arithmetic makes of it."""
        exact = SPLIT.exact(*SPLIT.values[1])[step, 0]
        return float(squares(runs).sel(what="center").isel(step=step) / exact)

    return [
        # fails of the elastic moving rate, and of the reduced system, which knows nothing of it
        Statement(
            "workers-part",
            f"at the best moving rate of mean and center, {_reduced(SLOW):.3g}, the workers part by 1 - alpha - eta_h "
            f"= {1 - SLOW - _reduced(SLOW):.3g} a step (distance of the factor)",
            growth,
            at_most(1e-3, smoke=2e-3),
        ),
        # fails of half the noise
        Statement(
            "center-is-stable",
            f"while the center, which sees their mean alone, is where it should be at step {EXACT} (E of its square, "
            "relative distance from that of exact arithmetic)",
            lambda runs: abs(center(runs, EXACT) - 1),
            at_most(0.1, smoke=0.2),
        ),
        Statement(
            "center-blows-up",
            f"and blows up by step {SPLIT.steps} (E of its square, over that of exact arithmetic)",
            lambda runs: center(runs, SPLIT.steps),
            at_least(10.0, smoke=10.0),
            note="by the rounding of the workers' mean, here in 32 bits: in 64 bits it leaves near step 150, in exact "
            "arithmetic never",
        ),
    ]


def _of_joined(config: Config) -> list[Statement]:
    return [
        # fails of the elastic moving rate in place of the best
        shared.faster(
            "settles-lower",
            f"at eta = {FAST:g}, beyond beta, all of it is stable at that moving rate, {_reduced(FAST):.3g}, and "
            "settles below where alpha = beta / p does",
            best=1,
            others=(0,),
            what="workers",
            least_log=0.1,
        ),
        # fails of half the noise
        measured.equal(
            "settled",
            "where it is settled E of the center's square is its stationary variance",
            lambda d: d["squares"].sel(what="center").isel(step=-1),
            lambda d: np.array(
                [
                    float(quadratic.easgd_stationary(WORKERS, eta, alpha, BETA, noise=(eta * SIGMA) ** 2)[2])
                    for eta, alpha in JOINED.values
                ]
            ),
        ),
    ]


# -- the figures -------------------------------------------------------------------------------------------------------


def _experiment(
    number: int,
    title: str,
    says: str,
    points: Points,
    draw: Callable,
    statements: Callable,
    formulas: Mapping[str, Mutation] | None = None,
) -> Experiment:
    return shared.experiment(f"5.{number}", title, says, points, draw, statements, shared.presets(), formulas)


EXPERIMENTS = (
    _experiment(
        2,
        "EASGD under additive noise, mean and center",
        "With the center's moving rate fixed, mean and center fall fastest at a moving rate of the workers that is "
        "negative, alpha = -(sqrt(beta) - sqrt(eta_h))^2, and not at beta / p.",
        REDUCED,
        _map(
            REDUCED,
            "greatest eigenvalue of (5.12)",
            lambda eta, alpha: _spectrum(eta, alpha)[..., 1:].max(axis=-1) ** 2,
            _reduced,
        ),
        _of_reduced,
    ),
    _experiment(
        3,
        "EASGD at (5.17), learning rate below beta",
        "At the best moving rate of mean and center the center first falls faster and then blows up. (What grows are "
        "the workers' differences, which the center cannot see; it blows up by their rounding).",
        SPLIT,
        _paths(SPLIT),
        _of_split,
    ),
    _experiment(
        4,
        "eigenvalues of EASGD, learning rate below beta",
        "Of all workers and the center, and not of their mean alone, the best moving rate is 0 where beta > eta_h.",
        SLOW_CURVE,
        _curves(SLOW_CURVE, SLOW),
        _of_curves(SLOW),
    ),
    _experiment(
        5,
        "eigenvalues of EASGD, learning rate above beta",
        "Where beta < eta_h it is -(sqrt(beta) - sqrt(eta_h))^2, says the thesis. (At eta = 1.5 the factor of the "
        "workers' differences is greater there, and the best is -0.1633).",
        FAST_CURVE,
        _curves(FAST_CURVE, FAST),
        _of_curves(FAST),
    ),
    _experiment(
        6,
        "EASGD under additive noise, all workers and the center",
        "The stable region of the whole system is smaller than that of mean and center, and its best moving rate is "
        "zero or negative.",
        WHOLE,
        _map(
            WHOLE,
            "greatest eigenvalue of (5.18)",
            lambda eta, alpha: _spectrum(eta, alpha).max(axis=-1),
            lambda eta: stability.best_alpha(eta, BETA)[0],
        ),
        _of_whole,
    ),
    _experiment(
        7,
        "EASGD at (5.17), learning rate above beta",
        "Where beta < eta_h the best moving rate of mean and center is one at which all of EASGD is stable.",
        JOINED,
        _paths(JOINED),
        _of_joined,
    ),
    _experiment(
        8,
        "EAMSGD under additive noise",
        "With momentum the best moving rate rises as the learning rate falls, and can be positive.",
        MOMENTUM,
        _map(
            MOMENTUM,
            "greatest eigenvalue of (5.20)",
            lambda eta, alpha: np.abs(stability.eamsgd_spectrum(eta, DELTA * (1 - eta), alpha, BETA)).max(axis=-1),
        ),
        _of_momentum,
        {
            "eigenvalues without momentum": formula(
                "the eigenvalues are those of no momentum",
                "stability.eamsgd_spectrum",
                lambda right: lambda n, d, a, b: right(n, 0.0 * d, a, b),
            ),
            "beta of each worker": formula(
                "the center moves by beta to each worker, and not to their mean",
                "stability.eamsgd_drift",
                lambda right: lambda p, n, d, a, b: right(p, n, d, a, p * b),
            ),
        },
    ),
)
