"""The stall schedule on made-up loss curves."""

import jax.numpy as jnp
import numpy as np
import pytest

from sdesim.training import Constant, Stall


def rates(losses, schedule=None, eta=1.0):
    """The learning rate during each epoch, of one agent, given the validation losses that the epochs end with."""
    schedule = schedule or Stall()
    state = schedule.start(jnp.full(1, eta))
    found = []
    for loss in losses:
        found.append(float(state.eta[0]))
        state = schedule.after_epoch(state, jnp.full(1, loss))
    return found


def test_a_loss_that_moves_leaves_the_rate():
    assert rates([1 / (1 + e) for e in range(30)]) == [1.0] * 30


def test_a_stalled_loss_divides_by_5_2_2_and_no_more():
    # Epoch 1 sets the reference; five epochs without a new one, and the sixth ends with the division.
    expected = [1.0] * 6 + [0.2] * 5 + [0.1] * 5 + [0.05] * 14
    np.testing.assert_allclose(rates([2.0] * 30), expected, rtol=1e-6)


def test_up_or_down_by_more_than_the_tolerance_is_a_new_reference():
    small = [1.0, 1.009, 0.991, 1.005, 1.0, 0.995, 1.0]
    np.testing.assert_allclose(rates(small), [1] * 6 + [0.2], rtol=1e-6)
    for jump in (1.02, 0.98):
        moved = [1.0, 1.0, 1.0, 1.0, 1.0, jump, jump, jump, jump, jump, jump, jump]
        np.testing.assert_allclose(rates(moved), [1] * 11 + [0.2], rtol=1e-6)


def test_drift_within_the_tolerance_of_one_reference_becomes_one_in_the_end():
    """0.4 % an epoch: the third differs by more than 1 % from the reference, which is then new."""
    assert rates([1.0 - 0.004 * e for e in range(20)]) == [1.0] * 20


def test_agents_have_their_own_rates():
    schedule = Stall(factors=(10.0,), patience=2)
    state = schedule.start(jnp.ones((2, 3)))
    for epoch in range(4):
        loss = jnp.asarray([[1.0, 1.0 / (1 + epoch), 1.0], [5.0, jnp.nan, 2.0**epoch]])
        state = schedule.after_epoch(state, loss)
    np.testing.assert_allclose(state.eta, [[0.1, 1.0, 0.1], [0.1, 1.0, 1.0]], rtol=1e-6)


def test_constant_is_constant():
    assert rates([1.0] * 20, Constant()) == [1.0] * 20


def test_unfit_numbers_are_refused():
    for name, value in dict(patience=0, tolerance=-1, factors=(5, 0)).items():
        with pytest.raises(ValueError, match=f"^{name}"):
            Stall(**{name: value})
