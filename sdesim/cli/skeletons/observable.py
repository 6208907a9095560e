"""The observable Skeleton."""

import jax.numpy as jnp

from sdesim import observe


class Skeleton(observe.AbstractSeries):
    """Largest minus smallest agent, in each coordinate, recorded every so many steps.

    For a running summary derive from observe.AbstractAccumulator instead (docs/extending.md).
    """

    name = "skeleton"  # in result.observed and in files
    axes = ("dim",)  # names of the value's axes
    label = ("length", "largest minus smallest agent")  # units, and meaning

    def value(self, view):
        # One simulation: view.state.x is (agents, dims), view.quorum their mean, view.model the model.
        return jnp.max(view.state.x, axis=0) - jnp.min(view.state.x, axis=0)
