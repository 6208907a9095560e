"""The engine's evaluation over lanes: equal to jax.vmap, to one simulation by itself, and to the library's sine."""

import catalogue
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sdesim
from sdesim import coupling, noise
from sdesim.engine import run as engine
from sdesim.engine import vectorize
from sdesim.engine.vectorize import Halves, lanes

# -- sine and cosine -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ours", "exact"), [(vectorize.sin, np.sin), (vectorize.cos, np.cos)])
@pytest.mark.parametrize("reach", [1.0, 30.0, 1e3])
def test_sine_and_cosine_are_good_to_2e_7(ours, exact, reach):
    x = np.random.default_rng(0).uniform(-reach, reach, 500_000).astype(np.float32)
    edges = np.arange(-300, 301)[:, None] * np.pi / 2 + np.array([-1e-4, 0, 1e-4])  # where the reduction changes
    x = np.concatenate([x, edges.ravel()[np.abs(edges.ravel()) <= reach].astype(np.float32), np.float32([0.0, -0.0])])
    found = np.asarray(jax.jit(ours)(x), float)
    assert np.abs(found - exact(x.astype(float))).max() <= 2e-7
    assert not np.isfinite(np.asarray(ours(np.float32([np.nan, np.inf, -np.inf])))).any()


@pytest.mark.parametrize(("ours", "library"), [(vectorize.sin, jnp.sin), (vectorize.cos, jnp.cos)])
def test_sine_and_cosine_are_differentiable(ours, library):
    """Built on the bits of a float, they would have derivative 0 by themselves."""
    x = jnp.linspace(-7, 7, 101, dtype=jnp.float32)
    for order in (1, 2):
        derivative = lambda f, n=order: jax.vmap(jax.grad(f) if n == 1 else jax.grad(jax.grad(f)))(x)
        np.testing.assert_allclose(derivative(ours), derivative(library), atol=3e-7)


# -- lanes -----------------------------------------------------------------------------------------------------------


def everything(x, w, k):
    """Most of what a loss or a rule may do to agents x (6, 3), with weights w (6,) and a number k."""
    m = jnp.mean(x, axis=0)
    y = k * (m[None] - x) + jnp.sin(x) * jnp.tan(0.1 * x)
    y = y + jnp.where(x > 0, x[:, ::-1], jnp.clip(x, -1.0, 0.5))
    matrix = jnp.arange(9.0).reshape(3, 3) / 9
    y = y + x @ matrix + jnp.einsum("ij,kj->ik", x, x) @ x
    y = y.at[2].add(jnp.sort(x[:, 0])[:3]) + jnp.concatenate([x[3:], x[:3]])
    y = y + jnp.cumsum(x, axis=0) + jax.nn.softmax(x, axis=1) + x[jnp.argmax(w)][None]
    y = y + jax.lax.fori_loop(0, 3, lambda i, a: jnp.cos(a) + w[i], x)
    best = jnp.max(y), jnp.argmin(w), jnp.all(x > -9), jnp.prod(jnp.abs(x), axis=0), jnp.linalg.norm(y, axis=1)
    return y, best, jnp.broadcast_to(m, (6, 3)), jnp.logaddexp(x, -x).reshape(3, 6).T, w * 2


def close(found, expected):
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert a.shape == b.shape and a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("axes", [(-1, -1, None), (-1, None, -1), (None, -1, None), (-1, -1, -1)])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_lanes_are_vmap_over_the_last_axis(axes, dtype):
    rng = np.random.default_rng(1)
    shapes = [(6, 3), (6,), ()]
    arrays = [jnp.asarray(rng.normal(size=(*s, 5) if a == -1 else s), dtype) for s, a in zip(shapes, axes, strict=True)]
    with jax.numpy_dtype_promotion("standard"):
        expected = jax.vmap(everything, in_axes=axes, out_axes=-1)(*arrays)
        close(lanes(everything, axes)(*arrays), expected)
        close(jax.jit(lanes(everything, axes, fast=False))(*arrays), expected)


def test_agents_in_halves_give_the_same():
    """Halves are a way to hold an array: merged, results are those of the whole array."""
    rng = np.random.default_rng(2)
    x, w, k = (jnp.asarray(rng.normal(size=s), jnp.float32) for s in ((6, 3, 5), (6, 5), (5,)))
    merge = lambda tree: jax.tree.map(
        lambda a: a.merged() if isinstance(a, Halves) else a, tree, is_leaf=lambda a: isinstance(a, Halves)
    )
    with jax.numpy_dtype_promotion("standard"):
        whole = lanes(everything, (-1, -1, -1))(x, w, k)
        halved = lanes(everything, (-1, -1, -1))(Halves.split(x), Halves.split(w), k)
    assert any(isinstance(a, Halves) for a in jax.tree.leaves(halved, is_leaf=lambda a: isinstance(a, Halves)))
    close(merge(halved), whole)


@pytest.mark.parametrize(("dims", "state"), [(1, "4,64"), pytest.param(3, "4,3,32", marks=pytest.mark.slow)])
def test_simple_steps_stay_in_halves(dims, state, compiled_here):
    """No interleaving in the hot step, which would cost more than the halves save."""
    loss = lambda x: jnp.sum(x**4 - jnp.cos(3 * x))
    with jax.enable_x64(False):
        model = sdesim.Dynamics(loss, coupling.Elastic(0.1), noise.Gaussian(1.0), 0.01, sdesim.Nesterov(0.5))
        program = compiled_text(model, agents=8, dims=dims)
    steps = [line for line in program.splitlines() if " fusion(" in line and "while/body/while/body/while/body" in line]
    assert sum(f"= c64[{state}]" in line for line in steps) == 2  # one kernel each for velocities and positions
    assert not any("= f32[8," in line for line in steps)  # and the whole state nowhere in the loop


def test_a_cosine_that_is_summed_and_used_is_computed_once(compiled_here):
    """A kernel for the cosines, one for the gradient with its sines, and the sum between."""
    with jax.enable_x64(False):
        gradient = lanes(jax.vmap(jax.grad(sdesim.objectives.CoupledDoubleWells().loss)), (-1,))
        program = jax.jit(gradient).lower(jnp.ones((50, 10, 32), jnp.float32)).compile().as_text()
    assert program.count(" round-nearest-even(") == 2


def compiled_text(model, agents, sims=64, dims=1):
    texts = []
    advance = engine._compiled(False, False)

    def spy(*arguments):
        texts.append(advance.lower(*arguments).compile().compiled.as_text())
        return advance(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "_compiled", lambda *_: spy)
        sdesim.simulate(model, agents=agents, sims=sims, dims=dims, steps=3)
    return texts[0]


def test_two_agents_in_halves_do_not_mistake_an_axis_for_pairs():
    """Of (2, 4) features the two halves are (4, lanes) each, as eight agents' positions would be."""
    total = lambda x: (jnp.sum(jnp.tanh(x * jnp.arange(1.0, 5.0, dtype=x.dtype)[None]), axis=0), jnp.sum(x, axis=0))
    x = jnp.asarray(np.random.default_rng(3).normal(size=(2, 1, 5)), jnp.float32)
    close(lanes(total, (-1,))(Halves.split(x)), jax.vmap(total, -1, -1)(x))


# -- what steps aside ------------------------------------------------------------------------------------------------


def test_a_program_with_effects_is_mapped_as_a_whole_and_says_why():
    seen = []

    def step(x):
        jax.debug.callback(lambda v: seen.append(np.asarray(v)), x)
        return jnp.sin(x) + jnp.mean(x)

    plain = np.linspace(0, 1, 12, dtype=np.float32).reshape(4, 1, 3)
    x = jnp.asarray(plain)
    for argument in (x, Halves.split(x)):
        token = vectorize.NOTES.set([])
        found = jax.jit(lanes(step, (-1,)))(argument)
        jax.effects_barrier()
        assert vectorize.NOTES.get() == ["the program calls debug_callback, an effect"]
        vectorize.NOTES.reset(token)
        np.testing.assert_allclose(found, np.sin(plain) + np.mean(plain, axis=0)[None], rtol=0, atol=3e-7)
    np.testing.assert_array_equal(np.sort(np.concatenate(seen), axis=None), np.sort(np.tile(x, 2), axis=None))


def test_a_proven_program_leaves_no_note():
    token = vectorize.NOTES.set([])
    lanes(lambda x: jax.lax.cond(x[0] > 0, jnp.sin, jnp.cos, x), (-1,))(jnp.ones((2, 3)))
    assert vectorize.NOTES.get() == []
    vectorize.NOTES.reset(token)


@pytest.mark.parametrize("where", ["loss", "rule", "observable", "schedule"])
def test_users_may_look_into_every_function(where, monkeypatch):
    """In every step of every simulation, in blocks and threads too."""
    monkeypatch.setattr(engine, "THREAD_BYTES", 0)
    seen = []
    look = lambda here, value: (
        jax.debug.callback(lambda v: seen.append(np.asarray(v)), value) if here == where else None
    )

    class Rule(coupling.AbstractCoupling):
        def pull(self, x, shared, t, mean):
            look("rule", x)
            return mean(x)[None] - x

    class Watch(sdesim.observe.AbstractSeries):
        name = "watch"

        def value(self, view):
            look("observable", view.state.x)
            return jnp.sum(view.state.x)

    def loss(x):
        look("loss", x)
        return jnp.sum(x**2)

    def schedule(n):
        look("schedule", n)
        return jnp.where(n > 3, 0.1, 0.2)

    with jax.enable_x64(False):
        model = sdesim.Dynamics(loss, Rule(), noise.Gaussian(0.0), schedule)
        init = np.linspace(-1, 1, 34 * 2, dtype=np.float32).reshape(34, 2, 1)
        out = sdesim.simulate(model, agents=2, sims=34, steps=2, init=init, observe=Watch(), every=1)
        jax.effects_barrier()
    found = np.concatenate([np.ravel(v) for v in seen])
    assert set(found) == {0, 1} if where == "schedule" else set(np.ravel(init)) <= set(found)
    middle = init - 0.2 * (2 * init - (np.mean(init, axis=1, keepdims=True) - init))
    assert where == "schedule" or np.abs(np.sort(found)[:, None] - np.ravel(middle)[None]).min(axis=0).max() < 1e-6
    np.testing.assert_allclose(out.observed["watch"][:, 1], middle.sum((1, 2)), atol=1e-6)


@pytest.mark.relaxed
def test_complex_states_may_be_shared_by_agents_in_pairs():
    class Rotating(coupling.AbstractCoupling):
        """What agents share turns; what each keeps is complex too."""

        def init(self, x, mean):
            return {"center": mean(x) + 1j, "own": x * (1 + 2j), "real": x}

        def pull(self, x, shared, t, mean):
            return shared["center"].imag[None] + shared["own"].real - x

        def flow(self, x, shared, t, mean):
            return {"center": 1j * shared["center"], "own": mean(x)[None] - shared["own"], "real": x - shared["real"]}

    with jax.enable_x64(False):
        model = sdesim.Dynamics(lambda x: jnp.sum(x**4), Rotating(), noise.Uniform(1.0), 0.1)
        fast, plain = (sdesim.simulate(model, agents=4, sims=3, steps=4, init=0.5, fast=f) for f in (True, False))
    for a, b in zip(jax.tree.leaves(fast.state), jax.tree.leaves(plain.state), strict=True):
        assert a.shape == b.shape and a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=0, atol=16 * np.finfo(np.float32).eps)


# -- derivatives -----------------------------------------------------------------------------------------------------


@jax.custom_jvp
def doubled(x, n):
    """A function whose rule is told from its derivative by a factor of 2."""
    return jnp.sum(jnp.sin(x) * n, axis=1)


doubled.defjvp(lambda p, t: (doubled(*p), 2 * jnp.sum(jnp.cos(p[0]) * p[1] * t[0], axis=1)))


@jax.custom_vjp
def halved(x, n):
    return jnp.sum(jnp.sin(x) * n, axis=1), n


halved.defvjp(lambda x, n: (halved(x, n), (x, n)), lambda r, g: (0.5 * jnp.cos(r[0]) * r[1] * g[0][:, None], None))


@pytest.mark.relaxed
@pytest.mark.parametrize("fn", [doubled, lambda x, n: halved(x, n)[0]], ids=["jvp", "vjp"])
@pytest.mark.parametrize("paired", [False, True])
def test_derivative_rules_hold_for_who_differentiates_a_run(fn, paired):
    x = jnp.asarray(np.random.default_rng(4).normal(size=(4, 1, 3)), jnp.float32)
    n = jnp.asarray(2, jnp.int32)
    one = lambda x, n: jnp.sum(fn(x, n) ** 2)
    of = lambda x: jnp.sum(lanes(one, (-1, None))(Halves.split(x) if paired else x, n))
    expected = jax.grad(lambda x: jnp.sum(jax.vmap(one, (-1, None), -1)(x, n)))(x)
    for derivative in (jax.grad(of), jax.jit(jax.grad(of)), jax.grad(jax.jit(of))):
        np.testing.assert_allclose(derivative(x), expected, rtol=2e-6)
    np.testing.assert_allclose(jax.vmap(jax.grad(of))(x[None])[0], expected, rtol=2e-6)


# -- fast and plain paths --------------------------------------------------------------------------------------------

RULES = catalogue.some(
    catalogue.rules(6),
    *("uncoupled", "quorum", "quorum-each", "elastic-rates", "state-dependent", "spiking", "saturating", "tree"),
    *("outer", "mixing", "mixing-turns", "streaming"),
) | {"quorum of (x, t)": lambda: coupling.Quorum(lambda x, t: 2 + jnp.sin(5 * x[0]) * jnp.exp(-t))}
LAWS = catalogue.some(catalogue.laws(1), "silent", "uniform", "gaussian", "student-t") | {
    "a sine": lambda: noise.Diffusion(lambda x: 1 + jnp.sin(x) ** 2)
}
MOMENTA = catalogue.some(catalogue.MOMENTA, "none", "nesterov") | {"3 / t": lambda: sdesim.Friction(lambda t: 3 / t)}


@pytest.mark.parametrize(
    ("rule", "law", "momentum", "dims"),
    [(r, "uniform", "none", 1) for r in RULES]
    + [("quorum", law, "nesterov", 1) for law in LAWS]
    + [("elastic-rates", "gaussian", m, 1) for m in MOMENTA]
    + [("elastic-rates", "gaussian", "nesterov", 3), ("tree", "student-t", "3 / t", 2)],
)
def test_fast_path_equals_plain_path_in_float32(rule, law, momentum, dims, monkeypatch):
    """20 steps with polynomials, halves, blocks and threads, and with none of them: equal to rounding."""
    loss = lambda x: jnp.sum(0.2 * x**4 - x**2 + 0.3 * jnp.sin(4 * x) + 0.2 * jnp.cos(7 * x))
    with jax.enable_x64(False):
        model = sdesim.Dynamics(loss, RULES[rule](), LAWS[law](), 0.02, MOMENTA[momentum]())
        sizes = dict(agents=6, sims=37, dims=dims, steps=20, init=sdesim.init.Uniform(-2, 2), epoch=5)
        monkeypatch.setattr(engine, "THREAD_BYTES", 0)
        fast = sdesim.simulate(model, **sizes)
        monkeypatch.undo()
        plain = jax.jit(lambda _: plainly(model, sizes))(0)
    scale = np.abs(np.asarray(plain)).max()
    # 20 steps of some 20 roundings each at 6e-8, and sines good to 2e-7, grown by a curvature of up to 20 at 0.02
    assert np.abs(np.asarray(fast.agents) - np.asarray(plain)).max() < 2e-4 * scale
    assert np.abs(np.asarray(fast.agents) - np.asarray(plain)).max() > 0  # another path indeed
    assert scale > 1


def plainly(model, sizes):
    """The same run by jax.vmap with the library's sine, inside a trace, where the engine does nothing special."""
    with pytest.MonkeyPatch.context() as patch:
        vmapped = lambda fn, axes, fast=True: jax.vmap(fn, in_axes=axes, out_axes=-1)
        patch.setattr(engine, "lanes", numbered(vmapped))
        return sdesim.simulate(model, fast=False, **sizes).agents


def numbered(vmapped):
    """jax.vmap does not take functions as arguments: those in a model are closed over."""
    import equinox as eqx

    def over(fn, axes, fast=True):
        def run(*arguments):
            arrays, static = eqx.partition(arguments, eqx.is_array_like)
            broadcast = jax.tree.map(
                lambda axis, part: jax.tree.map(lambda _: axis, part), tuple(axes), arrays, is_leaf=lambda a: a is None
            )
            return vmapped(lambda *a: fn(*eqx.combine(a, static)), broadcast)(*arrays)

        return run

    return over


def test_a_call_inside_jit_runs_without_our_compiler_options():
    model = sdesim.Dynamics(lambda x: 0.5 * x * x, coupling.Quorum(1.0), noise.Gaussian(1.0), 0.05)
    sizes = dict(agents=4, sims=3, steps=20)
    outside = sdesim.simulate(model, **sizes).agents
    inside = jax.jit(lambda: sdesim.simulate(model, **sizes).agents)()
    np.testing.assert_allclose(inside, outside, rtol=1e-12)


@pytest.mark.parametrize(
    "law", [noise.Gaussian, lambda s: noise.Uniform(s * np.sqrt(3.0))], ids=["gaussian", "uniform"]
)
@pytest.mark.parametrize("momentum", [False, True])
def test_long_runs_of_the_fast_path_have_the_exact_stationary_law(law, momentum):
    """Float32, pairs, threads: variances of the quorum and of the agents about it, within 4.5 standard errors.

    Eight looks: a false alarm in 2e4. The exact values are those of the discrete chain, mode by mode: the mean feels
    the curvature h and 1/p of the noise, a deviation the curvature, the pull k and the rest.
    """
    h, k, eta, sigma, delta, agents, sims = 1.3, 4.0, 0.1, 2.0, 0.6, 10, 4000
    with jax.enable_x64(False):
        model = sdesim.Dynamics(
            lambda x: 0.5 * h * x * x,
            coupling.Quorum(k),
            law(sigma),
            eta,
            sdesim.HeavyBall(delta) if momentum else None,
        )
        x = np.asarray(sdesim.simulate(model, agents=agents, sims=sims, steps=400, seed=9).agents, float)[..., 0]
    q = x.mean(1)
    expected = [chain_variance(h, pull, eta, sigma, delta if momentum else 0.0) for pull in (0.0, k)]
    for squares, exact in ((q**2, expected[0] / agents), (x.var(axis=1), expected[1] * (1 - 1 / agents))):
        assert abs(squares.mean() - exact) < 4.5 * squares.std() / np.sqrt(sims)
        assert abs(squares.mean() - 1.15 * exact) > 4.5 * squares.std() / np.sqrt(sims)  # the test can tell 15 %


def chain_variance(h, k, eta, sigma, delta):
    """Stationary variance of x, where v <- delta v - eta (h x - sigma z), x <- x + v - eta k x."""
    step = np.array([[1 - eta * k - eta * h, delta], [-eta * h, delta]])
    kick = eta * sigma * np.ones((2, 1))
    covariance = np.linalg.solve(np.eye(4) - np.kron(step, step), (kick @ kick.T).ravel())
    return covariance[0]
