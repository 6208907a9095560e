"""Programs that users may write, in plain JAX: losses of a point (dims,) and rules of agents (agents, dims).

Each must mean the same to the engine as to jax.vmap, for any number of agents and dimensions. Names say what of JAX a
program is about. `ROUNDING` has those whose results are smaller than what they are computed from.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.scipy as jsp
import numpy as np
import optimistix as optx
from jax import lax
from jax.custom_batching import custom_vmap, sequential_vmap

DATA = np.sin(1 + np.arange(24.0)).reshape(8, 3).astype(np.float32)
LABELS = np.cos(np.arange(8.0)).astype(np.float32)
TABLE = jnp.asarray(np.cos(2 * np.arange(7.0)).astype(np.float32))


def data(x):
    """Measurements of as many coordinates as the point has, in its precision."""
    return jnp.asarray(DATA[:, : x.size], x.dtype), jnp.asarray(LABELS, x.dtype)


def matrix(x):
    """A symmetric matrix with eigenvalues of at least 1, which differ."""
    n = x.size
    return jnp.outer(x, x) + jnp.diag(1 + jnp.arange(n, dtype=x.dtype)) + 0.1 * jnp.ones((n, n), x.dtype)


def weights(x):
    return 1 + jnp.arange(x.size, dtype=x.dtype)


# -- custom derivatives and batching -----------------------------------------------------------------------------------


@jax.custom_jvp
def safe_norm(x):
    return jnp.sqrt(jnp.sum(x * x))


@safe_norm.defjvp
def _safe_norm_jvp(primals, tangents):
    (x,), (t,) = primals, tangents
    y = safe_norm(x)
    return y, jnp.sum(x * t) / jnp.maximum(y, 1e-6)


@jax.custom_vjp
def clipped(x):
    return jnp.sum(x**4)


clipped.defvjp(lambda x: (clipped(x), x), lambda x, g: (g * jnp.clip(4 * x**3, -1, 1),))


@jax.custom_vjp
def straight_through(x):
    return jnp.round(x)


straight_through.defvjp(lambda x: (jnp.round(x), None), lambda _, g: (g,))


@custom_vmap
def maps_itself(x):
    return jnp.sin(x)


@maps_itself.def_vmap
def _maps_itself(size, batched, x):
    return jnp.sin(x), batched[0]


@jax.custom_jvp
def maps_itself_too(x):
    return maps_itself(x)


maps_itself_too.defjvp(lambda p, t: (maps_itself(p[0]), maps_itself(p[0] + np.pi / 2) * t[0]))


@sequential_vmap
def one_by_one(x):
    return jnp.cumsum(x)


def _square_on_host(x):
    called = lambda v: np.square(v)
    return jax.pure_callback(called, jax.ShapeDtypeStruct(x.shape, x.dtype), x, vmap_method="expand_dims")


@jax.custom_jvp
def on_host(x):
    return _square_on_host(x)


on_host.defjvp(lambda p, t: (on_host(p[0]), 2 * p[0] * t[0]))


def printed(x):
    jax.debug.callback(lambda v: None, x)
    return jnp.sum(x**2)


def traced_print(x):
    jax.debug.print("", ordered=False)
    return jnp.sum(jnp.sin(x))


def announced(x):
    def seen(v):
        return np.asarray(v)

    y = lax.stop_gradient(x)
    y = jax.experimental.io_callback(seen, jax.ShapeDtypeStruct(x.shape, x.dtype), y, ordered=False)
    return jnp.sum(x * y)


# -- loops, branches, solvers ------------------------------------------------------------------------------------------


def scanned(x):
    return lax.scan(lambda c, w: (jnp.tanh(c * w + x), jnp.sum(c)), x, weights(x))[1].sum()


def long_while(x):
    """A loop of unknown length has a derivative in forward mode only, here through a rule of its own."""
    return fixed_point(jnp.mean(x)) * jnp.sum(x)


@jax.custom_jvp
def fixed_point(a):
    body = lambda s: (s[0] + 1, 0.5 * (s[1] + jnp.cos(a) + 0.2 * jnp.tanh(s[1])))
    return lax.while_loop(lambda s: s[0] < 20, body, (0, a))[1]


@fixed_point.defjvp
def _fixed_point_jvp(primals, tangents):
    (a,), (t,) = primals, tangents
    y = fixed_point(a)
    return y, -jnp.sin(a) * t / (1 - 0.2 * (1 - jnp.tanh(y) ** 2))


def data_dependent_while(x):
    """A number of rounds that depends on the point."""
    steps = lax.while_loop(
        lambda n: n < jnp.abs(lax.stop_gradient(jnp.max(x))) * 3, lambda n: n + 1.0, jnp.zeros((), x.dtype)
    )
    return jnp.sum(x**2) * (1 + steps)


def branch(x):
    return lax.cond(jnp.sum(x) > 0, lambda y: jnp.sum(y**2), lambda y: jnp.sum(jnp.abs(y) ** 3), x)


def constant_branch(x):
    return lax.cond(x.size > 1, lambda y: jnp.sum(y**2), lambda y: jnp.sum(y**4), x)


def switch(x):
    index = jnp.clip(jnp.floor(x[0] + 1.5).astype(int), 0, 2)
    return lax.switch(index, [lambda y: jnp.sum(y), lambda y: jnp.sum(y**2), lambda y: jnp.sum(jnp.sin(y))], x)


def branch_without_results(x):
    lax.cond(x[0] > 0, lambda: None, lambda: None)
    return jnp.sum(x**2)


def guarded(x):
    return jnp.sum(eqx.error_if(x, jnp.any(x > 50), "too big") ** 2)


def ode(x):
    terms = diffrax.ODETerm(lambda t, y, a: -a * y)
    steps = diffrax.ConstantStepSize()
    solution = diffrax.diffeqsolve(
        terms, diffrax.Euler(), 0.0, 1.0, 0.25, jnp.ones_like(x), args=1 + x**2, stepsize_controller=steps, max_steps=8
    )
    return jnp.sum(solution.ys[-1])


def root(x):
    found = optx.root_find(lambda y, a: y**3 + y - a, optx.Newton(1e-6, 1e-6), x, args=x, max_steps=32)
    return jnp.sum(found.value**2)


def minimum(x):
    residual = lambda y, a: jnp.concatenate([y - a, 0.1 * y**2])
    found = optx.least_squares(residual, optx.GaussNewton(1e-6, 1e-6), x, args=x, max_steps=32, throw=False)
    return jnp.sum(found.value**2)


def bisected(x):
    solve = lambda f, guess: lax.fori_loop(0, 30, lambda i, s: s - f(s) / 4, guess)
    y = lax.custom_root(
        lambda s: s**3 + 2 * s - jnp.sum(x), jnp.zeros((), x.dtype), solve, lambda g, b: b / g(jnp.ones_like(b))
    )
    return y**2


def conjugate_gradients(x):
    return jnp.sum(jsp.sparse.linalg.cg(matrix(x), weights(x), maxiter=5)[0] ** 2)


def newton_inside(x):
    f = lambda y: jnp.sum(jnp.cosh(y) + 0.1 * x * y)
    y = x
    for _ in range(2):
        y = y - jnp.linalg.solve(jax.hessian(f)(y), jax.grad(f)(y))
    return jnp.sum(y * x)


def mlp(x):
    """A network whose weights are the point's coordinates, over and over."""
    features, labels = data(x)
    w = jnp.resize(x, (x.size, 4))
    out = jax.nn.relu(features @ w) @ jnp.resize(x, (4,))
    return jnp.mean((out - labels) ** 2)


def logistic(x):
    features, labels = data(x)
    return jnp.mean(jnp.logaddexp(0.0, -labels * (features @ x))) + 0.05 * jnp.sum(x**2)


def convolved(x):
    kernel = jnp.asarray([0.25, 0.5, 0.25], x.dtype)
    return jnp.sum(jnp.convolve(jnp.resize(x, (5,)), kernel, mode="same") ** 2)


def image(x):
    picture = jnp.resize(x, (1, 1, 4, 4))
    filters = jnp.resize(weights(x), (2, 1, 2, 2)) / 4
    out = lax.conv_general_dilated(picture, filters, (1, 1), "VALID")
    pooled = lax.reduce_window(out, -jnp.inf, lax.max, (1, 1, 2, 2), (1, 1, 1, 1), "VALID")
    return jnp.sum(pooled**2)


def average_pool(x):
    return jnp.sum(lax.reduce_window(jnp.resize(x, (6,)), 0.0, lax.add, (3,), (1,), "VALID") ** 2)


def random_features(x):
    w = jax.random.normal(jax.random.key(3), (4, x.size), x.dtype)
    return jnp.sum(jnp.cos(w @ x))


def random_at_the_point(x):
    """Numbers that the point decides, as in a hash of it."""
    seed = jnp.floor(lax.stop_gradient(10 * x[0])).astype(jnp.uint32)
    return jnp.sum(x * jax.random.uniform(jax.random.fold_in(jax.random.key(1), seed), x.shape, x.dtype))


def dropout(x):
    keys = jax.random.split(jax.random.key(0), 2)
    return jnp.sum(jnp.where(jax.random.bernoulli(keys[1], 0.5, x.shape), x, 0) ** 2)


def interpolated(x):
    return jnp.sum(jnp.interp(x, jnp.linspace(-3, 3, 7).astype(x.dtype), TABLE.astype(x.dtype)))


def patched(x):
    y = jnp.zeros((4,), x.dtype).at[: x.size].set(x).at[1].add(x[0]).at[-1].mul(3.0)
    return jnp.sum(y.at[0].max(0.3).at[2].min(0.1) ** 2)


def segmented(x):
    return jnp.sum(jax.ops.segment_sum(x * weights(x), jnp.arange(x.size) % 2, num_segments=2) ** 2)


def tree_of_parameters(x):
    parameters = {"w": x, "b": x[:1], "deep": (x[::-1], None)}
    return sum(jnp.sum(leaf**2 * (i + 1)) for i, leaf in enumerate(jax.tree.leaves(parameters)))


LOSSES: dict[str, Callable[[Any], Any]] = {
    # elementwise
    "square": lambda x: jnp.sum(x**2),
    "quartic": lambda x: jnp.sum(x**4 - x**2),
    "powers": lambda x: jnp.sum((1 + x**2) ** 1.5 + (2 + x**2) ** x),
    "exp": lambda x: jnp.sum(jnp.exp(x) + jnp.exp2(-x) + jnp.expm1(0.1 * x)),
    "log": lambda x: jnp.sum(jnp.log(1 + x**2) + jnp.log1p(x**2) + jnp.log2(2 + x**2) + jnp.log10(3 + x**2)),
    "roots": lambda x: jnp.sum(jnp.sqrt(1 + x**2) + lax.rsqrt(1 + x**2) + jnp.cbrt(2 + x)),
    "sines": lambda x: jnp.sum(jnp.sin(3 * x) + jnp.cos(2 * x)),
    "tan": lambda x: jnp.sum(jnp.tan(0.3 * x)),
    "arcs": lambda x: jnp.sum(jnp.arcsin(0.3 * x) + jnp.arccos(0.3 * x) * x + jnp.arctan(x)),
    "atan2": lambda x: jnp.sum(jnp.arctan2(x, 2 + x**2)),
    "hyperbolic": lambda x: jnp.sum(jnp.sinh(x) + jnp.cosh(x) + jnp.tanh(x)),
    "area functions": lambda x: jnp.sum(jnp.arcsinh(x) + jnp.arccosh(2 + x**2) + jnp.arctanh(0.3 * x)),
    "abs": lambda x: jnp.sum(jnp.abs(x)),
    "sign": lambda x: jnp.sum(jnp.sign(x) * x**2),
    "min and max": lambda x: jnp.sum(jnp.maximum(x, 0.1) * jnp.minimum(x, 0.3)),
    "clip": lambda x: jnp.sum(jnp.clip(x, -0.5, 0.7) ** 2 + x**2),
    "where": lambda x: jnp.sum(jnp.where(x > 0, x**2, -x)),
    "safe where": lambda x: jnp.sum(jnp.where(x > 0, jnp.sqrt(jnp.where(x > 0, x, 1.0)), 0.0)),
    "huber": lambda x: jnp.sum(jnp.where(jnp.abs(x) < 1, 0.5 * x**2, jnp.abs(x) - 0.5)),
    "floor": lambda x: jnp.sum((x - jnp.floor(x)) * x + jnp.ceil(x) * x + jnp.trunc(x) * x),
    "round": lambda x: jnp.sum(jnp.round(2 * x) * x),
    "mod": lambda x: jnp.sum(jnp.mod(x, 0.7) ** 2 + jnp.remainder(x, 0.4) + jnp.fmod(x, 0.9)),
    "divmod": lambda x: jnp.sum(jnp.divmod(x, 0.6)[1] * x),
    "erf": lambda x: jnp.sum(jsp.special.erf(x) + jsp.special.erfc(x) * x),
    "erfinv": lambda x: jnp.sum(jsp.special.erfinv(0.4 * jnp.tanh(x))),
    "gamma": lambda x: jnp.sum(jsp.special.gammaln(2 + x**2) + jsp.special.digamma(3 + x**2)),
    "incomplete gamma": lambda x: jnp.sum(jsp.special.gammainc(2.0, 1 + x**2) + jsp.special.gammaincc(3.0, 1 + x**2)),
    "betainc": lambda x: jnp.sum(jsp.special.betainc(2.0, 3.0, jax.nn.sigmoid(x))),
    "bessel": lambda x: jnp.sum(jsp.special.i0e(x) + jsp.special.i1(x)),
    "zeta": lambda x: jnp.sum(jsp.special.polygamma(1, 2 + x**2) + jsp.special.zeta(3.0, 2 + lax.stop_gradient(x**2))),
    "entropy": lambda x: jnp.sum(jsp.special.entr(jax.nn.softmax(x)) + jsp.special.xlogy(1 + x**2, 2 + x**2)),
    "sinc": lambda x: jnp.sum(jnp.sinc(x)),
    "hypot": lambda x: jnp.sum(jnp.hypot(x, 1 + x**2)),
    "logaddexp": lambda x: jnp.sum(jnp.logaddexp(x, -x) + jnp.logaddexp2(x, 0.5)),
    "copysign": lambda x: jnp.sum(jnp.copysign(1 + x**2, x)),
    "nan_to_num": lambda x: jnp.sum(jnp.nan_to_num(x / jnp.abs(x)) * x),
    "heaviside": lambda x: jnp.sum(jnp.heaviside(x, 0.5) * x),
    "bits": lambda x: jnp.sum(
        x * lax.bitcast_convert_type(lax.bitcast_convert_type(lax.stop_gradient(x), _bits(x)) & ~_bits(x)(1), x.dtype)
    ),
    "integers": lambda x: jnp.sum(x * ((jnp.floor(4 * x).astype(jnp.int32) ^ 3) % 5 << 1)),
    "unsigned": lambda x: jnp.sum(x * (lax.population_count(jnp.uint32(1) + jnp.abs(8 * x).astype(jnp.uint32)) >> 1)),
    "leading zeros": lambda x: jnp.sum(x * lax.clz(jnp.abs(8 * x).astype(jnp.uint32)).astype(x.dtype)),
    "logic": lambda x: jnp.sum(jnp.where((x > 0) & ~(x > 1) | (x < -1), x**2, x)),
    "stop gradient": lambda x: jnp.sum(lax.stop_gradient(x) * x**2),
    "complex modulus": lambda x: jnp.sum(jnp.abs(jnp.exp(1j * x) + x) ** 2),
    "complex parts": lambda x: jnp.sum(jnp.real((x + 2j) ** 3) + jnp.imag(jnp.conj(x + 1j) * jnp.sin(x + 0.5j))),
    "angle": lambda x: jnp.sum(jnp.angle(2 + x + 1j * x)),
    "polynomial": lambda x: jnp.sum(jnp.polyval(jnp.asarray([1.0, -2.0, 0.5], x.dtype), x)),
    "weak scalars": lambda x: 2 * jnp.sum(x) ** 2 / 3 + 1,
    "float16": lambda x: jnp.sum((x.astype(jnp.float16) * 2).astype(x.dtype) ** 2),
    "reduce precision": lambda x: jnp.sum(lax.reduce_precision(x, 8, 10) ** 2),
    "nextafter": lambda x: jnp.sum(x * jnp.nextafter(lax.stop_gradient(x), jnp.asarray(9, x.dtype))),
    # activations
    "relu": lambda x: jnp.sum(jax.nn.relu(x) ** 2 + jax.nn.leaky_relu(x) + jax.nn.relu6(x)),
    "smooth activations": lambda x: jnp.sum(jax.nn.softplus(x) + jax.nn.silu(x) + jax.nn.elu(x) + jax.nn.selu(x)),
    "gelu": lambda x: jnp.sum(jax.nn.gelu(x) + jax.nn.gelu(x, approximate=False)),
    "sigmoid": lambda x: jnp.sum(jax.nn.sigmoid(x) * jax.nn.log_sigmoid(x) + jax.nn.hard_tanh(x)),
    "softmax": lambda x: jnp.sum(jax.nn.softmax(x) * weights(x)),
    "log softmax": lambda x: -jax.nn.log_softmax(x)[0],
    "logsumexp": lambda x: jax.nn.logsumexp(x) + jax.nn.logsumexp(x, b=weights(x)),
    "one hot": lambda x: jnp.sum(jax.nn.one_hot(jnp.argmax(x), x.size) * x),
    "standardize": lambda x: jnp.sum(jax.nn.standardize(jnp.append(x, 2.0)) ** 3),
    # reductions
    "mean": lambda x: jnp.mean(x) ** 2 + jnp.mean(x**2),
    "var": lambda x: jnp.var(jnp.append(x, 1.0)) + jnp.std(jnp.append(x, 2.0)),
    "product": lambda x: jnp.prod(1 + x**2),
    "extremes": lambda x: jnp.max(x) - jnp.min(x) + jnp.ptp(x),
    "norms": lambda x: jnp.linalg.norm(x) + jnp.linalg.norm(x + 3, ord=1) + jnp.linalg.norm(x, ord=jnp.inf),
    "all and any": lambda x: jnp.sum(x**2) * jnp.where(jnp.all(x > -1) & jnp.any(x > 0), 2.0, 1.0),
    "parity": lambda x: jnp.sum(x) * lax.reduce_xor(jnp.floor(4 * x).astype(jnp.int32), (0,)).astype(x.dtype),
    "own reduction": lambda x: (
        jnp.sum(x) * lax.stop_gradient(lax.reduce(x, jnp.asarray(0, x.dtype), lambda a, b: a + 2 * b, (0,)))
    ),
    "median": lambda x: jnp.median(x) ** 2 + jnp.sum(x**2),
    "quantile": lambda x: jnp.quantile(x, 0.3) ** 2,
    "empty sum": lambda x: jnp.sum(x**2) + jnp.sum(x[:0]) + jnp.sum(x[x.size :] ** 3),
    "count": lambda x: jnp.sum(x**2) * jnp.count_nonzero(x > 0),
    "argmax": lambda x: x[jnp.argmax(x)] ** 2 + x[jnp.argmin(x)],
    # cumulative
    "cumsum": lambda x: jnp.sum(jnp.cumsum(x) ** 2),
    "cumprod": lambda x: jnp.sum(jnp.cumprod(1 + 0.1 * x)),
    "cummax": lambda x: jnp.sum(lax.cummax(x) * x + lax.cummin(x)),
    "cumlogsumexp": lambda x: jnp.sum(lax.cumlogsumexp(x) * weights(x)),
    "associative scan": lambda x: jnp.sum(lax.associative_scan(jnp.multiply, 1 + 0.1 * jnp.resize(x, (5,))) ** 2),
    "trapezoid": lambda x: jnp.trapezoid(jnp.append(x, 1.0) ** 2),
    "reverse cumsum": lambda x: jnp.sum(lax.cumsum(x, reverse=True) ** 3),
    # shapes: axes of length 1, and nothing taken of them
    "rosenbrock": lambda x: jnp.sum((1 - x) ** 2) + jnp.sum((x[1:] - x[:-1] ** 2) ** 2),
    "diff": lambda x: jnp.sum(x**2) + jnp.sum(jnp.diff(x) ** 2),
    "roll": lambda x: jnp.sum((x - jnp.roll(x, 1)) ** 2 + x**2),
    "split": lambda x: jnp.sum(jnp.split(x, [0])[1] ** 2) + jnp.sum(jnp.array_split(x, 2)[0] ** 3),
    "strided": lambda x: jnp.sum(x[::2] ** 2) + jnp.sum(x[1::2] ** 4) + jnp.sum(x[::-1] * weights(x)),
    "flip": lambda x: jnp.sum(jnp.flip(x) * weights(x) ** 2 * x),
    "reshape": lambda x: (
        jnp.sum(x[None, :, None].reshape(-1, 1) * weights(x)[:, None]) + jnp.sum(jnp.ravel(x, "F") ** 2)
    ),
    "transpose": lambda x: jnp.sum(jnp.outer(x, jnp.append(x, 1.0)).T @ weights(x)),
    "moved axes": lambda x: jnp.sum(jnp.moveaxis(jnp.tile(x[None, :, None], (2, 1, 3)), 0, -1)[:, 0] ** 2),
    "fortran order": lambda x: jnp.sum(jnp.reshape(jnp.outer(x, jnp.append(x, 2.0)), (-1,), order="F")[:2] ** 2),
    "stack": lambda x: jnp.sum(jnp.stack([x, 2 * x, x**2]) * jnp.arange(3.0)[:, None].astype(x.dtype)),
    "unstack": lambda x: sum(jnp.unstack(x**2)),
    "unpacked": lambda x: sum(v**2 for v in x),
    "concatenate": lambda x: jnp.sum(jnp.concatenate([x, x[:1], x**2]) ** 2),
    "pad": lambda x: jnp.sum(jnp.pad(x, (1, 2), constant_values=0.5) ** 2) + jnp.sum(jnp.pad(x, 1, mode="edge") ** 3),
    "inner padding": lambda x: jnp.sum(lax.pad(x, jnp.asarray(0.0, x.dtype), [(0, 1, 1)]) ** 2),
    "repeat": lambda x: jnp.sum(jnp.repeat(x, 2) * jnp.arange(2 * x.size)),
    "tile": lambda x: jnp.sum(jnp.tile(x, 2) ** 2 * jnp.arange(2 * x.size)),
    "broadcast": lambda x: jnp.sum((x[:, None] - x[None, :]) ** 2) + jnp.sum(jnp.broadcast_to(x, (3, x.size)) ** 3),
    "meshgrid": lambda x: jnp.sum(jnp.meshgrid(x, x**2)[0] * jnp.meshgrid(x, x**2)[1]),
    "triangles": lambda x: jnp.sum(jnp.tril(jnp.outer(x, x)) + jnp.triu(jnp.outer(x, x), 1) * 2),
    "diagonals": lambda x: jnp.sum(jnp.diag(jnp.outer(x, x**2))) + jnp.trace(jnp.outer(x, x)),
    "squeeze": lambda x: jnp.squeeze(x[:1]) ** 2 + jnp.sum(jnp.expand_dims(x, (0, 2)) ** 2),
    "barrier": lambda x: jnp.sum(lax.optimization_barrier((x**2, x))[0]),
    "copy": lambda x: jnp.sum(jnp.array(x, copy=True) ** 2),
    # gathering
    "index": lambda x: x[0] ** 2 + x[-1],
    "gather": lambda x: jnp.sum(x[jnp.asarray([0, -1, 0])] ** 2),
    "take": lambda x: jnp.sum(jnp.take(x, jnp.asarray([0, 5]), mode="wrap") ** 2),
    "take out of bounds": lambda x: jnp.sum(jnp.take(x, jnp.asarray([0, 9]), mode="clip") ** 2),
    "lookup": lambda x: jnp.sum(x * TABLE.astype(x.dtype)[jnp.clip((2 * x + 3).astype(jnp.int32), 0, 6)]),
    "dynamic slice": lambda x: jnp.sum(lax.dynamic_slice(x, (jnp.argmax(x),), (1,)) ** 2),
    "dynamic update": lambda x: jnp.sum(lax.dynamic_update_slice(x**2, x[:1], (jnp.argmin(x),)) * weights(x)),
    "mask": lambda x: jnp.sum(jnp.where(jnp.arange(x.size) == jnp.argmax(x), 0.0, x) ** 2),
    "scatter": patched,
    "segments": segmented,
    "interpolation": interpolated,
    "select": lambda x: jnp.sum(jnp.select([x < -0.5, x < 0.5], [x**2, x], 3 * x)),
    "choose": lambda x: jnp.sum(jnp.choose((x > 0).astype(jnp.int32), [x**2, x**3], mode="clip")),
    "searchsorted": lambda x: jnp.sum(x * jnp.searchsorted(jnp.linspace(-2, 2, 9).astype(x.dtype), x)),
    # sorting
    "sort": lambda x: jnp.sum(jnp.sort(x) * weights(x)),
    "argsort": lambda x: jnp.sum(x[jnp.argsort(-x)] * weights(x)),
    "sorted pairs": lambda x: jnp.sum(lax.sort((x, x**2), num_keys=1)[1] * weights(x)),
    "top k": lambda x: jnp.sum(lax.top_k(x, 1)[0] ** 2),
    "rank": lambda x: jnp.sum(x * jnp.argsort(jnp.argsort(x))),
    "trimmed mean": lambda x: jnp.mean(jnp.sort(jnp.append(x, jnp.asarray([-1.0, 1.0], x.dtype)))[1:-1]) ** 2,
    # linear algebra
    "quadratic form": lambda x: x @ jnp.asarray(DATA.T @ DATA, x.dtype)[: x.size, : x.size] @ x,
    "einsum": lambda x: jnp.einsum("i,ij,j->", x, matrix(x), x) + jnp.einsum("ij,ij->", matrix(x), matrix(x)),
    "dot products": lambda x: jnp.dot(x, x) + jnp.vdot(x, weights(x)) + jnp.inner(x, x) + jnp.kron(x, x).sum(),
    "matrix power": lambda x: jnp.sum(jnp.linalg.matrix_power(0.3 * matrix(x), 3)),
    "solve": lambda x: jnp.sum(jnp.linalg.solve(matrix(x), weights(x)) ** 2),
    "inverse": lambda x: jnp.sum(jnp.linalg.inv(matrix(x))),
    "determinant": lambda x: jnp.linalg.det(matrix(x)) + jnp.linalg.slogdet(matrix(x))[1],
    "cholesky": lambda x: jnp.sum(jnp.linalg.cholesky(matrix(x))),
    "triangular solve": lambda x: jnp.sum(jsp.linalg.solve_triangular(jnp.tril(matrix(x)), x, lower=True) ** 2),
    "eigenvalues": lambda x: jnp.sum(jnp.linalg.eigvalsh(matrix(x)) * weights(x)),
    "singular values": lambda x: jnp.sum(jnp.linalg.svd(matrix(x), compute_uv=False) * weights(x)),
    "qr": lambda x: jnp.sum(jnp.linalg.qr(matrix(x))[1] ** 2),
    "matrix exponential": lambda x: jnp.sum(jsp.linalg.expm(0.1 * matrix(x))),
    "least squares": lambda x: jnp.sum((data(x)[0] @ x - data(x)[1]) ** 2) / 8,
    "cross": lambda x: jnp.sum(jnp.cross(jnp.resize(x, (3,)), jnp.asarray([1.0, 2.0, 3.0], x.dtype)) ** 2),
    "nuclear norm": lambda x: jnp.linalg.norm(matrix(x), ord="nuc"),
    "mahalanobis": lambda x: x @ jsp.linalg.cho_solve(jsp.linalg.cho_factor(matrix(x)), x),
    # Fourier transforms, convolutions
    "fft": lambda x: jnp.sum(jnp.abs(jnp.fft.fft(jnp.resize(x, (4,)))) ** 2),
    "rfft": lambda x: jnp.sum(jnp.fft.irfft(jnp.fft.rfft(jnp.resize(x, (6,))) * jnp.arange(4), n=6) ** 2),
    "convolve": convolved,
    "image": image,
    "pool": average_pool,
    # loops and branches
    "fori": lambda x: lax.fori_loop(0, 4, lambda i, s: s + jnp.sum(jnp.sin(x * s + i)), jnp.ones((), x.dtype)),
    "scan": scanned,
    "map": lambda x: jnp.sum(lax.map(lambda v: v**2 * jnp.cos(v), x)),
    "while": long_while,
    "data-dependent while": data_dependent_while,
    "cond": branch,
    "constant cond": constant_branch,
    "switch": switch,
    "cond without results": branch_without_results,
    "nested vmap": lambda x: jnp.sum(jax.vmap(lambda a: jax.vmap(lambda b: jnp.sin(a * b))(x))(x)),
    "python loop": lambda x: sum((x[i] - 0.5 * x[i - 1]) ** 2 * (i + 1) for i in range(x.size)),
    # derivatives and calls
    "gradient norm": lambda x: jnp.sum(jax.grad(lambda y: jnp.sum(jnp.cosh(y) + jnp.prod(y)))(x) ** 2),
    "laplacian": lambda x: jnp.trace(jax.hessian(lambda y: jnp.sum(jnp.sin(y)) * jnp.sum(y**2))(x)),
    "jvp": lambda x: jax.jvp(lambda y: jnp.sum(y**3), (x,), (jnp.ones_like(x),))[1],
    "jit": lambda x: jax.jit(lambda y: jnp.sum(jnp.cos(y) * y))(x),
    "static jit": lambda x: jax.jit(lambda y, n: jnp.sum(y**n), static_argnums=1)(x, 3),
    "checkpoint": jax.checkpoint(lambda x: jnp.sum(jnp.sin(jnp.sin(x) * x))),
    "checkpoint of a scan": lambda x: lax.scan(jax.checkpoint(lambda c, _: (jnp.tanh(c + x), None)), x, None, 3)[
        0
    ].sum(),
    "custom jvp": lambda x: safe_norm(x) + jnp.sum(x**2),
    "custom vjp": lambda x: clipped(x) + jnp.sum(x**2),
    "straight through": lambda x: jnp.sum(straight_through(3 * x) * x),
    # data, randomness
    "regression": lambda x: jnp.mean(jnp.tanh(data(x)[0] @ x - data(x)[1]) ** 2),
    "logistic regression": logistic,
    "network": mlp,
    "tree": tree_of_parameters,
    "mixture": lambda x: -jax.nn.logsumexp(-jnp.sum((x[None] - data(x)[0]) ** 2, axis=1)),
    "kernel density": lambda x: -jnp.log(jnp.mean(jnp.exp(-0.5 * jnp.sum((data(x)[0] - x) ** 2, axis=-1)))),
    "rastrigin": lambda x: 10 * x.size + jnp.sum(x**2 - 10 * jnp.cos(2 * jnp.pi * x)),
    "ackley": lambda x: -20 * jnp.exp(-0.2 * jnp.sqrt(jnp.mean(x**2) + 0.1)) - jnp.exp(jnp.mean(jnp.cos(6 * x))),
    "griewank": lambda x: jnp.sum(x**2) / 40 - jnp.prod(jnp.cos(x / jnp.sqrt(weights(x)))),
    "random features": random_features,
    "random at the point": random_at_the_point,
    "dropout": dropout,
    # solvers, checks, callbacks, batching
    "error_if": guarded,
    "diffrax": ode,
    "optimistix root": root,
    "optimistix least squares": minimum,
    "custom root": bisected,
    "conjugate gradients": conjugate_gradients,
    "newton inside": newton_inside,
    "debug callback": printed,
    "debug print": traced_print,
    "io callback": announced,
    "pure callback": lambda x: jnp.sum(on_host(x)),
    "custom vmap": lambda x: jnp.sum(maps_itself_too(x)),
    "sequential vmap": lambda x: jnp.sum(lax.stop_gradient(one_by_one(lax.stop_gradient(x))) * x),
    "linearize": lambda x: jnp.sum(jax.linearize(jnp.sin, x)[1](x)),
}


def _bits(x):
    return jnp.uint64 if x.dtype == jnp.float64 else jnp.uint32


# -- rules -------------------------------------------------------------------------------------------------------------


class Rule(NamedTuple):
    """pull(x, shared, t, mean), and where agents share a state init(x, mean) and flow(x, shared, t, mean)."""

    pull: Callable
    init: Callable = lambda x, mean: None
    flow: Callable = lambda x, shared, t, mean: jax.tree.map(jnp.zeros_like, shared)


def differences(x):
    """From each agent to each, (agents, agents, dims)."""
    return x[None] - x[:, None]


def squares(x):
    return jnp.sum(differences(x) ** 2, axis=-1)


def softmax_consensus(x, shared, t, mean):
    attention = jax.nn.softmax(-squares(x), axis=1)
    return attention @ x - x


def lennard_jones(x, shared, t, mean):
    r2 = squares(x) + 0.5
    return jnp.sum((r2**-2 - r2**-1)[..., None] * differences(x), axis=1)


def ranked(x, shared, t, mean):
    order = jnp.argsort(jnp.sum(x, axis=1))
    return jnp.roll(x[order], 1, axis=0)[jnp.argsort(order)] - x


def groups(x, shared, t, mean):
    label = jnp.arange(len(x)) % 2
    total = jax.ops.segment_sum(x, label, num_segments=2)
    count = jax.ops.segment_sum(jnp.ones(len(x), x.dtype), label, num_segments=2)
    return (total / jnp.maximum(count, 1.0)[:, None])[label] - x


def halves_of_the_swarm(x, shared, t, mean):
    left, right = x[: len(x) // 2], x[len(x) // 2 :]
    return jnp.concatenate([right[: len(left)] - left, jnp.zeros_like(right)])


def leader(x, shared, t, mean):
    best = jnp.argmin(jnp.sum(x**2, axis=1))
    return jnp.where(jnp.arange(len(x))[:, None] == best, 0.0, x[best] - x)


def sequential(x, shared, t, mean):
    return lax.scan(lambda before, own: (own, before - own), x[-1], x)[1]


def bounded(x, shared, t, mean):
    near = squares(x) < 1.0
    return jnp.einsum("ij,ijd->id", near.astype(x.dtype), differences(x)) / jnp.sum(near, axis=1)[:, None]


def gram_schmidt(x, shared, t, mean):
    return jnp.linalg.solve(jnp.eye(len(x), dtype=x.dtype) + x @ x.T, x)


def hungry(x, shared, t, mean):
    """Of as many rounds as the agents are far apart."""
    far = jnp.max(jnp.abs(x - mean(x)[None]))
    rounds = lax.while_loop(lambda n: n < 2 * far, lambda n: n + 1, jnp.zeros((), x.dtype))
    return rounds * (mean(x)[None] - x)


def printing(x, shared, t, mean):
    jax.debug.callback(lambda v: None, t)
    return mean(x)[None] - x


def checked(x, shared, t, mean):
    return eqx.error_if(mean(x)[None], jnp.any(jnp.abs(x) > 99), "too far") - x


def features(x, shared, t, mean):
    """A matrix whose first axis, and whose second, may be as long as there are agents."""
    y = jnp.tanh(x[:, :1] * jnp.asarray([1.0, 2.0, 3.0, 4.0], x.dtype))
    return jnp.sum(jnp.sum(y, axis=0)[None] - y, axis=1, keepdims=True) * jnp.ones_like(x)


CENTER = Rule(lambda x, c, t, mean: c[None] - x, lambda x, mean: mean(x), lambda x, c, t, mean: mean(x) - c)

RULES: dict[str, Rule] = {
    # means
    "none": Rule(lambda x, s, t, mean: jnp.zeros_like(x)),
    "mean": Rule(lambda x, s, t, mean: mean(x)[None] - x),
    "weighted mean": Rule(lambda x, s, t, mean: mean(x, jnp.arange(1.0, 1 + len(x)).astype(x.dtype))[None] - x),
    "jnp mean": Rule(lambda x, s, t, mean: jnp.mean(x, axis=0, keepdims=True) - x),
    "median": Rule(lambda x, s, t, mean: jnp.median(x, axis=0)[None] - x),
    "extremes": Rule(lambda x, s, t, mean: (jnp.max(x, axis=0) + jnp.min(x, axis=0))[None] / 2 - x),
    "harmonic mean": Rule(lambda x, s, t, mean: 1 / jnp.mean(1 / (3 + x), axis=0)[None] - x),
    "geometric mean": Rule(lambda x, s, t, mean: jnp.prod(3 + x, axis=0)[None] ** (1 / len(x)) - 3 - x),
    "trimmed": Rule(lambda x, s, t, mean: jnp.mean(jnp.sort(x, axis=0)[len(x) // 3 :], axis=0)[None] - x),
    "logsumexp": Rule(lambda x, s, t, mean: jax.nn.logsumexp(x, axis=0)[None] - x),
    "variance": Rule(lambda x, s, t, mean: jnp.var(x, axis=0)[None] * x),
    "of time": Rule(lambda x, s, t, mean: jnp.exp(-t) * jnp.cos(3 * t) * (mean(x)[None] - x)),
    "saturated": Rule(lambda x, s, t, mean: jnp.tanh(2 * (mean(x)[None] - x))),
    "relu": Rule(lambda x, s, t, mean: jax.nn.relu(mean(x)[None] - x)),
    "sine": Rule(lambda x, s, t, mean: jnp.sin(mean(x)[None] - x)),
    "kuramoto": Rule(lambda x, s, t, mean: jnp.mean(jnp.sin(differences(x)), axis=1)),
    "all agreed": Rule(lambda x, s, t, mean: jnp.where(jnp.all(x > 0) | jnp.any(x > 1), mean(x)[None] - x, x)),
    "parity of signs": Rule(lambda x, s, t, mean: jnp.prod(jnp.sign(x), axis=0)[None] * x),
    "covariance": Rule(lambda x, s, t, mean: (x - mean(x)[None]) @ (x.T @ x)),
    "float16 messages": Rule(lambda x, s, t, mean: mean(x.astype(jnp.float16).astype(x.dtype))[None] - x),
    "quantized": Rule(lambda x, s, t, mean: mean(jnp.round(4 * x).astype(jnp.int32) / 4).astype(x.dtype)[None] - x),
    "signs": Rule(lambda x, s, t, mean: jnp.sign(mean(jnp.sign(x)))[None] - x),
    # rings, chains, graphs
    "ring": Rule(lambda x, s, t, mean: jnp.roll(x, 1, axis=0) + jnp.roll(x, -1, axis=0) - 2 * x),
    "chain": Rule(lambda x, s, t, mean: jnp.zeros_like(x).at[1:].add(x[:-1] - x[1:]).at[:-1].add(x[1:] - x[:-1])),
    "differences": Rule(lambda x, s, t, mean: jnp.pad(jnp.diff(x, axis=0), ((0, 1), (0, 0)))),
    "laplacian": Rule(
        lambda x, s, t, mean: (jnp.ones((len(x), len(x)), x.dtype) / len(x) - jnp.eye(len(x), dtype=x.dtype)) @ x
    ),
    "star": Rule(lambda x, s, t, mean: x[:1] - x),
    "last": Rule(lambda x, s, t, mean: x[-1][None] - x),
    "neighbor by index": Rule(lambda x, s, t, mean: x[(jnp.arange(len(x)) + 1) % len(x)] - x),
    "mirror": Rule(lambda x, s, t, mean: x[::-1] - x),
    "even and odd": Rule(lambda x, s, t, mean: x.at[::2].add(-jnp.mean(x[::2], axis=0)) - x),
    "empty front": Rule(lambda x, s, t, mean: jnp.sum(x[:0], axis=0)[None] + jnp.concatenate([x[1:], x[:1]]) - x),
    "halves": Rule(halves_of_the_swarm),
    "groups": Rule(groups),
    "tree": Rule(lambda x, s, t, mean: x[(jnp.arange(len(x)) - 1).clip(0) // 2] - x),
    "sequential": Rule(sequential),
    "gossip": Rule(lambda x, s, t, mean: jax.random.permutation(jax.random.key(7), x, axis=0) - x),
    "gossip in time": Rule(
        lambda x, s, t, mean: (
            x[
                jax.random.randint(
                    jax.random.fold_in(jax.random.key(7), (100 * t).astype(jnp.int32)), (len(x),), 0, len(x)
                )
            ]
            - x
        )
    ),
    # pairs
    "pair forces": Rule(lennard_jones),
    "springs": Rule(lambda x, s, t, mean: jnp.sum(differences(x), axis=1)),
    "softmax consensus": Rule(softmax_consensus),
    "bounded confidence": Rule(bounded),
    "nearest": Rule(lambda x, s, t, mean: x[jnp.argmin(squares(x) + 1e3 * jnp.eye(len(x), dtype=x.dtype), axis=1)] - x),
    "vmapped pairs": Rule(
        lambda x, s, t, mean: jax.vmap(lambda a: jnp.mean(jax.vmap(lambda b: jnp.sin(b - a))(x), axis=0))(x)
    ),
    "potential": Rule(lambda x, s, t, mean: -jax.grad(lambda y: jnp.sum(jnp.log(1 + squares(y))))(x)),
    "gram": Rule(gram_schmidt),
    "features": Rule(features),
    "stein": Rule(lambda x, s, t, mean: jnp.exp(-squares(x)) @ (-x) / len(x)),
    # ranks
    "ranks": Rule(ranked),
    "leader": Rule(leader),
    "sorted ring": Rule(lambda x, s, t, mean: jnp.roll(jnp.sort(x, axis=0), 1, axis=0) - x),
    "top": Rule(lambda x, s, t, mean: jnp.mean(lax.top_k(x.T, 1)[0].T, axis=0)[None] - x),
    "cumulative": Rule(
        lambda x, s, t, mean: jnp.cumsum(x, axis=0) / jnp.arange(1.0, 1 + len(x)).astype(x.dtype)[:, None] - x
    ),
    "order statistics": Rule(lambda x, s, t, mean: lax.cummax(x, axis=0) - lax.cummin(x, axis=0)),
    # branches, loops, effects
    "branch": Rule(lambda x, s, t, mean: lax.cond(jnp.sum(x) > 0, lambda a: mean(a)[None] - a, lambda a: -a, x)),
    "rounds": Rule(hungry),
    "printing": Rule(printing),
    "checked": Rule(checked),
    "barrier": Rule(lambda x, s, t, mean: lax.optimization_barrier((mean(x)[None] - x, jnp.argmax(x)))[0]),
    "integer barrier": Rule(lambda x, s, t, mean: lax.optimization_barrier(jnp.round(3 * x).astype(jnp.int32)) - x),
    "fourier": Rule(
        lambda x, s, t, mean: (
            jnp.fft.ifft(jnp.fft.fft(x, axis=0) * (1 - jnp.arange(len(x)) % 2)[:, None], axis=0).real - x
        )
    ),
    # shared states
    "center": CENTER,
    "center of integers": Rule(
        CENTER.pull, CENTER.init, lambda x, c, t, mean: jnp.round(mean(x) * 4).astype(jnp.int32) / 4 - c
    ),
    "memory of each": Rule(lambda x, m, t, mean: m - x, lambda x, mean: 0.5 * x, lambda x, m, t, mean: x - m),
    "complex center": Rule(
        lambda x, c, t, mean: c.real[None] - x,
        lambda x, mean: mean(x) + 1j * mean(x**2),
        lambda x, c, t, mean: 1j * c + mean(x),
    ),
    "complex memory": Rule(
        lambda x, c, t, mean: c.imag - x,
        lambda x, mean: x + 0.5j,
        lambda x, c, t, mean: c * jnp.exp(1j * x) - c,
    ),
    "covariance state": Rule(
        lambda x, c, t, mean: (x - mean(x)[None]) @ c,
        lambda x, mean: jnp.eye(x.shape[1], dtype=x.dtype),
        lambda x, c, t, mean: (x.T @ x) / len(x) - c,
    ),
    "several": Rule(
        lambda x, s, t, mean: s["slow"][None] + s["fast"][1][None] - 2 * x,
        lambda x, mean: {
            "slow": mean(x),
            "fast": (jnp.zeros(()).astype(x.dtype), 0 * x[0]),
            "who": jnp.argmax(x[:, 0]),
        },
        lambda x, s, t, mean: {
            "slow": 0.1 * (mean(x) - s["slow"]),
            "fast": (jnp.max(x) - s["fast"][0], mean(x)),
            "who": s["who"],
        },
    ),
    "history": Rule(
        lambda x, h, t, mean: h[0][None] - x,
        lambda x, mean: jnp.stack([mean(x)] * 3),
        lambda x, h, t, mean: jnp.roll(h, 1, axis=0).at[0].set(mean(x)) - h,
    ),
    "momenta in pairs": Rule(
        lambda x, s, t, mean: jnp.stack([s, -s], axis=-1).sum(-1) + mean(x)[None] - x,
        lambda x, mean: x,
        lambda x, s, t, mean: lax.complex(x, s).imag - s,
    ),
}

# -- primitives that losses and rules have seldom ----------------------------------------------------------------------


def whole(x):
    return jnp.floor(4 * x).astype(jnp.int32)


def tridiagonal(x):
    n = 4
    y = jnp.resize(x, (n,))
    return lax.linalg.tridiagonal_solve(0.1 * y, 2 + y**2, 0.1 * y[::-1], jnp.ones((n, 1), x.dtype))


def reflected(x):
    return lax.linalg.householder_product(matrix(x[0]), 1 / weights(x[0]) + 0 * x[0])


def keys_of(x):
    return jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(5), jnp.abs(whole(x)).ravel().astype(jnp.uint32))


def pooled_tangent(x):
    pool = lambda y: lax.reduce_window(y, -jnp.inf, lax.max, (2,), (1,), "VALID")
    return jax.jvp(pool, (jnp.resize(x, (6,)),), (jnp.arange(6.0, dtype=x.dtype),))[1]


PRIMITIVES: dict[str, Callable[[Any], Any]] = {
    "total order": lambda x: (lax.eq_to_p.bind(x, -x), lax.le_to_p.bind(x, x), lax.lt_to_p.bind(x, -x)),
    "mulhi": lambda x: lax.mulhi(whole(x) * 2**20, whole(x) * 2**20),
    "igamma_grad_a": lambda x: lax.igamma_grad_a(1 + x**2, 2 + x**2),
    "cumulative": lambda x: (lax.cumprod(x), lax.cumlogsumexp(x), lax.cummin(x, reverse=True)),
    "householder": reflected,
    "tridiagonal": tridiagonal,
    "pivots": lambda x: lax.linalg.lu_pivots_to_permutation(lax.linalg.lu(jnp.flip(matrix(x[0]), axis=0))[1], 4),
    "keys": lambda x: jax.random.key_data(jax.random.clone(keys_of(x))),
    "wrapped keys": lambda x: jax.vmap(lambda d: jax.random.bits(jax.random.wrap_key_data(d)))(
        jax.random.key_data(keys_of(x))
    ),
    "gamma variates": lambda x: jax.random.gamma(jax.random.key(2), 1 + x**2, dtype=x.dtype),
    "threefry": lambda x: jax.extend.random.threefry_2x32(
        (np.uint32(1), np.uint32(2)), jnp.abs(whole(x)).ravel().astype(jnp.uint32)
    ),
    "own reduction": lambda x: lax.reduce(
        x, jnp.asarray(0, x.dtype), lambda a, b: jnp.maximum(jnp.abs(a), jnp.abs(b)), (0,)
    ),
    "own window": lambda x: lax.reduce_window(
        jnp.resize(x, (5,)),
        np.asarray(0, x.dtype),
        lambda a, b: jnp.maximum(jnp.abs(a), jnp.abs(b)),
        (2,),
        (1,),
        "VALID",
    ),
    "smallest of a window": lambda x: lax.reduce_window(jnp.resize(x, (5,)), jnp.inf, lax.min, (2,), (1,), "VALID"),
    "tangent of a pool": pooled_tangent,
    "subtract in place": lambda x: x.at[0].subtract(x[-1]),
    "bitwise reductions": lambda x: (jnp.bitwise_and.reduce(whole(x), axis=0), jnp.bitwise_or.reduce(whole(x), axis=0)),
    "bytes": lambda x: lax.bitcast_convert_type(lax.bitcast_convert_type(x, jnp.uint8), x.dtype),
    "eigenvectors": lambda x: jnp.abs(jnp.linalg.eigh(matrix(x[0]))[1]),
    "no results": lambda x: (jax.jit(lambda y: None)(x), x)[1],
    "empty": lambda x: (x[:0], jnp.sum(x[:, :0]), jnp.zeros((0, 3)), x[:0].T, jnp.sort(x[:0])),
    "constants": lambda x: (jnp.sin(jnp.arange(3.0)), 2.0 * x),
}


# Units in the last place of the largest result, or of 1, by which two right programs may differ; 16 for the others.
ROUNDING: dict[str, float] = {}
