"""Sums of uniform variables, and the law of agents about what their center of mass descends (BS 4)."""

import numpy as np
import pytest

import sdesim
from sdesim.theory.smoothing import agents_law, averaged, uniform


@pytest.mark.parametrize("agents", [1, 3, 16])
def test_the_mean_of_uniform_variables(agents, z_scores):
    law = averaged(0.4, agents)
    x = np.random.default_rng(0).uniform(-0.4, 0.4, size=(100_000, agents)).mean(axis=1)
    assert law.variance == pytest.approx(uniform(0.4).variance / agents, rel=1e-12)
    assert abs(z_scores(x**2, law.variance)) < 4.5
    assert abs(z_scores(np.cos(9.0 * x), law.damping(9.0))) < 4.5
    assert uniform(0.0).damping(9.0) == 1


def test_agents_law_is_that_of_agents_on_a_flat_loss(z_scores):
    """About Y = the mean of the old positions, which on a flat loss is where Y is: variance and a wave's mean."""
    flat, eta, p, rate, step = sdesim.objectives.Quadratic(0.0), 0.1, 5, 0.4, 3
    for order in ("jacobi", "gauss-seidel"):
        model = sdesim.Dynamics(flat, sdesim.Quorum(rate / eta), sdesim.noise.Uniform(4.0), eta)
        before = sdesim.simulate(model, agents=p, sims=20_000, steps=step, order=order)
        after = sdesim.simulate(model, init=before, steps=1, order=order)
        point, mean = np.asarray(after.agents)[..., 0], np.asarray(after.quorum)
        if order == "gauss-seidel":
            point = point + rate * (mean - point)
        away = point - np.asarray(before.quorum)
        law = agents_law(0.4, p, order, rate, step)
        assert abs(z_scores((away**2).mean(axis=1), law.variance)) < 4.5
        for frequency in (3.6, 16.0):
            assert abs(z_scores(np.cos(frequency * away).mean(axis=1), law.damping(frequency))) < 4.5
        assert abs(z_scores((away**2).mean(axis=1), agents_law(0.4, p, order, 0.5, step).variance)) > 4.5


def test_agents_law_at_full_pull_is_the_averaged_noise_or_that_of_one_agent():
    p, late = 16, 60
    for wave in (3.6, 16.0):
        pulled = agents_law(0.4, p, "gauss-seidel", 1.0, late).damping(wave)
        assert pulled == pytest.approx(averaged(0.4, p).damping(wave), rel=1e-12)
        at_once = agents_law(0.4, p, "jacobi", 1.0, late).damping(wave)
        assert at_once == pytest.approx(uniform(0.4).damping(wave), rel=1e-12)
    for rate in (0.3, 0.7):
        shrink = (1 - rate) ** 2
        width = agents_law(0.4, p, "jacobi", rate, late).variance / uniform(0.4).variance
        assert width == pytest.approx(1 / p + (1 - 1 / p) / (1 - shrink), rel=1e-9)
        width = agents_law(0.4, p, "gauss-seidel", rate, late).variance / uniform(0.4).variance
        assert width == pytest.approx(1 / p + (1 - 1 / p) * shrink / (1 - shrink), rel=1e-9)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: uniform(-1.0), "half_width=-1"),
        (lambda: averaged(1.0, 0), "agents=0"),
        (lambda: agents_law(1.0, 2, "gauss", 0.5, 1), "order"),
        (lambda: agents_law(1.0, 2, "jacobi", 0.5, -1), "step=-1"),
    ],
)
def test_bad_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
