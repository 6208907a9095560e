"""z-fig5.10 to z-fig5.14: SGD with momentum under multiplicative noise (Z Fig. 5.10-5.14).

Command: sdesim figure z-fig5.10. The curvature of a sample is of a gamma law of shape lambda and rate omega.
"""

from collections.abc import Callable, Iterable

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from numpy.typing import ArrayLike, NDArray

from sdesim import noise
from sdesim.claims import Statement, at_most
from sdesim.coupling import Uncoupled
from sdesim.dynamics import Dynamics, Nesterov
from sdesim.papers.frame.experiment import Experiment
from sdesim.papers.frame.mutations import formula
from sdesim.papers.zhang import points as shared
from sdesim.papers.zhang.points import Config, Points
from sdesim.steppers import Iteration
from sdesim.theory import multiplicative, stability

STEPS = 3  # few: the squares' own squares grow much faster than they
SIZES = {10: 0.5, 11: 1.0, 12: 2.0}  # lambda and omega of a figure


def _radius(eta: ArrayLike, delta: ArrayLike, shape: ArrayLike, rate: ArrayLike) -> NDArray:
    """The greatest eigenvalue of (5.30); arguments broadcast."""
    return stability.radius(multiplicative.momentum_moments(eta, delta, *multiplicative.gamma_law(shape, rate)))


def _model(eta: float, delta: float, shape: float, rate: float) -> tuple[Dynamics, int]:
    loss, law = noise.zhang_multiplicative(shape, rate)
    return Dynamics(loss, Uncoupled(), law, eta, Nesterov(delta)), 1


def _points(
    names: tuple[str, ...],
    values: Iterable[tuple[float, ...]],
    of: Callable[..., tuple[float, ...]],
    label: Callable[..., str],
) -> Points:
    """Runs from 1 at rest; `of` makes (eta, delta, lambda, omega) of a point."""
    return Points(
        names=names,
        values=tuple(values),
        label=label,
        model=lambda *values: _model(*of(*values)),
        stepper=Iteration(),
        init=1.0,
        steps=STEPS,
        exact=lambda *values: _exact(*of(*values)),
        radius=lambda *values: float(_radius(*of(*values))),
        what=("workers",),
        compared=2,  # of the third the error is not known: the squares' own squares grow much faster than they
    )


def _exact(eta: float, delta: float, shape: float, rate: float) -> NDArray:
    return shared.multiplicative_momentum(STEPS, eta, delta, *multiplicative.gamma_law(shape, rate))


# -- maps over learning rate and momentum ------------------------------------------------------------------------------


def _map(number: int) -> Experiment:
    size = SIZES[number]
    best = size / (size + 1)
    limit = 2 * best  # of no momentum
    values = (
        (best, 0.0),
        (best, 0.6),
        (0.2 * best, 0.0),
        (0.2 * best, 0.6),
        (0.8 * limit, 0.0),
        (min(1.1 * limit, 1.4), 0.6),
    )
    label = lambda eta, delta: f"$\\eta={eta:.3g}$, $\\delta={delta:g}$"
    points = _points(("eta", "delta"), values, lambda eta, delta: (eta, delta, size, size), label)

    def draw(panel: Axes, config: Config, data: xr.Dataset) -> None:
        eta = np.linspace(0, 1.5, config.resolution + 2)[1:-1]
        delta = np.linspace(-1, 1, config.resolution + 2)[1:-1]
        radius = _radius(eta, delta[:, None], size, size)
        shared.radius_map(panel, eta, delta, radius, "greatest eigenvalue of (5.30)", (best, 0.0))
        shared.mark(panel, data["eta"], data["delta"])
        panel.set(xlabel=r"learning rate $\eta$", ylabel=r"momentum $\delta$", xlim=(0, 1.5), ylim=(-1, 1))

    def least() -> tuple[float, float, float]:
        """The least eigenvalue, its learning rate and its momentum, on a grid that has the printed point."""
        eta, delta = np.linspace(0, 1, 301)[1:], np.linspace(-1, 1, 101)[1:-1]
        found = _radius(eta, delta[:, None], size, size)
        row, column = np.unravel_index(np.argmin(found), found.shape)
        return float(found[row, column]), float(eta[column]), float(delta[row])

    said = lambda config: [
        # fails of the momentum that is said to be the best, 0.6 in place of 0
        shared.faster(
            "no-momentum",
            f"at the best learning rate momentum slows it down: at eta = {best:.3g} squares fall faster at delta = 0 "
            "than at 0.6",
            best=0,
            others=(1,),
            what="workers",
            least_log=0.2,
        ),
        # fails of no momentum in place of some
        shared.faster(
            "momentum-helps",
            f"and at a fifth of it momentum helps: at eta = {0.2 * best:.3g} squares fall faster at delta = 0.6 "
            "than at 0",
            best=3,
            others=(2,),
            what="workers",
            least_log=0.05,
        ),
        # fails of another variance of the gamma law
        shared.printed(
            "least",
            "the least eigenvalue, and its learning rate omega / (lambda + 1) and momentum, 0",
            least,
            (1 / (size + 1), best, 0.0),
            (4, 4, 4),
        ),
    ]
    return shared.experiment(
        f"5.{number}",
        f"momentum under multiplicative noise, $\\lambda=\\omega={size:g}$",
        "Contrary to additive noise, momentum can slow down the optimal rate of convergence: it is best at the "
        "learning rate of mini-batch SGD and without momentum. At a smaller learning rate momentum helps.",
        points,
        draw,
        said,
        shared.presets(60_000, 10_000),
    )


# -- along the momentum, and over input laws ---------------------------------------------------------------------------

_BEST = _points(
    ("shape", "delta"),
    tuple((size, delta) for size in SIZES.values() for delta in (0.0, 0.3, 0.6)),
    lambda size, delta: (size / (size + 1), delta, size, size),
    lambda size, delta: f"$\\lambda={size:g}$, $\\delta={delta:g}$",
)


def _draw_best(panel: Axes, config: Config, data: xr.Dataset) -> None:
    delta = np.linspace(-0.999, 0.999, 801)
    for size, style in zip(SIZES.values(), ("-", "--", "-."), strict=True):
        panel.plot(
            delta,
            _radius(size / (size + 1), delta, size, size),
            style,
            color="0.3",
            label=rf"$\lambda=\omega={size:g}$",
        )
    shared.mark(panel, data["delta"], [_BEST.radius(*values) for values in _BEST.values])
    panel.axhline(1, color="0.6", lw=0.8)
    panel.set(xlabel=r"momentum $\delta$", ylabel=r"greatest eigenvalue of (5.30) at $\eta=\omega/(\lambda+1)$")
    panel.set(xlim=(-1, 1), ylim=(0, 1.6))
    panel.legend(fontsize=8)


def _of_best(config: Config) -> list[Statement]:
    delta = np.linspace(-0.99, 0.99, 199)
    found = lambda size: float(delta[np.argmin(_radius(size / (size + 1), delta, size, size))])
    return [
        # fails of a momentum of 0.3 in place of none
        *(
            shared.faster(
                f"zero-{size:g}",
                f"at lambda = omega = {size:g} squares fall faster without momentum than at 0.3 and 0.6",
                best=3 * i,
                others=(3 * i + 1, 3 * i + 2),
                what="workers",
                least_log=0.0,
            )
            for i, size in enumerate(SIZES.values())
        ),
        Statement(
            "zero",
            "the best momentum at these learning rates is 0 (greatest distance on a grid, of no simulation)",
            lambda runs: (max(abs(found(size)) for size in SIZES.values()), 0.0),
            at_most(1e-9, smoke=1e-9),
        ),
    ]


_LAWS = ((1.0, 0.0), (0.1, 0.0), (0.1, 0.9))  # learning rate and momentum of the three maps
_INPUTS = _points(
    ("shape", "rate", "eta", "delta"),
    tuple((shape, rate, *law) for law in _LAWS[1:] for shape, rate in ((5.0, 50.0), (50.0, 50.0), (90.0, 20.0))),
    lambda shape, rate, eta, delta: (eta, delta, shape, rate),
    lambda shape, rate, eta, delta: rf"$\lambda={shape:g}$, $\omega={rate:g}$, $\eta={eta:g}$, $\delta={delta:g}$",
)


def _helps(config: Config) -> tuple[NDArray, NDArray, NDArray]:
    """omega, lambda, and by which factor momentum of 0.9 changes the eigenvalue at the smaller learning rate."""
    rate = np.linspace(0, 100, config.resolution + 1)[1:]
    shape = np.linspace(0, 100, config.resolution + 1)[1:, None]
    return rate, shape[:, 0], _radius(*_LAWS[2], shape, rate) / _radius(*_LAWS[1], shape, rate)


def _draw_inputs(panel: Axes, config: Config, data: xr.Dataset) -> None:
    rate, shape, gain = _helps(config)
    image = panel.pcolormesh(rate, shape, np.clip(gain, 0, 2), shading="nearest", cmap="RdBu_r", vmin=0, vmax=2)
    image.set_rasterized(True)
    panel.contour(rate, shape, gain, levels=[1.0], colors="0.2", linewidths=1.2)
    for (eta, delta), color in zip(_LAWS, ("#1b9e77", "#d95f02", "#7570b3"), strict=True):
        radius = _radius(eta, delta, shape[:, None], rate)
        panel.contour(rate, shape, radius, levels=[1.0], colors=color, linewidths=1.3, linestyles="--")
        panel.plot([], [], "--", color=color, label=rf"stable below: $\eta={eta:g}$, $\delta={delta:g}$")
    panel.plot([], [], color="0.2", lw=1.2, label="momentum helps below")
    shared.mark(panel, data["rate"], data["shape"])
    panel.figure.colorbar(image, ax=panel, label=r"eigenvalue at $\delta=0.9$ over that at 0, $\eta=0.1$")
    panel.set(xlabel=r"rate $\omega$ of the gamma law", ylabel=r"shape $\lambda$", xlim=(0, 100), ylim=(0, 100))
    panel.legend(fontsize=7.5, loc="lower right")


def _of_inputs(config: Config) -> list[Statement]:
    ratio = lambda slope: float(_radius(*_LAWS[2], 50.0, 50.0 / slope) / _radius(*_LAWS[1], 50.0, 50.0 / slope))
    return [
        # fails of no momentum in place of 0.9
        shared.faster(
            "small-slope",
            f"at lambda / omega = 0.1 squares fall faster with momentum of 0.9 than without after {STEPS} steps",
            best=3,
            others=(0,),
            what="workers",
            least_log=0.01,
        ),
        Statement(
            "helps-below",
            "momentum helps where the slope lambda / omega is relatively small: at 0.3 and not at 1 (eigenvalue with "
            "over without at 0.3, of no simulation)",
            lambda runs: (ratio(0.3) if ratio(1.0) > 1 else np.inf, 0.0),
            at_most(0.999, smoke=0.999),
        ),
    ]


EXPERIMENTS = (
    *(_map(number) for number in SIZES),
    shared.experiment(
        "5.13",
        "the best momentum at the best learning rate is none",
        "At the learning rates that are best for SGD the optimal momentum rate is actually 0.",
        _BEST,
        _draw_best,
        _of_best,
        shared.presets(60_000, 10_000),
    ),
    shared.experiment(
        "5.14",
        "for which input laws momentum helps",
        "At a given learning rate and momentum, momentum helps where the slope lambda / omega is relatively small.",
        _INPUTS,
        _draw_inputs,
        _of_inputs,
        shared.presets(),
        {
            "(5.30) without momentum": formula(
                "the second moments are those of no momentum",
                "multiplicative.momentum_moments",
                lambda right: lambda n, d, *law: right(n, 0.0 * np.asarray(d), *law),
            )
        },
    ),
)
