"""Time averages of the quorum on a quadratic loss: their limit, and their law after any number of iterations (BS 5.5).

`average_covariance` is the limit, of the SDE. `quorum_chain` is the iteration itself, of which the mean z_n of the
quorum over n iterations has an exact covariance and skewness. Everything is float64 NumPy.
"""

import dataclasses

import numpy as np
import scipy.linalg
from numpy.typing import ArrayLike

from sdesim.fields import check_count, check_sign
from sdesim.theory.arguments import finite
from sdesim.theory.linear import Matrix, check_stable, system


def average_covariance(
    matrix: ArrayLike,
    covariance: ArrayLike,
    agents: int = 1,
    k: float | None = None,
    preconditioners: ArrayLike | None = None,
) -> Matrix:
    """Covariance of sqrt(t) z_t for t -> infinity, z_t = (1/t) integral of the quorum (BS 59).

    Without preconditioners, or with a common one, it is A^-1 Sigma A^-T / agents for every gain k. With preconditioners
    P_i that differ,

        dx^i = (-P_i A x^i + k (x_mean - x^i)) dt + P_i B dW^i,

    it depends on k, and is the average of the stacked system's M^-1 N M^-T, M its drift and N its noise covariance.

    Args:
        matrix: A, (dims, dims) or a number, in 1/time.
        covariance: Sigma, (dims, dims) or a number, in length^2/time.
        agents: p.
        k: gain of quorum coupling, in 1/time; needed where the preconditioners differ.
        preconditioners: None, or one an agent: numbers (agents,) or matrices (agents, dims, dims), without unit.

    Returns:
        (dims, dims), in length^2 time.

    Raises:
        ValueError: if A or the stacked system is not stable, a shape is wrong, or k is missing.
    """
    a, sigma = system(matrix, covariance)
    p, d = check_count("agents", agents), len(a)
    if k is not None:
        check_sign("k", k)
    if preconditioners is None:
        check_stable(a)
        inverse = np.linalg.inv(a)
        return inverse @ sigma @ inverse.T / p
    if k is None:
        raise ValueError("k=None: agents with preconditioners need the gain k (0 for uncoupled agents)")
    each = _matrices(preconditioners, p, d)
    drift = _stacked_drift(each, a, k)
    noise = _blocks(each @ sigma @ each.transpose(0, 2, 1))
    check_stable(drift)
    row = np.linalg.solve(drift.T, _averaging(p, d).T).T  # the averaging row times M^-1
    return row @ noise @ row.T


@dataclasses.dataclass(frozen=True)
class Chain:
    """A linear iteration X <- step X + kick zeta of all agents' coordinates, with independent zeta of variance 1.

    It starts at the minimum, X = 0, and z_n is the mean of the quorum over the n iterations that follow.

    Attributes:
        step: (agents * dims, agents * dims), without unit.
        kick: (agents * dims, agents * dims), in length.
        quorum: (dims, agents * dims), which takes the mean of the agents.
    """

    step: Matrix
    kick: Matrix
    quorum: Matrix

    def responses(self, n: int) -> Matrix:
        """What a unit of zeta, m = 1..n iterations before the end, adds to sqrt(n) z_n.

        Args:
            n: iterations.

        Returns:
            (n, dims, agents * dims), in length.
        """
        total, power, found = np.zeros_like(self.step), np.eye(len(self.step)), []
        for _ in range(check_count("n", n)):
            total, power = total + power, power @ self.step
            found.append(self.quorum @ total @ self.kick / np.sqrt(n))
        return np.array(found)

    def covariance(self, n: int) -> Matrix:
        """Covariance of sqrt(n) z_n.

        For n -> infinity it is `average_covariance` over the learning rate, as sqrt(n) z_n = sqrt(t / eta) z_t.

        Args:
            n: iterations.

        Returns:
            (dims, dims), in length^2.
        """
        return np.einsum("mic,mjc->ij", *2 * [self.responses(n)])

    def skewness(self, n: int, skewness: float) -> Matrix:
        """Skewness of the coordinates of sqrt(n) z_n.

        Args:
            n: iterations.
            skewness: E zeta^3 of every zeta.

        Returns:
            (dims,), without unit.
        """
        third = skewness * np.sum(self.responses(n) ** 3, axis=(0, 2))
        return third / np.diag(self.covariance(n)) ** 1.5


def quorum_chain(eta: float, preconditioners: ArrayLike, matrix: ArrayLike, noise: ArrayLike, k: float) -> Chain:
    """QSGD whose agent i steps by eta (P_i (-A x + B zeta) + k (mean - x)): the coupling has no P_i (BS 5.5).

    Args:
        eta: learning rate, in time.
        preconditioners: P_i, one an agent: numbers (agents,) or matrices (agents, dims, dims), without unit.
        matrix: A, (dims, dims) or a number, in 1/time; symmetric or not.
        noise: B, (dims, dims) or a number, with B B^T the covariance of the gradient noise, in length^2/time^2.
        k: gain of quorum coupling, in 1/time.

    Returns:
        The iteration of all agents' coordinates.

    Raises:
        ValueError: if a shape is wrong, or eta or k out of its range.
    """
    check_sign("eta", eta, zero=False)
    check_sign("k", k)
    b = np.atleast_2d(finite("noise", np.asarray(noise, float)))
    a, _ = system(matrix, b @ b.T)
    p, d = len(np.asarray(preconditioners)), len(a)
    each = _matrices(preconditioners, p, d)
    step = np.eye(p * d) - eta * _stacked_drift(each, a, k)
    return Chain(step, eta * _blocks(each) @ np.kron(np.eye(p), b), _averaging(p, d))


def _matrices(preconditioners: ArrayLike, p: int, d: int) -> Matrix:
    """One matrix an agent, (p, d, d)."""
    each = finite("preconditioners", np.asarray(preconditioners, float))
    if each.shape == (p,):
        each = each[:, None, None] * np.eye(d)
    if each.shape != (p, d, d):
        raise ValueError(f"preconditioners: of shape {each.shape}, must be (agents,) = ({p},) or {(p, d, d)}")
    return each


def _stacked_drift(each: Matrix, a: Matrix, k: float) -> Matrix:
    """M of all agents' coordinates X, dX = -M X dt: blocks P_i A, and what pulls each agent to the mean."""
    p, d = each.shape[:2]
    pull = np.kron(np.eye(p) - np.full((p, p), 1 / p), np.eye(d))
    return _blocks(each) @ np.kron(np.eye(p), a) + float(k) * pull


def _blocks(each: Matrix) -> Matrix:
    """Matrices (p, d, d) as the diagonal of one, (p * d, p * d)."""
    return np.asarray(scipy.linalg.block_diag(*each), float)


def _averaging(p: int, d: int) -> Matrix:
    """The matrix that takes the mean of the agents, (d, p * d)."""
    return np.kron(np.full((1, p), 1 / p), np.eye(d))
