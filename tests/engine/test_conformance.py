"""The engine's interpreter means what jax.vmap means, for the programs of `conformance.py`."""

import itertools

import conformance
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conformance import LOSSES, PRIMITIVES, RULES

import sdesim
from sdesim import random
from sdesim.coupling import ArrayMean
from sdesim.engine import gpu, vectorize
from sdesim.engine.plan import Plan
from sdesim.engine.vectorize import Halves, lanes
from sdesim.ensembles.setup import start_lanes

pytestmark = pytest.mark.relaxed  # users' programs mix ranks and types as JAX lets them

FACTORS = {"agents": (1, 2, 3, 4), "dims": (1, 2, 3), "dtype": ("float32", "float64"), "fast": (True, False)}
SETTINGS = list(itertools.product(*FACTORS.values()))
LANES = 3
TABLES = {"loss": LOSSES, "rule": RULES, "primitive": PRIMITIVES}
PROGRAMS = [(kind, name) for kind, table in TABLES.items() for name in table]
COMPILER = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}  # four seconds less a test


def two_settings(number):
    """Two settings that differ in every factor, other ones for each program."""
    first = SETTINGS[7 * number % len(SETTINGS)]
    other = lambda values, value, by: values[(values.index(value) + by) % len(values)]
    return first, tuple(other(v, s, by) for v, s, by in zip(FACTORS.values(), first, (2, 1, 1, 1), strict=True))


AT = {s: [p for i, p in enumerate(PROGRAMS) if s in two_settings(i)] for s in SETTINGS}


def program(kind, name, mean):
    """One lane's program: of a loss and its gradient, for all agents, of a rule, or of a few primitives."""
    if kind == "loss":
        return lambda x, shared, t: jax.vmap(jax.value_and_grad(LOSSES[name]))(x)
    if kind == "primitive":
        return lambda x, shared, t: PRIMITIVES[name](x)
    rule = RULES[name]
    return lambda x, shared, t: (rule.pull(x, shared, t, mean), rule.flow(x, shared, t, mean))


def plain_mean(x, weights=None):
    return jnp.mean(x if weights is None else weights[:, None] * x, axis=0)


def arguments(kind, name, agents, dims, dtype):
    x = np.random.default_rng(10 * agents + dims).uniform(-1.5, 1.5, (agents, dims, LANES))
    x, t = jnp.asarray(x, dtype), jnp.asarray(0.3 + np.arange(LANES), dtype)
    init = lambda x: RULES[name].init(x, plain_mean) if kind == "rule" else None
    return x, jax.vmap(init, -1, -1)(x), t


def both(kind, name, agents, dims, dtype, fast, x, shared, t):
    """What the engine makes of a program, and what jax.vmap makes of it."""
    paired = fast and dtype == "float32" and agents % 2 == 0
    of_lane = program(kind, name, ArrayMean(agents))
    got = lanes(of_lane, (-1, -1, -1), fast=fast)(Halves.split(x) if paired else x, shared, t)
    merged = lambda a: a.merged() if isinstance(a, Halves) else a
    got = jax.tree.map(merged, got, is_leaf=lambda a: isinstance(a, Halves))
    first = jax.tree.map(lambda a: jnp.moveaxis(a, -1, 0), (x, shared, t))  # some of JAX's rules fail for the last axis
    return got, jax.vmap(program(kind, name, plain_mean), 0, -1)(*first)


def difference(kind, name, got, expected) -> str | None:
    """What is wrong with a result, in words."""
    if jax.tree.structure(got) != jax.tree.structure(expected):
        return f"{kind} {name}: {jax.tree.structure(got)} for {jax.tree.structure(expected)}"
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        if (a.shape, a.dtype) != (b.shape, b.dtype):
            return f"{kind} {name}: {a.shape} of {a.dtype} for {b.shape} of {b.dtype}"
        if a.dtype == jax.dtypes.float0 or not a.size:
            continue
        a, b = (np.asarray(v).astype(np.int64) if v.dtype == bool else np.asarray(v) for v in (a, b))
        unit = np.finfo(a.dtype).eps if np.issubdtype(a.dtype, np.inexact) else 0
        bound = conformance.ROUNDING.get(name, 16) * unit * max(1.0, np.abs(b).max(initial=0))
        if not np.isfinite(b).all():
            return f"{kind} {name}: plain JAX gives {b.ravel()[~np.isfinite(b.ravel())][0]}, which tests nothing"
        if not np.abs(a - b).max() <= bound:
            return f"{kind} {name}: off by {np.abs(a - b).max():.3g} = {np.abs(a - b).max() / bound:.3g} bounds"
    return None


def failures(programs, setting) -> list[str]:
    """What is wrong with several programs; in one compilation, which costs less than one for each."""
    wrong = []

    def all_of_them(given):
        results = []
        for (kind, name), a in zip(programs, given, strict=True):
            try:
                results.append(both(kind, name, *setting, *a))
            except Exception as error:
                results.append(None)
                wrong.append(f"{kind} {name}: {type(error).__name__}: {error}")
        return results

    agents, dims, dtype, _ = setting
    with jax.enable_x64(dtype == "float64"):
        given = [arguments(*p, agents, dims, dtype) for p in programs]
        found = jax.jit(all_of_them, compiler_options=COMPILER)(given)
        jax.effects_barrier()
    return wrong + [w for p, pair in zip(programs, found, strict=True) if pair and (w := difference(*p, *pair))]


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda s: "-".join(map(str, s)))
def test_programs_at_two_settings_each(setting):
    assert not failures(AT[setting], setting)


def test_two_settings_each_are_all_pairs_of_settings():
    for kind in TABLES:
        taken = [s for i, (k, _) in enumerate(PROGRAMS) for s in two_settings(i) if k == kind]
        for one, other in itertools.combinations(range(len(FACTORS)), 2):
            pairs = itertools.product(*(list(FACTORS.values())[i] for i in (one, other)))
            assert {(s[one], s[other]) for s in taken} == set(pairs)


def names_in(jaxpr):
    for eqn in jaxpr.eqns:
        yield type(eqn.params["_prim"]).__name__ if "_prim" in eqn.params else eqn.primitive.name
        for inner in vectorize.inner_programs(eqn.params):
            yield from names_in(inner)


def test_what_is_called_proven_is_in_a_program_here():
    """And what goes through jax.vmap as a whole says why."""
    one = lambda tree: jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[:-1], a.dtype), tree)
    seen, reasons = set(), {}
    for kind, name in PROGRAMS:
        args = map(one, arguments(kind, name, 3, 2, "float32"))
        traced = jax.make_jaxpr(program(kind, name, ArrayMean(3)))(*args)
        seen.update(names_in(traced.jaxpr))
        if (reason := vectorize.unproven(traced.jaxpr)) is not None:
            reasons[name] = reason
    proven = vectorize.ELEMENTWISE | vectorize.STRUCTURAL | vectorize._BY_BATCHING_RULE | vectorize._COMBINE.keys()
    later = {"log2", "one_minus_square", "polynomial", "SearchSorted"} if jax.__version_info__ < (0, 11) else set()
    assert not proven - seen - later
    assert set(reasons) - {"custom root"} == {
        "error_if", "diffrax", "optimistix root", "optimistix least squares", "debug callback", "debug print",
        "io callback", "pure callback", "sequential vmap", "printing", "checked",
    }  # fmt: skip
    assert reasons["debug print"] == "the program calls debug_print, an effect"
    assert "all simulations at once" in reasons["error_if"]


@pytest.mark.slow
@pytest.mark.parametrize("setting", SETTINGS, ids=lambda s: "-".join(map(str, s)))
def test_every_program_at_every_setting(setting):
    """A minute and a half each: compiled some at a time, a third of what they take one primitive after another."""
    some = [PROGRAMS[i : i + 24] for i in range(0, len(PROGRAMS), 24)]
    assert not [wrong for programs in some for wrong in failures(programs, setting)]


# -- the GPU kernel, interpreted ---------------------------------------------------------------------------------------


class Named(sdesim.AbstractCoupling):
    """A rule of the table."""

    name: str

    def init(self, x, mean):
        return RULES[self.name].init(x, mean)

    def pull(self, x, shared, t, mean):
        return RULES[self.name].pull(x, shared, t, mean)

    def flow(self, x, shared, t, mean):
        return RULES[self.name].flow(x, shared, t, mean)


def bowl(x):
    return jnp.sum(x**2)


def two_steps_plainly(kind, name, x):
    """Two steps of eta = 0.1 of one simulation, and what is shared after them."""
    loss = LOSSES[name] if kind == "loss" else bowl
    rule = RULES[name] if kind == "rule" else RULES["none"]
    shared, t = rule.init(x, plain_mean), jnp.zeros((), x.dtype)
    move = lambda s, f: (s + 0.1 * f).astype(s.dtype) if jnp.issubdtype(s.dtype, jnp.inexact) else s
    for _ in range(2):
        pull, flow = rule.pull(x, shared, t, plain_mean), rule.flow(x, shared, t, plain_mean)
        x, shared, t = x + 0.1 * (pull - jax.vmap(jax.grad(loss))(x)), jax.tree.map(move, shared, flow), t + 0.1
    return x, shared


def check_kernel(number):
    kind, name = PROGRAMS[number]
    agents, dims = list(itertools.product(FACTORS["agents"], FACTORS["dims"]))[5 * number % 12]
    with jax.enable_x64(False):
        x = arguments("loss", name, agents, dims, "float32")[0]
        model = (
            sdesim.Dynamics(LOSSES[name], eta=0.1) if kind == "loss" else sdesim.Dynamics(bowl, Named(name), eta=0.1)
        )
        plan = Plan(agents, dims, None, None)
        state = start_lanes(model, sdesim.EulerMaruyama(), None, x, None)
        sims, seed = jnp.arange(LANES, dtype=jnp.uint32), random.seed_words(1)
        try:
            how = dict(backend="triton", interpret=True)
            got = gpu.advance(plan, sdesim.EulerMaruyama(), model, None, state, sims, seed, 0, 2, **how)
        except gpu.Unsupported as error:
            assert "\n" not in str(error)
            pytest.skip(f"the kernel refuses: {error}")
        expected = jax.jit(jax.vmap(lambda x: two_steps_plainly(kind, name, x), -1, -1))(x)
    assert difference(kind, name, (got.x, got.shared), expected) is None


MODELS = [i for i, (kind, _) in enumerate(PROGRAMS) if kind != "primitive"]


@pytest.mark.parametrize("number", MODELS[::8], ids=lambda n: " ".join(PROGRAMS[n]))
def test_the_kernel_agrees_or_refuses(number):
    check_kernel(number)


@pytest.mark.slow
@pytest.mark.parametrize("number", MODELS, ids=lambda n: " ".join(PROGRAMS[n]))
def test_the_kernel_agrees_with_every_program_or_refuses(number):
    check_kernel(number)
