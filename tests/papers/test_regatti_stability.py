"""r-stability: its claims fail of wrong models, and samples are drawn as they should be."""

import dataclasses
import functools

import jax.numpy as jnp
import numpy as np
import pytest
import wrong_models

from sdesim import random
from sdesim.papers.regatti import stability as r_stability
from sdesim.papers.regatti.samples import Points, Regression
from sdesim.papers.regatti.stability import run

SMOKE = r_stability.PRESETS["smoke"]
failed = functools.partial(wrong_models.failed, r_stability)
broken = functools.partial(wrong_models.broken, r_stability)


def test_claims_hold(smoke):
    _, config, data = smoke("r-stability")
    assert config == SMOKE and failed(data) == set()


@pytest.mark.slow
def test_claims_fail_of_fresh_gradients(float32):
    assert broken("gradients fresh") >= {"twins-equal", "twins-exponential", "staleness-hurts"}


def test_claims_fail_of_the_other_law_and_of_a_rate_that_is_not_lowered(smoke):
    """Of data in which laws, or learning rates, are taken for each other."""
    _, _, data = smoke("r-stability")
    swapped = data.assign_coords(law=["exponential", "equal"]).sel(law=["equal", "exponential"])
    assert failed(swapped) >= {"twins-equal", "twins-exponential", "law-decides"}
    kept = data.isel(eta=[1, 1]).assign_coords(eta=data["eta"].values)
    assert failed(kept) >= {"lower-rate", "twins-equal", "twins-exponential"}


@pytest.mark.slow
def test_claims_fail_of_twins_that_draw_samples_of_their_own(monkeypatch, float32):
    class Own(Points):
        def drawn(self, z):
            return super().drawn((z + 0.37 * self.twin) % 1.0)

    monkeypatch.setattr(run, "Points", Own)
    assert failed(run.run(SMOKE)) >= {"twins-equal", "twins-exponential", "bound-is-loose"}


@pytest.mark.slow
def test_claims_fail_of_draws_from_few_of_the_samples(float32):
    assert broken("samples few") >= {"gap"}


@pytest.mark.slow
def test_claims_fail_of_samples_that_are_not_like_the_unseen_ones(float32):
    assert broken("samples unlike") >= {"enough-samples"}


def test_claims_fail_of_runs_that_have_not_come_to_rest(float32):
    assert broken("not at rest") >= {"gap", "gap-knows-no-delay", "twins-equal"}


def words(agents: int, dims: int) -> list[random.Words]:
    return [random.words(random.step_key(random.seed_words(0), 0, 0), 0, agents, dims)]


def test_samples_are_drawn_evenly_and_one_for_all_coordinates():
    law = Points(np.arange(12.0)[:, None] * np.ones(3), 10, curvature=2.0)
    z = law.variates(words(20000, 3), jnp.float64, jnp.ones(()))
    which = np.asarray(law.drawn(z))
    counts = np.bincount(which, minlength=10)
    assert counts.size == 10 and abs(counts - 2000).max() < 4 * np.sqrt(2000)
    x = jnp.zeros((20000, 3))
    kick = np.asarray(law.apply(z, x, x, jnp.ones(()), jnp.asarray(0.5)))
    np.testing.assert_allclose(kick, which[:, None] * np.ones(3), rtol=1e-6)
    twin = Points(law.samples, 10, curvature=2.0, twin=1.0)
    moved = np.asarray(twin.apply(z, x, x, jnp.ones(()), jnp.asarray(0.5)))
    expected = np.where(which[:, None] == np.arange(3), 11.0, which[:, None])
    np.testing.assert_allclose(moved, expected, rtol=1e-6)


def test_a_regression_descends_the_loss_of_the_drawn_sample():
    samples = np.random.default_rng(0).standard_normal((8, 3))
    law, x = Regression(samples, 4, first=4.0), jnp.asarray(np.random.default_rng(1).standard_normal((50, 2)))
    z = law.variates(words(50, 2), x.dtype, jnp.ones(()))
    gradient = 0.3 * x
    descent = np.asarray(law.apply(z, x, gradient, jnp.ones(()), jnp.asarray(1.0)) - gradient)
    rows = samples[4 + np.asarray(law.drawn(z))]
    miss = (rows[:, :-1] * np.asarray(x)).sum(1) - rows[:, -1]
    np.testing.assert_allclose(descent, -rows[:, :-1] * miss[:, None], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"workers": (4, 16)}, "workers=.*begin with 1"),
        ({"workers": (1, 64)}, "eta=0.05.*diverge"),
        ({"counts": (16,)}, "counts=.*two numbers"),
        ({"counts": (16, 32)}, "count=64"),
        ({"etas": (0.05, 0.1)}, "etas=.*a quarter"),
        ({"sims": 1}, "sims=1"),
        ({"arrivals": 0}, "arrivals=0"),
    ],
)
def test_unfit_configurations_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(SMOKE, **change)
