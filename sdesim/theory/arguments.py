"""Arguments of the bounds: numbers, arrays or labeled arrays as float64, checked, and shown in messages."""

from typing import Any

import numpy as np
import xarray as xr

from sdesim.fields import check_sign

Numbers = Any  # a number, an array or a DataArray; results are np.float64, an array or a DataArray accordingly


def floats(value) -> Any:
    """In float64, with the labels it has."""
    return value.astype(float) if isinstance(value, xr.DataArray) else np.asarray(value, float)[()]


def finite(name: str, value) -> Any:
    value = floats(value)
    require(np.isfinite(value), f"{name}={show(value)}: must be finite")
    return value


def count(name: str, value) -> Any:
    value = floats(value)
    good = np.isfinite(value) & (value >= 1) & (value == np.floor(value))
    require(good, f"{name}={show(value)}: must be an integer of at least 1")
    return value


def check(name: str, value, *, zero: bool = True) -> None:
    check_sign(name, np.asarray(value, float), zero=zero)


def require(condition, message: str) -> None:
    if not np.all(condition):
        raise ValueError(message)


def show(value) -> str:
    """Numbers as a message shows them: all of a few, the range of many."""
    values = np.ravel(np.asarray(value, float))
    if values.size <= 4:
        shown = ", ".join(f"{v:.6g}" for v in values)
        return shown if np.ndim(value) == 0 else f"[{shown}]"
    return f"{values.min():.6g} to {values.max():.6g}"


def curvatures(strong_convexity, smoothness, *, convex: bool = True):
    lam, smooth = finite("strong_convexity", strong_convexity), finite("smoothness", smoothness)
    if convex:
        check("strong_convexity", strong_convexity, zero=False)
    what = f"smoothness={show(smoothness)}: must be at least strong_convexity={show(strong_convexity)}"
    require(smooth >= lam, what)
    return lam, smooth


def temperature(agents, eta, batch):
    """eta / b, or the mean of eta_i / b_i over agents."""
    count("agents", agents)
    for name, value in (("eta", eta), ("batch", batch)):
        check(name, value, zero=False)
        if is_vector(value) and (np.ndim(agents) or np.shape(value) != (int(agents),)):
            shape = f"of shape {np.shape(value)}, must be a number or one an agent, ({show(agents)},)"
            raise ValueError(f"{name}: {shape}; a grid of values is a labeled array")
    quotient = floats(eta) / floats(batch)
    return np.mean(quotient) if is_vector(eta) or is_vector(batch) else quotient


def is_vector(value) -> bool:
    return np.ndim(value) > 0 and not isinstance(value, xr.DataArray)
