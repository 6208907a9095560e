"""The loss as noise lets an agent see it: the expectation of any loss under any noise law (BS 4, BS 39)."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from sdesim.fields import check_count, check_sign, of_part
from sdesim.functions import objective_of_today
from sdesim.noise import AbstractNoise
from sdesim.objectives import AbstractObjective, as_objective, check_loss
from sdesim.random import Words
from sdesim.statistics import Estimate, standard_error

SPLINES = 500  # agents, up to which the density of their mean uniform noise is evaluated as a spline
NODES = 512  # of a Gauss rule, at the most
TAIL = 1e-6  # share of an expectation that may come from the far end of a tail


class Rule(NamedTuple):
    """A quadrature: E g(z) is about sum_n weights_n g(nodes_n).

    Attributes:
        nodes: in ascending order, (nodes,), in units of the variates.
        weights: (nodes,), of sum 1.
    """

    nodes: np.ndarray
    weights: np.ndarray


def smoothed_loss(
    loss: AbstractObjective | Callable,
    law: AbstractNoise,
    scale: float,
    x: Any,
    *,
    agents: int = 1,
    distribution: Any = None,
    points: int = 1024,
    scramblings: int = 16,
    seed: int = 0,
) -> Estimate:
    """E f(x + scale zeta), the loss convolved with the noise.

    y = x - eta grad f(x), the point before its noise is added, descends this loss in expectation for scale = eta (BS
    4); the mean of `agents` synchronized agents sees that of their averaged noise, of 1/sqrt(agents) the standard
    deviation (BS 39), whose law is not that of one agent except for the Gaussian: the mean of uniforms is not uniform.

    In one dimension by quadrature, doubled until it changes no more: Gauss-Legendre for uniform noise (for the mean
    of several agents with the spline that is its density), Gauss-Hermite for Gaussian noise, and double exponential
    nodes in the quantile for other laws. In more dimensions, for the mean of several agents under these other laws,
    and for laws of your own, by scrambled Sobol points.

    Args:
        loss: an objective, or a function of a point (dims,).
        law: a noise law; zeta of one sample. GammaMultiplicative and Diffusion are taken at `x`.
        scale: what multiplies zeta, at least 0: eta, or eta / sqrt(batch) for additive laws.
        x: a number, one point (dims,), or points (points, dims).
        agents: whose mean noise it is.
        distribution: of one variate of a law of your own, independent for each coordinate, as a frozen distribution of
            scipy.stats (`ppf` and `isf` are used); it makes quadrature possible.
        points: Sobol points, rounded up to a power of two.
        scramblings: independent ones of these points, at least 2, whose differences give the error.
        seed: of the scramblings.

    Returns:
        The expectations, a number or (points,), and their errors: the last change of the quadrature, never less than
        rounding, or the standard error over the scramblings.

    Raises:
        TypeError: for what is no loss or no law.
        ValueError: for a loss, law, scale or point that does not fit; where the loss is not finite at a node; and in
            one dimension where the law's tails make the expectation infinite.
    """
    objective = as_objective(loss, "loss")
    if not isinstance(law, AbstractNoise):
        raise TypeError(f"law={law!r}: must be one of sdesim.noise")
    check_sign("scale", scale)
    check_count("agents", agents)
    check_count("points", points)
    check_count("scramblings", scramblings, least=2)
    dtype = jnp.result_type(float)
    place = jnp.asarray(x, dtype)
    if place.ndim > 2:
        raise ValueError(f"x: must be a number, a point (dims,) or points (points, dims), got shape {place.shape}")
    single = place.ndim < 2
    place = place.reshape((1, -1)) if single else place
    dims = place.shape[1]
    check_loss(objective, dims, dtype)
    with of_part("law"):
        law.check_run(dims)
    factor = jnp.asarray(scale, dtype)

    def values(z: np.ndarray) -> np.ndarray:
        """The loss at every point for every draw of the variates z (draws, agents, dims): (points, draws)."""
        with objective_of_today(objective, dims) as now:
            return np.asarray(_losses(now, law, place, jnp.asarray(z, dtype), factor), float)

    # The mean of Gaussian variates is a Gaussian one: one agent whose variates are smaller.
    distribution = _distribution(law) if distribution is None else distribution
    if _name(distribution) == "norm" and law.linear:
        shrink, agents = 1 / np.sqrt(agents), 1
    else:
        shrink = 1.0
    rules = _rules(law, distribution, agents) if dims == 1 else None
    if law.word_pairs == 0:  # nothing random
        found = Estimate(values(np.zeros((1, 1, dims)))[:, 0], np.zeros(len(place)))
    elif rules is not None:
        found = _quadrature(lambda z: values(shrink * z[:, None, None]), rules, heavy=_heavy(distribution))
    else:
        draws = lambda seed: _sobol_draws(law, distribution, points, agents, dims, seed)
        means = [_checked(values(shrink * draws([seed, i]))).mean(axis=1) for i in range(scramblings)]
        found = Estimate(np.mean(means, axis=0), standard_error(means))
    floor = float(jnp.finfo(dtype).eps) * np.abs(found.value)
    error = np.maximum(found.stderr, floor)
    return Estimate(float(found.value[0]), float(error[0])) if single else Estimate(found.value, error)


@eqx.filter_jit
def _losses(objective: AbstractObjective, law: AbstractNoise, x: Array, z: Array, scale: Array):
    """f(x + scale mean over agents of zeta) for points x (points, dims) and variates z (draws, agents, dims)."""
    draws, agents, dims = z.shape

    def at(point: Array):
        repeat = lambda a: jnp.broadcast_to(a[None], (draws * agents, dims))
        # Every draw of every agent is one agent to the law.
        one = jnp.ones((), x.dtype)
        zeta = law.apply(z.reshape(-1, dims), repeat(point), repeat(objective.gradient(point)), one, scale)
        return jax.vmap(objective.loss)(point[None] + jnp.mean(zeta.reshape(draws, agents, dims), axis=1))

    return jax.lax.map(at, x)


def _checked(values: np.ndarray) -> np.ndarray:
    if not np.isfinite(values).all():
        bad = int((~np.isfinite(values)).sum())
        raise ValueError(f"loss: not finite at {bad} of {values.size} places that the noise reaches")
    return values


# -- quadrature in one dimension ---------------------------------------------------------------------------------------


def _distribution(law: AbstractNoise) -> Any:
    """What a law says of its variates; nothing where a subclass draws others."""
    for kind in type(law).__mro__:
        if "distribution" in vars(kind):
            return law.distribution()
        if "variates" in vars(kind):
            return None
    return None


def _heavy(distribution: Any) -> bool:
    """Whether the rule reaches into tails where the loss may grow faster than they fall."""
    return distribution is not None and _name(distribution) not in ("uniform", "norm")


def _name(distribution: Any) -> str | None:
    """What scipy.stats calls a law of variates that have its standard form here: "norm" or "uniform" on (-1, 1)."""
    family = getattr(getattr(distribution, "dist", None), "name", None)
    stds = {"norm": 1.0, "uniform": 3**-0.5}
    if family not in stds:
        return None
    found = float(distribution.mean()), float(distribution.std())
    return family if np.allclose(found, (0.0, stds[family]), rtol=1e-12, atol=1e-12) else None


def _rules(law: AbstractNoise, distribution: Any, agents: int) -> Iterator[Rule] | None:
    """Rules for the mean variate of `agents` in one dimension, each about twice the one before; None if there are none.

    Gaussian variates arrive here as of one agent.
    """
    if law.word_pairs == 0 or distribution is None:
        return None
    if _name(distribution) == "norm":
        return map(_hermite, _doubling(16, NODES)) if agents == 1 else None
    if _name(distribution) == "uniform":
        if agents == 1:
            return map(_legendre, _doubling(16, 4 * NODES))
        return (_spline(agents, n) for n in _doubling(2, 64)) if law.linear and agents <= SPLINES else None
    return map(lambda n: _double_exponential(distribution, n), _doubling(32, 4 * NODES)) if agents == 1 else None


def _doubling(first: int, last: int) -> Iterator[int]:
    while first <= last:
        yield first
        first *= 2


def _hermite(count: int) -> Rule:
    from scipy.special import roots_hermitenorm

    nodes, weights = roots_hermitenorm(count)
    return Rule(nodes, weights / weights.sum())


def _legendre(count: int) -> Rule:
    from scipy.special import roots_legendre

    nodes, weights = roots_legendre(count)
    return Rule(nodes, weights / 2)


def _spline(agents: int, count: int) -> Rule:
    """The mean of `agents` numbers uniform on (-1, 1): its density is a B-spline, a polynomial between the knots.

    Gauss-Legendre with `count` nodes between each two knots, within ten standard deviations.
    """
    from scipy.interpolate import BSpline

    reach = 10 * np.sqrt(agents / 12)
    knots = np.arange(agents + 1)
    left = knots[:-1][np.abs(knots[:-1] + 0.5 - agents / 2) <= reach + 0.5]
    nodes, weights = _legendre(count)
    total = (left[:, None] + (nodes + 1) / 2).ravel()  # of uniforms on (0, 1)
    mass = np.tile(weights, left.size) * BSpline.basis_element(knots, extrapolate=False)(total)
    return Rule(2 * total / agents - 1, mass / mass.sum())


def _double_exponential(distribution: Any, count: int) -> Rule:
    """Equal steps in t on either side of the median, in cumulative probability 1/2 / (1 + e^(-pi sinh t)).

    Integrable ends do no harm, nor does a density with a kink in its middle. Upper quantiles are taken from the upper
    probability, which stays exact where one minus it is 1.
    """
    t = np.linspace(-5.4, 3.2, count)  # from a probability of 1e-151 to within 1e-17 of a half
    share = 1 / (1 + np.exp(-np.pi * np.sinh(t)))
    nodes = np.concatenate([distribution.ppf(share / 2), distribution.isf(share / 2)[::-1]])
    weights = np.cosh(t) * share * (1 - share)
    weights = np.concatenate([weights, weights[::-1]])
    return Rule(nodes, weights / weights.sum())


def _quadrature(values: Callable, rules: Iterator[Rule], heavy: bool) -> Estimate:
    """Rules until two agree at all points to rounding, or there are no more."""
    tolerance = 10 * float(jnp.finfo(jnp.result_type(float)).eps)
    before = None
    change = np.array([np.nan])
    for rule in rules:
        found = values(rule.nodes)
        found = _tails_cut(found, rule) if heavy else _checked(found)
        size, value = np.abs(found) @ rule.weights, found @ rule.weights
        if before is not None:
            change = np.abs(value - before)
            if (change <= tolerance * size).all():
                break
        before = value
    else:
        value = before
    return Estimate(value, change)


def _tails_cut(values: np.ndarray, rule: Rule) -> np.ndarray:
    """The values with 0 from where they overflow; refused where the far ends still matter.

    Raises:
        ValueError: if the loss grows faster than the law's tails fall.
    """
    middle = values.shape[1] // 2
    finite = np.isfinite(values)
    if not finite[:, middle].all():
        _checked(values[:, middle])
    right = np.logical_and.accumulate(finite[:, middle:], axis=1)
    left = np.logical_and.accumulate(finite[:, middle::-1], axis=1)[:, ::-1]
    kept = np.concatenate([left[:, :-1], right], axis=1)
    cut = np.where(kept, values, 0.0)
    parts = np.abs(cut) * rule.weights
    if (_ends(parts, kept) > TAIL * parts.sum(axis=1)).any():
        raise ValueError(
            "law: its tails are too heavy for this loss: the expectation is infinite, or more than "
            f"{TAIL:g} of it lies beyond what can be evaluated"
        )
    return cut


def _ends(parts: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """The contribution of the outermost node on either side that was kept, at each point."""
    first = np.argmax(kept, axis=1)
    last = kept.shape[1] - 1 - np.argmax(kept[:, ::-1], axis=1)
    rows = np.arange(len(parts))
    return np.maximum(parts[rows, first], parts[rows, last])


# -- quasi-Monte Carlo -------------------------------------------------------------------------------------------------


def _sobol_draws(law: AbstractNoise, distribution: Any, points: int, agents: int, dims: int, seed: Any) -> np.ndarray:
    """Variates (draws, agents, dims) from one scrambling of Sobol points.

    By the quantiles of the variates; of a law whose quantiles nobody knows, by what it makes of random words when these
    are Sobol points.
    """
    from scipy.stats import qmc

    each = 1 if distribution is not None else 2 * law.word_pairs
    count = agents * dims * each
    if count > qmc.Sobol.MAXDIM:
        raise ValueError(
            f"agents={agents}: {agents} agents in {dims} dimensions need Sobol points in {count} dimensions, of which "
            f"there are {qmc.Sobol.MAXDIM}; take fewer agents"
        )
    rng = np.random.default_rng(seed)
    draws = 1 << (points - 1).bit_length()
    u = qmc.Sobol(count, scramble=True, bits=32, rng=rng).random(draws)
    if distribution is not None:
        u = u + 2.0**-33  # between 0 and 1, without the ends
        return np.where(u < 0.5, distribution.ppf(u), distribution.isf(1 - u)).reshape(draws, agents, dims)
    random = (u * 2.0**32).astype(np.uint32).reshape(draws * agents, dims, law.word_pairs, 2)
    even = jnp.zeros((draws * agents, dims), bool)
    pairs = [jnp.asarray(random[:, :, i]) for i in range(law.word_pairs)]
    words = [Words(pair[..., 0], pair[..., 1], even) for pair in pairs]
    dtype = jnp.result_type(float)
    return np.asarray(law.variates(words, dtype, jnp.ones((), dtype)), float).reshape(draws, agents, dims)
