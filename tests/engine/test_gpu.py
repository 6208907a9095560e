"""The fused kernel against the plain path, and its compilation for CUDA.

Without a GPU the Triton form is interpreted. On one, both forms run as they are compiled, beside the plain path's scan.
"""

import functools
import inspect
import itertools
import types

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sdesim import coupling, objectives
from sdesim.asynchrony import Gamma
from sdesim.coupling import (
    Elastic,
    Filtered,
    Mixing,
    Outer,
    Quorum,
    SaturatingFilter,
    Spiking,
    StateDependent,
    Streaming,
    Tree,
)
from sdesim.dynamics import Dynamics, Friction, HeavyBall, Nesterov
from sdesim.engine import gpu, path
from sdesim.engine.gpu import layout, primitives
from sdesim.engine.gpu.contraction import contracted
from sdesim.engine.gpu.layout import shape_of
from sdesim.engine.plan import Plan
from sdesim.ensembles.setup import start_lanes
from sdesim.noise import Diffusion, GammaMultiplicative, Gaussian, Silent, StudentT, Uniform
from sdesim.objectives import (
    AbstractByAgent,
    AbstractObjective,
    CoupledDoubleWells,
    Function,
    LogCosh,
    OscillatingDoubleWell,
    Quadratic,
    QuarticDoubleWell,
)
from sdesim.observe import FirstNonFinite
from sdesim.random import ROUNDS, seed_words
from sdesim.run import iterate, simulate
from sdesim.schedules import Halving, PerStep
from sdesim.steppers import Adam, AdamSDE, Delayed, EulerMaruyama, Iteration

pytestmark = pytest.mark.usefixtures("float32")

SEED, SIMS = 11, 7


ON_GPU = jax.default_backend() == "gpu"
FORMS = ["mosaic", "triton"] if ON_GPU else ["interpret"]


@pytest.fixture(params=FORMS)
def form(request, monkeypatch):
    """The form of the kernel that `fused` runs, and no kernel anywhere else."""
    monkeypatch.setattr(path, "_KERNELS", {})
    monkeypatch.setattr(path, "_warn_once", lambda message: None)
    none = types.SimpleNamespace(backend_for=lambda *_: gpu.Choice(None, ""))
    monkeypatch.setattr(path, "gpu", none)
    return request.param


def start(agents, dims, sims=SIMS):
    return np.random.default_rng(agents).normal(size=(sims, agents, dims)).astype(np.float32)


def plan_of(agents, dims, method="em", order="jacobi", dt=None, fast=True, period=1):
    """The plan and the stepper of a run."""
    stepper = EulerMaruyama(dt, order=order) if method == "em" else Iteration(period, order=order)
    return Plan(agents, dims, None, None, fast), stepper


def fused(
    model, x, steps, form=FORMS[0], *, method="em", order="jacobi", dt=None, period=1, axes=None, state=None, first=0,
    fast=True, random=None, stepper=None,
):  # fmt: skip
    """The kernel's state after `steps` steps from (sims, agents, dims)."""
    sims, agents, dims = x.shape
    none = jax.tree.map(lambda _: None, model) if axes is None else axes
    plan, plain = plan_of(agents, dims, method, order, dt, fast, period)
    stepper = plain if stepper is None else stepper
    if state is None:
        state = start_lanes(model, stepper, none, jnp.moveaxis(jnp.asarray(x), 0, -1), None)
    arguments = (jnp.arange(sims, dtype=jnp.uint32), seed_words(SEED, random), first, steps)
    options = dict(backend="triton", interpret=True) if form == "interpret" else dict(backend=form)
    return gpu.advance(plan, stepper, model, none, state, *arguments, **options)


def assert_close(got, expected, steps, growth=0.0, memory=1.0):
    """Two programs of the same arithmetic. Each step rounds by 2 units in the last place of the positions at most.

    A convex loss and a coupling that averages shrink what was rounded; where the loss is concave it grows by `growth`
    a step, the step's length times the curvature. Momentum delta repeats it for 1 / (1 - delta) steps: `memory`.
    """
    unit = np.spacing(np.float32(np.abs(expected.x).max()))
    bound = 2 * unit * memory * sum((1 + growth) ** s for s in range(steps))
    assert jax.tree.structure(got) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=0, atol=bound)


def decreasing(x, t):
    return jnp.exp(-jnp.sum(x * x))


def banana(x):
    return x[0] ** 2 + 0.5 * x[1] * x[2] + jnp.sum(jnp.log1p(x[1:] ** 2)) + jnp.sinh(x[0] / 4)


# name: model, (agents, dims), how it runs, and how rounding grows: see `assert_close`
CASES = {
    "quorum-uniform": (
        lambda: Dynamics(OscillatingDoubleWell(), Quorum(1.0), Uniform(8.0), eta=1e-3),
        (250, 1),
        {},
        {"growth": 1e-3 * 110},
    ),
    "thirteen-rounds": (
        lambda: Dynamics(LogCosh(), Quorum(1.0), Gaussian(1.0)),
        (13, 1),
        {"random": "threefry13"},
        {},
    ),
    "uncoupled-silent": (lambda: Dynamics(QuarticDoubleWell(), eta=0.01), (33, 1), {}, {"growth": 0.01}),
    "several-tiles": (lambda: Dynamics(LogCosh(), Quorum(2.0), Gaussian(1.0)), (600, 1), {"sims": 3}, {}),
    "one-agent": (lambda: Dynamics(LogCosh(), Elastic(2.0), Gaussian(1.0)), (1, 1), {}, {}),
    "tree-unrolled": (lambda: Dynamics(LogCosh(), Tree(1.0, (4, 2)), Uniform(1.0)), (8, 1), {}, {}),
    "elastic-gaussian-nesterov-schedule": (
        lambda: Dynamics(
            CoupledDoubleWells(), Elastic(1.0), Gaussian(1.0), momentum=Nesterov(0.9), eta=Halving(1e-3, 7, 2e-4)
        ),
        (26, 3),
        {},
        {"growth": 0.1, "memory": 10},
    ),
    "quorum-student-heavy-ball": (
        lambda: Dynamics(LogCosh(), Quorum(1.0), StudentT(1.0, 3.0), momentum=HeavyBall(0.9)),
        (13, 1),
        {"order": "gauss-seidel"},
        {"memory": 10},
    ),
    "elastic-friction-velocities": (
        lambda: Dynamics(
            LogCosh(),
            Elastic(1.0, 3.0),
            Gaussian(1.0),
            momentum=Friction(lambda t: 3 / t),
            velocity_coupling=Quorum(1.0),
        ),
        (33, 1),
        {"dt": 0.005},
        {"memory": 2},
    ),
    "state-dependent-diffusion": (
        lambda: Dynamics(
            Quadratic([[2.0, 0.5], [0.5, 1.0]]), StateDependent(decreasing), Diffusion(lambda x: jnp.sqrt(1 + x * x))
        ),
        (13, 2),
        {"dt": 0.002},
        {"growth": 0.002 * 13 + 0.02},
    ),
    "filtered-full-diffusion": (
        lambda: Dynamics(
            banana, Filtered(1.0, SaturatingFilter(3.0, 0.5)), Diffusion(lambda x: jnp.outer(x, x) / 9, "full")
        ),
        (13, 3),
        {},
        {"growth": 0.01 * 1.5 + 0.07},
    ),
    "second-order-per-step": (
        lambda: Dynamics(LogCosh(), Quorum(2.0), Uniform(1.0), weak_order=2, eta=PerStep([0.01, 0.02, 0.03])),
        (14, 2),
        {},
        {"growth": 0.01},
    ),
    "iteration-period-batch": (
        lambda: Dynamics(LogCosh(), Elastic(1.0), Gaussian([1.0, 2.0]), momentum=Nesterov(0.5), batch=3.0),
        (9, 2),
        {"method": "sgd", "period": 3},
        {"memory": 2},
    ),
    "outer-gauss-seidel": (
        lambda: Dynamics(LogCosh(), Outer(50.0, 0.7, 0.6), Uniform(1.0)),
        (21, 1),
        {"method": "sgd", "order": "gauss-seidel"},
        {},
    ),
    "iteration-gauss-seidel": (
        lambda: Dynamics(LogCosh(), Elastic(1.0), Uniform(1.0)),
        (21, 1),
        {"method": "sgd", "order": "gauss-seidel"},
        {},
    ),
    "own-rates": (
        lambda: Dynamics(
            LogCosh(), Elastic(jnp.linspace(0, 2, 23)), Gaussian([1.0, 2.0]), eta=jnp.linspace(0.001, 0.01, 23)
        ),
        (23, 2),
        {},
        {},
    ),
    "own-rates-unrolled": (
        lambda: Dynamics(LogCosh(), Quorum([1.0, 2.0, 3.0]), Uniform(1.0), eta=jnp.array([0.01, 0.02, 0.03])),
        (3, 2),
        {},
        {},
    ),
    # Of more than eight coordinates: they lie along the block.
    "many-quorum-nesterov": (
        lambda: Dynamics(CoupledDoubleWells(), Quorum(5.0), Uniform(2.0), momentum=Nesterov(0.9), eta=1e-3),
        (14, 20),
        {},
        {"growth": 0.1, "memory": 10},
    ),
    "many-elastic-of-as-many-agents": (
        lambda: Dynamics(LogCosh(), Elastic(2.0, 3.0), Gaussian(1.0), momentum=HeavyBall(0.5)),
        (12, 12),
        {"order": "gauss-seidel"},
        {"memory": 2},
    ),
    "many-own-numbers": (
        lambda: Dynamics(
            lambda x: (
                jnp.sum(jnp.logaddexp(x, -x) * np.linspace(1, 2, 9) * (1 + jnp.arange(9.0))) + jnp.max(x) + x @ x / 9
            ),
            Elastic(jnp.linspace(0, 2, 5)),
            Gaussian(jnp.linspace(1, 2, 9)),
            eta=jnp.linspace(0.001, 0.01, 5),
        ),
        (5, 9),
        {},
        {},
    ),
    "many-of-one-agent": (
        lambda: Dynamics(CoupledDoubleWells(), Elastic(2.0), StudentT(1.0, 3.0), eta=1e-3),
        (1, 33),
        {"method": "sgd"},
        {"growth": 0.1},
    ),
    "many-filtered-diffusion": (
        lambda: Dynamics(
            LogCosh(), Filtered(1.0, SaturatingFilter(3.0, 0.5)), Diffusion(lambda x: jnp.sqrt(1 + x * x) + jnp.mean(x))
        ),
        (13, 10),
        {"random": "threefry13"},
        {"growth": 0.1},
    ),
    "many-second-order-state-dependent": (
        lambda: Dynamics(
            LogCosh(), StateDependent(decreasing), Uniform(1.0), weak_order=2, eta=PerStep([0.01, 0.02, 0.03])
        ),
        (6, 64),
        {},
        {"growth": 0.05},
    ),
    # Of steps that look back, and of moments of the gradients.
    "delayed": (
        lambda: Dynamics(LogCosh(), Quorum(1.0), Gaussian(1.0)),
        (33, 1),
        {"stepper": lambda: Delayed(0.024, 0.01)},
        {},
    ),
    "delayed-by-one-step-unrolled": (
        lambda: Dynamics(LogCosh(), Elastic(1.0), Uniform(1.0), momentum=Friction(2.0)),
        (3, 2),
        {"stepper": lambda: Delayed(0.01, 0.01)},
        {"memory": 2},
    ),
    "delayed-iterations-of-many-coordinates": (
        lambda: Dynamics(LogCosh(), Elastic(1.0), Uniform(1.0), momentum=Nesterov(0.5)),
        (12, 12),
        {"stepper": lambda: Delayed(3.0)},
        {"memory": 2},
    ),
    "delayed-many-of-one-agent": (
        lambda: Dynamics(LogCosh(), Elastic(1.0), Uniform(1.0)),
        (1, 9),
        {"stepper": lambda: Delayed(8.0)},  # as many slots as coordinates
        {},
    ),
    "distributed": (
        lambda: Dynamics(LogCosh(), Quorum(1.0), Gaussian(1.0)),
        (14, 2),
        {"stepper": lambda: Delayed(Gamma(2.0, mean=0.02), 0.01, longest=0.05, distributed=True)},
        {},
    ),
    "adam": (
        lambda: Dynamics(LogCosh(), Elastic(1.0), Gaussian(1.0), eta=1e-3),
        (13, 2),
        {"stepper": lambda: Adam()},
        {"growth": 0.05},
    ),
    "adam-sde-of-many-coordinates": (
        lambda: Dynamics(LogCosh(), Quorum(1.0), Gaussian(1.0), eta=1e-3),
        (4, 10),
        {"stepper": lambda: AdamSDE(b1=None, second=0.01)},
        {"growth": 0.05},
    ),
    "late": (
        lambda: Dynamics(LogCosh(), Outer(50.0, 0.7, 0.6), Uniform(1.0)),
        (21, 2),
        {"stepper": lambda: Iteration(4, late=2)},
        {},
    ),
    "late-of-many-coordinates": (
        lambda: Dynamics(LogCosh(), Elastic(1.0), Uniform(1.0)),
        (5, 10),
        {"stepper": lambda: Iteration(3, late=1, order="gauss-seidel")},
        {},
    ),
    "many-outer": (lambda: Dynamics(LogCosh(), Outer(50.0, 0.7, 0.6), Uniform(1.0)), (70, 17), {"method": "sgd"}, {}),
}


@pytest.mark.parametrize("name", CASES)
def test_the_kernel_is_the_plain_path(name, form):
    compare(name, form)


@pytest.mark.parametrize("name", ["many-own-numbers", "many-of-one-agent", "quorum-student-heavy-ball"])
def test_blocks_of_several_simulations(name, form, monkeypatch):
    """As of hundreds of thousands, the last block not full."""
    monkeypatch.setattr(layout, "FILL", 1)
    (agents, dims), backend = CASES[name][1], "mosaic" if form == "mosaic" else "triton"
    if backend == "triton":
        assert 1 < shape_of(agents, dims, backend, 9).lanes < 9
    compare(name, form, sims=9, steps=(3,))


def compare(name, form, sims=SIMS, steps=(2, 20)):
    """The kernel's state after some steps of a case beside the plain path's."""
    make, (agents, dims), run, growth = CASES[name]
    if dims > gpu.MAX_DIMS["triton" if form == "interpret" else form]:
        pytest.skip("coordinates lie along the block, which Mosaic's have no axis for")
    run = {key: value() if key == "stepper" else value for key, value in run.items()}
    x = start(agents, dims, run.pop("sims", sims))
    model = make()
    plain = {k: v for k, v in run.items() if k not in ("method",)}
    fn = iterate if run.get("method") == "sgd" else simulate
    for n in steps:
        expected = fn(model, agents=agents, sims=len(x), dims=dims, steps=n, seed=SEED, init=x, **plain).state
        assert_close(fused(model, x, n, form, **run), expected, n, **growth)


def regression(x):
    data, labels = np.sin(np.arange(40.0, dtype=np.float32)).reshape(10, 4), np.cos(np.arange(10, dtype=np.float32))
    return jnp.mean(jnp.logaddexp(0.0, -labels * (data @ x))) + jnp.sum(jnp.tanh(data[:3] @ x) ** 2) / 3


def shapes(x):
    chain = jnp.sum((x[1:] - x[:-1]) ** 2) + jnp.sum(x * jnp.roll(x, 1)) + jnp.sum(jnp.cumsum(x[::-1]) ** 2)
    return chain / 4 + jnp.max(x) + jnp.linalg.norm(x + 9) + jax.nn.logsumexp(jnp.outer(x, x[:2]) / 9)


def pieces(x):
    bend = jnp.where(jnp.abs(x) < 1, 0.5 * x * x, jnp.abs(x) - 0.5) + jax.nn.relu(x) ** 2 + jax.nn.softplus(x)
    return jnp.sum(bend + jnp.clip(x, -1, 1) ** 3 + jnp.floor(x) * 0.1 * x + jax.nn.gelu(x) + jnp.tan(x / 9))


def inverses(x):
    y = 0.9 * jnp.tanh(x)
    return jnp.sum(jnp.arcsin(y) ** 2 + jnp.arccos(y) * y + jnp.arctanh(y))


@pytest.mark.parametrize("loss", [regression, shapes, pieces])
def test_what_users_write(loss, form):
    """Losses of many functions; their curvatures are above -1."""
    model = Dynamics(loss, Quorum(1.0), Uniform(1.0))
    x = start(13, 4)
    expected = simulate(model, agents=13, dims=4, sims=SIMS, steps=20, seed=SEED, init=x).state
    assert_close(fused(model, x, 20, form), expected, 20, growth=0.01)
    assert reason(model, 13, 4) is None


def test_inverses(form):
    """Triton has them; in their gradients is a primitive that it has not."""
    model = Dynamics(inverses, Quorum(1.0), Uniform(1.0))
    x = start(13, 1)
    expected = simulate(model, agents=13, sims=SIMS, steps=20, seed=SEED, init=x).state
    if form != "mosaic":
        assert_close(fused(model, x, 20, form), expected, 20, growth=0.01)
    assert gpu.backend_for(*plan_of(13, 1), model, None, (), False, jnp.float32).backend == "triton"


def test_triton_runs_what_mosaic_lacks():
    plan = plan_of(20, 1)
    cases = [(jnp.sinh, "mosaic"), (jnp.arctan, "triton"), (jnp.sort, None)]
    for fn, backend in cases:
        model = Dynamics(lambda x, fn=fn: jnp.sum(fn(x) * x), Quorum(1.0), Uniform(1.0))
        chosen, why = gpu.backend_for(*plan, model, None, (), False, jnp.float32)
        assert chosen == backend and (why == "") == (backend == "mosaic")


def test_triton_runs_what_does_not_fit_mosaics_registers():
    model = Dynamics(LogCosh(), Quorum(1.0), Uniform(1.0))
    chosen = gpu.backend_for(*plan_of(1024, 4), model, None, (), False, jnp.float32)
    assert chosen.backend == "triton" and "128 numbers of the state a thread" in chosen.reason


def test_a_spike(form):
    model = Dynamics(LogCosh(), Spiking(1.0, 3.0, 0.05, 0.15), Uniform(1.0))
    x = start(11, 1)
    state = start_lanes(model, EulerMaruyama(), None, jnp.moveaxis(jnp.asarray(x), 0, -1), None)
    state = jax.vmap(model.renew, in_axes=-1, out_axes=-1)(state)
    assert len(np.unique(state.shared["best"])) > 1  # or the test would not tell whose spike it is
    expected = simulate(model, agents=11, sims=SIMS, steps=20, seed=SEED, init=x, epoch=20).state
    assert_close(fused(model, x, 20, form, state=state), expected, 20)


@pytest.mark.parametrize("agents", [25, 4])
def test_a_sweep_has_a_number_for_each_lane(agents, form):
    gains, sigmas = np.linspace(0, 5, SIMS, dtype=np.float32), np.linspace(1, 2, SIMS, dtype=np.float32)
    halving = Halving(0.01, 7)
    model = Dynamics(LogCosh(), Elastic(1.0, 2.0), Gaussian(1.0), eta=halving)
    swept = lambda m: (m.coupling.k, m.noise.sigma, m.eta.initial)
    values = (jnp.asarray(gains), jnp.asarray(np.stack([sigmas])), jnp.asarray(0.01 * sigmas))
    axes = eqx.tree_at(swept, jax.tree.map(lambda _: None, model), (-1, -1, -1), is_leaf=lambda a: a is None)
    x = start(agents, 1)
    got = fused(eqx.tree_at(swept, model, values), x, 20, form, axes=axes)
    for lane in range(SIMS):
        one = eqx.tree_at(swept, model, tuple(v[..., lane] for v in values))
        run = dict(agents=agents, sims=1, steps=20, seed=SEED, first_sim=lane)
        expected = simulate(one, init=x[lane : lane + 1], **run).state
        assert_close(jax.tree.map(lambda a, n=lane: a[..., n : n + 1], got), expected, 20)


def test_launches_go_on_where_the_last_one_ended(monkeypatch, form):
    monkeypatch.setattr(gpu, "LAUNCH", 8)
    traces = []

    def loss(x):
        traces.append(1)
        return jnp.sum(jnp.cosh(x))

    model = Dynamics(loss, Quorum(1.0), Uniform(1.0), eta=Halving(0.02, 5), momentum=Nesterov(0.5))
    x = start(10, 1)
    expected = simulate(model, agents=10, sims=SIMS, steps=20, seed=SEED, init=x).state
    whole = fused(model, x, 20, form)
    count = len(traces)
    half = fused(model, x, 9, form)
    parts = fused(model, x, 11, form, state=half, first=9)
    assert len(traces) == count  # other numbers of steps, and another first step, compile nothing
    assert_close(whole, expected, 20, memory=2)
    for a, b in zip(jax.tree.leaves(parts), jax.tree.leaves(whole), strict=True):
        np.testing.assert_array_equal(a, b)
    other = eqx.tree_at(lambda m: m.coupling.k, model, jnp.asarray(3.0, jnp.float32))
    assert not np.array_equal(fused(other, x, 20, form).x, whole.x)
    assert len(traces) == count


def test_divergence_is_not_hidden(form):
    model = Dynamics(lambda x: -jnp.sum(x**4) + jnp.sum(jnp.sin(x)), Quorum(1.0), Uniform(1.0))
    x = np.full((SIMS, 10, 1), 0.1, np.float32)
    x[3] = 30.0
    end = np.asarray(fused(model, x, 20, form).x)
    assert (np.isfinite(end).all(axis=(0, 1)) == (np.arange(SIMS) != 3)).all()


def test_sines_of_the_backend(form):
    model = Dynamics(OscillatingDoubleWell(), Quorum(1.0), Uniform(1.0), eta=1e-3)
    x = start(20, 1)
    fast, exact = fused(model, x, 20, form), fused(model, x, 20, form, fast=False)
    assert not np.array_equal(fast.x, exact.x)
    assert_close(fast, exact, 20, growth=1e-3 * 110)


# -- the program ------------------------------------------------------------------------------------------------------


def operations(jaxpr, inside=False):
    """The primitives of the kernel's loop over steps, each with the rank of what it makes."""
    for eqn in jaxpr.eqns:
        kernels = inside or eqn.primitive.name == "pallas_call"
        if inside and eqn.primitive.name == "while":
            for e in eqn.params["body_jaxpr"].jaxpr.eqns:
                yield e.primitive.name, e.outvars[0].aval.ndim
            continue
        for value in eqn.params.values():
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                yield from operations(inner, kernels)


@pytest.mark.parametrize("generator", ROUNDS)
@pytest.mark.parametrize(
    "law, numbers, word_pairs, logs", [(Uniform, (1,), 1, 0), (Gaussian, (1,), 1, 1), (StudentT, (1, 3), 2, 4)]
)
@pytest.mark.parametrize("dims", [1, 16])
def test_a_pair_of_agents_hashes_once(law, numbers, word_pairs, logs, generator, dims):
    model = Dynamics(QuarticDoubleWell(), Quorum(1.0), law(*map(float, numbers)))
    sims, word = jnp.arange(64, dtype=jnp.uint32), seed_words(SEED, generator)
    x = jnp.zeros((64, dims, 64))
    state = start_lanes(model, EulerMaruyama(), None, x, None)
    number = jnp.asarray(1, jnp.int32)

    def run(state, sims):
        return gpu._advance_blocks(*plan_of(64, dims), model, None, state, sims, word, number, number, "triton", True)

    found = list(operations(jax.make_jaxpr(run)(state, sims).jaxpr))
    block = 2 if dims == 1 else 3
    assert found.count(("xor", block)) == ROUNDS[generator] * word_pairs
    assert found.count(("reduce_sum", block - 1)) == 1
    assert found.count(("log", block)) == logs  # of Student's law one an agent, and one more in its expm1


def test_sums_of_products_are_one_operation():
    """Whoever holds the product, and whatever else needs it; scalars and integers are left alone."""
    made = []

    def multiply_add(a, b, c):
        made.append((a.shape, b.shape, c.shape))
        return a * b + c

    @jax.jit
    def inner(a, b):
        return a * b

    def step(a, b, n):
        product = inner(a, b)
        scalar = a[0, 0] * b[0, 0] + 1.0
        return product + a, b - 2.0 * a, 3.0 * a - 1.0, product + inner(b, b), product * b, -a + b, n * n + n, scalar

    a, b = np.random.default_rng(0).normal(size=(2, 4, 8)).astype(np.float32)
    n = np.arange(32, dtype=np.int32).reshape(4, 8)
    got = contracted(step, multiply_add)(a, b, n)
    assert made == [((4, 8),) * 3] * 4
    for one, other in zip(got, step(a, b, n), strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-7, atol=2e-7)
    assert len(contracted(lambda a: (a + 1, a - a), multiply_add)(a)) == 2 and len(made) == 4


def test_what_a_product_is_rounded_by_does_not_show():
    """Of one operation that rounds once, as a GPU has it."""
    exact = lambda a, b, c: (np.float64(a) * np.float64(b) + np.float64(c)).astype(np.float32)
    x = np.random.default_rng(0).normal(size=(4, 8)).astype(np.float32)
    finite = functools.partial(primitives.RULES["is_finite"], lambda a: a)

    def step(x):
        product = x * np.float32(1.3)
        return product - product, finite(product), finite(product / np.float32(0)), product - x

    zero, yes, no, rest = contracted(step, exact)(x)
    assert (np.asarray(zero) == 0).all() and np.asarray(yes).all() and not np.asarray(no).any()
    assert not np.array_equal(rest, x * np.float32(1.3) - x)  # or the test would not tell


# -- compilation for CUDA ----------------------------------------------------------------------------------------------

REGISTERED = [
    c for _, c in inspect.getmembers(objectives, inspect.isclass)
    if issubclass(c, AbstractObjective) and not issubclass(c, AbstractByAgent | Function) and c is not AbstractObjective
]  # fmt: skip
MARK = {"triton": "gpu.triton", "mosaic": "mosaic_gpu"}


def lowered(model, agents, dims, backend):
    return gpu._lowered(*plan_of(agents, dims), model, jax.tree.map(lambda _: None, model), backend).as_text()


@pytest.mark.parametrize("backend", ["triton", "mosaic"])
@pytest.mark.parametrize("noise", [Uniform, Gaussian])
@pytest.mark.parametrize("objective", REGISTERED, ids=lambda c: c.__name__)
def test_every_objective_compiles_for_cuda(objective, noise, backend):
    model = Dynamics(objective(), Quorum(1.0), noise(1.0))
    dims = objective().dims or 3
    assert MARK[backend] in lowered(model, 50, dims, backend)


@pytest.mark.parametrize("backend", ["triton", "mosaic"])
@pytest.mark.parametrize("name", CASES)
def test_every_case_compiles_for_cuda(name, backend):
    make, (agents, dims), run, _ = CASES[name]
    plan, plain = plan_of(agents, dims, run.get("method", "em"), run.get("order", "jacobi"), run.get("dt"))
    plan = (plan, run["stepper"]() if "stepper" in run else plain)
    model = make()
    refused = gpu.refusal(*plan, model, None, (), False, jnp.float32, backend)
    if dims > gpu.MAX_DIMS[backend]:
        assert refused == f"{dims} dimensions; the kernel holds 8 at most on Mosaic"
        return
    assert refused is None
    if "random" in run:
        assert MARK[backend] in gpu._lowered(*plan, model, None, backend, generator=run["random"]).as_text()


@pytest.mark.parametrize(
    "agents, dims",
    [(1, 1), (1, 8), (8, 1), (9, 1), (250, 1), (600, 1), (1024, 1), (50, 4), (1, 9), (4, 10), (50, 50), (128, 64)],
)
def test_layouts(agents, dims):
    for backend, lanes in itertools.product(("triton", "mosaic"), (1, 30_000, 1 << 20)):
        if dims > gpu.MAX_DIMS[backend]:
            continue
        shape = shape_of(agents, dims, backend, lanes)
        assert shape.numbers(agents, dims) * 32 * shape.warps >= agents * dims * shape.lanes
        assert (shape.width == 1) == (dims <= 8) and (shape.width == 1 or shape.width >= dims)
        assert shape.lanes <= max(4 * 32, lanes // 512)  # a GPU has hundreds of places for blocks
        if not shape.unrolled:
            assert shape.tiles * shape.places * 2 >= agents
        if backend == "triton":
            assert all(n & (n - 1) == 0 for n in (*shape.block, shape.warps))
        else:
            assert shape.places % 32 == 0 and shape.sims == shape.warps == 4


# -- refusals ----------------------------------------------------------------------------------------------------------


def reason(model, agents=20, dims=1, observables=(), increments=False, dtype=jnp.float32, backend="mosaic"):
    return gpu.refusal(*plan_of(agents, dims), model, None, observables, increments, dtype, backend)


@pytest.mark.parametrize("backend", ["triton", "mosaic"])
def test_whole_numbers_that_steps_change_are_refused(backend):
    """The iteration of the next exchange; not those that only say something, such as the agents' numbers."""
    model = Dynamics(LogCosh(), Quorum(1.0), Uniform(1.0))
    refused = lambda stepper: gpu.refusal(Plan(6, 1, None, None), stepper, model, None, (), False, jnp.float32, backend)
    assert refused(Iteration(lambda n: 3)) == "whole numbers in the state that steps change"
    assert refused(Iteration(3)) is None


def test_what_it_refuses():
    model = Dynamics(LogCosh(), Quorum(1.0), Uniform(1.0))
    assert reason(model) is None
    assert "float64" in reason(model, dtype=jnp.float64)
    assert "1025 agents" in reason(model, agents=1025)
    assert reason(model, dims=9) == "9 dimensions; the kernel holds 8 at most on Mosaic"
    assert reason(model, dims=64, backend="triton") is None
    assert reason(model, dims=65, backend="triton") == "65 dimensions; the kernel holds 64 at most on Triton"
    assert "128 numbers of the state a thread" in reason(model, agents=1024, dims=64, backend="triton")
    assert "a thread" in reason(model, agents=1024, dims=8)
    assert reason(model, agents=768, dims=2) is None and "64 numbers" in reason(model, agents=1024, dims=2)
    assert "increments" in reason(model, increments=True)
    assert "every step" in reason(model, observables=(FirstNonFinite(),))


@pytest.mark.parametrize(
    "model, says",
    [
        (lambda: Dynamics(LogCosh(), Quorum(1.0), GammaMultiplicative(1.0)), "primitive"),
        (lambda: Dynamics(LogCosh(), Tree(1.0, (5, 4)), Uniform(1.0)), "differ between agents"),
        (lambda: Dynamics(LogCosh(), Mixing(1.0, coupling.ring(20)), Uniform(1.0)), "400 numbers"),
        (lambda: Dynamics(lambda x: jnp.sum(jax.lax.lgamma(x + 9)), Quorum(1.0)), "digamma"),
        (lambda: Dynamics(lambda x: jnp.sum(jnp.sort(x)), Quorum(1.0)), "sort"),
        (lambda: Dynamics(lambda x: jnp.sum(jnp.cos(x * jnp.arange(100.0))), Quorum(1.0)), "100 numbers"),
    ],
)
def test_what_does_not_lower_is_refused_in_one_line(model, says):
    model = model()
    line = reason(model)
    assert says in line and "\n" not in line
    with pytest.raises(gpu.Unsupported):
        fused(model, start(20, 1), 1)


@pytest.mark.parametrize(
    "loss, says",
    [
        (lambda x: jnp.sum((x[1:] - x[:-1]) ** 2), "a slice of the coordinates"),
        (lambda x: jnp.sum(jnp.cumsum(x) ** 2), "a cumulative sum over coordinates"),
        (lambda x: jnp.sum(x * x[::-1]), "the coordinates in reverse"),
        (lambda x: jnp.sum(jnp.concatenate([x, 2 * x]) ** 2), "a concatenation of coordinates"),
        (lambda x: jnp.sum(jnp.prod(x.reshape(3, 4), axis=0)), "a reshape across coordinates"),
        (lambda x: jnp.sum(x * jnp.pad(jnp.ones(9), (1, 2))), "differ between coordinates"),
        (lambda x: x @ (np.eye(12, dtype=np.float32) @ x), "144 numbers"),
        (lambda x: jnp.mean((np.ones((65, 12), np.float32) @ x) ** 2), "an array of 65 coordinates' numbers"),
        (lambda x: jnp.sum(jnp.where(np.arange(12) > 3, x, 0.0) ** 2), "differ between coordinates"),
    ],
)
def test_what_looks_from_one_coordinate_at_another_is_refused(loss, says):
    model = Dynamics(loss, Quorum(1.0), Uniform(1.0))
    chosen = gpu.backend_for(*plan_of(20, 12), model, None, (), False, jnp.float32)
    assert chosen.backend is None and says in chosen.reason
    assert (
        reason(Dynamics(loss, Quorum(1.0), Uniform(1.0)), 20, 12)
        == "12 dimensions; the kernel holds 8 at most on Mosaic"
    )


def test_all_rules_are_tested_or_refused():
    tested = {type(make().coupling) for make, *_ in CASES.values()} | {
        Mixing,
        Spiking,
        Streaming,
    }  # refused below, jumps, and takes turns
    assert tested == set(coupling.RULES.values())
    laws = {type(make().noise) for make, *_ in CASES.values()}
    assert laws == {Silent, Uniform, Gaussian, StudentT, Diffusion}
