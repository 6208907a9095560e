"""`smoothed_loss` against characteristic functions, moments, the objectives' own smoothed forms and a simulation."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

import sdesim
from sdesim import analysis, noise, objectives, random
from sdesim.fields import number
from sdesim.statistics import mean_of

SIGMAS = 4.0


def close(found, exact, sigmas=SIGMAS):
    """Whether an estimate is within its errors of the exact value, and the error is of use."""
    assert found.stderr > 0
    assert abs(found.value - exact) < sigmas * found.stderr, f"{found} against {exact}"


# -- smoothed losses ---------------------------------------------------------------------------------------------------


class Laplace(noise.AbstractAdditive):
    """A user's law: density exp(-|z| / scale) / (2 scale)."""

    scale: jax.Array = eqx.field(converter=number)

    @property
    def amplitude(self):
        return self.scale

    def variates(self, words, dtype, batch):
        u = random.centered(words[0].own, dtype)
        return -jnp.sign(u) * jnp.log1p(-jnp.abs(u))


class Halved(noise.Gaussian):
    """Other variates than its parent's."""

    def variates(self, words, dtype, batch):
        return 0.5 * super().variates(words, dtype, batch)


def student_characteristic(t, nu):
    a = np.sqrt(nu) * np.abs(t)
    return special.kv(nu / 2, a) * a ** (nu / 2) / (special.gamma(nu / 2) * 2 ** (nu / 2 - 1))


W, ETA = 5.0, 0.1
CHARACTERISTIC = {  # E cos(W ETA zeta) of one agent's noise, scaled by 1 / p
    "uniform": (noise.Uniform(4.0), lambda p: np.sinc(W * ETA * 4.0 / p / np.pi)),
    "gaussian": (noise.Gaussian(3.0), lambda p: np.exp(-0.5 * (W * ETA * 3.0 / p) ** 2)),
    "student-t": (noise.StudentT(2.0, 2.5), lambda p: student_characteristic(W * ETA * 2.0 / p, 2.5)),
    "halved": (Halved(3.0), lambda p: np.exp(-0.5 * (W * ETA * 1.5 / p) ** 2)),
    "laplace": (Laplace(2.0), lambda p: 1 / (1 + (W * ETA * 2.0 / p) ** 2)),
}


@pytest.mark.parametrize("agents", [1, 2, 7])
@pytest.mark.parametrize("name", CHARACTERISTIC)
def test_a_wave_is_damped_by_the_characteristic_function(name, agents):
    """Of the averaged noise of p agents: the p-th power of one agent's at 1/p of the frequency."""
    law, factor = CHARACTERISTIC[name]
    x = np.array([[0.0], [0.3], [-1.1]])
    found = analysis.smoothed_loss(lambda x: jnp.cos(W * x[0]), law, ETA, x, agents=agents)
    exact = np.cos(W * x[:, 0]) * factor(agents) ** agents
    # A wave in the tails of Student-t's law oscillates too fast for any nodes, and the error says so.
    most = 1e-12 if name in ("uniform", "gaussian") else 1e-5 if name == "student-t" and agents == 1 else 3e-3
    assert np.all(found.stderr < most)
    assert np.all(np.abs(found.value - exact) < 1e-13 + 5 * found.stderr)  # Student-t with 15 degrees of freedom


def test_a_law_of_your_own_by_quadrature():
    law, factor = CHARACTERISTIC["laplace"]
    loss = lambda x: jnp.cos(W * x[0])
    found = analysis.smoothed_loss(loss, law, ETA, 0.0, distribution=stats.laplace())
    assert found.value == pytest.approx(factor(1), abs=1e-12)
    assert isinstance(found.value, float)


@pytest.mark.parametrize("agents", [1, 40, 500, 501])
def test_many_averaged_uniforms(agents):
    """The mean of p uniforms has variance w^2 / 3p and fourth moment w^4 (1/3p^2 - 2/15p^3); by a spline to p = 500."""
    w = 3.0
    found = analysis.smoothed_loss(lambda x: x**4 + x**2, noise.Uniform(w), 1.0, 0.0, agents=agents, points=64)
    exact = w**2 / (3 * agents) + w**4 * (1 / (3 * agents**2) - 2 / (15 * agents**3))
    assert abs(found.value - exact) < 1e-12 * exact + 5 * found.stderr
    assert found.stderr < (1e-12 if agents <= 500 else 0.1) * exact


def test_smoothing_agrees_with_the_objectives_own():
    x = np.linspace(-3, 3, 41)[:, None]
    loss = objectives.OscillatingDoubleWell()
    found = analysis.smoothed_loss(loss, noise.Uniform(8.0), 0.05, x)
    np.testing.assert_allclose(found.value, jax.vmap(lambda x: loss.smoothed(x, 0.4))(jnp.asarray(x)), atol=1e-12)
    assert found.stderr.max() < 1e-12
    coupled = objectives.CoupledDoubleWells()
    x = np.array([[0.1, -0.5, 1.0], [1.4, 1.4, -1.4]])
    found = analysis.smoothed_loss(coupled, noise.Uniform(3.0), 0.2, x)
    exact = jax.vmap(lambda x: coupled.smoothed(x, 0.6))(jnp.asarray(x))
    assert np.all(np.abs(found.value - exact) < 5 * found.stderr)
    assert np.all(found.stderr < 1e-4)  # independent points would give 1e-2


@pytest.mark.usefixtures("float32")
def test_smoothing_in_single_precision():
    loss = objectives.OscillatingDoubleWell()
    found = analysis.smoothed_loss(loss, noise.Uniform(8.0), 0.05, [0.7])
    assert abs(found.value - float(loss.smoothed(jnp.asarray([0.7]), 0.4))) < 5e-6
    assert 0 < found.stderr < 5e-6


def test_noise_that_depends_on_the_state():
    x, scale, h = 0.8, 0.3, 2.0
    quadratic = objectives.Quadratic(h)
    found = analysis.smoothed_loss(quadratic, noise.GammaMultiplicative(1.5), scale, x)
    assert found.value == pytest.approx(h * x**2 / 2 * (1 + (scale * h) ** 2 / 1.5), abs=1e-12)
    b = lambda x: 1 + x**2
    for agents in (1, 3):
        found = analysis.smoothed_loss(quadratic, noise.Diffusion(b), scale, x, agents=agents)
        assert found.value == pytest.approx(h / 2 * (x**2 + (scale * (1 + x**2)) ** 2 / agents), abs=1e-12)
    full = noise.Diffusion(lambda x: jnp.array([[1.0, 0.0], [2.0, 1.0]]), kind="full")
    found = analysis.smoothed_loss(lambda x: x[0] * x[1], full, scale, [1.0, 2.0])
    close(found, 2.0 + scale**2 * 2.0, 5)  # the covariance B B^T has 2 off its diagonal
    assert analysis.smoothed_loss(quadratic, noise.Silent(), scale, x).value == pytest.approx(h * x**2 / 2)


def test_heavy_tails():
    """E t^4 = 3 nu^2 / ((nu - 2) (nu - 4)) is 25 at nu = 5, and infinite at 4 and below."""
    quartic = lambda x: x[0] ** 4
    assert analysis.smoothed_loss(quartic, noise.StudentT(1.0, 5.0), 1.0, 0.0).value == pytest.approx(25, rel=1e-9)
    with pytest.raises(ValueError, match="tails are too heavy"):
        analysis.smoothed_loss(quartic, noise.StudentT(1.0, 3.5), 1.0, 0.0)


def test_a_kink_is_told_by_its_error():
    """Quadrature of |x| converges slowly: the exact value is within the stated error, which is not that of rounding."""
    found = analysis.smoothed_loss(lambda x: jnp.abs(x[0]), noise.Gaussian(1.0), 1.0, 0.0)
    assert 1e-6 < found.stderr < 1e-2
    assert abs(found.value - np.sqrt(2 / np.pi)) < 2 * found.stderr


def test_the_quorum_of_one_step_sees_the_smoothed_loss():
    """BS 39 in a simulation: the quorum's mean loss after one step is the smoothed loss where the gradient leads."""
    agents, x, eta = 3, 0.4, 0.05
    loss, law = objectives.OscillatingDoubleWell(), noise.Uniform(8.0)
    model = sdesim.Dynamics(loss, sdesim.Quorum(2.0), law, eta=eta)
    result = sdesim.simulate(model, agents=agents, sims=60_000, steps=1, init=x, seed=9)
    seen = mean_of(jax.vmap(loss.loss)(result.quorum))
    y = x - eta * float(loss.gradient(jnp.asarray([x]))[0])
    close(seen, analysis.smoothed_loss(loss, law, eta, y, agents=agents).value)
    # Uniform noise of the same variance, which averaged noise is not, is seen to be another law.
    other = analysis.smoothed_loss(loss, law, eta / np.sqrt(agents), y).value
    assert abs(seen.value - other) > SIGMAS * seen.stderr


def test_smoothed_loss_refuses():
    loss, law = objectives.Quadratic(), noise.Uniform(1.0)
    with pytest.raises(TypeError, match=r"one of sdesim\.noise"):
        analysis.smoothed_loss(loss, 3.0, 1.0, 0.0)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="scale=-1"):
        analysis.smoothed_loss(loss, law, -1.0, 0.0)
    with pytest.raises(ValueError, match="got shape"):
        analysis.smoothed_loss(loss, law, 1.0, np.zeros((2, 2, 2)))
    with pytest.raises(ValueError, match="not finite at"):
        analysis.smoothed_loss(lambda x: jnp.log(x[0]), law, 1.0, 0.0)
    with pytest.raises(ValueError, match=r"^law.sigma: must be a number or of shape \(dims,\) = \(3,\)"):
        analysis.smoothed_loss(loss, noise.Gaussian([1.0, 2.0]), 1.0, np.zeros(3))
    with pytest.raises(ValueError, match="scramblings=1"):
        analysis.smoothed_loss(loss, law, 1.0, np.zeros(3), scramblings=1)
    with pytest.raises(ValueError, match="take fewer agents"):
        analysis.smoothed_loss(loss, law, 1.0, np.zeros(30), agents=1000)


# -- laws of one's own, which describe themselves as the built-in ones do ----------------------------------------------


class Triangular(noise.AbstractAdditive):
    """The sum of two uniforms on (-1, 1), with its law."""

    word_pairs = 2

    @property
    def amplitude(self):
        return jnp.asarray(1.0)

    def variates(self, words, dtype, batch):
        return sdesim.random.centered(words[0].own, dtype) + sdesim.random.centered(words[1].own, dtype)

    def distribution(self):
        return stats.triang(0.5, loc=-2, scale=4)


class Cubed(noise.AbstractNoise):
    """zeta = z^3 of a normal z: not a sum of its variates."""

    def variates(self, words, dtype, batch):
        return noise.Gaussian(1.0).variates(words, dtype, batch)

    def distribution(self):
        return stats.norm()

    def apply(self, z, x, gradient, batch, scale):
        return scale * z**3


class Narrow(noise.Uniform):
    """Other variates than those of the law it inherits."""

    def variates(self, words, dtype, batch):
        return 0.1 * super().variates(words, dtype, batch)


def test_a_law_of_ones_own_is_treated_as_the_built_in_ones_are():
    square = lambda x: jnp.sum(x**2)
    found = analysis.smoothed_loss(square, Triangular(), 0.3, 0.0)
    assert found.value == pytest.approx(0.09 * 2 / 3, rel=1e-6) and found.stderr < 1e-6  # by quadrature
    wide = analysis.smoothed_loss(square, Cubed(), 1.0, 0.0)
    assert wide.value == pytest.approx(15.0, rel=1e-6) and wide.stderr < 1e-5
    mean = analysis.smoothed_loss(square, Cubed(), 1.0, 0.0, agents=3)  # not that of one agent with smaller variates
    assert abs(mean.value - 5.0) < 4 * mean.stderr and 1e-6 < mean.stderr < 1
    narrow = analysis.smoothed_loss(square, Narrow(1.0), 1.0, 0.0)
    assert narrow.value == pytest.approx(0.01 / 3, rel=1e-3)
