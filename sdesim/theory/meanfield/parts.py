"""What a mean-field prediction needs of a model, as NumPy functions in float64, and the grid that laws live on."""

import dataclasses
from collections.abc import Callable
from typing import Any, cast

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from scipy.special import ndtr

from sdesim import init as laws
from sdesim.coupling import Elastic, Quorum, Uncoupled
from sdesim.dynamics import AbstractMomentum, Dynamics
from sdesim.fields import check_count, concrete
from sdesim.functions import objective_of_today
from sdesim.noise import Gaussian, Silent, Uniform
from sdesim.objectives import AbstractObjective, as_objective, check_loss

TAIL = 9.0  # standard deviations of a normal law beyond which nothing is left in float64


@dataclasses.dataclass(frozen=True)
class Grid:
    """Equal cells of an interval, in units of x (or of v).

    Attributes:
        low: lower end of the first cell.
        high: upper end of the last cell, greater than low.
        cells: how many, at least 4.
    """

    low: float
    high: float
    cells: int

    def __post_init__(self):
        check_count("cells", self.cells, least=4)
        if not (np.isfinite(self.low) and np.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"low={self.low}, high={self.high}: must be finite, and low less than high")

    @property
    def width(self) -> float:
        """Width of a cell."""
        return (self.high - self.low) / self.cells

    @property
    def edges(self) -> np.ndarray:
        """Edges of the cells, (cells + 1,)."""
        return np.linspace(self.low, self.high, self.cells + 1)

    @property
    def centers(self) -> np.ndarray:
        """Centers of the cells, (cells,)."""
        return self.low + (np.arange(self.cells) + 0.5) * self.width


@dataclasses.dataclass(frozen=True)
class Law:
    """A law of one real number Y about 0.

    Attributes:
        ramp: the second integral of its density, E max(y - Y, 0), as a function of an array.
        reach: outside (-reach, reach) nothing is left of it.
        variance: of Y.
    """

    ramp: Callable[[np.ndarray], np.ndarray]
    reach: float
    variance: float

    def weights(self, width: float, shift: float) -> tuple[int, np.ndarray]:
        """What a uniform cell gives to the cells around it when `shift` + Y is added.

        Args:
            width: of a cell, in units of Y.
            shift: in units of Y.

        Returns:
            (offset, weights): weights[i] goes to the cell number offset + i from the own one. Exact for a law that is
            uniform within the cell; the weights sum to 1.
        """
        first = int(np.floor((shift - self.reach) / width)) - 1
        last = int(np.ceil((shift + self.reach) / width)) + 1
        ramp = self.ramp(np.arange(first - 1, last + 2) * width - shift)
        weights = np.maximum(np.diff(ramp, 2), 0)  # where nothing is left, rounding would leave either sign
        return first, weights / weights.sum()


def noise_law(model: Dynamics, scale: float) -> Law:
    """The law of scale * zeta of one minibatch in one dimension.

    Args:
        model: with noise Silent, Uniform or Gaussian.
        scale: what multiplies zeta, in time.

    Returns:
        In units of x.

    Raises:
        ValueError: for a law that has no closed form here.
    """
    law, kind = cast(Any, model.noise), type(model.noise)  # exactly: what a subclass changes, no closed form here knows
    size = 0.0 if kind is Silent else scale / np.sqrt(_number("batch", model.batch))
    if kind is Uniform and (w := size * _number("noise.half_width", law.half_width)) > 0:
        inside = lambda y: np.clip(y + w, 0, 2 * w)
        return Law(lambda y: inside(y) ** 2 / (4 * w) + np.maximum(y - w, 0), w, w * w / 3)
    if kind is Gaussian and (s := size * _number("noise.sigma", law.sigma)) > 0:
        normal = lambda y: np.exp(-0.5 * (y / s) ** 2) / np.sqrt(2 * np.pi)
        return Law(lambda y: s * normal(y) + y * ndtr(y / s), TAIL * s, s * s)
    if kind in (Silent, Uniform, Gaussian):
        return Law(lambda y: np.maximum(y, 0), 0.0, 0.0)
    raise ValueError(f"noise={kind.__name__}: must be Silent, Uniform or Gaussian for a mean-field prediction")


def temperature(model: Dynamics) -> float:
    """T = eta sigma^2 / (2 b) of the SDE dx = -f' dt + sqrt(eta / b) sigma dW = -f' dt + sqrt(2 T) dW.

    Args:
        model: of one dimension, with one learning rate.

    Returns:
        T, in length^2/time.
    """
    eta = _number("eta", model.eta)
    return eta * noise_law(model, 1.0).variance / 2


def gradient(objective: Any) -> Callable[[np.ndarray], np.ndarray]:
    """f' of a one-dimensional objective as a function of an array, of its shape.

    It is evaluated in JAX's default precision: to 1e-7 in float32.

    Args:
        objective: the loss, or a function of a point to a scalar.

    Returns:
        The function.

    Raises:
        ValueError: for a loss that has no one-dimensional form.
    """
    objective = _one_dimensional(objective)
    return lambda x: _of_today(_gradients, objective, x)


def loss(objective: Any) -> Callable[[np.ndarray], np.ndarray]:
    """f of a one-dimensional objective as a function of an array, of its shape; precision as `gradient`.

    Args:
        objective: the loss, or a function of a point to a scalar.

    Returns:
        The function.

    Raises:
        ValueError: as `gradient`.
    """
    objective = _one_dimensional(objective)
    return lambda x: _of_today(_losses, objective, x)


@eqx.filter_jit
def _gradients(objective: AbstractObjective, x: Array) -> Array:
    """f' at points (points, 1), in the precision that they have."""
    return jax.vmap(objective.gradient)(x)


@eqx.filter_jit
def _losses(objective: AbstractObjective, x: Array) -> Array:
    """f at points (points, 1), in the precision that they have."""
    return jax.vmap(objective.loss)(x)


def _of_today(
    fn: Callable[[AbstractObjective, Array], Array], objective: AbstractObjective, x: np.ndarray
) -> np.ndarray:
    """fn of the objective as it is today, at points of any shape."""
    with objective_of_today(objective, 1) as now:
        return np.asarray(fn(now, _points(x)), float).reshape(np.shape(x))


def _points(x: np.ndarray) -> Array:
    """Numbers of any shape as points (points, 1)."""
    return jnp.asarray(np.ravel(x)[:, None], jnp.result_type(float))


def _one_dimensional(objective: Any) -> AbstractObjective:
    objective = as_objective(objective)
    if objective.made_for is not None:
        raise ValueError(f"objective={type(objective).__name__}: must be one for all; infinitely many have no numbers")
    check_loss(objective, 1, jnp.result_type(float))
    return objective


@dataclasses.dataclass(frozen=True)
class Pull:
    """The coupling in the limit of many agents: gain k towards a target, and the rate at which the target follows.

    Attributes:
        k: gain, in 1/time.
        rate: of a center variable towards the mean, in 1/time; None where agents are pulled to the mean itself.
    """

    k: float
    rate: float | None


def pull(model: Dynamics) -> Pull:
    """The coupling of a model.

    Args:
        model: with coupling Uncoupled, Quorum or Elastic with a center rate.

    Returns:
        Gain and rate.

    Raises:
        ValueError: for a rule that has no limit of many agents here.
    """
    rule, kind = cast(Any, model.coupling), type(model.coupling)
    if kind is Uncoupled:
        return Pull(0.0, None)
    if kind in (Quorum, Elastic) and callable(rule.k):
        raise ValueError("coupling.k: must be one number for a mean-field prediction, not a function")
    if kind is Quorum:
        return Pull(_number("coupling.k", rule.k), None)
    if kind is Elastic:
        if rule.center_rate is None:
            raise ValueError(
                "coupling.center_rate=None: the symmetric rate k * agents has no limit of many agents; give a number"
            )
        return Pull(_number("coupling.k", rule.k), _number("coupling.center_rate", rule.center_rate))
    raise ValueError(f"coupling={kind.__name__}: must be Uncoupled, Quorum or Elastic for a mean-field prediction")


def learning_rates(model: Dynamics, steps: int) -> np.ndarray:
    """The learning rate of each iteration.

    Args:
        model: with a number or a function of the step.
        steps: iterations.

    Returns:
        (steps,), in time.

    Raises:
        ValueError: for a rate an agent.
    """
    check_count("steps", steps, least=0)
    if not callable(model.eta):
        return np.full(steps, _number("eta", model.eta))
    rates = np.asarray(jax.vmap(lambda n: model.at_step(n).eta)(jnp.arange(steps)), float)
    return rates.reshape(steps)


def check_model(model: Any, momentum: bool) -> AbstractMomentum | None:
    """Refuse what has no mean-field prediction here.

    Args:
        model: anything.
        momentum: whether it must have momentum, or must have none.

    Returns:
        The model's momentum.

    Raises:
        TypeError: for what is no model.
        ValueError: naming the part that has no such prediction.
    """
    if not isinstance(model, Dynamics):
        raise TypeError(f"model={model!r}: must be a sdesim.Dynamics")
    if (model.momentum is not None) != momentum:
        raise ValueError(f"momentum={model.momentum!r}: {'is needed here' if momentum else 'must be None here'}")
    if model.velocity_coupling is not None:
        raise ValueError("velocity_coupling: must be None for a mean-field prediction")
    if model.weak_order != 1:
        raise ValueError(f"weak_order={model.weak_order}: must be 1, the iteration itself")
    return model.momentum


def _number(name: str, value: Any) -> float:
    """A value that is one number, as a float."""
    array = np.asarray(value, float) if not callable(value) else None
    if array is None or array.size != 1:
        raise ValueError(f"{name}: must be one number for a mean-field prediction")
    return float(array.reshape(()))


def initial_masses(law: Any, grid: Grid) -> np.ndarray:
    """Mass of an initial law in each cell.

    Args:
        law: a law of `sdesim.init`, a number, or the masses themselves.
        grid: where it lives.

    Returns:
        (cells,), of sum 1.

    Raises:
        ValueError: for masses that are no law on the grid, or a law that is not inside it.
    """
    edges = grid.edges
    kind = type(law)
    if issubclass(kind, laws.AbstractInit) and kind not in (laws.Uniform, laws.Normal, laws.Point):
        raise ValueError(f"init={kind.__name__}: must be Uniform, Normal or Point, a number, or masses of the cells")
    if kind is laws.Uniform:
        low, high = _number("init.low", law.low), _number("init.high", law.high)
        masses = np.diff(np.clip((edges - low) / (high - low), 0, 1))
    elif kind is laws.Normal and concrete(law.std, np.min):
        masses = np.diff(ndtr((edges - _number("init.mean", law.mean)) / _number("init.std", law.std)))
    elif kind in (laws.Point, laws.Normal) or np.ndim(law) == 0:
        point = law.x if kind is laws.Point else law.mean if kind is laws.Normal else law
        # a point is shared by the two cells whose centers enclose it, so that its mean is exact
        place = (_number("init", point) - grid.low) / grid.width - 0.5
        masses = np.maximum(1 - abs(np.arange(grid.cells) - place), 0)
    else:
        masses = np.array(law, float)
        if masses.shape != (grid.cells,) or not (np.isfinite(masses).all() and (masses >= 0).all()):
            raise ValueError(
                f"init: of shape {masses.shape}, must be a law of sdesim.init, a number, or masses of at least 0 of "
                f"shape (cells,) = ({grid.cells},)"
            )
    if abs(masses.sum() - 1) > 1e-6:
        raise ValueError(
            f"init: {masses.sum():.6g} of its mass lies on the grid ({grid.low:g}, {grid.high:g}); all must"
        )
    return masses / masses.sum()
