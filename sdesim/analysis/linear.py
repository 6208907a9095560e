"""What a step does to small departures from a point: maps of means and of second moments, from the code that simulates.

Where nothing tells one agent from another, the second moments of any number of them close in four blocks: of what they
share, of that with an agent, of an agent with itself and of two agents with each other. The map of these is made from
the Jacobian of a step of a few agents, so that a thousand cost what three do.
"""

import dataclasses
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Array
from numpy.typing import NDArray

from sdesim.asynchrony.events import Arrival, Asynchronous
from sdesim.dynamics import Dynamics, State
from sdesim.fields import check_count, shown
from sdesim.noise import AbstractNoise
from sdesim.random import Words


@dataclasses.dataclass(frozen=True)
class Linear:
    """One arrival at a worker drawn with equal chance, as a linear map of departures from a point.

    Of each worker there are `own` coordinates, and `shared` coordinates of what all have. An arrival moves the first
    `count` of the workers and what is shared:

        (w_1, ..., w_count, c) <- matrix (w_1, ..., w_count, c) + noise

    Attributes:
        matrix: (size, size), size = count own + shared.
        covariance: of the noise, (size, size).
        own: coordinates of a worker.
        shared: coordinates of what they share.
        agents: p.
    """

    matrix: NDArray
    covariance: NDArray
    own: int
    shared: int
    agents: int

    @property
    def count(self) -> int:
        """Workers that an arrival moves."""
        return (self.matrix.shape[0] - self.shared) // self.own

    def mean(self) -> NDArray:
        """The map of the means of a worker and of what is shared, (own + shared, own + shared)."""
        n, r, c, p = self.own, self.count, self.shared, self.agents
        total = np.zeros((n + c, n + c))
        columns = np.vstack([np.tile(np.eye(n), (r, 1)), np.zeros((c, n))])  # a worker's mean, at each that takes part
        into = np.hstack([columns, np.vstack([np.zeros((r * n, c)), np.eye(c)])])
        after = self.matrix @ into
        total[n:] = after[r * n :]
        moved = sum(after[i * n : (i + 1) * n] for i in range(r))
        still = np.hstack([np.eye(n), np.zeros((n, c))])
        total[:n] = (moved + (p - r) * still) / p
        return total

    def second(self) -> tuple[NDArray, NDArray]:
        """The map of all second moments, and what noise adds to them at each arrival.

        The moments are E c c^T, E c w_i^T, the mean over workers of E w_i w_i^T, and over pairs of E w_i w_j^T, one
        after another, row by row; the last block is absent for one worker.

        Returns:
            (moments, moments) and (moments,).
        """
        sizes = self._blocks()
        number = sum(a * b for a, b in sizes)
        added = self._after(np.zeros(number), self.covariance)
        columns = [self._after(unit, np.zeros_like(self.covariance)) for unit in np.eye(number)]
        return np.stack(columns, axis=1), added

    def radius(self) -> float:
        """By which factor the second moments change at an arrival, in the end: stable in mean square below 1."""
        return float(np.abs(np.linalg.eigvals(self.second()[0])).max())

    def mean_rate(self) -> float:
        """The rate at which the means decay, in units of 1 / m, m the mean compute time of memoryless workers."""
        return self.agents * (1 - float(np.linalg.eigvals(self.mean()).real.max()))

    def rate(self) -> float:
        """The rate at which the second moments decay, in units of 1 / m; negative where they grow."""
        return self.agents * (1 - float(np.linalg.eigvals(self.second()[0]).real.max()))

    def stationary(self) -> dict[str, NDArray]:
        """The stationary second moments.

        Returns:
            "shared" (shared, shared), "cross" (shared, own), "own" and, of two workers, "pair" (own, own).

        Raises:
            ValueError: if there are none.
        """
        moments, added = self.second()
        if (radius := self.radius()) > 1 - 1e-12:  # of a quantity that is conserved it is 1
            raise ValueError(f"the second moments have the factor {radius:.6g} at each arrival: none is stationary")
        found = np.linalg.solve(np.eye(len(added)) - moments, added)
        names = ("shared", "cross", "own", "pair")
        return {name: block for name, block in zip(names, self._split(found), strict=False)}

    def _blocks(self) -> list[tuple[int, int]]:
        n, c = self.own, self.shared
        return [(c, c), (c, n), (n, n), *([(n, n)] if self.agents > 1 else [])]

    def _split(self, vector: NDArray) -> list[NDArray]:
        parts, at = [], 0
        for a, b in self._blocks():
            parts.append(vector[at : at + a * b].reshape(a, b))
            at += a * b
        return parts

    def _after(self, vector: NDArray, noise: NDArray) -> NDArray:
        """The moments after an arrival: of those who take part, two others, and what is shared, averaged again."""
        n, r, p = self.own, self.count, self.agents
        cc, cw, ww, *others = self._split(vector)
        pair = others[0] if others else np.zeros_like(ww)
        seen = r + min(2, p - r)  # workers that are written down: those who take part and at most two more
        whole = np.block(
            [
                [
                    np.block([[ww if i == j else pair for j in range(seen)] for i in range(seen)]),
                    np.tile(cw.T, (seen, 1)),
                ],
                [np.tile(cw, (1, seen)), cc],
            ]
        )
        taking = [*range(r * n), *range(seen * n, whole.shape[0])]
        step, added = np.eye(whole.shape[0]), np.zeros_like(whole)
        step[np.ix_(taking, taking)], added[np.ix_(taking, taking)] = self.matrix, noise
        new = step @ whole @ step.T + added
        at = lambda i, j: new[i * n : (i + 1) * n, j * n : (j + 1) * n]
        shared = slice(seen * n, None)
        times = lambda i: 1 if i < r else p - r  # for how many workers the first of the others stands
        first = range(min(seen, r + 1))
        own = sum(times(i) * at(i, i) for i in first) / p
        cross = sum(times(i) * new[shared, i * n : (i + 1) * n] for i in first) / p
        blocks = [new[shared, shared], cross, own]
        if others:
            total = sum(times(i) * times(j) * at(i, j) for i in first for j in first if i != j)
            if seen == r + 2:
                total = total + (p - r) * (p - r - 1) * at(r, r + 1)
            blocks.append(total / (p * (p - 1)))
        return np.concatenate([b.ravel() for b in blocks])


def linearize(model: Dynamics, stepper: Asynchronous, *, agents: int, at: ArrayLike = 0.0) -> Linear:
    """A step's linear map near a point at which all agents rest, by automatic differentiation of the step.

    For workers in virtual time whose arrivals are one fixed linear map and memoryless: exponential compute times. The
    protocol must not tell workers apart. float64 always.

    Args:
        model: the dynamics; noise must not hang on the point.
        stepper: `Asynchronous`.
        agents: p.
        at: the point, a number or (dims,): where the gradient vanishes.

    Returns:
        The map.

    Raises:
        TypeError: for another stepper.
        ValueError: for a protocol whose arrivals are no fixed linear map, with the reason.
    """
    if not isinstance(stepper, Asynchronous):
        raise TypeError(f"stepper={shown(stepper)}: must be sdesim.asynchrony.Asynchronous")
    p = check_count("agents", agents)
    if (reason := stepper.protocol.changes()) is not None:
        raise ValueError(f"protocol: {reason}, so an arrival is no fixed linear map")
    with jax.enable_x64(True):
        return _linearized(model, stepper, p, np.atleast_1d(np.asarray(at, float)))


def _linearized(model: Dynamics, stepper: Asynchronous, p: int, at: NDArray) -> Linear:
    wide = lambda a: jnp.asarray(a, jnp.float64) if eqx.is_inexact_array(a) else a
    model, stepper = jax.tree.map(wide, (model, stepper.bare()))
    covariance = _covariance(model, at)
    quiet = lambda zeta: dataclasses.replace(model, noise=_Given(zeta))
    state = stepper.init(quiet(jnp.zeros(at.size)), jnp.broadcast_to(jnp.asarray(at), (p, at.size)))
    if any(not jnp.issubdtype(a.dtype, jnp.inexact) for a in jax.tree.leaves((state.shared, state.kept.own))):
        raise ValueError("protocol: workers or what they share have integers, so an arrival is no fixed linear map")
    here = Arrival(jnp.int32(0), jnp.int32(0))
    rows, shared = _coordinates(state)

    def event(rows: Array, shared: Array, zeta: Array):
        return _coordinates(stepper.step(quiet(zeta), _placed(state, rows, shared), 0, arrival=here))

    _, slope = jax.linearize(event, rows, shared, jnp.zeros(at.size))
    still = (jnp.zeros_like(rows), jnp.zeros_like(shared), jnp.zeros(at.size))

    def columns(place: int, *index: int) -> list[tuple[NDArray, NDArray]]:
        """The slope along each coordinate of a worker's rows (0, worker), of what is shared (1) or of the noise (2)."""
        units = [still[place].at[(*index, k)].set(1.0) for k in range(still[place].shape[-1])]
        found = (slope(*still[:place], unit, *still[place + 1 :]) for unit in units)
        return [(np.asarray(rows), np.asarray(common)) for rows, common in found]

    first = columns(0, 0)
    taking = [0, *(i for i in range(1, p) if any(np.abs(column[0][i]).max(initial=0) > 0 for column in first))]
    for other in [i for i in range(p) if i not in taking][:1]:
        for k, (moved, common) in enumerate(columns(0, other)):
            alone = np.zeros_like(moved)
            alone[other, k] = 1.0
            if np.any(moved != alone) or np.any(common):
                raise ValueError("protocol: an arrival hangs on workers that take no part in it")
    joined = lambda found: np.stack([np.concatenate([w[taking].ravel(), c]) for w, c in found], axis=1)
    of_workers = [joined(first if i == 0 else columns(0, i)) for i in taking]
    parts = [*of_workers, *([joined(columns(1))] if shared.size else [])]
    noise = joined(columns(2))
    return Linear(np.hstack(parts), noise @ covariance @ noise.T, rows.shape[1], shared.size, p)


def _coordinates(state: State) -> tuple[Array, Array]:
    """Those of each worker, (agents, own), and of what they share, (shared,)."""
    of_workers = jax.tree.leaves((state.x, state.v, state.kept.own))
    rows = jnp.concatenate([a.reshape(a.shape[0], -1) for a in of_workers], axis=1)
    return rows, ravel_pytree(state.shared)[0]


def _placed(state: State, rows: Array, shared: Array) -> State:
    """A state with these coordinates."""
    leaves, tree = jax.tree.flatten((state.x, state.v, state.kept.own))
    ends = np.cumsum([a[0].size for a in leaves])[:-1]
    parts = [part.reshape(a.shape) for part, a in zip(jnp.split(rows, ends, axis=1), leaves, strict=True)]
    x, v, own = jax.tree.unflatten(tree, parts)
    return state._replace(x=x, v=v, shared=ravel_pytree(state.shared)[1](shared), kept=state.kept._replace(own=own))


def _covariance(model: Dynamics, at: NDArray) -> NDArray:
    """Of the gradient noise of a minibatch at a point, (dims, dims)."""
    if (reason := model.noise.without_variance()) is not None:
        raise ValueError(f"noise: {reason}, which has no fixed covariance")
    if model.batch.ndim:
        raise ValueError("batch: one number for all workers is needed, or they are not alike")
    x, scale = jnp.asarray(at)[None], jnp.ones(())
    kick = lambda dw: model.noise.diffuse(dw[None], x, jnp.zeros_like(x), model.batch, scale)[0]
    root = np.asarray(jax.jacobian(kick)(jnp.zeros(at.size)))
    return root @ root.T


class _Given(AbstractNoise):
    """Noise that is handed in."""

    zeta: Array

    word_pairs = 0

    def variates(self, words: Sequence[Words], dtype: DTypeLike, batch: Array):
        return self.zeta[None]

    def apply(self, z: Array, x: Array, gradient: Array, batch: Array, scale: Array):
        return scale * z
