"""Sliders: what they show is the simulation of their numbers, by a program that a move does not compile again."""

import io

import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.image import imread

import sdesim
from sdesim.notebook import live

TRACES = []
RUN = dict(agents=5, sims=4, steps=20, init=sdesim.init.Uniform(-1, 1), seed=3)


def model(eta=0.05, k=1.0, delta=0.0):
    parts = (sdesim.objectives.Quadratic(), sdesim.Quorum(k), sdesim.noise.Uniform(1.0))
    return sdesim.Dynamics(*parts, eta=eta, momentum=sdesim.Nesterov(delta))


def test_a_picture_follows_its_sliders():
    shown = []
    draw = lambda result, axes: (shown.append(result), axes.plot(result.agents[:, :, 0]))
    ranges = {"coupling.k": (0, 10), "momentum.delta": (0, 0.9), "eta": (0.01, 0.2, "log")}
    k, delta, eta, picture, words = live(model(), ranges, draw=draw, **RUN).children
    before = picture.value
    k.value, eta.value, delta.value = 3.0, 0.1, 0.5
    here = sdesim.simulate(model(0.1, 3.0, 0.5), **RUN)
    np.testing.assert_array_equal(shown[-1].agents, here.agents)
    assert len(shown) == 4 and picture.value != before and words.value == ""
    assert imread(io.BytesIO(picture.value)).std() > 0
    delta.value = 0.0
    plain = sdesim.Dynamics(
        sdesim.objectives.Quadratic(), sdesim.Quorum(3.0), sdesim.noise.Uniform(1.0), eta=0.1
    )  # momentum 0 is the same program as any other, and the same agents as of a model without
    np.testing.assert_allclose(shown[-1].agents, sdesim.simulate(plain, **RUN).agents, rtol=1e-5, atol=1e-6)


def test_agents_over_the_loss_move_and_nothing_is_compiled_again():
    def loss(x):
        TRACES.append(x.shape)
        return jnp.sum(0.25 * x**4 - 0.5 * x**2)

    mine = sdesim.Dynamics(loss, sdesim.Quorum(1.0), sdesim.noise.Uniform(1.0), eta=0.05)
    slider, picture, _ = live(mine, {"coupling.k": (0, 10)}, **RUN).children
    slider.value = 2.0
    before, traced = picture.value, len(TRACES)
    slider.value = 5.0
    assert picture.value != before
    assert len(TRACES) == traced + 1  # a user's function is looked at once a call, and the step is not traced again


def test_what_cannot_be_is_said_below_and_the_picture_stays():
    wild = sdesim.Dynamics(lambda x: jnp.sum(x**4), sdesim.Quorum(1.0), sdesim.noise.Uniform(1.0), eta=0.05)
    slider, picture, words = live(wild, {"eta": (0.01, 50.0)}, dims=1, **RUN).children
    before = picture.value
    slider.value = 50.0
    assert picture.value == before and "diverged" in words.value


@pytest.mark.parametrize(
    ("ranges", "message"),
    [
        ({"coupling.kk": (0, 1)}, "did you mean 'coupling.k'"),
        ({"coupling.k": (2, 3)}, r"^ranges\['coupling.k'\]=\(2, 3\): must have coupling.k of the model in it, 1"),
        ({"coupling.k": (0, 1, "log")}, "must begin above 0"),
    ],
)
def test_bad_ranges_are_refused(ranges, message):
    with pytest.raises(ValueError, match=message):
        live(model(), ranges, **RUN)
