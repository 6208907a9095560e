"""Counter-based random words: a pure function that XLA fuses into the integration step.

Noise is data here. Every random word of sdesim is

    Threefry-2x32-R(key, counter),   key = Threefry-2x32-R(seed; stream, step),
                                     counter = (agent pair and coordinate, simulation),

so it depends on (seed, stream, simulation, agent, coordinate, step) and on nothing else: not on how many agents,
simulations or devices run together, not on the coupling, not on its gain. Runs that differ in a parameter alone are
therefore paired, and any simulation of a batch can be run again by itself.

The generator makes two words at a time, a word pair. They serve the two agents ``2i`` and ``2i + 1`` of one coordinate
at one step. The key is one for all simulations of a step: two scalars, which cost a vectorized step next to nothing.

R, the rounds, is 20, as Salmon et al. advise and JAX has it, or 13 where a run says `random="threefry13"`: "the authors
know of no statistical flaws with ROUNDS=13 or more" (Random123, threefry.h). It travels with the seed, to whatever
makes words of that.

Limits of the counter: `MAX_AGENTS` agents, `MAX_DIMS` dimensions, `MAX_STEPS` steps, `MAX_SIMS` simulations a seed.

Reference: Salmon, Moraes, Dror and Shaw, *Parallel random numbers: as easy as 1, 2, 3* (2011).
"""

import dataclasses
import enum
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Array, UInt32

from sdesim.fields import check_choice, check_count, shown

Generator = Literal["threefry20", "threefry13"]
ROUNDS: dict[Generator, int] = {"threefry20": 20, "threefry13": 13}
DEFAULT: Generator = "threefry20"

COORDINATE_BITS = 16
MAX_DIMS = 1 << COORDINATE_BITS
MAX_AGENTS = 2 << (32 - COORDINATE_BITS)
MAX_STEPS = (1 << 31) - 1  # step numbers are int32 in loops
MAX_SIMS = 1 << 32

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
# sin(pi r) = r P(r^2) for |r| <= 1/2, to 1.7e-7
_SINE = tuple(np.float32(c) for c in (3.14159258, -5.16770688, 2.55003138, -0.598045174, 0.0772201281))
_PARITY = np.uint32(0x1BD11BDA)


class Stream(enum.IntEnum):
    """What a random word is for: streams of one seed are independent of each other."""

    NOISE = 0  # the gradient noise; laws that need more than one word pair for two agents use the following numbers too
    POSITION = 16  # initial positions
    VELOCITY = 18  # initial velocities
    SHUFFLE = 20  # a trainer's order of its images
    DROPOUT = 21  # a trainer's dropout and augmentation
    TANGENT = 22  # the direction in which a tangent of a run begins
    COMPUTE = 32  # how long a worker's job takes
    OFFSET = 33  # when a worker's first job ends, of one that has worked for long
    PARTNER = 34  # with whom a worker exchanges at the end of a job
    UPLINK = 35  # how long a worker's message takes to the server
    DOWNLINK = 36  # how long the answer takes
    FAILURE = 37  # whether a job is lost
    SLOWDOWN = 38  # whether a stretch of jobs is slow
    DELAY = 39  # how long ago the state was of which a step takes the gradient


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Seed:
    """What all random numbers of a run follow from, from `seed_words`.

    Attributes:
        words: (2,), uint32, the low one first.
        generator: that makes random words of them; static.
    """

    words: UInt32[Array, "2"]
    generator: Generator = dataclasses.field(default=DEFAULT, metadata={"static": True})


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Key:
    """What the random words of one stream at one step follow from, from `step_key`.

    Attributes:
        first: uint32, of any shape.
        second: uint32, of the same.
        generator: that makes random words of them; static.
    """

    first: Array
    second: Array
    generator: Generator = dataclasses.field(default=DEFAULT, metadata={"static": True})

    def pair(self, count0: Array, count1: Array) -> tuple[Array, Array]:
        """The word pair of a counter.

        Args:
            count0: first word of the counter, uint32 of any shape, which broadcasts with the key's.
            count1: second word of the counter, likewise.

        Returns:
            The two words, uint32.
        """
        return threefry2x32(self.first, self.second, count0, count1, ROUNDS[self.generator])


class Words(NamedTuple):
    """One word pair for each agent and coordinate; agents 2i and 2i + 1 see the same one.

    Attributes:
        first: the first word of the pair, uint32 of shape (agents, dims).
        second: the other.
        odd: bool of shape (agents, dims), true for the agents 2i + 1.
    """

    first: UInt32[Array, "agents dims"]
    second: UInt32[Array, "agents dims"]
    odd: Array

    @property
    def own(self) -> Array:
        """The one word of the pair that belongs to each agent."""
        return jnp.where(self.odd, self.second, self.first)


def threefry2x32(key0: Array, key1: Array, count0: Array, count1: Array, rounds: int = 20) -> tuple[Array, Array]:
    """Threefry-2x32, elementwise on uint32 arrays; with 20 rounds bit for bit JAX's own primitive.

    Written out in jnp so that XLA fuses it with whatever consumes the words, instead of storing them first.

    Args:
        key0: first word of the key, uint32 of any shape; all four broadcast.
        key1: second word of the key.
        count0: first word of the counter.
        count1: second word of the counter.
        rounds: how many; static.

    Returns:
        The two words, uint32.
    """
    keys = (key0, key1, key0 ^ key1 ^ _PARITY)
    a, b = count0 + key0, count1 + key1
    for done in range(rounds):
        group, place = divmod(done, 4)
        rotation = _ROTATIONS[group % 2][place]
        a = a + b
        b = ((b << np.uint32(rotation)) | (b >> np.uint32(32 - rotation))) ^ a
        if place == 3:
            a = a + keys[(group + 1) % 3]
            b = b + (keys[(group + 2) % 3] + np.uint32(group + 1))
    return a, b


def said_in(settings: Mapping[str, Any]) -> str:
    """The generator of a file's settings, which older ones do not name.

    Args:
        settings: by name.
    """
    return settings.get("random", DEFAULT)


def seed_words(seed: Any, generator: Generator | None = None) -> Seed:
    """The two words of a seed, with the generator that they are for.

    `jax.random.key(n)` is the seed n. An array of two words passes through: the low one first, so that the legacy
    `PRNGKey(n)`, whose words are in the other order, is the seed n * 2**32.

    Args:
        seed: an integer in [0, 2**64), also a traced one, or a key of `jax.random`; or what this function returned.
        generator: "threefry20", the default, or "threefry13"; None for that of a seed that has one.

    Returns:
        The words, and the generator.

    Raises:
        ValueError: if the seed is none of these, there is no such generator, or the seed is for another.
    """
    if generator is not None:
        check_choice("random", generator, ROUNDS)
    if not isinstance(seed, Seed):
        return Seed(_words_of(seed), generator or DEFAULT)
    if generator not in (None, seed.generator):
        raise ValueError(f"seed: is one of random={seed.generator!r}, and must be one of random={generator!r}")
    return seed


def _words_of(seed: Any) -> Array:
    right = "must be an integer from 0 to 2**64 - 1, or a key of jax.random.key"
    if isinstance(seed, jax.Array) and jnp.issubdtype(seed.dtype, jax.dtypes.prng_key):
        data = jax.random.key_data(seed)
        if seed.shape or data.shape[-1] not in (2, 4):
            raise ValueError(f"seed={shown(seed)}: {right}")
        return data[::-1] if data.size == 2 else jnp.stack(threefry2x32(*data))
    if isinstance(seed, jax.Array | np.ndarray) and seed.shape == (2,) and jnp.issubdtype(seed.dtype, jnp.integer):
        return jnp.asarray(seed, jnp.uint32)
    if isinstance(seed, Tracer) and seed.shape == () and jnp.issubdtype(seed.dtype, jnp.integer):
        high = seed >> 32 if seed.dtype.itemsize == 8 else jnp.zeros_like(seed)
        return jnp.stack([seed, high]).astype(jnp.uint32)
    try:
        whole = check_count("seed", seed, least=0, most=(1 << 64) - 1)
    except ValueError:
        raise ValueError(f"seed={shown(seed)}: {right}") from None
    return jnp.asarray(np.array([whole & 0xFFFFFFFF, whole >> 32], np.uint32))


def seed_number(seed: Seed) -> int:
    """The number of a seed whose words are not traced.

    Args:
        seed: from `seed_words`.

    Returns:
        The integer, from 0 to 2**64 - 1.
    """
    low, high = np.asarray(seed.words).tolist()
    return low | high << 32


def sim_numbers(first: int, count: int, times: int = 1) -> Array:
    """The numbers of some simulations, so many times over.

    Args:
        first: the first number.
        count: how many simulations.
        times: how often they are repeated, as for the points of a grid.

    Returns:
        (times * count,), uint32.
    """
    return jnp.asarray(np.tile(np.arange(first, first + count, dtype=np.uint32), times))


def step_key(seed: Seed, stream: ArrayLike, step: ArrayLike) -> Key:
    """The key of one stream at one step.

    Args:
        seed: from `seed_words`.
        stream: what the words are for, a `Stream` or its number.
        step: the number of the step, from 0.

    Returns:
        The key, of the seed's generator.
    """
    whole = Key(seed.words[0], seed.words[1], seed.generator)
    return Key(*whole.pair(jnp.asarray(stream, jnp.uint32), jnp.asarray(step, jnp.uint32)), seed.generator)


def word_pairs(key: Key, simulation: Array, pairs: int, dims: int) -> tuple[Array, Array]:
    """The word pairs of all pairs of agents and coordinates of one simulation at one step.

    Args:
        key: of two uint32 scalars, from `step_key`.
        simulation: its number, a uint32 scalar.
        pairs: of agents; static.
        dims: coordinates; static.

    Returns:
        Two words, (pairs, dims) each.
    """
    return _word_pairs(key, simulation, lax.broadcasted_iota(jnp.uint32, (pairs, dims), 0))


def _word_pairs(key: Key, simulation: Array, pair: Array) -> tuple[Array, Array]:
    """The word pairs of some pairs of agents: `pair` has a row for each, with its number in every coordinate."""
    coordinate = lax.broadcasted_iota(jnp.uint32, pair.shape, 1)
    count0 = (pair << np.uint32(COORDINATE_BITS)) | coordinate
    return key.pair(count0, jnp.full_like(pair, simulation))


PAIRED: dict[str, Generator] = {"words_of_agents": "threefry20", "words_of_agents_13": "threefry13"}
"""The name under which a traced program shows that it asks for `words` of a generator, for an engine that keeps agents
in pairs."""
_NAMES = {generator: name for name, generator in PAIRED.items()}


def words(key: Key, simulation: ArrayLike, agents: int, dims: int) -> Words:
    """The word pairs of all agents and coordinates of one simulation at one step.

    Args:
        key: of two uint32 scalars, from `step_key`.
        simulation: its number, a uint32 scalar.
        agents: of the simulation; static.
        dims: coordinates; static.

    Returns:
        `Words` of shape (agents, dims).
    """

    def words_of_agents(key0: Array, key1: Array, simulation: Array):
        agent = lax.broadcasted_iota(jnp.uint32, (agents, dims), 0)
        first, second = _word_pairs(Key(key0, key1, key.generator), simulation, agent >> np.uint32(1))
        return first, second, (agent & np.uint32(1)) == 1

    words_of_agents.__name__ = _NAMES[key.generator]
    return Words(*jax.jit(words_of_agents)(key.first, key.second, jnp.asarray(simulation, jnp.uint32)))


def words_of(key: Key, simulation: ArrayLike, agent: ArrayLike, dims: int) -> Words:
    """The word pairs of one agent, whose number may be traced: the row that `words` has for it.

    Args:
        key: of two uint32 scalars, from `step_key`.
        simulation: its number, a uint32 scalar.
        agent: its number, an integer scalar.
        dims: coordinates; static.

    Returns:
        `Words` of shape (1, dims).
    """
    number = jnp.full((1, dims), jnp.asarray(agent, jnp.uint32))
    both = _word_pairs(key, jnp.asarray(simulation, jnp.uint32), number >> np.uint32(1))
    return Words(*both, (number & np.uint32(1)) == 1)


def centered(word: Array, dtype: DTypeLike) -> Array:
    """A word as a number uniform on (-1, 1): the odd multiples of 2**-23, symmetric about 0 and exact in float32.

    The same number in float32 and in float64, so that turning x64 on does not change the noise.

    Args:
        word: uint32, of any shape.
        dtype: of the number, float32 or float64.

    Returns:
        Of the shape of `word`.
    """
    return (word >> np.uint32(9)).astype(jnp.int32).astype(dtype) * 2.0**-22 + (2.0**-23 - 1.0)


def uniform(word: Array, dtype: DTypeLike) -> Array:
    """A word as a number uniform on (0, 1): the odd multiples of 2**-24, exact in float32 and in float64.

    Args:
        word: uint32, of any shape.
        dtype: of the number, float32 or float64.

    Returns:
        Of the shape of `word`.
    """
    return (word >> np.uint32(9)).astype(jnp.int32).astype(dtype) * 2.0**-23 + 2.0**-24


def turn_sine(word: Array, odd: Array, dtype: DTypeLike) -> Array:
    """sin(2 pi u) where `odd`, else cos(2 pi u), for u = uniform(word).

    The quarter turn between the two is added to the integer, where it is exact, so one sine serves both. In float32 the
    sine is a polynomial, with an exact reduction of the angle: the same on every device, and one that vectorizes.

    Args:
        word: uint32, of any shape.
        odd: where the sine is wanted, bool of the same shape.
        dtype: of the number, float32 or float64.

    Returns:
        Of the shape of `word`.
    """
    quarter = jnp.where(odd, np.uint32(0), np.uint32(1 << 21))
    turn = (((word >> np.uint32(9)) + quarter) & np.uint32((1 << 23) - 1)).astype(jnp.int32).astype(dtype)
    angle = turn * 2.0**-22 + (2.0**-23 - 1.0)  # 2 u - 1 in (-1, 1), exact: sin(2 pi u) = -sin(pi (2 u - 1))
    if dtype == jnp.float64:
        return -jnp.sin(angle * np.pi)
    # -sin(pi a) by the sine's symmetry about 1/2: |a| folded into (0, 1/2), exactly, with the sign of -a.
    folded = 0.5 - jnp.abs(jnp.abs(angle) - 0.5)
    sign = ~lax.bitcast_convert_type(angle, jnp.uint32) & np.uint32(1 << 31)
    r = lax.bitcast_convert_type(lax.bitcast_convert_type(folded, jnp.uint32) | sign, jnp.float32)
    s = r * r
    return r * (_SINE[0] + s * (_SINE[1] + s * (_SINE[2] + s * (_SINE[3] + s * _SINE[4]))))


def normal(pair: Words, dtype: DTypeLike) -> Array:
    """The two standard normal numbers that Box and Muller make of each word pair, to its two agents.

    Args:
        pair: words, of shape (agents, dims).
        dtype: of the numbers, float32 or float64.

    Returns:
        (agents, dims).
    """
    radius = jnp.sqrt(-2 * jnp.log(uniform(pair.first, dtype)))
    return radius * turn_sine(pair.second, pair.odd, dtype)
