"""Arguments of the bounds: numbers, arrays or labeled arrays as float64, checked, and shown in messages."""

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from sdesim.fields import check_sign

Numbers = Any  # a number, an array or a DataArray; results are np.float64, an array or a DataArray accordingly


def floats(value: Numbers) -> Any:
    """In float64, with the labels it has.

    Args:
        value: a number, an array or a DataArray.

    Returns:
        np.float64, an array, or a DataArray accordingly.
    """
    return value.astype(float) if isinstance(value, xr.DataArray) else np.asarray(value, float)[()]


def finite(name: str, value: Numbers) -> Any:
    """`floats` of what is finite.

    Args:
        name: of the argument.
        value: a number, an array or a DataArray.

    Returns:
        As `floats`.

    Raises:
        ValueError: if it is not finite.
    """
    value = floats(value)
    require(np.isfinite(value), f"{name}={show(value)}: must be finite")
    return value


def all_finite(**values: Numbers) -> tuple[NDArray, ...]:
    """Arrays of one shape of what is finite.

    Args:
        **values: numbers or arrays, which broadcast, by the names of the arguments.

    Returns:
        Arrays in this order.

    Raises:
        ValueError: naming one that is not finite.
    """
    return tuple(np.broadcast_arrays(*(finite(*pair) for pair in values.items())))


def count(name: str, value: Numbers) -> Any:
    """`floats` of whole numbers of at least 1.

    Args:
        name: of the argument.
        value: a number, an array or a DataArray.

    Returns:
        As `floats`.

    Raises:
        ValueError: if one is none.
    """
    value = floats(value)
    good = np.isfinite(value) & (value >= 1) & (value == np.floor(value))
    require(good, f"{name}={show(value)}: must be an integer of at least 1")
    return value


def check(name: str, value: Numbers, *, zero: bool = True) -> None:
    """`check_sign` of what may be a DataArray.

    Args:
        name: of the argument.
        value: a number, an array or a DataArray.
        zero: whether 0 may be.

    Raises:
        ValueError: for negative or non-finite numbers.
    """
    check_sign(name, np.asarray(value, float), zero=zero)


def require(condition: Any, message: str) -> None:
    """Refuse what breaks a condition anywhere.

    Args:
        condition: a truth value, or an array of them.
        message: what the error says.

    Raises:
        ValueError: with the message.
    """
    if not np.all(condition):
        raise ValueError(message)


def show(value: Numbers) -> str:
    """Numbers as a message shows them: all of a few, the range of many.

    Args:
        value: a number, an array or a DataArray.

    Returns:
        The text.
    """
    values = np.ravel(np.asarray(value, float))
    if values.size <= 4:
        shown = ", ".join(f"{v:.6g}" for v in values)
        return shown if np.ndim(value) == 0 else f"[{shown}]"
    return f"{values.min():.6g} to {values.max():.6g}"


def curvatures(strong_convexity: Numbers, smoothness: Numbers, *, convex: bool = True) -> tuple[Numbers, Numbers]:
    """Least and greatest curvature, checked.

    Args:
        strong_convexity: lambda.
        smoothness: L >= lambda.
        convex: whether lambda must be greater than 0.

    Returns:
        Both, as `floats`.

    Raises:
        ValueError: naming the argument that is out of its range.
    """
    lam, smooth = finite("strong_convexity", strong_convexity), finite("smoothness", smoothness)
    if convex:
        check("strong_convexity", strong_convexity, zero=False)
    what = f"smoothness={show(smoothness)}: must be at least strong_convexity={show(strong_convexity)}"
    require(smooth >= lam, what)
    return lam, smooth


def temperature(agents: Numbers, eta: Numbers, batch: Numbers) -> Numbers:
    """eta / b, or the mean of eta_i / b_i over agents.

    Args:
        agents: p >= 1.
        eta: learning rate > 0, in time; a plain vector is one an agent, (agents,).
        batch: minibatch size b > 0, likewise.

    Returns:
        In time.

    Raises:
        ValueError: naming the argument that is out of its range, or a vector that is not (agents,).
    """
    count("agents", agents)
    for name, value in (("eta", eta), ("batch", batch)):
        check(name, value, zero=False)
        if is_vector(value) and (np.ndim(agents) or np.shape(value) != (int(agents),)):
            shape = f"of shape {np.shape(value)}, must be a number or one an agent, ({show(agents)},)"
            raise ValueError(f"{name}: {shape}; a grid of values is a labeled array")
    quotient = floats(eta) / floats(batch)
    return np.mean(quotient) if is_vector(eta) or is_vector(batch) else quotient


def is_vector(value: Numbers) -> bool:
    """Whether a value is one an agent: an array without labels.

    Args:
        value: a number, an array or a DataArray.
    """
    return np.ndim(value) > 0 and not isinstance(value, xr.DataArray)
