"""Whether the SDE describes the iteration: against what is exact on a quadratic, and of a skewed loss."""

import dataclasses

import numpy as np
import pytest

import sdesim
from sdesim import noise
from sdesim.analysis import Estimate, Validity, validity
from sdesim.objectives import LogCosh, Quadratic
from sdesim.theory import curvature, refinement
from sdesim.theory.perturbation import quorum_perturbation

STEPS, START = 6, 1.0


def square(result):
    return result.agents[:, 0, 0] ** 2


def asked(law, eta, tolerance, **more):
    model = sdesim.Dynamics(Quadratic(), noise=law)
    return validity(model, square, eta, tolerance=tolerance, steps=STEPS, init=START, **{"sims": 4000, **more})


def exact(eta, level):
    return refinement.path(eta, level, STEPS, START)


@pytest.mark.parametrize("law", [noise.Uniform(np.sqrt(3.0)), noise.Gaussian(1.0)])
def test_every_level_is_exact_on_the_quadratic(law):
    eta = 0.5
    found = asked(law, eta, tolerance=0.01)
    z = (found.table["mean"] - exact(eta, found.table["level"].values)) / found.table["stderr"]
    assert z.shape == (2, 4) and float(abs(z).max()) < 4.5
    off = exact(eta, 1) - exact(eta, np.inf)
    assert abs(found.moved.value - off) < 4.5 * found.moved.stderr
    assert abs(off) > 4.5 * found.moved.stderr  # 0 is told apart
    assert found.apart < 4.5


@pytest.mark.parametrize("law, gain", [(noise.Gaussian(1.0), 3.0), (noise.Uniform(np.sqrt(3.0)), 1.5)])
def test_pairs_tell_more_than_independent_runs(law, gain):
    """At a small rate; of a uniform law the iteration follows the path by quantiles."""
    paired, alone = (asked(law, 0.1, 0.1, increments=increments) for increments in (True, False))
    assert (paired.way, alone.way) == ("euler-maruyama", "svag")
    assert gain * paired.moved.stderr < alone.moved.stderr
    assert np.isnan(alone.apart)


def test_the_verdict_is_about_the_tolerance():
    off = abs(exact(0.5, 1) - exact(0.5, np.inf))
    assert asked(noise.Gaussian(1.0), 0.5, 2 * off).verdict == "holds"
    assert asked(noise.Gaussian(1.0), 0.5, off / 2).verdict == "fails"
    assert asked(noise.Gaussian(1.0), 0.5, 1.05 * off, sims=200).verdict == "undecided"


def test_an_iteration_that_diverges_fails():
    """At eta h > 2, where its SDE is as stable as at any rate."""
    model = sdesim.Dynamics(Quadratic(), noise=noise.Gaussian(1.0))
    with pytest.warns(sdesim.DivergenceWarning):
        found = validity(model, square, 50.0, tolerance=1e9, steps=500, levels=(1, 100, 200), sims=4)
    assert found.verdict == "fails" and not np.isfinite(found.sgd.value)


def test_weak_error_of_the_mean_on_a_skewed_loss():
    """To leading order of the noise: half the third derivative times the second moment at each level."""
    loss, eta, sigma, steps, at = LogCosh.resting_at(-LogCosh.STEEPEST, 1.0, 1.0), 0.4, 0.4, 12, -LogCosh.STEEPEST
    h, third = 1.0 + 1.0 / float(np.cosh(LogCosh.STEEPEST)) ** 2, curvature.constants(loss, 1).third
    model = sdesim.Dynamics(loss, noise=noise.Gaussian(sigma))
    found = validity(
        model, lambda r: at - r.quorum[:, 0], eta, tolerance=0.01, steps=steps, init=at, sims=30_000, levels=(1, 4, 8)
    )
    bias = lambda level: quorum_perturbation(1, np.full(steps * level, eta / level), sigma * level**0.5, third, 0.0, h)[
        0
    ][-1]
    off = bias(1) - (8 * bias(8) - 4 * bias(4)) / 4
    assert abs(found.moved.value - off) < 4.5 * found.moved.stderr + 0.1 * abs(off)  # the next order of the noise
    assert abs(found.moved.value) > 4.5 * found.moved.stderr


def test_records_and_coupled_agents():
    """Records are as many at all levels, and come at the same times."""
    seen = []

    def spread(result):
        seen.append(result.observed["spread"].shape)
        return result.observed["spread"][:, 2:].mean(axis=1)

    model = sdesim.Dynamics(Quadratic(), sdesim.Quorum(1.0), noise.Uniform(1.0), momentum=sdesim.HeavyBall(0.5))
    found = validity(
        model, spread, 0.05, tolerance=1.0, steps=6, agents=3, sims=50, observe=sdesim.observe.Spread(), every=2
    )
    assert set(seen) == {(50, 4)}
    assert found.verdict == "holds"


def test_it_says_what_it_found():
    estimate = Estimate(0.5, 0.01)
    table = asked(noise.Gaussian(1.0), 0.1, 0.1, sims=50).table
    found = Validity(0.1, 0.2, estimate, estimate, Estimate(0.1, 0.01), "svag", 1.0, table)
    text = repr(found)
    assert text.startswith("the SDE at eta=0.1: holds\n") and "tolerance 0.2" in text and "64" in text
    assert repr(dataclasses.replace(found, moved=Estimate(0.3, 0.01))).startswith("the SDE at eta=0.1: fails")


@pytest.mark.parametrize(
    "change, message",
    [
        ({"eta": 0.0}, "eta=0.0"),
        ({"eta": [0.1, 0.2]}, "one number"),
        ({"tolerance": -1.0}, "tolerance=-1"),
        ({"levels": (1, 4)}, "at least three"),
        ({"levels": (2, 4, 8)}, "the first of them 1"),
        ({"levels": (1, 4, 10)}, "divide the last"),
        ({"statistic": lambda r: r.agents}, r"statistic: must give one number a simulation, \(5,\)"),
        ({"sims": 1}, "sims=1"),
        ({"steps": 0}, "steps=0"),
    ],
)
def test_bad_arguments_are_refused(change, message):
    model = sdesim.Dynamics(Quadratic(), noise=noise.Gaussian(1.0))
    good = {"statistic": square, "eta": 0.1, "tolerance": 1.0, "steps": 2, "sims": 5}
    with pytest.raises(ValueError, match=message):
        validity(model, **{**good, **change})
    with pytest.raises(TypeError, match="statistic="):
        validity(model, **{**good, "statistic": "x"})
