"""The functions that the GPU backends lack, against NumPy in float64."""

import jax
import numpy as np
import pytest
from jax import lax

from sdesim.engine.gpu import primitives

pytestmark = pytest.mark.usefixtures("float32")


def rule(name, x, **params):
    return np.asarray(jax.jit(lambda x: primitives.RULES[name](lax.optimization_barrier, x, **params))(x), np.float64)


@pytest.mark.parametrize("name", ["sin", "cos"])
def test_sines(name):
    x = np.linspace(-1e3, 1e3, 400_001, dtype=np.float32)
    assert np.abs(rule(name, x) - getattr(np, name)(x.astype(float))).max() < 2e-7
    far = np.float32([1e5, 1e7, -1e12, 3e38])
    assert (np.abs(rule(name, far)) <= 1).all()
    assert np.isnan(rule(name, np.float32([np.inf, np.nan]))).all()


@pytest.mark.parametrize(
    "name, low, high, units",
    [
        ("sqrt", 1e-30, 1e30, 2),
        ("log1p", -0.999, 1e4, 4),
        ("expm1", -20, 80, 5),
        ("sinh", -80, 80, 7),
        ("cosh", -80, 80, 3),
    ],
)
def test_functions_to_units_in_the_last_place(name, low, high, units):
    near = np.float32([1e-30, 1e-10, 1e-8, 1e-6, 1e-4]) if low < 0 else np.geomspace(low, high, 10_000)
    x = np.concatenate([np.linspace(low, high, 100_000), near, -near if low < 0 else near]).astype(np.float32)
    exact = getattr(np, name)(x.astype(float))
    assert (np.abs(rule(name, x) - exact) <= units * np.spacing(np.abs(exact).astype(np.float32))).all()


def test_functions_where_they_end():
    inf = np.float32(np.inf)
    np.testing.assert_array_equal(rule("sqrt", np.float32([0, inf, -1, np.nan])), [0, inf, np.nan, np.nan])
    np.testing.assert_array_equal(rule("log1p", np.float32([-1, inf, -2, 0])), [-inf, inf, np.nan, 0])
    np.testing.assert_array_equal(rule("expm1", np.float32([-inf, inf, np.nan, 0])), [-1, inf, np.nan, 0])
    np.testing.assert_array_equal(rule("is_finite", np.float32([-inf, inf, np.nan, 3e38])), [0, 0, 0, 1])


@pytest.mark.parametrize("name", ["floor", "ceil", "round"])
def test_whole_numbers(name):
    x = np.concatenate([np.arange(-9, 9, 0.25), [0.49999997, 4194303.5, 8388609.0, -1e20, 3e38]]).astype(np.float32)
    params = {"rounding_method": lax.RoundingMethod.TO_NEAREST_EVEN} if name == "round" else {}
    np.testing.assert_array_equal(rule(name, x, **params), getattr(np, name)(x.astype(float)))


def test_one_minus_square():
    """Of jax 0.12, in gradients of tanh and of the inverses of sine, cosine and tanh."""
    x = np.concatenate([np.linspace(-2, 2, 100_001), 1 - np.geomspace(1e-7, 0.1, 1000)]).astype(np.float32)
    exact = (1 - x.astype(float)) * (1 + x.astype(float))
    assert (np.abs(rule("one_minus_square", x) - exact) <= 2 * np.spacing(np.abs(exact).astype(np.float32))).all()
