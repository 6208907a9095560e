"""SVAG as an optax transformation: two gradients as one."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sdesim import training
from sdesim.noise import svag_weights


@pytest.mark.relaxed
@pytest.mark.parametrize("level", [1, 4])
def test_two_gradients_of_one_point_make_a_step(level):
    rng, eta, curvature = np.random.default_rng(0), 0.3, 1.7
    kicks = rng.standard_normal((6, 2))
    optimizer = optax.chain(training.svag(level), optax.sgd(eta / level))
    x = {"w": jnp.ones(2)}
    state, expected = optimizer.init(x), np.ones(2)
    one, other = (float(w) for w in svag_weights(level))
    for n, kick in enumerate(kicks):
        gradient = {"w": curvature * x["w"] + kick}
        updates, state = optimizer.update(gradient, state, x)
        x = optax.apply_updates(x, updates)
        if n % 2:
            expected = expected - eta / level * (curvature * expected + one * kicks[n - 1] + other * kick)
        np.testing.assert_allclose(x["w"], expected, rtol=1e-12)


@pytest.mark.relaxed
def test_a_network_trains_with_it(float32):
    """At level 1 the loss is that of SGD on every second minibatch; a level more is another training."""
    data = training.split(training.synthetic(96))
    losses = []
    for level in (1, 4):
        chain = lambda eta, level=level: optax.chain(training.svag(level), optax.sgd(eta / level))
        history = training.train(
            training.ThreeLayer(channels=(2, 2, 2)), data, training.algorithm("sgd"), agents=1, eta=0.05, epochs=1,
            batch=8, optimizer=chain,
        ).history  # fmt: skip
        losses.append(float(np.ravel(history["train_loss"])[-1]))
    assert np.isfinite(losses).all() and losses[0] != losses[1]


def test_a_bad_level_is_refused():
    with pytest.raises(ValueError, match=r"level=0.5: must be at least 1"):
        training.svag(0.5)
