"""The twins of asynchronous SGD: against every possible run of a small case, and the bound against a plain program."""

import itertools

import numpy as np
import pytest

from sdesim.theory import generalization, staleness


def every_run(p: int, a: float, n: int, arrivals: int, in_turn: bool) -> tuple[np.ndarray, np.ndarray]:
    """E delta and E delta^2 over all drawn samples and, unless workers come in turn, all orders of arrival."""
    orders = [[i % p for i in range(arrivals)]] if in_turn else list(itertools.product(range(p), repeat=arrivals))
    paths = []
    for order in orders:
        for drawn in itertools.product(range(n), repeat=arrivals):
            c, read, path = 0.0, [0.0] * p, [0.0]
            for worker, sample in zip(order, drawn, strict=True):
                c = c - a * (read[worker] - (sample == 0))
                read[worker] = c
                path.append(c)
            paths.append(path)
    return np.mean(paths, 0), np.mean(np.square(paths), 0)


@pytest.mark.parametrize(("p", "n"), [(1, 2), (2, 2), (3, 2), (2, 3)])
@pytest.mark.parametrize("twins", ["regular", "memoryless"])
def test_twins_are_the_mean_of_every_run(p, n, twins):
    found = getattr(generalization, f"{twins}_twins")(p, 0.3, n, 5)
    np.testing.assert_allclose(found, every_run(p, 0.3, n, 5, twins == "regular"), rtol=1e-12, atol=1e-15)


def test_twins_come_to_rest():
    """Means at 1 / n whatever the delay, mean squares at what centered kicks sustain."""
    a, n = 0.1, 10
    for twins in (generalization.regular_twins, generalization.memoryless_twins):
        for p in (1, 4, 8):
            assert twins(p, a, n, 3000)[0][-1] == pytest.approx(1 / n, rel=1e-9)
        assert twins(1, a, n, 3000)[1][-1] == pytest.approx(1 / n**2 + a / (2 - a) * (1 - 1 / n) / n, rel=1e-9)
    stationary = staleness.sgd_stationary(8, a, a**2 * (1 - 1 / n) / n)[0]
    assert generalization.memoryless_twins(8, a, n, 3000)[1][-1] == pytest.approx(1 / n**2 + stationary, rel=1e-9)


BOUND = dict(smoothness=2.0, diameter=3.0, distance=1.5, least_loss=0.7)


def test_the_bound_is_its_sum():
    rates, delays, n = [0.3, 0.1, 0.2, 0.25], [0, 1, 0, 3], 5
    total = 0.3 * 1.5**2 + (4 * 2 * 9 + 1.4) * sum(eta**2 for eta in rates)
    total *= 16 * 2 * np.e * (1 + 4 / n) / n
    late = sum(rates[i] * sum(rates[i - j] for j in range(1, delays[i] + 1)) for i in range(4))
    expected = total + 2 * 4 * 9 * np.e * late
    assert generalization.stability_bound(n, rates, delays, **BOUND) == pytest.approx(expected, rel=1e-12)
    capped = generalization.stability_bound(n, rates, [0, 1, 2, 2], **BOUND)
    assert generalization.stability_bound(n, rates, 2, **BOUND) == pytest.approx(capped, rel=1e-12)


def test_with_delays_the_bound_knows_no_samples():
    rates = np.full(400, 0.05)
    few, many = (generalization.stability_bound(n, rates, 3, **BOUND) for n in (10**6, 10**9))
    assert few == pytest.approx(many, rel=1e-2) and many > BOUND["diameter"] ** 2
    assert generalization.stability_bound(10**9, rates, 0, **BOUND) < 1e-2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"samples": 0}, "samples=0"),
        ({"rates": [1.5, 0.1]}, "rates=.*at most 2 / smoothness = 1"),
        ({"rates": [[0.1, 0.1]]}, "rates: of shape"),
        ({"delays": [0, 2]}, "delays=.*arrivals before"),
        ({"delays": [0, 0.5]}, "delays=.*integers"),
        ({"delays": [0, 1, 1]}, "delays: of shape"),
        ({"delays": -1}, "delays=-1"),
        ({"distance": 4.0}, "distance=4: must be at most diameter=3"),
        ({"least_loss": -1.0}, "least_loss=-1"),
        ({"smoothness": 0.0}, "smoothness=0"),
    ],
)
def test_what_breaks_an_assumption_of_the_bound_is_refused(change, message):
    good = dict(samples=5, rates=[0.1, 0.1], delays=[0, 1], **BOUND)
    with pytest.raises(ValueError, match=message):
        generalization.stability_bound(**{**good, **change})


@pytest.mark.parametrize(("p", "d"), [(2, 1), (4, 8), (64, 8)])
def test_the_limit_of_regression_is_where_second_moments_stop_decaying(p, d):
    """One arrival of E c c, E c x_mean, E x_mean x_mean, E mean x_i x_i, where a^2 is d + 2 times as large."""

    def radius(a):
        square = (d + 2) * a**2 - a**2  # beyond that of `sgd_moments`, in E c c of the new server
        more = np.zeros((4, 4))
        more[:, 3] = square * np.array([1, 1 / p, 1 / p**2, 1 / p])
        return np.abs(np.linalg.eigvals(staleness.sgd_moments(p, a) + more)).max()

    limit = float(generalization.regression_limit(p, d))
    assert radius(0.99 * limit) < 1 < radius(1.01 * limit)


def test_one_worker_is_limited_by_its_features():
    assert generalization.regression_limit(1, 8) == pytest.approx(2 / 10)
