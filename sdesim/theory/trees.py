"""EASGD Tree on a quadratic: means and second moments that close, of nodes whose steps take exponential times (Z 6.1).

With a = eta h and the moving rate alpha, all nodes send after each of their steps (tau_u = tau_d = 1), in units of the
mean time of a step. What comes to a leaf in the middle of a job waits for its end, so that a leaf x is followed with
what its waiting messages will make of it: at its job's end x becomes w ((1 - a) x + noise) + s, where a message of
value y makes w into (1 - alpha) w and s into (1 - alpha) s + alpha y. With z = w x every event is one fixed linear map
of all x, z, s and the nodes above: the mean obeys linear equations, with a delay if messages take a fixed time, and the
second moments do if messages take none. All nodes start at one point.
"""

from collections.abc import Sequence

import numpy as np
import scipy.linalg
from numpy.typing import ArrayLike, NDArray

from sdesim.fields import check_count, check_sign, shown

STEP = 1 / 64
"""Greatest step of the integration of means, in mean times of a step."""


def tree_mean(fanout: Sequence[int], a: float, alpha: float, times: ArrayLike, delay: float = 0.0) -> NDArray:
    """The mean of each level of a tree that starts at 1.

    Args:
        fanout: children of a node at each level, leaves first.
        a: eta h, learning rate times curvature, at least 0.
        alpha: the moving rate, eta k, at least 0.
        times: at which it is asked for, in mean times of a step, that do not fall, (times,).
        delay: how long each message takes, in mean times of a step, at least 0.

    Returns:
        From the leaves to the root, (times, levels).

    Raises:
        ValueError: if an argument is out of its range.
    """
    _check_fanout(fanout)
    for name, value in (("a", a), ("alpha", alpha), ("delay", delay), ("times", times)):
        check_sign(name, value)
    moments = np.asarray(times, float)
    if moments.ndim != 1 or (np.diff(moments) < 0).any():
        raise ValueError("times: must be moments that do not fall, at least 0, (times,)")
    # Before the delay nothing comes. At it all the first messages do, whose values are the starting point: 1.
    levels, keep = len(fanout), 1 - alpha
    y = np.ones(levels + 3)  # z, s, x, and the nodes
    y[:3] = 1.0, 0.0, 1.0
    size = max(1, int(np.ceil(delay / STEP))) if delay else 0
    h = delay / size if delay else STEP
    steps = int(np.ceil(moments.max(initial=0) / h)) + 1
    path, slopes = np.zeros((steps + 1, y.size)), np.zeros((steps + 1, y.size))
    path[0] = y

    def slope(y: NDArray, sent: NDArray | None) -> NDArray:
        """Of a state, with what was sent a delay ago: (x, nodes) of that time; None while nothing comes."""
        z, s, x = y[:3]
        after = (1 - a) * z + s
        change = np.zeros_like(y)
        change[:3] = after - z, -s, after - x
        if sent is not None:
            change[0] -= alpha * z
            change[1] += alpha * (sent[1] - s)
            for level in range(levels):
                node = y[3 + level]
                below = (1 - a) * sent[0] if level == 0 else sent[level]
                change[3 + level] += fanout[level] * alpha * (below - node)
                if level + 1 < levels:
                    change[3 + level] += alpha * (sent[level + 2] - node)
        return change

    for n in range(steps):
        if delay and n == size:  # the messages of count 0
            y = path[n].copy()
            y[0], y[1] = keep * y[0], keep * y[1] + alpha
            for level, fan in enumerate(fanout):
                weight = keep ** (fan + (level + 1 < levels))
                y[3 + level] = weight * y[3 + level] + 1 - weight
            path[n] = y
        y = path[n]
        past = n - size
        if delay and past < 0:
            lag = (None, None, None)
        elif delay:
            early, late = path[past, 2:], path[past + 1, 2:]
            # a cubic between the grid points, of the order of the steps
            middle = (early + late) / 2 + h / 8 * (slopes[past, 2:] - slopes[past + 1, 2:])
            lag = (early, middle, late)
        at = lambda y, i: slope(y, (lag[i] if delay else y[2:]))  # noqa: B023
        k1 = at(y, 0)
        k2 = at(y + h / 2 * k1, 1)
        k3 = at(y + h / 2 * k2, 1)
        k4 = at(y + h * k3, 2)
        slopes[n] = k1
        path[n + 1] = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        slopes[n + 1] = at(path[n + 1], 2)
    grid = np.arange(steps + 1) * h
    return np.stack([np.interp(moments, grid, path[:, 2 + level]) for level in range(levels + 1)], axis=1)


def tree_second(fanout: Sequence[int], a: float, alpha: float, noise: float = 1.0) -> NDArray:
    """The stationary mean squares of the levels of a tree whose messages take no time, about the optimum.

    Args:
        fanout: children of a node at each level, leaves first; at most about a hundred leaves.
        a: eta h, learning rate times curvature.
        alpha: the moving rate, eta k.
        noise: s^2 = eta^2 sigma^2, the variance of a job's step, at least 0, in length^2.

    Returns:
        Of one of each level, from the leaves to the root, (levels,), in length^2.

    Raises:
        ValueError: if an argument is out of its range, or there is no stationary law.
    """
    tree = _Tree(fanout, a, alpha)
    check_sign("noise", noise)
    matrix = tree.generator()
    if not (growth := float(np.linalg.eigvals(matrix).real.max())) < 0:
        raise ValueError(
            f"a={a:g}, alpha={alpha:g}: the second moments grow at the rate {growth:.4g}: no stationary law"
        )
    moments = scipy.linalg.solve(matrix, -noise * tree.noise())
    return np.array([moments[tree.orbit[i, i]] for i in tree.shown])


def _check_fanout(fanout: Sequence[int]) -> None:
    if not len(fanout):
        raise ValueError(f"fanout={shown(fanout)}: must have a level at least, such as (4, 4)")
    for fan in fanout:
        check_count("fanout", fan)


class _Tree:
    """Events of a tree, and its second moments by orbits: pairs of coordinates that a renumbering exchanges."""

    def __init__(self, fanout: Sequence[int], a: float, alpha: float):
        _check_fanout(fanout)
        check_sign("a", a)
        check_sign("alpha", alpha, zero=False)
        self.a, self.alpha, self.levels = a, alpha, len(fanout)
        sizes = [int(np.prod(fanout[level:])) for level in range(self.levels + 1)]
        self.leaves = sizes[0]
        # Coordinates: x, z, s of the leaves, and the nodes above.
        self.x, self.z, self.s = (np.arange(self.leaves) + i * self.leaves for i in range(3))
        first = 3 * self.leaves + np.cumsum([0, *sizes[1:]])
        self.nodes = [first[level] + np.arange(sizes[level + 1]) for level in range(self.levels)]
        self.size = int(first[-1])
        self.fanout, self.shown = fanout, [0, *(int(nodes[0]) for nodes in self.nodes)]
        lineage = np.full((self.size, self.levels + 1), -1)  # the number of the ancestor at each level
        kind = np.zeros(self.size, int)
        for number, coordinates in enumerate((self.x, self.z, self.s, *self.nodes)):
            level, kind[coordinates] = max(0, number - 2), number
            who = np.arange(coordinates.size)
            for above in range(level, self.levels + 1):
                lineage[coordinates, above] = who
                who = who // fanout[above] if above < self.levels else who
        same = (lineage[:, None] == lineage[None]) & (lineage[:, None] >= 0)
        meets = np.argmax(same, axis=2)  # the level of the lowest common ancestor
        names = np.stack(
            [np.broadcast_to(kind[:, None], meets.shape), np.broadcast_to(kind, meets.shape), meets], axis=2
        )
        names[..., :2] = np.sort(names[..., :2], axis=2)
        _, place, orbit = np.unique(names.reshape(-1, 3), axis=0, return_index=True, return_inverse=True)
        self.orbit, self.place = orbit.reshape(meets.shape), place

    def events(self) -> list[NDArray]:
        """The linear map of the step of each node."""
        found, keep, alpha = [], 1 - self.alpha, self.alpha
        for leaf in range(self.leaves):
            step, parent = np.eye(self.size), self.nodes[0][leaf // self.fanout[0]]
            x, z, s = self.x[leaf], self.z[leaf], self.s[leaf]
            step[parent, parent], step[parent, x] = keep, alpha * (1 - self.a)
            step[x] = step[z] = step[s] = 0
            step[x, z] = step[z, z] = 1 - self.a
            step[x, s] = step[z, s] = 1
            found.append(step)
        for level, nodes in enumerate(self.nodes):
            fan = self.fanout[level]
            for number, node in enumerate(nodes):
                step, children = np.eye(self.size), np.arange(number * fan, (number + 1) * fan)
                if level == 0:
                    step[self.z[children], self.z[children]] = step[self.s[children], self.s[children]] = keep
                    step[self.s[children], node] = alpha
                else:
                    below = self.nodes[level - 1][children]
                    step[below, below], step[below, node] = keep, alpha
                if level + 1 < self.levels:
                    above = self.nodes[level + 1][number // self.fanout[level + 1]]
                    step[above, above], step[above, node] = keep, alpha
                found.append(step)
        return found

    def generator(self) -> NDArray:
        """How fast the moments of all orbits change, (orbits, orbits)."""
        events, count = self.events(), self.place.size
        matrix = np.zeros((count, count))
        for number in range(count):
            moments = (self.orbit == number).astype(float)
            change = sum(step @ moments @ step.T - moments for step in events)
            matrix[:, number] = np.asarray(change).ravel()[self.place]
        return matrix

    def noise(self) -> NDArray:
        """What the noise of jobs adds to them in a unit of time, of variance 1, (orbits,)."""
        # w is 1 after a job, falls by 1 - alpha at each step of the parent, and is read at the next job's end.
        weight, square = (1 / (2 - (1 - self.alpha) ** k) for k in (1, 2))
        added = np.zeros((self.size, self.size))
        for leaf in range(self.leaves):
            parent = self.nodes[0][leaf // self.fanout[0]]
            own = [self.x[leaf], self.z[leaf]]
            added[np.ix_(own, own)] += square
            added[own, parent] += self.alpha * weight
            added[parent, own] += self.alpha * weight
            added[parent, parent] += self.alpha**2
        return added.ravel()[self.place]
