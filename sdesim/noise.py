"""Laws of the gradient noise.

A law describes zeta, the fluctuation of one sample's descent direction about its mean: -g = -grad f + zeta. A minibatch
of b samples has the law's covariance divided by b. The integrator adds sqrt(eta dt) zeta, which at dt = eta is the SGD
iteration for any law, and below it an approximation of the SDE dx = ... + sqrt(eta / b) B dW with B B^T the covariance.

A law has two parts. `variates` turns random words into dimensionless numbers, one each agent and coordinate. `apply`
makes zeta of them, and may look at the agents' state and gradients. `diffuse` does the same with Brownian increments,
so that the SDE of a law of any shape can be driven from outside, by diffrax or by a test.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from sdesim import random
from sdesim.coupling import per_agent
from sdesim.fields import (
    Part,
    called_with,
    check_choice,
    check_per,
    check_sign,
    concrete,
    function,
    is_traced,
    named,
    number,
    shown,
    warn,
)
from sdesim.random import Stream, Words

Agents = Float[Array, "agents dims"]

MOST_WORD_PAIRS = int(Stream.POSITION - Stream.NOISE)
"""Word pairs that a law may need for two agents, each of a stream of its own."""


class AbstractNoise(Part):
    """A law of gradient noise. Arrays are of one simulation, (agents, dims); `batch` is a number or one an agent.

    Attributes:
        word_pairs: how many a pair of agents needs for each coordinate and step; of the class.
        state_dependent: whether it is multiplicative in the sense of SDEs, for Itô solvers alone; of the class.
        linear: whether zeta is a sum of its variates, so that the mean of several agents' is that of their mean; of the
            class.
        rejects: whether its variates are drawn in a loop, by rejection: XLA then compiles agents in pairs for minutes;
            of the class.
    """

    word_pairs: ClassVar[int] = 1  # how many a pair of agents needs for each coordinate and step
    state_dependent: ClassVar[bool] = False  # multiplicative in the sense of SDEs: Itô solvers alone
    linear: ClassVar[bool] = False  # zeta is a sum of its variates: the mean of several agents' is that of their mean
    rejects: ClassVar[bool] = False  # variates are drawn in a loop

    def __init_subclass__(cls, **options: Any):
        """Refuse the name that `word_pairs` had in version 0.1: a law that set it would be given too few words."""
        super().__init_subclass__(**options)
        if "blocks" in vars(cls):
            raise TypeError(f"{cls.__name__}.blocks is now word_pairs: how many a pair of agents needs")

    @property
    def diagonal(self) -> bool:
        """Whether each coordinate's noise comes from its own Brownian motion alone."""
        return True

    def iteration_only(self) -> str | None:
        """Why the law has no SDE below dt = eta, or None."""
        return None

    def without_variance(self) -> str | None:
        """Why no Brownian motion has the law's covariance, or None.

        What runs at dt = eta alone is taken to have none, unless it says otherwise.
        """
        return self.iteration_only()

    def check_run(self, dims: int) -> None:
        """Refuse, by the name of a number, a run of so many coordinates; any fits by default.

        Args:
            dims: coordinates of an agent.

        Raises:
            ValueError: naming the number and what would be right.
        """

    def distribution(self) -> Any:
        """Of one variate, where all are independent and of one law, as a frozen distribution of scipy.stats; else None.

        Expectations under the noise are then found by quadrature (`analysis.smoothed_loss`).
        """
        return None

    def variates(self, words: Sequence[Words], dtype: DTypeLike, batch: Array) -> Agents | Float[Array, ""]:
        """The law's dimensionless numbers, one each agent and coordinate.

        Args:
            words: of the step, one `Words` for each of the law's `word_pairs`, of shape (agents, dims).
            dtype: of the numbers, that of the states.
            batch: minibatch size, a number or one an agent, (agents,).

        Returns:
            Variates, (agents, dims); a number where nothing is random.
        """
        raise NotImplementedError

    def apply(self, z: Agents, x: Agents, gradient: Agents, batch: Array, scale: Array) -> Agents:
        """scale * zeta of a minibatch, from variates `z`, at agents `x` whose gradients are given.

        Args:
            z: what `variates` made, (agents, dims).
            x: agents, (agents, dims), in length.
            gradient: of the loss at each agent, (agents, dims), in length/time.
            batch: minibatch size, a number or one an agent, (agents,).
            scale: a number or one an agent, handed in so that a law can multiply all its factors before they meet
                arrays.

        Returns:
            (agents, dims).
        """
        raise NotImplementedError

    def diffuse(self, dw: Agents, x: Agents, gradient: Agents, batch: Array, scale: Array) -> Agents:
        """scale * B(x) dw / sqrt(batch), for `dw` of independent standard components.

        Args:
            dw: Brownian increments in units of their standard deviation, (agents, dims).
            x: agents, (agents, dims), in length.
            gradient: of the loss at each agent, (agents, dims), in length/time.
            batch: minibatch size, a number or one an agent, (agents,).
            scale: a number or one an agent, (agents,).

        Returns:
            (agents, dims).
        """
        raise NotImplementedError


class Silent(AbstractNoise):
    """No noise: gradient descent."""

    word_pairs = 0

    def variates(self, words: Sequence[Words], dtype: DTypeLike, batch: Array):
        return jnp.zeros((), dtype)

    def apply(self, z: Array, x: Agents, gradient: Agents, batch: Array, scale: Array):
        return jnp.zeros_like(x)

    def diffuse(self, dw: Agents, x: Agents, gradient: Agents, batch: Array, scale: Array):
        return jnp.zeros_like(x)


class AbstractAdditive(AbstractNoise):
    """Noise that is the same everywhere: zeta = amplitude * z with independent components."""

    linear = True

    @property
    def amplitude(self) -> Array:
        """What one unit of the variates is worth; a number, or one a coordinate (dims,)."""
        raise NotImplementedError

    def check_run(self, dims: int):
        fields = [field.name for field in dataclasses.fields(self) if getattr(self, field.name) is self.amplitude]
        check_per((fields or ["amplitude"])[0], self.amplitude, dims, "dims")

    @property
    def variate_std(self) -> float | Array:
        """Standard deviation of the variates."""
        return 1.0

    @property
    def std(self) -> Array:
        """Standard deviation of zeta for one sample, a number or one a coordinate."""
        return self.amplitude * self.variate_std

    def apply(self, z: Agents, x: Agents, gradient: Agents, batch: Array, scale: Array):
        return _factor(self.amplitude, scale / jnp.sqrt(batch)) * z

    def diffuse(self, dw: Agents, x: Agents, gradient: Agents, batch: Array, scale: Array):
        return _factor(self.std, scale / jnp.sqrt(batch)) * dw


_LOOKED_AT: set[type] = set()  # of users' own laws: their variates are looked at once


def look_at_variates(law: AbstractNoise) -> None:
    """Warn of a user's own additive law whose variates have another mean or deviation than it states.

    By `variate_std` all that knows the noise by its covariance takes it: steps that are shorter than the matched one,
    maps of moments, diffrax. Once for a class, by 4096 variates; one that fails is left to the run, which says how.

    Args:
        law: of any kind.

    Warns:
        UserWarning: with both numbers, where they differ by more than a tenth and six standard errors.
    """
    kind = type(law)
    if not isinstance(law, AbstractAdditive) or kind.__module__.partition(".")[0] == "sdesim" or kind in _LOOKED_AT:
        return
    if is_traced(law) or law.without_variance() is not None:
        return
    _LOOKED_AT.add(kind)
    pairs = np.random.default_rng(0).integers(2**32, size=(law.word_pairs, 2, 256, 16), dtype=np.uint32)
    odd = np.broadcast_to(np.arange(256)[:, None] % 2 == 1, (256, 16))
    try:
        with jax.ensure_compile_time_eval():
            words = [Words(jnp.asarray(a), jnp.asarray(b), jnp.asarray(odd)) for a, b in pairs]
            z = np.asarray(law.variates(words, jnp.float32, jnp.ones(())), float)
            stated = float(law.variate_std)
    except Exception:  # a user's law may do anything, and may have one deviation a coordinate
        return
    if z.shape != odd.shape:
        return
    mean, std = z.mean(), z.std()
    fourth = np.mean((z - mean) ** 4) / max(std, 1e-300) ** 4
    error = std * np.sqrt(max(fourth - 1, 0) / 4 / z.size)  # of the deviation, where there is a fourth moment
    if abs(std - stated) > max(6 * error, stated / 10):
        said = f"its variates have standard deviation {std:.3g}, and variate_std says {stated:.3g}"
        warn(f"noise={kind.__name__}: {said}; let `variate_std` return what they have", UserWarning)
    if abs(mean) > max(6 * std / np.sqrt(z.size), std / 10):
        warn(f"noise={kind.__name__}: its variates have mean {mean:.3g}; noise must have mean 0", UserWarning)


def _factor(coordinates: Array, agents: Array) -> Array:
    """The product of a factor for each coordinate (dims,) and one for each agent (agents,); either may be a number."""
    column = agents if agents.ndim == 0 else agents[:, None]
    row = coordinates if coordinates.ndim == 0 else coordinates[None, :]
    if column.ndim and row.ndim:
        row = jnp.broadcast_to(row, (column.shape[0], row.shape[1]))
    return column * row


class Uniform(AbstractAdditive):
    """Independent components uniform on (-half_width, half_width): the noise of BS 4.3.

    Attributes:
        half_width: at least 0, a number or one a coordinate (dims,), in length/time.
    """

    half_width: Array = eqx.field(converter=number)

    def __check_init__(self):
        check_sign("half_width", self.half_width)

    @property
    def amplitude(self):
        return self.half_width

    @property
    def variate_std(self):
        return 1 / np.sqrt(3.0).item()

    def variates(self, words: Sequence[Words], dtype: DTypeLike, batch: Array):
        return random.centered(words[0].own, dtype)

    def distribution(self):
        from scipy import stats  # half a second to import, as in the other laws

        return stats.uniform(-1, 2)


class Gaussian(AbstractAdditive):
    """Independent normal components.

    Attributes:
        sigma: their standard deviation, at least 0, a number or one a coordinate (dims,), in length/time.
    """

    sigma: Array = eqx.field(converter=number)

    def __check_init__(self):
        check_sign("sigma", self.sigma)

    @property
    def amplitude(self):
        return self.sigma

    def variates(self, words: Sequence[Words], dtype: DTypeLike, batch: Array):
        return random.normal(words[0], dtype)

    def distribution(self):
        from scipy import stats

        return stats.norm()


class StudentT(AbstractAdditive):
    """Independent Student-t components: zeta = scale * t(freedom). Heavy tails, as gradients of networks show.

    Attributes:
        scale: at least 0, a number or one a coordinate (dims,), in length/time.
        freedom: degrees of freedom > 0; at 2 or less the variance is infinite, and the law has no SDE: it runs at dt =
            eta alone.
    """

    scale: Array = eqx.field(converter=number)
    freedom: Array = eqx.field(converter=number)

    # Bailey's polar method makes one exact variate of two words, so each of two agents takes a word pair of its own.
    word_pairs = 2

    def __check_init__(self):
        check_sign("scale", self.scale)
        check_sign("freedom", self.freedom, zero=False)

    @property
    def amplitude(self):
        return self.scale

    @property
    def variate_std(self):
        return jnp.sqrt(self.freedom / (self.freedom - 2))

    def iteration_only(self):
        freedom = concrete(self.freedom, np.min)
        if freedom is not None and freedom <= 2:
            return f"StudentT of freedom={freedom:g} has no variance (it needs freedom > 2)"
        return None

    def variates(self, words: Sequence[Words], dtype: DTypeLike, batch: Array):
        even, odd = words
        first = jnp.where(even.odd, odd.first, even.first)
        second = jnp.where(even.odd, odd.second, even.second)
        u = random.uniform(first, dtype)
        # expm1 keeps the middle of the law exact for large freedom, where u^(-2/freedom) is close to 1
        radius = jnp.sqrt(self.freedom * jnp.expm1(-2 / self.freedom * jnp.log(u)))
        return radius * random.turn_sine(second, even.odd, dtype)

    def distribution(self):
        from scipy import stats

        return stats.t(float(self.freedom))


class Diffusion(AbstractNoise):
    """Gaussian noise with a state-dependent matrix: zeta = B(x) z, z standard normal, x one agent's state (dims,).

    Attributes:
        matrix: a function of x, of shape (dims,), to B of shape (dims,) for kind "diagonal" or (dims, dims) for "full".
            An `equinox.Module` keeps its numbers sweepable.
        kind: "diagonal", each coordinate with noise of its own, or "full".
    """

    matrix: Callable[[Array], Array] = eqx.field(
        converter=function, metadata=called_with("point", gives=(("dims",), ("dims", "dims")))
    )
    kind: Literal["diagonal", "full"] = eqx.field(static=True, default="diagonal")

    state_dependent = True
    linear = True

    def __check_init__(self):
        check_choice("kind", self.kind, ("diagonal", "full"))

    @property
    def diagonal(self):
        return self.kind == "diagonal"

    def variates(self, words: Sequence[Words], dtype: DTypeLike, batch: Array):
        return random.normal(words[0], dtype)

    def apply(self, z: Agents, x: Agents, gradient: Agents, batch: Array, scale: Array):
        def one(xi: Array, zi: Array):
            b = jnp.asarray(self.matrix(xi))
            expected = xi.shape if self.kind == "diagonal" else xi.shape * 2
            if b.shape != expected:
                raise ValueError(f"noise.matrix: a {self.kind} B(x) must have shape {expected}, got {b.shape}")
            return b * zi if self.kind == "diagonal" else b @ zi

        return per_agent(scale / jnp.sqrt(batch), z) * jax.vmap(one)(x, z)

    def diffuse(self, dw: Agents, x: Agents, gradient: Agents, batch: Array, scale: Array):
        return self.apply(dw, x, gradient, batch, scale)

    def distribution(self):
        from scipy import stats

        return stats.norm()


class GammaMultiplicative(AbstractNoise):
    """Multiplicative noise of Z 5.2: a minibatch's gradient is xi * grad f, with xi ~ Gamma(b shape, b shape), mean 1.

    Each agent and each coordinate has a xi of its own (Z's model has one coordinate).

    With the loss `zhang_multiplicative(shape, rate)` this is Z 5.23-5.24, x <- x - eta u^2 x with u^2 ~ Gamma(shape,
    rate). Its SDE has diffusion grad f / sqrt(b shape) (geometric Brownian motion for a quadratic); the Gamma law
    itself runs at dt = eta alone.

    Attributes:
        shape: of the law for one sample, greater than 0, without unit; the variance of xi is 1 / (b shape).
    """

    shape: Array = eqx.field(converter=number)

    state_dependent = True
    linear = True
    rejects = True

    def __check_init__(self):
        check_sign("shape", self.shape, zero=False)

    def iteration_only(self):
        return "Gamma multiplicative noise is not the increment of an SDE"

    def without_variance(self):
        return None

    def variates(self, words: Sequence[Words], dtype: DTypeLike, batch: Array):
        pair = words[0]
        # A rejection sampler: JAX's own, with one key an agent and coordinate made of the pair's words.
        data = jnp.stack([jnp.where(pair.odd, ~pair.first, pair.first), pair.second], -1)
        shape = jnp.broadcast_to(per_agent(self.shape * batch, pair.first), pair.first.shape)
        keys = jax.random.wrap_key_data(data, impl="threefry2x32")
        draw = jax.vmap(jax.vmap(lambda key, a: jax.random.gamma(key, a, dtype=dtype)))
        return draw(keys, shape.astype(dtype)) / shape - 1

    def distribution(self):
        from scipy import stats

        shape = float(self.shape)
        return stats.gamma(shape, loc=-1, scale=1 / shape)  # xi - 1

    def apply(self, z: Agents, x: Agents, gradient: Agents, batch: Array, scale: Array):
        return per_agent(-scale, z) * z * gradient

    def diffuse(self, dw: Agents, x: Agents, gradient: Agents, batch: Array, scale: Array):
        return per_agent(scale / jnp.sqrt(self.shape * batch), dw) * dw * gradient


def zhang_multiplicative(shape: float, rate: float):
    """Loss and noise of Z's multiplicative model: E[(x u)^2] / 2 with u^2 ~ Gamma(shape, rate) (Z 5.22).

    Args:
        shape: of the Gamma law, greater than 0, without unit.
        rate: of the Gamma law, greater than 0, in time: u^2 is a curvature of mean shape / rate.

    Returns:
        (Quadratic of curvature shape / rate, GammaMultiplicative(shape)).
    """
    from sdesim.objectives import Quadratic

    for name, value in (("shape", shape), ("rate", rate)):
        check_sign(name, value, zero=False)
    shape, rate = named("shape", number)(shape), named("rate", number)(rate)
    return Quadratic(shape / rate), GammaMultiplicative(shape)


def svag_weights(level: Any) -> tuple[Any, Any]:
    """What SVAG multiplies two fresh gradients by at a level l: (1 +- sqrt(2 l - 1)) / 2 (2102.12470).

    Their sum is 1, that of their squares l: the combined gradient has the mean of one, and l times its variance.

    Args:
        level: l, one number, at least 1, without unit.

    Returns:
        The two weights, as the level; 1 and 0 at level 1.

    Raises:
        TypeError: for what is no number.
        ValueError: for one below 1, or that is not finite.
    """
    _check_level(level)
    root = (2 * level - 1) ** 0.5
    return (1 + root) / 2, (1 - root) / 2


def _check_level(level: Any) -> None:
    level = named("level", number)(level)
    check_sign("level", level, zero=False)
    if jnp.shape(level) != ():
        raise ValueError(f"level={shown(level)}: must be one number")
    least = concrete(level, np.min)
    if least is not None and least < 1:
        raise ValueError(f"level={least:g}: must be at least 1")


def _level(value: Any) -> Array:
    return jnp.asarray(number(value), jnp.result_type(float))


class Svag(AbstractNoise):
    """The noise of SVAG at a level l, by which to see whether an SDE describes SGD (Li, Malladi and Arora 2102.12470).

    At level l a step is l times shorter, and its gradient is combined of two fresh ones (`svag_weights`): mean and
    covariance of what happens in a time stay, and all else of the noise's law fades as l grows, whose limit is the SDE.
    By Euler-Maruyama with dt = h / l, h the matched step, this is SVAG, and at level 1 the iteration:
    `analysis.validity` does it.

    zeta = (w1 zeta1 + w2 zeta2) / sqrt(l), zeta1 and zeta2 two draws of a law. Of a Gaussian law it is that law.

    Attributes:
        law: of one sample's noise, a sum of its variates (`linear`), of at most eight word pairs.
        level: l, one number, at least 1, without unit.
    """

    law: AbstractNoise
    level: Array = eqx.field(converter=_level, default=1.0)

    word_pairs: ClassVar[Any] = property(lambda self: 2 * self.law.word_pairs, doc="Of both draws.")
    state_dependent: ClassVar[Any] = property(lambda self: self.law.state_dependent, doc="As the law.")
    rejects: ClassVar[Any] = property(lambda self: self.law.rejects, doc="As the law.")
    linear = True

    def __check_init__(self):
        if not isinstance(self.law, AbstractNoise):
            raise TypeError(f"law={shown(self.law)}: must be one of sdesim.noise")
        name = type(self.law).__name__
        if not self.law.linear and self.law.word_pairs:
            raise ValueError(f"law={name}: must be a sum of its variates, and say so by `linear = True`")
        if self.law.word_pairs > MOST_WORD_PAIRS // 2:
            right = f"must need at most {MOST_WORD_PAIRS // 2} word pairs, to be drawn twice"
            raise ValueError(f"law={name}: {right}, and needs {self.law.word_pairs}")
        _check_level(self.level)

    @property
    def diagonal(self):
        return self.law.diagonal

    def iteration_only(self):
        return self.law.without_variance()

    def check_run(self, dims: int):
        self.law.check_run(dims)

    def variates(self, words: Sequence[Words], dtype: DTypeLike, batch: Array):
        half, (one, other) = self.law.word_pairs, svag_weights(self.level)
        first, second = (self.law.variates(part, dtype, batch) for part in (words[:half], words[half:]))
        root = jnp.sqrt(self.level)
        return (one / root).astype(dtype) * first + (other / root).astype(dtype) * second

    def apply(self, z: Agents, x: Agents, gradient: Agents, batch: Array, scale: Array):
        return self.law.apply(z, x, gradient, batch, scale)

    def diffuse(self, dw: Agents, x: Agents, gradient: Agents, batch: Array, scale: Array):
        return self.law.diffuse(dw, x, gradient, batch, scale)


LAWS: dict[str, type[AbstractNoise]] = {
    "silent": Silent,
    "uniform": Uniform,
    "gaussian": Gaussian,
    "student-t": StudentT,
    "diffusion": Diffusion,
    "gamma-multiplicative": GammaMultiplicative,
    "svag": Svag,
}
"""Every law by name."""
