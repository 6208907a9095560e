"""SVAG as a noise law: moments of its combined gradient, its first level, its stationary laws on a quadratic."""

import jax.numpy as jnp
import numpy as np
import pytest

import sdesim
from sdesim import noise
from sdesim.analysis import linearize
from sdesim.objectives import Quadratic
from sdesim.steppers import EulerMaruyama
from sdesim.theory import refinement

H, SIGMA, C, ETA = 1.5, 0.8, 0.7, 0.4


class Skewed(noise.Uniform):
    """Variates of mean 0 that are not symmetric: u^2 - 1/3 of a uniform u."""

    def variates(self, words, dtype, batch):
        return super().variates(words, dtype, batch) ** 2 - 1 / 3

    @property
    def variate_std(self):
        return float(np.sqrt(4 / 45))


def growing(x):
    return jnp.sqrt(SIGMA**2 + (C * x) ** 2)


@pytest.mark.parametrize("level", [1.0, 2.5, 16.0])
def test_weights_keep_the_mean_and_make_the_variance_that_of_the_level(level):
    one, other = noise.svag_weights(level)
    assert float(one + other) == pytest.approx(1, abs=1e-12)
    assert float(one**2 + other**2) == pytest.approx(level, rel=1e-12)


@pytest.mark.parametrize("level", [1.0, 4.0, 64.0])
def test_moments_of_the_combined_gradient(level, z_scores):
    """Of one step from 0 under no gradient: sqrt(l) zeta of the wrapped law has mean 0 and l times the law's variance;
    its third moment is that of weights to the third power."""
    law = Skewed(1.0)
    model = sdesim.Dynamics(lambda x: 0.0 * jnp.sum(x), noise=noise.Svag(law, level), eta=1.0)
    run = sdesim.simulate(model, agents=2, dims=2, sims=20_000, steps=1, seed=3)
    combined = np.sqrt(level) * np.asarray(run.agents).ravel()
    weights = np.array(noise.svag_weights(level))
    third = np.sum(weights**3) * (1 / 7 - 3 / 5 / 3 + 3 / 9 / 3 - 1 / 27)  # E (u^2 - 1/3)^3
    for power, expected in ((1, 0.0), (2, level * 4 / 45), (3, third)):
        assert abs(z_scores(combined**power, expected)) < 4.5
    if level > 1:
        assert abs(z_scores(combined**2, 4 / 45)) > 4.5
        assert abs(z_scores(combined**3, -third)) > 4.5


@pytest.mark.parametrize(
    "law", [noise.Uniform(1.2), noise.Gaussian(0.7), noise.StudentT(0.5, 5.0), noise.Diffusion(growing)]
)
def test_level_1_is_the_iteration_to_the_bit(law):
    model = lambda noise_law: sdesim.Dynamics(Quadratic(H), sdesim.Quorum(0.5), noise_law, ETA)
    run = dict(agents=4, sims=20, steps=9, seed=2, init=sdesim.init.Uniform(-1, 1))
    right = sdesim.iterate(model(law), **run)
    np.testing.assert_array_equal(sdesim.iterate(model(noise.Svag(law)), **run).agents, right.agents)
    finer = sdesim.simulate(model(noise.Svag(law, 2.0)), dt=ETA, **run)
    assert np.abs(np.asarray(finer.agents) - np.asarray(right.agents)).max() > 1e-3


@pytest.mark.parametrize("level", [1, 4, 64])
@pytest.mark.parametrize("law, c", [(noise.Uniform(np.sqrt(3) * SIGMA), 0.0), (noise.Diffusion(growing), C)])
def test_stationary_variance_is_that_of_theory(level, law, c):
    """By the map of moments of the code that simulates, of additive noise and of noise that grows with the distance."""
    model = sdesim.Dynamics(Quadratic(H), noise=noise.Svag(law, level), eta=ETA)
    found = linearize(model, EulerMaruyama(ETA / level), agents=1).stationary()
    expected = refinement.second_moment(ETA, level, H, SIGMA, c)
    assert float(np.squeeze(found["own"])) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("law, c", [(noise.Uniform(np.sqrt(3) * SIGMA), 0.0), (noise.Diffusion(growing), C)])
def test_second_moments_of_runs_are_those_of_theory(law, c, z_scores):
    steps, level, start = 5, 4, 1.3
    model = sdesim.Dynamics(Quadratic(H), noise=noise.Svag(law, level), eta=ETA)
    run = sdesim.simulate(model, dt=ETA / level, sims=20_000, steps=steps * level, init=start, seed=1)
    square = np.asarray(run.agents)[:, 0, 0] ** 2
    assert abs(z_scores(square, refinement.path(ETA, level, steps, start, H, SIGMA, c))) < 4.5
    assert abs(z_scores(square, refinement.path(ETA, 1, steps, start, H, SIGMA, c))) > 4.5


def test_gamma_noise_runs_below_the_matched_step(z_scores):
    """Z 5.23 by SVAG: E x^2 is multiplied by (1 - eta h / l)^2 + (eta h / l)^2 l / shape in each step."""
    shape, rate, level, steps = 2.0, 1.0, 4, 3
    loss, law = noise.zhang_multiplicative(shape, rate)
    model = sdesim.Dynamics(loss, noise=noise.Svag(law, level), eta=0.1)
    run = sdesim.simulate(model, dt=0.1 / level, sims=20_000, steps=steps * level, init=1.0)
    a = 0.1 * shape / rate / level
    square = np.asarray(run.agents)[:, 0, 0] ** 2
    assert abs(z_scores(square, ((1 - a) ** 2 + a**2 * level / shape) ** (steps * level))) < 4.5
    assert abs(z_scores(square, ((1 - a) ** 2 + a**2 / shape) ** (steps * level))) > 4.5


class Odd(noise.Gaussian):
    """A law that does not say to be a sum of its variates."""

    linear = False


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"law": Odd(1.0)}, "law=Odd: must be a sum of its variates"),
        ({"law": noise.Gaussian(1.0), "level": 0.5}, "level=0.5: must be at least 1"),
        ({"law": noise.Gaussian(1.0), "level": [1.0, 2.0]}, "must be one number"),
        ({"law": noise.Svag(noise.Svag(noise.Svag(noise.StudentT(1.0, 3.0))))}, "law=Svag: must need at most 8"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        noise.Svag(**arguments)
    with pytest.raises(TypeError, match="law=1"):
        noise.Svag(1.0)


def test_a_law_without_variance_has_no_finer_level():
    model = sdesim.Dynamics(Quadratic(), noise=noise.Svag(noise.StudentT(1.0, 1.5), 4.0), eta=0.1)
    with pytest.raises(ValueError, match="no variance"):
        sdesim.simulate(model, dt=0.025, steps=2)
