"""What `bs_smoothing` is made of: laws of noise, the model loss convolved with them (BS 4), and what is measured."""

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import xarray as xr

from sdesim import statistics
from sdesim.coupling import Order
from sdesim.observe import AbstractSeries
from sdesim.papers.boffi_slotine.one_dimensional import Loss
from sdesim.papers.frame import measured
from sdesim.theory.smoothing import Law, averaged, uniform

LEAST = 5.0  # visits a simulation, below which a bin is left out


def factors(law: Law, loss: Loss) -> np.ndarray:
    """What convolution does to the gradient of the loss: variance, damping of the slow and of the fast wave."""
    return np.array([law.variance, law.damping(loss.w1), law.damping(loss.w2)])


def averaged_and_narrower(half_width: float, agents: int) -> tuple[Law, Law]:
    """The mean of uniform variables, and one uniform variable of the same variance, which it is not."""
    return averaged(half_width, agents), uniform(half_width / np.sqrt(agents))


def slope(loss: Loss, y, damped) -> np.ndarray:
    """The gradient at y of the loss convolved with a symmetric law of which the `factors` are given."""
    variance, slow, fast = damped
    smooth = 4 * y**3 + 12 * variance * y - 2 * loss.well * y - loss.tilt
    waves = loss.a1 * loss.w1 * slow * np.sin(loss.w1 * y) + loss.a2 * loss.w2 * fast * np.cos(loss.w2 * y)
    return loss.scale * (smooth + waves)


def regressors(loss: Loss, y: np.ndarray) -> np.ndarray:
    """What each of the `factors` multiplies in `slope`: (..., 3)."""
    parts = [12 * y, loss.a1 * loss.w1 * np.sin(loss.w1 * y), loss.a2 * loss.w2 * np.cos(loss.w2 * y)]
    return loss.scale * np.stack(parts, axis=-1)


def count_minima(slopes: np.ndarray) -> int:
    """Minima of a loss whose slopes are given in order: their changes from - to +. What is 0 has no say."""
    signs = np.sign(slopes[slopes != 0])
    return int(np.sum((signs[:-1] < 0) & (signs[1:] > 0)))


# -- what is measured: an observable, and statistics of the dataset ---------------------------------------------------


class Descent(AbstractSeries):
    """The mean over agents of y = w - eta grad f(w) and of grad f(w), with w the point of the gradient: (2,)."""

    order: Order = eqx.field(static=True)

    name = "descent"
    axes: ClassVar[tuple[str, ...]] = ("part",)

    def value(self, view):
        s, eta = view.state, view.model.matched_step()
        w = s.x
        if self.order == "gauss-seidel":
            w = w + eta * view.model.coupling.pull(s.x, s.shared, s.t, view.mean)
        gradients = view.model.gradients(w)
        return jnp.stack([jnp.mean(w - eta * gradients), jnp.mean(gradients)])


def synchronized(data: xr.Dataset) -> xr.Dataset:
    """Agents that are brought to their mean before they descend."""
    return data.sel(order="gauss-seidel", rate=1.0)


def alone(data: xr.Dataset) -> xr.Dataset:
    """One agent, which no order and no gain concerns."""
    return data.sel(p=1, order="jacobi").isel(rate=0)


def per_visit(data: xr.Dataset, name: str) -> xr.DataArray:
    """Sums of a variable over what the mean simulation visits; bins that are hardly visited left out."""
    visits = statistics.grid_mean(data["visits"])
    return measured.asked(data[name] / visits, ~(visits < LEAST))


def slopes_of(data: xr.Dataset) -> xr.DataArray:
    """The mean slope by bin: its mean over simulations is that over all visits, and so is its standard error."""
    visits = statistics.grid_mean(data["visits"])
    mean = statistics.grid_mean(data["slope"]) / visits
    return measured.asked(mean + (data["slope"] - mean * data["visits"]) / visits, ~(visits < LEAST))


def factors_of(data: xr.Dataset) -> np.ndarray:
    """The measured factors of one model's smoothing: variance, damping of the slow and of the fast wave."""
    normal = statistics.grid_mean(data["normal"]).transpose("factor", "column").values
    right = statistics.grid_mean(data["right"]).values
    return np.linalg.solve(normal, right) if np.isfinite(normal).all() else np.full_like(right, np.nan)


def measured_minima(data: xr.Dataset) -> float:
    """Minima of the loss whose slopes were measured, counting slopes that are sure of their sign."""
    slopes = slopes_of(data)
    scores = abs(statistics.z_scores(slopes, 0.0))
    if not np.isfinite(scores).all():
        return np.nan
    return count_minima(statistics.grid_mean(slopes).where(scores > 3, 0.0).values)
