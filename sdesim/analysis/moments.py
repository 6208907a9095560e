"""Means and second moments of agents that nothing tells apart but a few discrete numbers, as one linear map.

A *mode* says what discrete numbers there are: how many agents have the same ones, a class, and what is common to all.
Within a class agents are alike, so that all second moments close in those of the classes' means and of what is shared,

    S = E (m_1, ..., m_L, c) (m_1, ..., m_L, c)^T,

and for each class in that of two agents' difference, F_l = E w_i w_i^T - E w_i w_j^T = E (w_i - w_j)(w_i - w_j)^T / 2.
What happens takes one mode to another: some agents of the classes are picked out, the parts, each with a map of means
and of differences, and go into classes of the new mode. The number of agents is but a number in it.

Noise whose covariance hangs on the point adds, beside what is constant, a part that is linear in the moments.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse
import scipy.sparse.linalg
from numpy.typing import NDArray

from sdesim.analysis.answers import Law

ROUND = 300  # moments of one mode up to which eigenvalues of a whole round are those of a dense matrix
DENSE = 60  # moments up to which eigenvalues are those of a dense matrix
WRITTEN = 20_000  # moments up to which their map is written down
WORK = 2e8  # multiplications up to which it is
MOST = 81_000  # moments that are solved for, those of 400 unknowns among them
TIGHT = 1e-13  # of what is solved for by iteration, as a share


@dataclasses.dataclass(frozen=True)
class Mode:
    """Discrete numbers of all agents, up to which of them has which.

    Attributes:
        sizes: agents of each class, (classes,).
        rate: arrivals in the mean compute time: how many are at work; of agents that step together 1.
    """

    sizes: tuple[int, ...]
    rate: float


@dataclasses.dataclass(frozen=True)
class Event:
    """What may happen in a mode: a step, or an arrival.

    Attributes:
        source: the mode before.
        target: the mode after.
        chance: of this among all that may happen in the mode.
        parts: the class before and the number of agents of each part; together all agents.
        classes: the class after of each part.
        joint: map of the means of the parts and of what is shared, (parts own + shared, the same).
        alone: map of differences between two agents of a part, (parts, own, own).
        kick: what the noise of one agent of each part does to the means and to what is shared, (parts own + shared,
            parts dims).
        kick_alone: and what more to itself than to another of the part, (parts, own, dims).
        reads: how the point at which one agent of each part takes its gradient follows the means and what is shared,
            where its noise hangs on it; (parts, dims, parts own + shared).
        reads_alone: and its own difference from the mean of its part, (parts, dims, own).
        laws: of the noise of each part.
    """

    source: int
    target: int
    chance: float
    parts: tuple[tuple[int, int], ...]
    classes: tuple[int, ...]
    joint: NDArray
    alone: NDArray
    kick: NDArray
    kick_alone: NDArray
    reads: NDArray
    reads_alone: NDArray
    laws: tuple[Law, ...]


def moments_of(mode: Mode, own: int, shared: int) -> int:
    """How many second moments there are in a mode.

    Args:
        mode: the mode.
        own: coordinates of an agent.
        shared: coordinates of what they share.
    """
    means = own * len(mode.sizes) + shared
    return means * (means + 1) // 2 + sum(size > 1 for size in mode.sizes) * own * (own + 1) // 2


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Linear:
    """Steps or arrivals as a linear map of departures from a point.

    Of each agent there are `own` coordinates, its position first, then its velocity and what a protocol keeps of it;
    and `shared` coordinates of what all have.

    Attributes:
        modes: the discrete states that there are; one where nothing discrete matters.
        events: what takes one to another.
        own: coordinates of an agent.
        shared: coordinates of what they share.
        agents: p.
        memoryless: whether arrivals come at exponential times; else steps or arrivals come at regular times.
    """

    modes: tuple[Mode, ...]
    events: tuple[Event, ...]
    own: int
    shared: int
    agents: int
    memoryless: bool

    def __repr__(self) -> str:
        """What there is, and whether agents are classes or dense, each by itself."""
        count = max(len(mode.sizes) for mode in self.modes)
        what = f"dense: each of {self.agents} agents by itself" if self.dense else f"{self.agents} agents in "
        if not self.dense:
            what += "1 class" if count == 1 else f"up to {count} classes"
        states = "" if len(self.modes) == 1 else f", {len(self.modes)} discrete states"
        return f"Linear({what}{states}, {self._count} second moments)"

    @property
    def dense(self) -> bool:
        """Whether each of several agents is a class by itself."""
        return self.agents > 1 and all(len(mode.sizes) == self.agents for mode in self.modes)

    def mean(self) -> NDArray:
        """The map of means: for each mode of its classes' means and of what is shared, where it is in this mode.

        Returns:
            (means, means).
        """
        starts = self._starts(lambda mode: len(mode.sizes) * self.own + self.shared)
        total = np.zeros((starts[-1], starts[-1]))
        for event in self.events:
            split, merge = self._split(event), self._merge(event)
            rows, columns = (slice(starts[k], starts[k + 1]) for k in (event.target, event.source))
            total[rows, columns] += event.chance * merge @ event.joint @ split
        return total

    def second(self) -> tuple[scipy.sparse.csc_array, NDArray]:
        """The map of all second moments, and what noise adds to them at each step or arrival.

        The moments are, for each mode, the upper triangle of S and, of each class of two agents or more, of F, see the
        module; each where it is in this mode.

        Returns:
            (moments, moments), sparse, and (moments,).

        Raises:
            ValueError: for a map too large to be written down; `radius`, `rate` and `stationary` do without.
        """
        if not self._is_written:
            raise ValueError(f"a map of {self._count} second moments is too large to be written down")
        return self._second

    @functools.cached_property
    def _count(self) -> int:
        return int(self._starts(lambda mode: moments_of(mode, self.own, self.shared))[-1])

    @functools.cached_property
    def _is_written(self) -> bool:
        """Whether the map is a matrix, or but a function."""
        work = 0.0
        for event in self.events:
            mode = self.modes[event.source]
            work += moments_of(mode, self.own, self.shared) * float(len(mode.sizes) * self.own + self.shared) ** 3
        return self._count <= WRITTEN and work <= WORK

    @functools.cached_property
    def _matrix(self) -> Any:
        """The map of all second moments, as a matrix or as a function."""
        if self._is_written:
            return self._second[0]
        constant = self._moved(np.zeros(self._count))
        return _function(self._count, lambda moments: self._moved(moments) - constant)

    def _moved(self, moments: NDArray) -> NDArray:
        """All second moments after a step or an arrival."""
        starts = self._starts(lambda mode: moments_of(mode, self.own, self.shared))
        after, share = np.zeros(len(moments)), self.occupation()
        for event in self.events:
            sizes = self.modes[event.source].sizes
            s, f = _matrices(moments[starts[event.source] : starts[event.source + 1]], sizes, self.own, self.shared)
            found = self._after(event, s[None], f[None]) + share[event.source] * self._constant(event)
            after[starts[event.target] : starts[event.target + 1]] += event.chance * found[0]
        return after

    @functools.cached_property
    def _second(self) -> tuple[scipy.sparse.csc_array, NDArray]:
        starts = self._starts(lambda mode: len(self._units(mode)[0]))
        added, share = np.zeros(starts[-1]), self.occupation()
        blocks: dict[tuple[int, int], NDArray] = {}
        for event in self.events:
            place = event.target, event.source
            map_ = self._after(event, *self._units(self.modes[event.source])).T
            noise = self._constant(event)[0]
            blocks[place] = blocks.get(place, 0) + event.chance * map_
            added[starts[event.target] : starts[event.target + 1]] += share[event.source] * event.chance * noise
        values, rows, columns = [], [], []
        for (target, source), block in blocks.items():
            i, j = np.nonzero(block)
            values.append(block[i, j])
            rows.append(i + starts[target])
            columns.append(j + starts[source])
        joined = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
        return scipy.sparse.coo_array(joined, (starts[-1], starts[-1])).tocsc(), added

    def occupation(self) -> NDArray:
        """In which share of steps or arrivals each mode is met, (modes,)."""
        count = len(self.modes)
        chain = scipy.sparse.lil_array((count, count))
        for event in self.events:
            chain[event.target, event.source] += event.chance
        chain.setdiag(chain.diagonal() - 1)
        chain[0] = np.ones(count)  # one of the others follows from the rest
        return scipy.sparse.linalg.splu(chain.tocsc()).solve(np.eye(1, count)[0])

    def radius(self) -> float:
        """By which factor the second moments change at a step or arrival, in the end: stable in mean square below 1."""
        return self._radius

    @functools.cached_property
    def _radius(self) -> float:
        if (events := self._in_turn()) is None:
            return self._greatest(self._matrix)
        # Of one round, and not of all modes at once, whose eigenvalues are as many roots of each of these: an iteration
        # for the greatest of them converges badly, or to another.
        first = self.modes[0]
        if max(moments_of(mode, self.own, self.shared) for mode in self.modes) <= ROUND:
            maps = [self._after(event, *self._units(self.modes[event.source])).T for event in events]
            factor = np.abs(np.linalg.eigvals(functools.reduce(lambda before, after: after @ before, maps))).max()
        else:
            whole = _function(moments_of(first, self.own, self.shared), lambda v: self._after_all(events, v))
            start = self._identity(first)
            factor = self._greatest(whole, float(np.linalg.norm(whole @ start) / np.linalg.norm(start)), start)
        return float(factor ** (1 / len(events)))

    def _in_turn(self) -> list[Event] | None:
        """The events of one round, where several modes follow each other in one order; else None."""
        after = {event.source: event for event in self.events}
        if not 1 < len(self.modes) == len(self.events) == len(after):
            return None
        found = [after[0]]
        while found[-1].target not in {event.source for event in found}:
            found.append(after[found[-1].target])
        return found if len(found) == len(self.modes) and found[-1].target == 0 else None

    def _after_all(self, events: list[Event], moments: NDArray) -> NDArray:
        """The moments of a mode after some events, but for what noise adds always."""
        for event in events:
            s, f = _matrices(moments, self.modes[event.source].sizes, self.own, self.shared)
            moments = self._after(event, s[None], f[None])[0]
        return moments

    def mean_rate(self) -> float:
        """The rate at which means decay, of agents that all begin alike.

        Of workers in virtual time in units of 1 / m, m their mean compute time; of agents that step together, 1 / step.
        """
        means = self.mean()
        if not self.memoryless:
            return self._per_step(float(np.abs(np.linalg.eigvals(means)).max()))
        rates = np.concatenate([np.full(len(m.sizes) * self.own + self.shared, m.rate) for m in self.modes])
        return -float(np.linalg.eigvals((means - np.eye(len(means))) * rates).real.max())

    def rate(self) -> float:
        """The rate at which second moments decay, in the units of `mean_rate`; negative where they grow."""
        if not self.memoryless:
            return self._per_step(self.radius())
        rates = np.concatenate([np.full(moments_of(m, self.own, self.shared), m.rate) for m in self.modes])
        shift = 2 * float(rates.max())
        if self._is_written:
            still = scipy.sparse.eye_array(len(rates))
            return -self._greatest((self._matrix - still) @ scipy.sparse.diags_array(rates), shift)
        return -self._greatest(_function(len(rates), lambda v: self._matrix @ (rates * v) - rates * v), shift)

    def stationary(self) -> dict[str, NDArray]:
        """The stationary second moments, on the average over steps or arrivals.

        Returns:
            "shared" (shared, shared), "cross" (shared, own), "own" and, of two agents, "pair" (own, own).

        Raises:
            ValueError: if there are none.
        """
        if (radius := self.radius()) > 1 - 1e-12:  # of a quantity that is conserved it is 1
            raise ValueError(f"the second moments have the factor {radius:.6g} at each step: none is stationary")
        found = self._solved()
        n, c, p = self.own, self.shared, self.agents
        total = {"shared": np.zeros((c, c)), "cross": np.zeros((c, n)), "own": np.zeros((n, n))}
        square = np.zeros((n, n))  # of the mean over all agents
        at = 0
        for mode in self.modes:
            here = found[at : at + moments_of(mode, n, c)]
            at += len(here)
            s, f = _matrices(here, mode.sizes, n, c)
            weights = np.array(mode.sizes) / p
            average = np.zeros((n + c, len(s)))
            for kind, weight in enumerate(weights):
                average[:n, kind * n : (kind + 1) * n] = weight * np.eye(n)
                of_class = s[kind * n : (kind + 1) * n, kind * n : (kind + 1) * n]
                total["own"] += weight * (of_class + (1 - 1 / mode.sizes[kind]) * f[kind])
            average[n:, len(s) - c :] = np.eye(c)
            both = average @ s @ average.T
            total["shared"] += both[n:, n:]
            total["cross"] += both[n:, :n]
            square += both[:n, :n]
        if p > 1:
            total["pair"] = (p * square - total["own"]) / (p - 1)
        return total

    # -- the map of an event ----------------------------------------------------------------------------------------

    def _per_step(self, factor: float) -> float:
        """The rate of what has a factor at each regular step or arrival: infinite where nothing is left."""
        with np.errstate(divide="ignore"):
            return -self.modes[0].rate * float(np.log(factor))

    def _starts(self, size: Callable[[Mode], int]) -> NDArray:
        return np.concatenate([[0], np.cumsum([size(mode) for mode in self.modes])])

    def _solved(self) -> NDArray:
        """The moments that a step or an arrival leaves as they are."""
        if self._is_written:
            moments, added = self._second
            equations = scipy.sparse.csc_array(scipy.sparse.eye_array(len(added)) - moments)
            return scipy.sparse.linalg.splu(equations).solve(added)
        still = _function(self._count, lambda v: v - self._matrix @ v)
        added = self._moved(np.zeros(self._count))
        found, left = scipy.sparse.linalg.gmres(still, added, rtol=TIGHT, atol=0.0, restart=60, maxiter=50)
        if left:
            raise ValueError(f"the stationary second moments are not found by {left} rounds of GMRES")
        return found

    def _greatest(self, matrix: Any, shift: float = 1.0, start: NDArray | None = None) -> float:
        """Its greatest real eigenvalue: moments stay positive, so none is greater in absolute value."""
        size = matrix.shape[0]
        written = scipy.sparse.issparse(matrix)
        if written and size <= DENSE:
            return float(np.linalg.eigvals(matrix.toarray()).real.max())
        if start is None:
            start = np.concatenate([self._identity(mode) for mode in self.modes])
        if written:
            moved = matrix + shift * scipy.sparse.eye_array(size)
        else:
            moved = _function(size, lambda v: matrix @ v + shift * v)
        found: Any = scipy.sparse.linalg.eigs(moved, k=1, v0=start, return_eigenvectors=False)
        return float(found.real.max()) - shift

    def _identity(self, mode: Mode) -> NDArray:
        """All moments of unit variances, of which any others are a part."""
        s, f = np.eye(len(mode.sizes) * self.own + self.shared), np.tile(np.eye(self.own), (len(mode.sizes), 1, 1))
        return _upper(s[None], f[None], mode.sizes)[0]

    def _units(self, mode: Mode) -> tuple[NDArray, NDArray]:
        return _units(tuple(size > 1 for size in mode.sizes), self.own, self.shared)

    def _split(self, event: Event) -> NDArray:
        """The means of the parts, and what is shared, from those of the classes."""
        classes = len(self.modes[event.source].sizes)
        of_parts = np.zeros((len(event.parts), classes))
        of_parts[np.arange(len(event.parts)), [kind for kind, _ in event.parts]] = 1.0
        return _with_shared(of_parts, self.own, self.shared)

    def _merge(self, event: Event) -> NDArray:
        """The means of the new classes, and what is shared, from those of the parts."""
        sizes = self.modes[event.target].sizes
        of_classes = np.zeros((len(sizes), len(event.parts)))
        for a, (kind, (_, count)) in enumerate(zip(event.classes, event.parts, strict=True)):
            of_classes[kind, a] = count / sizes[kind]
        return _with_shared(of_classes, self.own, self.shared)

    def _after(self, event: Event, s: NDArray, f: NDArray) -> NDArray:
        """The moments after an event, (count, moments), from S and F before, but for what noise adds always."""
        source, n, split = self.modes[event.source], self.own, self._split(event)
        block = lambda a: slice(a * n, (a + 1) * n)
        # Moments of the parts: agents of one class are picked without looking.
        s, f = split @ s @ split.T, f[:, [kind for kind, _ in event.parts]]
        for a, (kind, count) in enumerate(event.parts):
            for b, (other, _) in enumerate(event.parts):
                if kind == other:
                    s[:, block(a), block(b)] += ((a == b) / count - 1 / source.sizes[kind]) * f[:, a]
        squares = {}
        for a, (_, count) in enumerate(event.parts):
            curved, reads, own = event.laws[a].curved, event.reads[a], event.reads_alone[a]
            if curved is not None and reads.any():
                point = reads @ s @ reads.T + (1 - 1 / count) * (own @ f[:, a] @ own.T)
                squares[a] = np.einsum("abcd,kcd->kab", curved, point)
        noise, noise_alone = self._kicked(event, squares, len(s))
        alone = event.alone @ f @ np.swapaxes(event.alone, -1, -2)
        return self._joined(event, event.joint @ s @ event.joint.T + noise, alone + noise_alone)

    def _constant(self, event: Event) -> NDArray:
        """The moments that noise adds always, (1, moments)."""
        return self._joined(event, *self._kicked(event, {a: law.fixed[None] for a, law in enumerate(event.laws)}, 1))

    def _kicked(self, event: Event, squares: dict[int, NDArray], rows: int) -> tuple[NDArray, NDArray]:
        """What noise of these covariances, (rows, dims, dims) by the part, adds to moments of the parts."""
        noise, alone = np.zeros((rows, *event.joint.shape)), np.zeros((rows, *event.alone.shape))
        for a, square in squares.items():
            dims = square.shape[-1]
            kick, own = event.kick[:, a * dims : (a + 1) * dims], event.kick_alone[a]
            noise += event.parts[a][1] * (kick @ square @ kick.T)
            alone[:, a] = own @ square @ own.T
        return noise, alone

    def _joined(self, event: Event, s: NDArray, f: NDArray) -> NDArray:
        """Moments of the new classes, within which nothing tells agents apart, as rows."""
        sizes, n, merge = self.modes[event.target].sizes, self.own, self._merge(event)
        block = lambda a: slice(a * n, (a + 1) * n)
        whole = merge @ s @ merge.T
        new = np.zeros((len(s), len(sizes), n, n))
        for kind, size in enumerate(sizes):
            if size == 1:
                continue
            members = [(a, count) for a, (_, count) in enumerate(event.parts) if event.classes[a] == kind]
            own = sum(k / size * (s[:, block(a), block(a)] + (1 - 1 / k) * f[:, a]) for a, k in members)
            new[:, kind] = size / (size - 1) * (own - whole[:, block(kind), block(kind)])
        return _upper(whole, new, sizes)


def _function(size: int, of: Callable[[NDArray], NDArray]) -> Any:
    """A function of vectors in place of a matrix."""
    operator: Any = scipy.sparse.linalg.LinearOperator
    return operator((size, size), matvec=lambda v: of(v.ravel()), dtype=float)


@functools.cache
def _units(several: tuple[bool, ...], own: int, shared: int) -> tuple[NDArray, NDArray]:
    """Each moment of a mode by itself: its S, (moments, means, means), and its F, (moments, classes, own, own)."""
    classes, means = len(several), len(several) * own + shared
    pairs = [(i, j) for i in range(means) for j in range(i, means)]
    of_class = [(kind, i, j) for kind in range(classes) if several[kind] for i in range(own) for j in range(i, own)]
    units = np.zeros((len(pairs) + len(of_class), means, means))
    differences = np.zeros((len(pairs) + len(of_class), classes, own, own))
    for k, (i, j) in enumerate(pairs):
        units[k, i, j] = units[k, j, i] = 1.0
    for k, (kind, i, j) in enumerate(of_class, len(pairs)):
        differences[k, kind, i, j] = differences[k, kind, j, i] = 1.0
    return units, differences


def _matrices(moments: NDArray, sizes: tuple[int, ...], own: int, shared: int) -> tuple[NDArray, NDArray]:
    """S, (means, means), and F, (classes, own, own), of moments in the order of `_units`."""
    means = len(sizes) * own + shared
    s, f = np.zeros((means, means)), np.zeros((len(sizes), own, own))
    i, j = np.triu_indices(means)
    s[i, j] = s[j, i] = moments[: len(i)]
    k, kind = np.triu_indices(own)
    several = [index for index, size in enumerate(sizes) if size > 1]
    rest = moments[len(i) :].reshape(len(several), len(k))
    for index, row in zip(several, rest, strict=True):
        f[index, k, kind] = f[index, kind, k] = row
    return s, f


def _upper(s: NDArray, f: NDArray, sizes: tuple[int, ...]) -> NDArray:
    """The moments of S, (count, means, means), and F, (count, classes, own, own), as rows, in the order of `_units`."""
    i, j = np.triu_indices(s.shape[-1])
    k, kind = np.triu_indices(f.shape[-1])
    several = [index for index, size in enumerate(sizes) if size > 1]
    return np.hstack([s[:, i, j], f[:, several][..., k, kind].reshape(len(s), -1)])


def _with_shared(of_means: NDArray, own: int, shared: int) -> NDArray:
    """A map of means, the same for each coordinate, beside what is shared, which stays."""
    rows, columns = of_means.shape
    whole = np.zeros((rows * own + shared, columns * own + shared))
    whole[: rows * own, : columns * own] = np.kron(of_means, np.eye(own))
    whole[rows * own :, columns * own :] = np.eye(shared)
    return whole
