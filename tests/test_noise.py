"""Noise laws: what one step adds, against the law in scipy, its covariance, and how minibatches divide it."""

import warnings

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import sdesim
from sdesim import noise, random

ETA = 0.25  # exact in binary, so that dividing it out rounds nothing


def zeta(law, *, agents=2, dims=2, sims=20_000, at=0.0, force=1.0, **settings):
    """The noise of one iteration from `at`, under the constant gradient -force: (sims, agents, dims)."""
    model = sdesim.Dynamics(lambda x: -force * jnp.sum(x), noise=law, eta=ETA, **settings)
    result = sdesim.simulate(model, agents=agents, dims=dims, sims=sims, steps=1, seed=5, init=at)
    return (np.asarray(result.agents) - at) / ETA - force


def ks(values, law):
    return stats.kstest(np.ravel(values), law.cdf).pvalue


# Thresholds of 1e-5 on p-values and of 4.5 on z-scores: about 40 looks, false alarms below 5e-4 in this file.


@pytest.mark.parametrize(
    ("law", "expected"),
    [
        (noise.Uniform(8.0), stats.uniform(-8, 16)),
        (noise.Gaussian(0.7), stats.norm(0, 0.7)),
        (noise.StudentT(2.0, 3.0), stats.t(3, scale=2)),
        (noise.StudentT(1.0, 1.0), stats.cauchy()),
        (noise.StudentT(1.0, 0.5), stats.t(0.5)),
        (noise.StudentT(1.0, 1e6), stats.norm()),
    ],
    ids=["uniform", "gaussian", "t3", "cauchy", "t-half", "t-large"],
)
def test_additive_law(law, expected):
    z = zeta(law)
    assert ks(z, expected) > 1e-5
    assert ks(z[:, 0], expected) > 1e-5 and ks(z[:, 1], expected) > 1e-5
    # The same with 5% more is told apart (heavy tails need more).
    assert ks(1.15 * z, expected) < 1e-5


@pytest.mark.parametrize(("shape", "batch"), [(0.7, 1.0), (2.0, 4.0), (30.0, 1.0)])
def test_gamma_law(shape, batch):
    """xi = 1 + z multiplies the gradient -force: Gamma(b shape, b shape) of mean 1."""
    xi = 1 + zeta(noise.GammaMultiplicative(shape), force=2.0, batch=batch) / 2.0
    expected = stats.gamma(shape * batch, scale=1 / (shape * batch))
    assert ks(xi, expected) > 1e-5
    assert ks(xi[:, 0], expected) > 1e-5 and ks(xi[:, 1], expected) > 1e-5
    assert ks(1.15 * xi, expected) < 1e-5
    product = (xi[:, 0] - 1) * (xi[:, 1] - 1)
    assert abs(product.mean()) < 4.5 * product.std() / np.sqrt(product.size)


def test_zhang_multiplicative_is_a_random_curvature():
    """Z 5.23: x <- x - eta u^2 x with u^2 ~ Gamma(shape, rate)."""
    loss, law = noise.zhang_multiplicative(1.5, 3.0)
    model = sdesim.Dynamics(loss, noise=law, eta=ETA)
    x = np.asarray(sdesim.simulate(model, agents=2, sims=20_000, steps=1, init=1.7).agents)
    u2 = (1.7 - x) / (ETA * 1.7)
    assert ks(u2, stats.gamma(1.5, scale=1 / 3)) > 1e-5


@pytest.mark.parametrize("law", [noise.Uniform(np.sqrt(3.0)), noise.Gaussian(1.0), noise.StudentT(0.5, 8.0)])
def test_std_is_that_of_the_draws(law, z_scores):
    z = zeta(law).ravel()
    assert abs(z_scores(z**2, float(law.std) ** 2)) < 4.5


def test_one_amplitude_a_coordinate():
    scales = np.array([0.5, 2.0])
    one = zeta(noise.Gaussian(1.0), sims=100)
    for law in (noise.Gaussian(scales), noise.Diffusion(lambda x: jnp.asarray(scales))):
        np.testing.assert_allclose(zeta(law, sims=100), scales * one, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "law", [noise.Uniform(1.0), noise.Gaussian(1.0), noise.StudentT(1.0, 4.0), noise.Diffusion(lambda x: 1 + x**2)]
)
def test_batch_divides_the_covariance(law):
    one = zeta(law, sims=50, at=0.3)
    np.testing.assert_allclose(zeta(law, sims=50, at=0.3, batch=16.0), one / 4, rtol=0, atol=1e-12)
    each = zeta(law, sims=50, at=0.3, batch=np.array([4.0, 16.0]))
    np.testing.assert_allclose(each, one / np.array([2.0, 4.0])[:, None], rtol=0, atol=1e-12)


def test_gamma_batch_of_each_agent():
    xi = 1 + zeta(noise.GammaMultiplicative(1.0), batch=np.array([1.0, 9.0]))
    for agent, b in enumerate((1.0, 9.0)):
        assert ks(xi[:, agent], stats.gamma(b, scale=1 / b)) > 1e-5


B = np.array([[1.0, 0.5], [-0.3, 0.8]])


def test_full_diffusion_has_covariance_b_bt(z_scores):
    """B depends on the state: here it is scaled by 1 + |x|^2, which is 3 at (1, 1)."""
    law = noise.Diffusion(lambda x: (1 + jnp.sum(x * x)) * jnp.asarray(B), kind="full")
    z = zeta(law, at=1.0)
    products = z[..., :, None] * z[..., None, :]
    scores = z_scores(products.reshape(-1, 2, 2), 9 * B @ B.T)
    assert np.abs(scores).max() < 4.5
    assert np.abs(z_scores(products.reshape(-1, 2, 2), 9 * B.T @ B)).max() > 4.5


@pytest.mark.parametrize(
    ("law", "factor"),
    [
        (noise.Uniform(3.0), np.sqrt(3.0)),
        (noise.Gaussian(0.4), 0.4),
        (noise.StudentT(1.0, 4.0), np.sqrt(2.0)),
        (noise.Diffusion(lambda x: 2 * x), 1.0),
        (noise.GammaMultiplicative(4.0), 0.5 * 2.0),  # gradient 2, over the root of the shape
    ],
)
def test_brownian_increments_get_the_law_s_standard_deviation(law, factor):
    model = sdesim.Dynamics(lambda x: 2 * jnp.sum(x), noise=law, eta=ETA, batch=4.0)
    dw = np.random.default_rng(0).normal(size=(1, 3, 2, 2))
    x = sdesim.simulate(model, agents=2, sims=3, dims=2, steps=1, init=0.5, increments=dw).agents
    np.testing.assert_allclose(x, 0.5 - 2 * ETA + np.sqrt(ETA / 4) * factor * dw[0], rtol=0, atol=1e-14)


def test_silence_is_silent():
    assert np.all(zeta(noise.Silent(), sims=3) == 0)


# -- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: noise.Gaussian(-1.0), r"^sigma=-1.0: must be finite and at least 0"),
        (lambda: noise.Gaussian(np.nan), r"^sigma=nan: must be finite"),
        (lambda: noise.Uniform(np.inf), r"^half_width=inf: must be finite"),
        (lambda: noise.StudentT(-1.0, 3.0), r"^scale=-1.0"),
        (lambda: noise.StudentT(1.0, 0.0), r"^freedom=0.0: must be finite and greater than 0"),
        (lambda: noise.GammaMultiplicative(0.0), r"^shape=0.0: must be finite and greater than 0"),
        (lambda: noise.zhang_multiplicative(1.0, -2.0), r"^rate=-2.0"),
        (lambda: noise.Diffusion(lambda x: x, kind="diag"), r"^kind='diag': did you mean 'diagonal'\?"),
    ],
)
def test_bad_numbers_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("kind", "matrix"), [("diagonal", lambda x: jnp.ones(())), ("full", lambda x: x), ("diagonal", lambda x: x[:1])]
)
def test_diffusion_of_a_wrong_shape_is_refused(kind, matrix):
    model = sdesim.Dynamics(lambda x: jnp.sum(x), noise=noise.Diffusion(matrix, kind))
    due = {"diagonal": r"\(3,\)", "full": r"\(3, 3\)"}[kind]
    with pytest.raises(
        ValueError, match=rf"noise.matrix: (a {kind} B\(x\)|the function returns) .*must (have shape|be) {due}"
    ):
        sdesim.simulate(model, dims=3, steps=1)


@pytest.mark.parametrize("law", [noise.StudentT(1.0, 2.0), noise.StudentT(1.0, 1.5), noise.GammaMultiplicative(1.0)])
def test_laws_without_an_sde_run_at_the_matched_step_alone(law):
    model = sdesim.Dynamics(lambda x: jnp.sum(x), noise=law, eta=0.1)
    with pytest.raises(ValueError, match=r"^dt=0\.05: .*runs at the matched step alone: leave dt out"):
        sdesim.simulate(model, steps=1, dt=0.05)
    free = sdesim.simulate(model, steps=3, sims=2).agents
    np.testing.assert_allclose(sdesim.simulate(model, steps=3, sims=2, dt=0.1).agents, free, rtol=1e-12)


def test_a_law_that_states_another_deviation_is_told():
    """Once; of one that states its own nothing is said, and a mean is no noise."""

    class Thrice(noise.AbstractAdditive):
        amplitude = property(lambda self: jnp.ones(()))

        def variates(self, words, dtype, batch):
            return 3 * random.centered(words[0].own, dtype)

    class Stated(Thrice):
        variate_std = 3**0.5

    class Pushing(Stated):
        def variates(self, words, dtype, batch):
            return super().variates(words, dtype, batch) + 1

    made = lambda law: sdesim.Dynamics(lambda x: jnp.sum(x), noise=law)
    with pytest.warns(
        UserWarning, match=r"^noise=Thrice: its variates have standard deviation 1.7\d, and variate_std says 1;"
    ):
        made(Thrice())
    with pytest.warns(
        UserWarning, match=r"^noise=Pushing: its variates have mean (1|0.9|1.0)\d*; noise must have mean 0"
    ):
        made(Pushing())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made(Thrice())
        made(Stated())


@pytest.mark.parametrize("value", [2, property(lambda self: 2)], ids=["number", "property"])
def test_the_former_name_of_word_pairs_is_refused(value):
    with pytest.raises(TypeError, match=r"^Old\.blocks is now word_pairs"):

        class Old(noise.AbstractNoise):
            blocks = value


def test_registry_holds_every_law():
    laws = {
        c for c in vars(noise).values()
        if isinstance(c, type) and issubclass(c, noise.AbstractNoise) and not c.__name__.startswith("Abstract")
    }  # fmt: skip
    assert set(noise.LAWS.values()) == laws
