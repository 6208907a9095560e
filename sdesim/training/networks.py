"""Networks in Flax, modules of one agent: the papers', of images (batch, height, width, channels), and two others.

A trainer stacks the parameters of all agents and maps one module over them. A convolution mapped over its kernels is
a grouped convolution, which XLA runs slowly on a CPU, and inside a loop very slowly. So a convolution here is a product
of patches with a matrix, which maps to a batched matrix product and is the faster way for one agent already.
"""

from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from sdesim.cores import cores
from sdesim.fields import check_choice, check_count, one_number, shown

Initializer = Callable[..., Array]


WEIGHTS = {
    "torch": nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform"),  # U(-1/sqrt(m), 1/sqrt(m)), m inputs
    "kaiming": nn.initializers.he_normal(),
}
"""Laws of the seven-layer network's weights."""


def fan_in_uniform(key: Array, shape: Sequence[int], dtype: DTypeLike = jnp.float32) -> Array:
    """U(-1/sqrt(m), 1/sqrt(m)), m the number of inputs of a dense layer (BS 6.1).

    Args:
        key: of the draw.
        shape: of the layer's matrix, (m, outputs).
        dtype: of the numbers.

    Returns:
        The matrix.
    """
    reach = shape[0] ** -0.5
    return jax.random.uniform(key, shape, dtype, -reach, reach)


def patches(x: Float[Array, "batch height width channels"], rows: int, columns: int, stride: int = 1) -> Array:
    """All windows of rows x columns pixels.

    Args:
        x: maps.
        rows: of a window.
        columns: of a window.
        stride: pixels from one window to the next, either way.

    Returns:
        (batch, (height - rows) // stride + 1, (width - columns) // stride + 1, pixels * channels).

    Raises:
        ValueError: for maps that are smaller than a window.
    """
    height, width = (x.shape[1] - rows) // stride + 1, (x.shape[2] - columns) // stride + 1
    if height < 1 or width < 1:
        raise ValueError(f"images: maps of {x.shape[1]} x {x.shape[2]} are smaller than a {rows} x {columns} kernel")
    # First along rows, then along columns: rows + columns slices, not rows * columns.
    along = lambda first, count: slice(first, first + stride * (count - 1) + 1, stride)
    x = jnp.concatenate([x[:, :, along(j, width)] for j in range(columns)], axis=-1)
    return jnp.concatenate([x[:, along(i, height)] for i in range(rows)], axis=-1)


CACHE = 2**21  # bytes of patches that a core works on at a time: about what its own cache holds


def convolved(x: Float[Array, "batch height width channels"], kernel: Array, stride: int = 1) -> Array:
    """The convolution of maps with a kernel, as a product with patches.

    On a CPU some images at a time, whose patches stay in the caches from their making to the product: those of all at
    once go through memory, there and back. Derivatives make them anew, which takes less time than to read them.

    Args:
        x: maps.
        kernel: (rows, columns, channels, features).
        stride: pixels from one window to the next, either way.

    Returns:
        (batch, rows, columns, features), for the windows that lie within a map.

    Raises:
        ValueError: for maps that are smaller than the kernel.
    """
    rows, columns, _, features = kernel.shape
    # Sums of its derivative need no transposition this way; in half precision they would lose what they add.
    matrix = kernel.reshape(-1, features).astype(jnp.promote_types(kernel.dtype, x.dtype)).T
    windows = lambda x: patches(x, rows, columns, stride)
    product = lambda x: jnp.einsum("...i,ji->...j", windows(x), matrix.astype(x.dtype))
    if jax.default_backend() != "cpu":
        return product(x)
    of_one = jax.eval_shape(windows, jax.ShapeDtypeStruct((1, *x.shape[1:]), x.dtype))
    fit = len(cores()) * CACHE // max(1, of_one.size * of_one.dtype.itemsize)
    # At least one image, and a power of 2, as batches are: a remainder would be another program.
    together = 1 << max(0, fit.bit_length() - 1)
    if together >= len(x):
        return product(x)
    return lax.map(jax.checkpoint(lambda one: product(one[None])[0], prevent_cse=False), x, batch_size=together)


class Convolution(nn.Module):
    """A convolution, as a product with patches.

    Attributes:
        features: channels of its result.
        size: of its kernel, (rows, columns).
        same: pad with zeros, so that the map keeps its size.
        bias: add one a feature.
        kernel_init: law of the kernel's numbers; Kaiming's by default.
        bias_init: law of what is added; zeros by default.
        stride: pixels from one window to the next, either way.
    """

    features: int
    size: tuple[int, int]
    same: bool = False
    bias: bool = True
    kernel_init: Initializer = nn.initializers.he_normal()
    bias_init: Initializer = nn.initializers.zeros
    stride: int = 1

    @nn.compact
    def __call__(self, x: Float[Array, "batch height width channels"]) -> Array:
        if self.same:
            border = [(n // 2, (n - 1) // 2) for n in self.size]
            x = jnp.pad(x, ((0, 0), *border, (0, 0)))
        kernel = self.param("kernel", self.kernel_init, (*self.size, x.shape[-1], self.features))
        y = convolved(x, kernel, self.stride)
        return y + self.param("bias", self.bias_init, (self.features,)).astype(x.dtype) if self.bias else y


def max_pool(x: Float[Array, "batch height width channels"], side: int = 2) -> Array:
    """The largest of each square of pixels; a last row or column that fills none is left out.

    Args:
        x: maps.
        side: of a square.

    Returns:
        (batch, height // side, width // side, channels).

    Raises:
        ValueError: for maps of less than one square.
    """
    rows, columns = x.shape[1] // side, x.shape[2] // side
    if not rows or not columns:
        raise ValueError(f"images: maps of {x.shape[1]} x {x.shape[2]} are too small for a pool of {side} x {side}")
    squares = x[:, : side * rows, : side * columns].reshape(x.shape[0], rows, side, columns, side, x.shape[3])
    return squares.max(axis=(2, 4))


class BatchNorm(nn.Module):
    """Normalization by the statistics of the batch, in training and in evaluation alike (BS 6.1).

    What a network says of an image therefore depends on the batch it comes in: evaluation keeps size and order fixed.

    Attributes:
        epsilon: added to the variance before its root is taken.
    """

    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x: Float[Array, "*batch features"]) -> Array:
        scale = self.param("scale", nn.initializers.ones, (x.shape[-1],))
        bias = self.param("bias", nn.initializers.zeros, (x.shape[-1],))
        over = tuple(range(x.ndim - 1))
        exact = x.astype(jnp.float32)  # sums over a batch in half precision would lose what they normalize by
        centered = exact - jnp.mean(exact, axis=over)
        normal = centered * jax.lax.rsqrt(jnp.mean(centered * centered, axis=over) + self.epsilon)
        return (normal * scale + bias).astype(x.dtype)


NUMBERS = {3: "three", 4: "four"}


class _Checked(nn.Module):
    """A network whose fields are checked when it is made."""

    def __post_init__(self):
        for name, value in vars(self).items():
            if name in ("classes", "units", "outputs", "tokens", "width", "layers", "heads", "length"):
                check_count(name, value)
            elif name == "dropout":
                one_number(name, value, below=1)
            elif name in ("channels", "sizes", "ranks"):
                count = len(type(self).__dataclass_fields__[name].default)
                if not isinstance(value, list | tuple) or len(value) != count:
                    raise TypeError(f"{name}={shown(value)}: must be {NUMBERS[count]} whole numbers")
                for one in value:
                    check_count(name, one)
            elif name == "hidden":
                if not isinstance(value, list | tuple):
                    raise TypeError(f"hidden={shown(value)}: must be a tuple of whole numbers")
                for one in value:
                    check_count(name, one)
            elif name == "weights":
                check_choice(name, value, WEIGHTS)
        super().__post_init__()


class ThreeLayer(_Checked):
    """The network of BS 6.1: three times convolution (9, 5, 3), ReLU, max-pool, batch norm; dropout; one dense layer.

    32 x 32 images give maps of 24, 12, 8, 4, 2 and 1 pixels a side.

    Attributes:
        classes: of the images.
        channels: of each convolution's result; by default those of Zhang's seven-layer network, whose maps are the
            same [D].
        sizes: side of each convolution's kernel, in pixels.
        dropout: share of the dense layer's inputs that is left out in training [C].
    """

    classes: int = 10
    channels: tuple[int, int, int] = (64, 128, 64)
    sizes: tuple[int, int, int] = (9, 5, 3)
    dropout: float = 0.5

    @nn.compact
    def __call__(self, x: Float[Array, "batch height width channels"], train: bool = False) -> Array:
        for features, size in zip(self.channels, self.sizes, strict=True):
            x = BatchNorm()(max_pool(nn.relu(Convolution(features, (size, size))(x))))
        x = nn.Dropout(self.dropout, deterministic=not train)(x.reshape(x.shape[0], -1))
        return nn.Dense(self.classes, kernel_init=fan_in_uniform, bias_init=_bias_like(x.shape[-1]))(x)


class SevenLayer(_Checked):
    """The network of Z 4.1 for 28 x 28 crops: convolutions 5, 5, 3 and ReLU, two max-pools, 256 units with dropout.

    Biases start at zero, weights as Torch drew them then, from U(-1/sqrt(m), 1/sqrt(m)) for m inputs (Z 4.2). They are
    small, and learning sets in late; with weights="kaiming", Kaiming's law, it does from the first iterations.

    Attributes:
        classes: of the images.
        channels: of each convolution's result.
        units: of the hidden dense layer.
        dropout: share of the last layer's inputs that is left out in training.
        weights: their law, "torch" or "kaiming".
    """

    classes: int = 10
    channels: tuple[int, int, int] = (64, 128, 64)
    units: int = 256
    dropout: float = 0.5
    weights: str = "torch"

    @nn.compact
    def __call__(self, x: Float[Array, "batch height width channels"], train: bool = False) -> Array:
        law = WEIGHTS[self.weights]
        x = max_pool(nn.relu(Convolution(self.channels[0], (5, 5), kernel_init=law)(x)))
        x = max_pool(nn.relu(Convolution(self.channels[1], (5, 5), kernel_init=law)(x)))
        x = nn.relu(Convolution(self.channels[2], (3, 3), kernel_init=law)(x)).reshape(x.shape[0], -1)
        x = nn.relu(nn.Dense(self.units, kernel_init=law)(x))
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        return nn.Dense(self.classes, kernel_init=law)(x)


class ElevenLayer(_Checked):
    """The network of Z 4.1 for 221 x 221 crops of ImageNet: four convolutions, three max-pools, three dense layers.

    221 x 221 crops give maps of 108, 36, 32, 16, 14, 12 and 6 pixels a side. Biases start at 0.1 (Z 4.1).

    Attributes:
        classes: of the images.
        channels: of each convolution's result.
        units: of either hidden dense layer.
        dropout: share of their results that is left out in training.
        weights: their law, "torch" or "kaiming".
    """

    classes: int = 1000
    channels: tuple[int, int, int, int] = (96, 256, 384, 256)
    units: int = 4096
    dropout: float = 0.5
    weights: str = "torch"

    @nn.compact
    def __call__(self, x: Float[Array, "batch height width channels"], train: bool = False) -> Array:
        laws: dict[str, Any] = dict(kernel_init=WEIGHTS[self.weights], bias_init=nn.initializers.constant(0.1))
        convolved = lambda x, i, side, stride=1: nn.relu(
            Convolution(self.channels[i], (side, side), stride=stride, **laws)(x)
        )
        x = max_pool(convolved(x, 0, 7, 2), 3)
        x = max_pool(convolved(x, 1, 5))
        x = max_pool(convolved(convolved(x, 2, 3), 3, 3)).reshape(x.shape[0], -1)
        for _ in range(2):
            x = nn.relu(nn.Dense(self.units, **laws)(x))
            x = nn.Dropout(self.dropout, deterministic=not train)(x)
        return nn.Dense(self.classes, **laws)(x)


class LowRank(_Checked):
    """The low-rank network of Z 6.1.2: each convolution as a column and a row filter, ranks 10, 51 and 51.

    Filters start by LeCun's law [C], N(0, 1/m) for m inputs: nothing is rectified between the two of a pair, and by
    Kaiming's the first logits would be some 6 wide, and training diverge at Z's learning rates.

    Attributes:
        classes: of the images.
        ranks: of each convolution, features between its two filters.
        channels: of each convolution's result.
        units: of the hidden dense layer.
        dropout: share of either dense layer's inputs that is left out in training.
    """

    classes: int = 10
    ranks: tuple[int, int, int] = (10, 51, 51)
    channels: tuple[int, int, int] = (96, 128, 256)
    units: int = 256
    dropout: float = 0.5

    @nn.compact
    def __call__(self, x: Float[Array, "batch height width channels"], train: bool = False) -> Array:
        law = nn.initializers.lecun_normal()
        for rank, features in zip(self.ranks, self.channels, strict=True):
            x = Convolution(rank, (5, 1), same=True, bias=False, kernel_init=law)(x)
            x = max_pool(nn.relu(Convolution(features, (1, 5), same=True, kernel_init=law)(x)))
        x = nn.relu(Convolution(64, (1, 1))(x)).reshape(x.shape[0], -1)
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        x = nn.relu(nn.Dense(self.units, kernel_init=nn.initializers.he_normal())(x))
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        return nn.Dense(self.classes, kernel_init=nn.initializers.he_normal())(x)


class Perceptron(_Checked):
    """Dense layers with tanh between them, for rows of numbers; without hidden units a linear regression.

    Attributes:
        outputs: numbers that are said of a row.
        hidden: units of each hidden layer.
    """

    outputs: int = 1
    hidden: tuple[int, ...] = (32,)

    @nn.compact
    def __call__(self, x: Float[Array, "batch columns"]) -> Array:
        for units in self.hidden:
            x = nn.tanh(nn.Dense(units)(x))
        return nn.Dense(self.outputs)(x)


class Transformer(_Checked):
    """A decoder that says the next token at each of a window: causal attention, no look at what is to come.

    Blocks as GPT-2's: layer norm first, attention and two dense layers with GELU beside the stream. Weights are normal
    of width 0.02, in what writes into the stream divided by the root of how often that is done. It has about 12 layers
    width^2 parameters.

    Attributes:
        tokens: of the vocabulary.
        width: of the stream, a multiple of `heads`.
        layers: blocks.
        heads: of attention, in each block.
        length: of the longest window.
        dropout: share of what each part of a block adds that is left out in training.
    """

    tokens: int = 62
    width: int = 64
    layers: int = 2
    heads: int = 4
    length: int = 64
    dropout: float = 0.0

    def __post_init__(self):
        super().__post_init__()
        if self.width % self.heads:
            raise ValueError(f"width={self.width}: must be a multiple of heads={self.heads}")

    @nn.compact
    def __call__(self, x: Int[Array, "batch length"], train: bool = False) -> Array:
        if x.shape[1] > self.length:
            raise ValueError(f"length={self.length}: must be at least that of the windows, {x.shape[1]}")
        embedding = nn.Embed(self.tokens, self.width, embedding_init=_NARROW, name="tokens_in")
        places = self.param("places", _NARROW, (self.length, self.width))
        stream = embedding(x) + places[: x.shape[1]]
        for number in range(self.layers):
            block = _Block(self.heads, self.dropout, (2 * self.layers) ** -0.5, name=f"block_{number}")
            stream = block(stream, train)
        return nn.Dense(self.tokens, kernel_init=_NARROW, name="tokens_out")(nn.LayerNorm(name="norm")(stream))


_NARROW = nn.initializers.normal(0.02)


class _Block(nn.Module):
    """A block of the transformer; writes: by how much less is written into the stream at the start."""

    heads: int
    dropout: float
    writes: float

    @nn.compact
    def __call__(self, stream: Float[Array, "batch length width"], train: bool) -> Array:
        batch, length, width = stream.shape
        dense = lambda units, scale, name: nn.Dense(units, kernel_init=nn.initializers.normal(0.02 * scale), name=name)
        leave_out = nn.Dropout(self.dropout, deterministic=not train)
        x = dense(3 * width, 1.0, "attend")(nn.LayerNorm(name="norm_attend")(stream))
        q, k, v = x.reshape(batch, length, 3, self.heads, width // self.heads).transpose(2, 0, 3, 1, 4)
        scores = q @ k.swapaxes(-1, -2) * (width // self.heads) ** -0.5
        scores = jnp.where(jnp.tril(jnp.ones((length, length), bool)), scores, -jnp.inf)
        seen = (jax.nn.softmax(scores, axis=-1) @ v).transpose(0, 2, 1, 3).reshape(batch, length, width)
        stream = stream + leave_out(dense(width, self.writes, "write")(seen))
        x = nn.gelu(dense(4 * width, 1.0, "widen")(nn.LayerNorm(name="norm_widen")(stream)))
        return stream + leave_out(dense(width, self.writes, "narrow")(x))


NETWORKS: dict[str, type[nn.Module]] = {
    "three-layer": ThreeLayer,
    "seven-layer": SevenLayer,
    "eleven-layer": ElevenLayer,
    "low-rank": LowRank,
    "transformer": Transformer,
    "perceptron": Perceptron,
}
"""Networks by name: the papers', of images, one of text and one of rows. Each takes first how many numbers it gives."""


def _bias_like(inputs: int) -> Any:
    reach = inputs**-0.5
    return lambda key, shape, dtype=jnp.float32: jax.random.uniform(key, shape, dtype, -reach, reach)
