"""Exact moments from SGD to its SDE on a quadratic: by their recursion, and where they diverge."""

import numpy as np
import pytest

from sdesim.theory import refinement as of

ETA, H, S, C = 0.4, 1.5, 0.8, 0.7


def recursion(level, steps, square):
    for _ in range(steps * level):
        e = ETA / level
        square = (1 - e * H) ** 2 * square + e**2 * level * (S**2 + C**2 * square)
    return square


@pytest.mark.parametrize("level", [1, 3, 16])
def test_path_is_the_recursion(level):
    assert of.path(ETA, level, 5, 1.3, H, S, C) == pytest.approx(recursion(level, 5, 1.69), rel=1e-12)
    assert of.second_moment(ETA, level, H, S, C) == pytest.approx(recursion(level, 500, 1.69), rel=1e-12)


@pytest.mark.parametrize("level", [1, 3, 16])
def test_fourth_moment_is_the_recursion(level):
    """Of E x^4 with the fourth moment of two weighted gradients, whose third moments are 0."""
    from sdesim.noise import svag_weights

    excess, e, r = 7.0, ETA / level, 1 - ETA * H / level
    weights = np.array(svag_weights(level))
    kick2 = level * S**2
    kick4 = ((3 + excess) * np.sum(weights**4) + 6 * weights[0] ** 2 * weights[1] ** 2) * S**4
    square, fourth = 0.0, 0.0
    for _ in range(200 * level):
        fourth = r**4 * fourth + 6 * r**2 * square * e**2 * kick2 + e**4 * kick4
        square = r**2 * square + e**2 * kick2
    assert of.fourth_moment(ETA, level, H, S, excess) == pytest.approx(fourth, rel=1e-10)
    assert of.fourth_moment(ETA, np.inf, H, S, excess) == 3 * of.second_moment(ETA, np.inf, H, S) ** 2


def test_the_limit_is_that_of_fine_levels():
    """And what is left of it halves where the level doubles."""
    for formula in (
        lambda level: of.second_moment(ETA, level, H, S, C),
        lambda level: of.path(ETA, level, 5, 1.3, H, S, C),
    ):
        left = np.array([formula(level) - formula(np.inf) for level in (2000.0, 4000.0)])
        assert left[0] / left[1] == pytest.approx(2, rel=1e-3)
    assert of.path(ETA, np.inf, 0, 1.3) == pytest.approx(1.69)


def test_the_sde_solves_its_moment_equation():
    """d/dt E x^2 = -2 h E x^2 + eta (s^2 + c^2 E x^2), at half a time from the start."""
    square = lambda n: of.path(ETA, np.inf, n, 1.3, H, S, C)
    slope = (square(2.0 + 1e-5) - square(2.0 - 1e-5)) / (2e-5 * ETA)
    assert slope == pytest.approx(-2 * H * square(2.0) + ETA * (S**2 + C**2 * square(2.0)), rel=1e-6)


def test_largest_eta_is_where_it_has_moved_by_the_tolerance():
    for tolerance in (0.01, 0.2, 3.0):
        assert of.moved(of.largest_eta(tolerance, H, C), H, C) == pytest.approx(tolerance, rel=1e-9)


def test_where_moments_diverge():
    """The iteration does earlier than its SDE, which does under noise that grows with the distance alone."""
    limit = of.stable_eta(1, H, C)
    assert abs((1 - limit * H) ** 2 + limit**2 * C**2 - 1) < 1e-12
    assert of.stable_eta(np.inf, H, C) == pytest.approx(2 * H / C**2)
    assert of.stable_eta(np.inf, H) == np.inf
    with pytest.raises(ValueError, match="eta=2: must be less than"):
        of.second_moment(2.0, 1, H, S, C)
    with pytest.raises(ValueError, match=r"level=0.5"):
        of.stable_eta(0.5)
