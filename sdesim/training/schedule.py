"""Learning-rate schedules; that of BS 6.1: each agent's own rate falls when its own validation loss stalls."""

import dataclasses
from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array

from sdesim.fields import check_count, one_number, shown


class AbstractSchedule:
    """Learning rates that may change after each epoch. Subclasses are frozen dataclasses that give both methods.

    Attributes:
        looks_at_losses: whether it needs the losses of validation images; of the class.
    """

    looks_at_losses: ClassVar[bool] = True

    def start(self, eta: Array) -> Any:
        """The state before the first epoch.

        Args:
            eta: learning rates, (runs, agents).

        Returns:
            A `NamedTuple` of arrays, of which `eta` are the rates.
        """
        raise NotImplementedError

    def after_epoch(self, state: Any, loss: Array) -> Any:
        """The state after an epoch.

        Args:
            state: before it, of the form that `start` gave.
            loss: validation losses with which it ended, (runs, agents); NaN without validation images.

        Returns:
            The state, with the rates of the next epoch.
        """
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class Stall(AbstractSchedule):
    """Divide an agent's learning rate by the next of `factors` after `patience` epochs without a new reference.

    The reference is the validation loss at epoch 1. A later loss that differs from it by more than `tolerance` of it
    becomes the new reference. After the last factor the rate stays.

    Attributes:
        factors: by which a rate is divided, one after another; 5, 2, 2 by default (BS 6.1).
        patience: epochs, at least 1.
        tolerance: share of the reference, at least 0 [C]: its number is lost in the text.
    """

    factors: tuple[float, ...] = (5.0, 2.0, 2.0)
    patience: int = 5
    tolerance: float = 0.01

    def __post_init__(self):
        check_count("patience", self.patience)
        one_number("tolerance", self.tolerance)
        if not isinstance(self.factors, list | tuple):
            raise TypeError(f"factors={shown(self.factors)}: must be a tuple of numbers")
        for factor in self.factors:
            one_number("factors", factor, zero=False)

    def start(self, eta: Array) -> "StallState":
        """The state before the first epoch.

        Args:
            eta: learning rates of any shape, (..., agents).

        Returns:
            The state, of the same shape.
        """
        zeros = jnp.zeros(eta.shape, jnp.int32)
        return StallState(eta, jnp.full_like(eta, jnp.nan), zeros, zeros)

    def after_epoch(self, state: "StallState", loss: Array) -> "StallState":
        """The state after an epoch.

        Args:
            state: before it.
            loss: validation losses with which it ended, of the shape of the rates.

        Returns:
            The state, with the rates of the next epoch.
        """
        # Written so that a loss that is not a number is no new reference, and any loss is where there is none yet.
        moved = jnp.isnan(state.reference) | (jnp.abs(loss - state.reference) > self.tolerance * state.reference)
        reference = jnp.where(moved, loss, state.reference)
        stalled = jnp.where(moved, 0, state.stalled + 1)
        drop = (stalled >= self.patience) & (state.drops < len(self.factors))
        factors = jnp.asarray((*self.factors, 1.0), state.eta.dtype)
        eta = jnp.where(drop, state.eta / factors[state.drops], state.eta)
        return StallState(eta, reference, jnp.where(drop, 0, stalled), state.drops + drop.astype(jnp.int32))


class StallState(NamedTuple):
    """What a schedule keeps of each agent; all arrays are of one shape, (..., agents).

    Attributes:
        eta: learning rates now.
        reference: of the validation loss; NaN before the first epoch.
        stalled: epochs since it was set.
        drops: how often the rate fell.
    """

    eta: Array
    reference: Array
    stalled: Array
    drops: Array


@dataclasses.dataclass(frozen=True)
class Constant(AbstractSchedule):
    """Rates that stay."""

    looks_at_losses = False

    def start(self, eta: Array) -> StallState:
        """The state before the first epoch.

        Args:
            eta: learning rates of any shape, (..., agents).

        Returns:
            The state, of the same shape.
        """
        return Stall().start(eta)

    def after_epoch(self, state: StallState, loss: Array) -> StallState:
        """The state as it was.

        Args:
            state: before the epoch.
            loss: validation losses, which are not looked at.

        Returns:
            `state`.
        """
        return state
