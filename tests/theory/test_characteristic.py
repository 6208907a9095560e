"""Characteristic roots of delays: against exact ones, other forms of the same law, and iterations on a fine grid."""

import numpy as np
import pytest
import scipy.integrate
import scipy.special
import scipy.stats

from sdesim.asynchrony import Exponential, Gamma, LogNormal, Measured, Pareto, Slowed
from sdesim.theory import staleness
from sdesim.theory.staleness import characteristic
from sdesim.theory.staleness import characteristic_roots as roots


def upper(values, count):
    """Those of the upper half plane, the greatest real part first."""
    values = np.asarray(values)[np.imag(values) > -1e-9]
    return values[np.argsort(-values.real)][:count]


@pytest.mark.parametrize("h, delay, pull", [(0.1, 1.0, 0.0), (0.7, 2.3, 0.0), (20.0, 1.0, 0.0), (1.5, 0.8, 0.6)])
def test_a_constant_delay_is_lamberts_function(h, delay, pull):
    exact = [scipy.special.lambertw(-h * delay * np.exp(pull * delay), k) / delay - pull for k in range(-9, 10)]
    found = roots(h, delay, pull=pull, count=5)
    np.testing.assert_allclose(found.values, upper(exact, 5), rtol=1e-12, atol=1e-12)
    assert (abs(found.values - upper(exact, 5)) <= found.errors).all() and (found.errors < 1e-11).all()


@pytest.mark.parametrize("h, mean, shape", [(0.2, 1.0, 1), (2.0, 1.0, 1), (1.0, 1.0, 2), (1.0, 2.0, 8), (2.0, 1.0, 25)])
def test_erlang_delays_are_a_polynomial(h, mean, shape):
    powers = np.polynomial.Polynomial([1.0, mean / shape]) ** shape
    exact = upper((np.polynomial.Polynomial([0.0, 1.0]) * powers + h).roots(), 2)
    found = roots(h, Gamma(shape=float(shape), mean=mean), count=2)
    np.testing.assert_allclose(found.values, exact[: found.values.size], rtol=1e-9)
    assert found.values.size == exact.size and (found.errors[0] < 1e-12) and np.isneginf(found.edge)


def test_other_gamma_delays_are_newtons_roots():
    for h, mean, shape in [(1.0, 1.0, 2.5), (3.0, 1.0, 3.7), (0.1, 1.0, 0.5), (0.4, 2.0, 1.5), (3.0, 1.0, 12.3)]:
        found, exact = roots(h, staleness.gamma_delay(mean, shape)), staleness.delay_root(h, mean, shape)
        assert found.values[0] == pytest.approx(complex(exact.real, abs(exact.imag)), abs=1e-12)
        assert found.edge == pytest.approx(-shape / mean) and found.rate == pytest.approx(-exact.real)
    # where the root lies left of the tail of the law, that is what is seen in the end
    none = roots(1.0, staleness.gamma_delay(1.0, 0.5))
    assert none.values.size == 0 and none.rate == 0.5 and not none.oscillates


def boxed(function, low, high, top):
    """How many zeros a function has in a box of the plane, by quadrature of its logarithmic derivative."""
    corners = [complex(low, -top), complex(high, -top), complex(high, top), complex(low, top)]
    turned = 0.0
    for start, end in zip(corners, corners[1:] + corners[:1], strict=True):
        value = function(start + (end - start) * np.linspace(0, 1, 40001))
        turned += np.sum(np.angle(value[1:] / value[:-1]))
    return round(turned / (2 * np.pi))


@pytest.mark.parametrize("h", [0.2, 1.0, 4.0])
def test_uniform_delays_by_their_closed_transform(h):
    low, high = 0.3, 2.1
    phi = lambda s: (np.exp(-s * low) - np.exp(-s * high)) / (s * (high - low))
    equation = lambda s: s + h * phi(s)
    found = roots(h, staleness.uniform_delay(low, high), count=4)
    assert (abs(equation(found.values)) < 1e-11).all() and (np.diff(found.values.real) < 0).all()
    # None is left out: each real one counts once, the others twice.
    line = found.values[-1].real - 1e-3
    assert boxed(equation, line, 10.0, 60.0) == np.sum(np.where(found.values.imag > 0, 2, 1))


def test_a_law_by_quantiles_a_sample_and_a_mixture():
    low, high = 0.3, 2.1
    known = roots(1.3, staleness.uniform_delay(low, high), count=3).values
    by_quantiles = staleness.quantile_delay(scipy.stats.uniform(low, high - low).ppf, longest=high)
    np.testing.assert_allclose(roots(1.3, by_quantiles, count=3).values, known, rtol=1e-9)
    halves = staleness.mixed_delay([staleness.uniform_delay(low, 1.2), staleness.uniform_delay(1.2, high)])
    np.testing.assert_allclose(roots(1.3, halves, count=3).values, known, rtol=1e-10)
    middles = low + (high - low) * (np.arange(800) + 0.5) / 800
    found = roots(1.3, Measured(sample=middles, mean=(low + high) / 2), count=3).values
    np.testing.assert_allclose(found, known, rtol=1e-4)
    # a gamma law among others, by its polynomial and the quasi-polynomial of a constant one
    law = staleness.mixed_delay([1.0, Gamma(shape=2.0, mean=1.4)], [1.0, 3.0])
    found = roots(1.7, law, count=3)
    s = found.values
    assert (abs(s + 1.7 * (0.25 * np.exp(-s) + 0.75 * (1 + 0.7 * s) ** -2)) < 1e-12).all()


def test_a_double_root():
    found = roots(np.exp(-1), 1.0)
    assert abs(found.values[0] + 1) <= found.errors[0] < 1e-6
    assert abs(roots(0.25, Exponential()).values[0] + 0.5) < 1e-6
    for h in np.exp(-1) * (1 + np.array([-1e-7, -1e-9, 1e-9, 1e-7])):
        exact = scipy.special.lambertw(-h, 0)
        assert abs(roots(h, 1.0).values[0].real - exact.real) < 1e-7


def test_roots_that_starting_values_miss_are_missed_aloud(monkeypatch):
    right = characteristic._Equation.refined
    monkeypatch.setattr(characteristic._Equation, "refined", lambda self, *starts: right(self, *starts)[2:])
    with pytest.raises(RuntimeError, match="h=1"):
        roots(1.0, 1.0)


def test_heavy_tails_have_limits_and_no_rate():
    for law in (LogNormal(sigma=0.7), Pareto(index=2.5)):
        limit = staleness.stability_limit(law)
        assert roots(0.98 * limit, law).rate == 0 and roots(1.02 * limit, law).rate < 0
        with pytest.raises(ValueError, match="exponential tail"):
            staleness.best_gain(law)
    # the transform on the axis, by another quadrature of the density
    law, of = LogNormal(sigma=0.5), scipy.stats.lognorm(0.5, scale=np.exp(-0.125))
    root = roots(4.0, law)
    s = root.values[0]
    real = scipy.integrate.quad(lambda t: (np.exp(-s * t)).real * of.pdf(t), 0, 60, limit=500, epsabs=1e-13)[0]
    imag = scipy.integrate.quad(lambda t: (np.exp(-s * t)).imag * of.pdf(t), 0, 60, limit=500, epsabs=1e-13)[0]
    assert abs(s + 4.0 * complex(real, imag)) < 1e-10


def test_limits_in_closed_form():
    assert staleness.stability_limit(1.7) == pytest.approx(np.pi / 2 / 1.7, rel=1e-12)
    assert staleness.stability_limit(Exponential()) == np.inf == staleness.most_workers(0.1, Exponential())
    for shape in (1.2, 2.0, 4.0, 9.5):
        assert staleness.stability_limit(Gamma(shape=shape)) == pytest.approx(staleness.gamma_delay_limit(shape))
    # E exp(-j w d) of delays uniform on (0, 2) is exp(-j w) sin(w) / w
    assert staleness.stability_limit(staleness.uniform_delay(0, 2)) == pytest.approx(np.pi**2 / 4, rel=1e-10)
    # w = -k tan(w d), h = -k / cos(w d)
    w = scipy.optimize.brentq(lambda w: w + 0.8 * np.tan(w), np.pi / 2 + 1e-9, np.pi)
    assert staleness.stability_limit(1.0, pull=0.8) == pytest.approx(-0.8 / np.cos(w), rel=1e-10)
    # with momentum w tan(w d) = mu, h = w^2 / cos(w d)
    w = scipy.optimize.brentq(lambda w: w * np.tan(w) - 0.6, 1e-9, np.pi / 2 - 1e-9)
    assert staleness.stability_limit(1.0, friction=0.6) == pytest.approx(w**2 / np.cos(w), rel=1e-10)
    for more in ({}, {"pull": 0.8}, {"friction": 0.6}, {"pull": 0.3, "friction": 0.6}):
        for law in (1.3, Gamma(shape=4.0), staleness.uniform_delay(0.2, 2.0)):
            limit = staleness.stability_limit(law, **more)
            assert roots(0.999 * limit, law, **more).rate > 0 > roots(1.001 * limit, law, **more).rate


@pytest.mark.parametrize("shape", [1, 2, 4])
@pytest.mark.slow
def test_the_best_gain_of_erlang_delays(shape):
    """Where h = -s (1 + s / n)^n is greatest: s = -n / (n + 1)."""
    h, rate = staleness.best_gain(Gamma(shape=float(shape)))
    share = shape / (shape + 1)
    assert h == pytest.approx(share ** (shape + 1), rel=1e-6) and rate == pytest.approx(share, rel=1e-6)
    assert staleness.best_workers(0.05, Gamma(shape=float(shape), mean=3.0)) == pytest.approx(20 * h, rel=1e-6)


def test_the_best_gain_of_a_constant_delay():
    h, rate = staleness.best_gain(2.0)
    assert h == pytest.approx(np.exp(-1) / 2, rel=1e-6) and rate == pytest.approx(0.5, rel=1e-6)
    assert staleness.most_workers(0.05, 1.0) == pytest.approx(10 * np.pi)


def test_unequal_workers_arrive_in_proportion_to_their_speed():
    law = staleness.workers_delay(Gamma(shape=2.0), [1.0, 1.0, 4.0])
    assert law.mean == pytest.approx(3 / (2 + 1 / 4))  # mean of arrivals: workers over rate
    s = roots(0.4, law).values[0]
    of = lambda m: (1 + s * m / 2) ** -2
    assert abs(s + 0.4 * (2 * of(1.0) + of(4.0) / 4) / 2.25) < 1e-12


def test_the_means_of_unequal_memoryless_workers():
    """Their characteristic equation is s + sum_i (a / m_i) / (1 + a + s m_i) = 0, of the roots but for a."""
    means, a = np.array([1.0, 1.0, 4.0, 2.0]), 0.1
    s = np.linalg.eigvals(staleness.unequal_means(means, a))
    assert s.size == 4
    residual = s + (a / means / (1 + a + s[:, None] * means)).sum(1)
    np.testing.assert_allclose(residual, 0, atol=1e-12)
    few = np.linalg.eigvals(staleness.unequal_means(means, 1e-6)).real.max()
    found = roots(1e-6 * np.sum(1 / means), staleness.workers_delay(Exponential(), means))
    assert found.values[0].real == pytest.approx(few, rel=1e-5)


def test_roots_above_a_pole_are_found():
    """A pair whose real part is that of a pole, of which one rounding more or less used to hide it."""
    for h in (0.3, 0.30000000000000004):
        found = roots(h, staleness.workers_delay(Exponential(), np.repeat([1.0, 4.0], [4, 8])))
        assert found.values[0] == pytest.approx(-0.25 + 0.25j * np.sqrt(0.6), rel=1e-9)


def test_thresholds_on_the_staleness_cut_the_delays():
    """Of uniform times on (0, 2), F(D) = D / 2, so that p D^2 / 2 = R."""
    law, used = staleness.threshold_delay(scipy.stats.uniform(0, 2).ppf, workers=40, threshold=5)
    assert used == pytest.approx(0.25, rel=1e-8)
    known = roots(3.0, staleness.uniform_delay(0, 0.5)).values
    np.testing.assert_allclose(roots(3.0, law).values, known, rtol=1e-8)
    law, used = staleness.threshold_delay(scipy.stats.uniform(0, 2).ppf, workers=40, threshold=90)
    assert used == 1 and law.mean == pytest.approx(1.0, rel=1e-9)


@pytest.mark.parametrize("more", [{}, {"pull": 0.4}, {"friction": 0.7}, {"pull": 0.2, "friction": 0.7}])
@pytest.mark.slow
def test_roots_are_those_of_iterations_on_a_fine_grid(more):
    h, delay, k, mu = 0.8, 1.1, more.get("pull", 0.0), more.get("friction")

    def rate(steps):
        dt = delay / steps
        if mu is None:
            return -np.log(staleness.step_radius(dt * h, steps, coupling=dt * k)) / dt
        # v <- (1 - dt mu) v - dt h y, x <- x + dt v - dt k x
        return -np.log(staleness.step_radius(dt**2 * h, steps, delta=1 - dt * mu, coupling=dt * k)) / dt

    coarse, fine = rate(150), rate(300)
    found = roots(h, delay, **more)
    assert 2 * fine - coarse == pytest.approx(found.rate, rel=3e-4)
    assert found.oscillates == (found.values[0].imag > 0)


def iterated(a, delay, delta, coupling, nesterov, steps=1500):
    """The factor of a step, from the iteration written out."""
    whole, part = int(delay), delay - int(delay)
    x, v, points = 1.0, 0.0, [1.0] * (whole + 2)
    sizes, scale = [], 0.0  # logarithms
    for _ in range(steps):
        if (size := max(map(abs, points))) < 1e-50:
            x, v, points, scale = x / size, v / size, [y / size for y in points], scale + np.log(size)
        points = [x + delta * v if nesterov else x, *points[:-1]]
        late = (1 - part) * points[whole] + part * points[whole + 1]
        v = delta * v - a * late
        x = x + v - coupling * x
        sizes.append(scale + np.log(abs(complex(x, v))))
    return np.exp((np.max(sizes[-100:]) - np.max(sizes[steps // 2 - 100 : steps // 2])) * 2 / steps)


@pytest.mark.parametrize(
    "delay, delta, coupling, nesterov",
    [(0, 0.5, 0.0, True), (5, 0.0, 0.0, False), (3, 0.9, 0.1, True), (7, 0.5, 0.3, False), (2.4, 0.6, 0.0, True)],
)
def test_steps_of_delayed_gradients(delay, delta, coupling, nesterov):
    more = {"delta": delta, "coupling": coupling, "nesterov": nesterov}
    limit = staleness.step_limit(delay, **more)
    for a in (0.5 * limit, 0.99 * limit, 1.02 * limit):
        radius = staleness.step_radius(a, delay, **more)
        assert radius == pytest.approx(iterated(a, delay, **more), rel=2e-3)
        assert (radius < 1) == (a < limit)
    assert staleness.step_radius(limit, delay, **more) == pytest.approx(1, abs=1e-9)


def test_limits_of_steps_in_closed_form():
    for p in (1, 2, 9, 40):
        assert staleness.step_limit(p - 1) == pytest.approx(staleness.regular_limit(p), rel=1e-10)
        assert staleness.step_radius(0.03, p - 1) == pytest.approx(staleness.regular_radius(p, 0.03), rel=1e-10)
    assert staleness.step_limit(0, delta=0.8) == pytest.approx(2 * 1.8)
    assert staleness.step_limit(0, delta=0.8, nesterov=True) == pytest.approx(2 * 1.8 / 2.6)
    assert staleness.step_limit(0, coupling=0.3) == pytest.approx(1.7)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: roots(-1.0, 1.0), "h=-1"),
        (lambda: roots(1.0, -1.0), "delay=-1"),
        (lambda: roots(1.0, "late"), "delay='late'"),
        (lambda: roots(1.0, 1.0, count=0), "count=0"),
        (lambda: roots(1.0, 1.0, pull=-1.0), "pull=-1"),
        (lambda: roots(1.0, 1.0, friction=-1.0), "friction=-1"),
        (lambda: roots(1.0, Gamma(shape=2.0, mean=[1.0, 2.0])), "workers_delay"),
        (lambda: roots(1.0, Slowed(Exponential(), factor=2.0, share=0.5)), "mixed_delay"),
        (lambda: staleness.uniform_delay(1.0, 1.0), "high=1"),
        (lambda: staleness.sampled_delay([[1.0]]), "times="),
        (lambda: staleness.sampled_delay([1.0, 2.0], [1.0]), "weights="),
        (lambda: staleness.quantile_delay(lambda u: -u), "quantiles"),
        (lambda: staleness.quantile_delay(lambda u: 1 + u, longest=0.5), "longest=0.5"),
        (lambda: staleness.best_gain(0.0), "delay=0"),
        (lambda: staleness.step_radius(0.1, 1, delta=1.0), "delta=1"),
        (lambda: staleness.step_limit(1, coupling=2.5), "coupling=2.5"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call()
