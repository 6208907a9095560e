"""EASGD Tree on a quadratic: limits of its exact means and second moments, and a plain simulation."""

import itertools

import numpy as np
import pytest

from sdesim.theory import trees


def test_a_mean_without_coupling_is_that_of_leaves_alone():
    times = np.array([0.0, 1.0, 7.3])
    for delay in (0.0, 2.0):
        mean = trees.tree_mean((3, 2), 0.1, 0.0, times, delay)
        np.testing.assert_allclose(mean[:, 0], np.exp(-0.1 * times), atol=1e-6)
        np.testing.assert_allclose(mean[:, 1:], 1.0, atol=1e-12)


def test_short_delays_have_a_limit():
    """It is not the tree without: the messages sent at the start come in the middle of the leaves' first jobs."""
    times = np.linspace(0, 20, 9)
    means = [trees.tree_mean((2, 2), 0.1, 0.2, times, delay) for delay in (0.04, 0.02, 0.01)]
    far, near = (np.abs(one - other).max() for one, other in itertools.pairwise(means))
    assert 1e-5 < near < 0.6 * far < 0.01
    # At the end of its first job a leaf is (1 - alpha)(1 - a) + alpha, and not 1 - a.
    slope = [(trees.tree_mean((4,), 0.1, 0.2, [0.0, 0.02], d)[1, 0] - 1) / 0.02 for d in (0.0, 0.001)]
    assert slope[0] == pytest.approx(-0.1, rel=0.02) and slope[1] == pytest.approx(-0.08, rel=0.03)
    np.testing.assert_allclose(trees.tree_mean((2, 2), 0.0, 0.2, times, 3.0), 1.0, atol=1e-12)  # at rest


def test_leaves_that_hear_nothing_have_the_variance_of_sgd():
    leaves, node = trees.tree_second((4,), 0.1, 1e-6)
    assert leaves == pytest.approx(1 / (0.1 * 1.9), rel=1e-4) and node < 0.01 * leaves


@pytest.mark.parametrize("alpha", [0.1, 0.5])
def test_second_moments_are_those_of_a_plain_program(alpha):
    """One leaf and its parent, event by event: their waiting messages in a list."""
    rng, a, x, c, inbox, sums, count = np.random.default_rng(0), 0.2, 0.0, 0.0, [], np.zeros(2), 200_000
    blocks = []
    for event, (job, noise) in enumerate(zip(rng.random(count) < 0.5, rng.normal(size=count), strict=True)):
        if job:
            x = (1 - a) * x + noise
            c = c + alpha * (x - c)
            for y in inbox:
                x = x + alpha * (y - x)
            inbox = []
        else:
            inbox.append(c)
        sums += x * x, c * c
        if event % 2000 == 1999:
            blocks.append(sums / 2000)
            sums = np.zeros(2)
    found, error = np.mean(blocks[1:], axis=0), np.std(blocks[1:], axis=0) / np.sqrt(len(blocks) - 1)
    exact = trees.tree_second((1,), a, alpha)
    assert (error < 0.05 * exact).all() and (np.abs(found - exact) < 4 * error).all()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: trees.tree_second((2, 2), 3.0, 0.1), "no stationary law"),
        (lambda: trees.tree_second((2, 0), 0.1, 0.1), "fanout=0"),
        (lambda: trees.tree_mean((2,), -0.1, 0.1, [1.0]), "a=-0.1"),
        (lambda: trees.tree_mean((2,), 0.1, 0.1, [1.0, 0.5]), "times"),
    ],
)
def test_bad_numbers_are_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()
