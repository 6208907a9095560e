"""bs-average, bs-smoothing and bs-weak: their exact laws against independent computations, and claims that can fail."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from scipy.integrate import solve_ivp
from wrong_models import failed

import sdesim
from sdesim.papers.boffi_slotine import average as bs_average
from sdesim.papers.boffi_slotine import smoothing as bs_smoothing
from sdesim.papers.boffi_slotine import weak as bs_weak
from sdesim.papers.boffi_slotine.average.config import K
from sdesim.papers.boffi_slotine.average.run import Average, Exponential
from sdesim.papers.boffi_slotine.one_dimensional import Loss
from sdesim.papers.boffi_slotine.smoothing.run import Descent, factors, slope
from sdesim.papers.boffi_slotine.weak import run as weak_run
from sdesim.papers.boffi_slotine.weak.claims import order
from sdesim.papers.boffi_slotine.weak.config import RULES
from sdesim.papers.boffi_slotine.weak.run import Corrected, weak_errors
from sdesim.theory.smoothing import averaged, uniform

AVERAGE = bs_average.PRESETS["smoke"]


# -- bs-average --------------------------------------------------------------------------------------------------------


def test_noise_is_a_centered_exponential(z_scores):
    matrix = np.array([[1.0, 0.0], [0.5, 0.8]])
    model = sdesim.Dynamics(sdesim.objectives.Quadratic(0.0), noise=Exponential(matrix), eta=1.0)
    zeta = np.asarray(sdesim.simulate(model, agents=10, sims=4000, steps=1, dims=2, seed=3).agents).reshape(-1, 2)
    covariance = matrix @ matrix.T
    products = zeta[:, :, None] * zeta[:, None]
    assert abs(z_scores(zeta, 0.0)).max() < 4.5
    assert abs(z_scores(products, covariance)).max() < 4.5
    assert abs(z_scores(zeta**3, 2 * (matrix**3).sum(1))).max() < 4.5
    assert abs(z_scores(products, 1.1 * covariance)).max() > 4.5  # the looks have power
    with pytest.raises(ValueError, match="skewed noise"):
        sdesim.simulate(model, dims=2, steps=1, dt=0.5)


def test_observed_average_is_that_of_the_quorum():
    model = sdesim.Dynamics(sdesim.objectives.Quadratic(1.0), sdesim.Quorum(1.0), Exponential(np.eye(2)), 0.1)
    watch = (Average((3, 7, 20)), sdesim.observe.Quorum())
    seen = sdesim.simulate(model, agents=3, sims=5, dims=2, steps=20, every=1, observe=watch, init=1.0).observed
    quorum = np.asarray(seen["quorum"])  # the initial state first
    for i, n in enumerate((3, 7, 20)):
        np.testing.assert_allclose(seen["average_mean"][:, i], quorum[:, 1 : n + 1].mean(axis=1), rtol=1e-12)


def test_own_learning_rates_are_preconditioners_of_gradient_and_noise_alone():
    """The iteration x <- x - eta P (h x - zeta) + eta k (mean - x), written out, along one path."""
    eta, k, h, own = 0.1, 4.0, 1.5, np.array([1.0, 3.0])
    quadratic, law = sdesim.objectives.Quadratic(h), sdesim.noise.Gaussian(0.7)
    model = sdesim.Dynamics(quadratic, sdesim.Quorum(k / own), law, eta=eta * own)
    zeta = np.random.default_rng(0).normal(size=(30, 4, 2, 1))
    found = sdesim.iterate(model, agents=2, sims=4, steps=30, increments=zeta, init=1.0)
    x = np.ones((4, 2))
    for z in zeta[..., 0]:
        x = x - eta * own * (h * x - 0.7 * z) + eta * k * (x.mean(axis=1, keepdims=True) - x)
    np.testing.assert_allclose(found.agents[..., 0], x, rtol=1e-10)


def test_claims_about_the_average_can_fail(smoke):
    _, _, data = smoke(bs_average.EXPERIMENT.name)
    assert failed(bs_average, data) == set()
    assert failed(bs_average, data * 1.15) >= {"covariance", "differing"}
    assert failed(bs_average, data * 2) >= {"limit", "differing-uncoupled"}
    assert failed(bs_average, data * 0.5) >= {"limit", "differing-uncoupled"}
    assert "not-at-once" in failed(bs_average, data * 5)
    assert failed(bs_average, data * -1) == {"skewness"}
    assert "normal" in failed(bs_average, np.sign(data) * data.std("sim"))  # of the right variance
    turned = data.assign(differing=data["differing"].copy(data=data["differing"].values[::-1]))
    assert failed(bs_average, turned) >= {"differing", "differing-worse-coupled"}
    shuffled = data.assign(alike=data["alike"].copy(data=np.roll(data["alike"].values, 1, axis=1)))
    assert failed(bs_average, shuffled) == set()  # the gain does not matter, so exchanging gains does not either
    leaking = data["alike"] * (1 + 0.01 * data["alike"][K])
    assert "any-gain" in failed(bs_average, data.assign(alike=leaking))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"iterations": (100, 50)}, "iterations=.*increasing"),
        ({"curvature": ((1.0, 0.0), (0.5, 1.0))}, "symmetric"),
        ({"curvature": ((1.0, 2.0), (2.0, 1.0))}, "positive definite"),
        ({"eta": 2.0}, "must be stable"),
        ({"k": (0.0, 30.0)}, "must be stable"),
        ({"unequal_k": (1.0, 2.0)}, "must be 0 and"),
        ({"sims": 5}, "sims=5"),
    ],
)
def test_unfit_averages_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(AVERAGE, **change)


# -- bs-smoothing ------------------------------------------------------------------------------------------------------

LOSS = Loss()


def quadrature(half_width, agents, points=24):
    """Nodes and weights of the mean of `agents` uniform variables."""
    node, weight = np.polynomial.legendre.leggauss(points)
    grids = np.meshgrid(*[half_width * node] * agents, indexing="ij")
    weights = functools.reduce(np.multiply.outer, [weight / 2] * agents)
    return np.mean(grids, axis=0).ravel(), weights.ravel()


@pytest.mark.parametrize("agents", [1, 2, 4])
def test_slope_is_that_of_the_convolved_loss(agents):
    """Against the model's own gradient under a product quadrature."""
    y = np.linspace(-2, 2, 9)
    node, weight = quadrature(0.4, agents)
    gradient = jax.vmap(LOSS.objective().gradient)
    slopes = np.asarray(gradient(jnp.asarray((y[:, None] + node).reshape(-1, 1)))).reshape(9, -1) @ weight
    law = averaged(0.4, agents)
    np.testing.assert_allclose(slope(LOSS, y, factors(law, LOSS)), slopes, atol=1e-9)
    assert law.variance == pytest.approx(weight @ node**2, rel=1e-12)
    narrower = uniform(0.4 / np.sqrt(agents))
    assert law.variance == pytest.approx(narrower.variance, rel=1e-12)
    if agents == 1:  # the objective's own smoothed form
        smoothed = jax.vmap(jax.grad(lambda x: LOSS.objective().smoothed(x, 0.4)))(jnp.asarray(y[:, None]))
        np.testing.assert_allclose(slopes, smoothed[:, 0], atol=1e-9)
    else:
        assert abs(law.damping(LOSS.w2) - narrower.damping(LOSS.w2)) > 0.1


@pytest.mark.parametrize("order", ["jacobi", "gauss-seidel"])
def test_descended_points_move_by_noise_and_slope(order):
    """Y_{t+1} = x_mean_{t+1} - eta slope_{t+1}, and x_mean_{t+1} - Y_t is the mean of uniform noise, at every step."""
    eta, w, p = 0.01, 40.0, 6
    model = sdesim.Dynamics(LOSS.objective(), sdesim.Quorum(50.0), sdesim.noise.Uniform(w), eta)
    watch = (Descent(order), sdesim.observe.Quorum())
    start = sdesim.init.Uniform(-2, 2)
    run = sdesim.simulate(model, agents=p, sims=3000, steps=6, init=start, order=order, observe=watch, every=1)
    seen = run.observed
    y, slopes = np.moveaxis(np.asarray(seen["descent"]), -1, 0)
    mean = np.asarray(seen["quorum"])[..., 0]
    np.testing.assert_allclose(y, mean - eta * slopes, atol=1e-12)
    noise = mean[:, 1:] - y[:, :-1]
    assert abs(noise).max() < eta * w  # the mean of p uniform numbers
    variance = (eta * w) ** 2 / (3 * p)
    assert abs((noise**2).mean() / variance - 1) < 4.5 * np.sqrt(2 / noise.size)


def test_claims_about_smoothing_can_fail(smoke):
    _, _, data = smoke(bs_smoothing.EXPERIMENT.name)
    assert failed(bs_smoothing, data) == set()
    rolled = {n: v.copy(data=np.roll(v.values, 1, axis=0)) for n, v in data.items()}
    # What has been subtracted belongs to the run; regressions and slopes tell one number of agents from another.
    assert failed(bs_smoothing, data.assign(rolled)) >= {"waves", "spread", "minima-many-agents"}
    other = {n: v.copy(data=v.values[:, ::-1]) for n, v in data.items()}
    assert failed(bs_smoothing, data.assign(other)) >= {"center-of-mass", "waves", "spread", "not-reduced-at-once"}
    shifted = data.assign({n: data[n] + 1.0 * data["visits"] for n in ("slope", "from_averaged")})
    assert failed(bs_smoothing, shifted) >= {"one-agent", "center-of-mass"}
    smooth = data.assign(slope=data["slope"] * 0 + data["y"] * data["visits"])
    assert failed(bs_smoothing, smooth) == {"minima-many-agents"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"agents": (4, 16)}, "agents=.*from 1"),
        ({"rates": (0.5,)}, "rates=.*increase to 1"),
        ({"steps": 3}, "steps=3"),
        ({"eta": 0.0}, "eta=0"),
    ],
)
def test_unfit_smoothing_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(bs_smoothing.PRESETS["smoke"], **change)


# -- bs-weak -----------------------------------------------------------------------------------------------------------

WEAK = bs_weak.PRESETS["smoke"]


def test_corrected_loss_is_that_of_a_single_agent():
    loss = Corrected(0.5, eta=0.2)
    plain = jax.grad(sdesim.objectives.LogCosh(0.5).loss)
    whole = lambda x: sdesim.objectives.LogCosh(0.5).loss(x) + 0.05 * jnp.sum(plain(x) ** 2)
    for x in (-2.0, 0.3, 1.7):
        point = jnp.array([x, 0.5])
        np.testing.assert_allclose(loss.gradient(point), jax.grad(whole)(point), rtol=1e-12)


@pytest.mark.parametrize("name", list(RULES))
def test_weak_errors_without_noise_are_those_of_the_differential_equations(name):
    """Against scipy's solution, with the second-order drift from finite differences of the first-order one."""
    config = dataclasses.replace(WEAK, sigma=0.0, sims=2)
    n = 8
    eta, k, rate = config.time / n, config.k, config.center_rate

    def first(_, s):
        x, c = s[:-1], s[-1] if name == "elastic" else s[:-1].mean()
        pull = k * (c - x) - (config.strength * x + np.tanh(x))
        return np.append(pull, rate * (x.mean() - c) if name == "elastic" else 0.0)

    def second(t, s):
        f, h = first(t, s), 1e-5
        return f - 0.5 * eta * (first(t, s + h * f) - first(t, s - h * f)) / (2 * h)

    start = np.append(config.start, np.mean(config.start))
    s = start.copy()
    for _ in range(n):
        s = s + eta * first(0, s)

    def value(s):
        return s[0] ** 2 + (s[-1] if name == "elastic" else s[:-1].mean()) ** 2

    found = weak_errors(config, config.coupling(name), n)
    for model, drift in (("first", first), ("second", second)):
        end = solve_ivp(drift, (0, config.time), start, rtol=1e-10, atol=1e-12).y[:, -1]
        expected = value(end) - value(s)
        np.testing.assert_allclose(found[model], expected, rtol=0.02 if model == "second" else 2e-3)


def test_increments_are_mirrored_brownian_paths():
    config = dataclasses.replace(WEAK, sims=2000)
    dw = weak_run.increments(config, 8)
    np.testing.assert_array_equal(dw[:, :, :2000], -dw[:, :, 2000:])
    total = dw[:, :, :2000].sum(axis=(0, 1)).ravel()  # W(time) of each agent
    assert abs((total**2).mean() / config.time - 1) < 4.5 * np.sqrt(2 / total.size)
    assert not np.array_equal(dw, weak_run.increments(dataclasses.replace(config, seed=1), 8))


def test_claims_about_weak_errors_can_fail(smoke):
    _, _, data = smoke(bs_weak.EXPERIMENT.name)
    assert failed(bs_weak, data) == set()
    exchanged = data.assign(error=data["error"].copy(data=data["error"].values[:, ::-1]))
    assert {"elastic-first-order", "elastic-second-order", "elastic-gain"} <= failed(bs_weak, exchanged)
    flat = data.assign(error=data["error"] * 0 + data["error"].isel(eta=0))
    assert "elastic-first-order" in failed(bs_weak, flat)
    assert "elastic-bias" in failed(bs_weak, data.assign(bias=data["bias"] * 0 + 0.01))


def test_order_of_a_known_error():
    eta = np.array([0.1, 0.05, 0.02])
    error = lambda size: xr.DataArray(np.stack([size, size], 1), {"eta": eta, "sim": [0, 1]}, ("eta", "sim"))
    assert order(error(-3 * eta**2 * np.exp(eta))) == pytest.approx(2, abs=1e-9)
    assert order(error(eta)) == pytest.approx(1, abs=1e-9)
    two = error(eta**1.5).isel(eta=slice(0, 2))
    assert order(two) == pytest.approx(1.5, abs=1e-9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"iterations": (8, 8)}, "at least two different"),
        ({"iterations": (8,)}, "at least two different"),
        ({"rules": ("quorom",)}, "did you mean 'quorum'"),
        ({"start": (1.0,)}, "at least two agents"),
        ({"k": 0.0}, "k=0"),
        ({"sigma": -1.0}, "sigma=-1"),
    ],
)
def test_unfit_weak_errors_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(WEAK, **change)
