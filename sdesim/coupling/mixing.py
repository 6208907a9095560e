"""Mixing over a graph: every agent is pulled towards its neighbors, on one graph or on several that take turns."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, PyTree
from numpy.typing import NDArray

from sdesim.coupling.base import AbstractCoupling, Mean, Order, lower_gain, per_agent
from sdesim.coupling.turns import in_order, turn_of
from sdesim.fields import check_count, check_finite, check_sign, concrete, is_traced, number, optional_number, shown

MOST = 4096  # agents of a graph that is made here


class Mixing(AbstractCoupling):
    """Agents are pulled towards the average of their neighbors on a graph.

        dx^i = k sum_j W_ij (x^j - x^i) dt

    An exchange of weight 1 is x <- W x: with `Iteration(pace=1)` and k = 1 decentralized SGD (D-PSGD, 1705.09056),
    x <- W x - eta g. Where the columns of W sum to 1 too, the mean of the agents is conserved; W = 1/p is `Quorum`. Of
    some agents those edges mix that are between them. Of several graphs each acts for a turn.

    Attributes:
        k: gain, one number, in 1/time.
        matrix: W, whose rows sum to 1: (agents, agents), such as `ring(8)`, or (graphs, agents, agents), such as
            `one_peer(8)`, of graphs that take turns.
        switch: rate of the turns, at least 0, in 1/time: a graph acts for 1 / switch. None for k, so that at a weight
            of 1 every exchange is on the next graph.

    Raises:
        ValueError: for a matrix of another shape, or with a row that does not sum to 1.
    """

    k: Array = eqx.field(converter=number)
    matrix: Array = eqx.field(converter=number)
    switch: Array | None = eqx.field(converter=optional_number, default=None)

    def __check_init__(self):
        for name in ("k", "switch"):
            if (value := getattr(self, name)) is not None and jnp.shape(value) != ():
                raise ValueError(f"{name}={shown(value)}: must be one number")
        check_finite("k", self.k)
        check_sign("switch", self.switch)
        shape = self.matrix.shape
        if len(shape) not in (2, 3) or shape[-1] != shape[-2] or 0 in shape:
            right = "must be (agents, agents), or (graphs, agents, agents)"
            raise ValueError(f"matrix: has shape {shape}, and {right}")
        check_finite("matrix", self.matrix)
        if not is_traced(self.matrix):
            rows = np.asarray(self.matrix, float).sum(-1)
            worst = rows.flat[np.argmax(np.abs(rows - 1))]
            if abs(worst - 1) > 1e-5:
                raise ValueError(f"matrix: has a row that sums to {worst:.6g}; every row must sum to 1")

    @property
    def turns(self) -> bool:
        """Whether there are several graphs."""
        return self.matrix.ndim == 3

    def check_run(self, agents: int):
        if self.matrix.shape[-1] != agents:
            raise ValueError(f"matrix: is of {self.matrix.shape[-1]} agents, and not of agents={agents}")

    def init(self, x: PyTree, mean: Mean):
        return {"turn": jnp.zeros((), self.k.dtype)} if self.turns else None

    def unsteady(self):
        return "graphs that take turns" if self.turns else None

    def in_turn(self, tick: float, ahead: int = 0):
        if not self.turns:
            return (self,)
        *passed, _ = in_order(float(self._switch) * tick, count := len(self.matrix))
        acting = [int(turn_of(jnp.asarray(turns), count)) for turns in passed]
        return tuple(Mixing(self.k, self.matrix[graph]) for graph in acting[ahead:] + acting[:ahead])

    @property
    def _switch(self) -> Array:
        return self.k if self.switch is None else self.switch

    def pull(self, x: PyTree, shared: PyTree, t: Array, mean: Mean):
        matrix = self.matrix
        if self.turns:
            matrix = lax.dynamic_index_in_dim(matrix, turn_of(shared["turn"], len(matrix)), keepdims=False)
        matrix = mean.between(matrix)
        total = jnp.sum(matrix, axis=1)  # 1 where all take part
        return jax.tree.map(lambda m, a: self.k * (m - per_agent(total, a) * a), mean.mix(x, matrix), x)

    def flow(self, x: PyTree, shared: PyTree, t: Array, mean: Mean):
        if not self.turns:
            return None
        return {"turn": mean.by_share(self._switch)}

    def _away(self) -> NDArray | None:
        """1 - w for all eigenvalues w of W but that of consensus; None where they cannot be looked at."""
        if self.turns or is_traced((self.k, self.matrix)):
            return None
        values = 1 - np.linalg.eigvals(np.asarray(self.matrix, float))
        return np.delete(values, np.argmin(np.abs(values)))

    def stiffness(self, agents: int):
        away, k = self._away(), concrete(self.k, np.max)
        return None if away is None or k is None else abs(k) * float(np.abs(away).max(initial=0.0))

    def amplification(self, step: float, agents: int, order: Order):
        away, k = self._away(), concrete(self.k, np.max)
        return None if away is None or k is None else float(np.abs(1 - step * k * away).max(initial=0.0))

    def gentler(self, excess: float, agents: int):
        return lower_gain(self.k, excess)


# -- graphs ------------------------------------------------------------------------------------------------------------


def _circulant(agents: int, steps: set[int]) -> NDArray:
    """Every agent takes the average of itself and of those so many places on, with equal weights."""
    to = sorted({0, *(step % agents for step in steps)})
    return np.mean([np.roll(np.eye(agents), step, axis=1) for step in to], axis=0)


def complete(agents: int) -> NDArray:
    """Everyone averages everyone.

    Args:
        agents: p.

    Returns:
        W, (agents, agents), doubly stochastic, as all graphs here.
    """
    p = check_count("agents", agents, most=MOST)
    return np.full((p, p), 1 / p)


def ring(agents: int) -> NDArray:
    """Everyone averages itself and its two neighbors.

    Args:
        agents: p.

    Returns:
        W, (agents, agents).
    """
    return _circulant(check_count("agents", agents, most=MOST), {1, -1})


def torus(rows: int, columns: int) -> NDArray:
    """Everyone averages itself and its neighbors up and down, left and right, on a grid whose edges meet.

    Args:
        rows: of the grid.
        columns: of the grid; agents are rows * columns, a row after another.

    Returns:
        W, (agents, agents).

    Raises:
        ValueError: for more agents than a matrix is made of.
    """
    r, c = check_count("rows", rows, most=MOST), check_count("columns", columns, most=MOST)
    if r * c > MOST:
        raise ValueError(f"rows={r}, columns={c}: must be at most {MOST} agents together")
    apart = lambda n: (_circulant(n, {1, -1}) > 0) & ~np.eye(n, dtype=bool)
    return metropolis(np.kron(apart(r), np.eye(c)) + np.kron(np.eye(r), apart(c)) > 0)


def exponential(agents: int) -> NDArray:
    """Everyone averages itself and those 1, 2, 4, 8, ... places on.

    Args:
        agents: p.

    Returns:
        W, (agents, agents).
    """
    p = check_count("agents", agents, most=MOST)
    return _circulant(p, {2**j for j in range((p - 1).bit_length())})


def one_peer(agents: int) -> NDArray:
    """Graphs that take turns: everyone averages itself and the one 1, then 2, then 4, ... places on (2110.13363).

    Of a number of agents that is a power of 2 all agree after one round of turns.

    Args:
        agents: p, at least 2.

    Returns:
        W, (graphs, agents, agents).
    """
    p = check_count("agents", agents, least=2, most=MOST)
    return np.stack([_circulant(p, {2**j}) for j in range((p - 1).bit_length())])


def metropolis(adjacency: NDArray) -> NDArray:
    """Weights 1 / (1 + the greater number of neighbors) of every edge of any graph; the rest is an agent's own.

    Args:
        adjacency: who is whose neighbor, (agents, agents) truth values, symmetric; what it says of agents and
            themselves is not looked at.

    Returns:
        W, (agents, agents), symmetric.

    Raises:
        ValueError: for another shape, or one that is not symmetric.
    """
    try:
        edges = np.asarray(adjacency)
        fits = edges.ndim == 2 and edges.size > 0 and edges.dtype.kind in "biuf" and np.array_equal(edges, edges.T)
    except ValueError:  # ragged
        fits = False
    if not fits:
        raise ValueError(f"adjacency={shown(adjacency)}: must be a symmetric (agents, agents) array of truth values")
    edges = (edges != 0) & ~np.eye(len(edges), dtype=bool)
    degree = edges.sum(1)
    weights = edges / (1 + np.maximum(degree[:, None], degree[None, :]))
    return weights + np.diag(1 - weights.sum(1))


def spectral_gap(matrix: NDArray) -> float:
    """1 - the factor by which differences shrink at an exchange of weight 1, in the end: of W, its second eigenvalue.

    Args:
        matrix: W, (agents, agents); or (graphs, agents, agents) of graphs that take turns, at one of their exchanges.

    Returns:
        From 0, of a graph that is not connected, to 1, where all agree at once or after a round of turns.

    Raises:
        ValueError: for another shape.
    """
    graphs = np.asarray(Mixing(1.0, matrix).matrix, float)
    graphs = graphs.reshape(-1, *graphs.shape[-2:])
    whole = functools.reduce(lambda before, after: after @ before, graphs)
    apart = whole - np.mean(whole, axis=0)  # of differences from the mean
    return float(1 - np.abs(np.linalg.eigvals(apart)).max() ** (1 / len(graphs)))
