"""Blocks of lanes: the bits of a simulation depend on nothing but itself, wherever results are joined or replayed."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sdesim
from sdesim import coupling, noise
from sdesim.asynchrony import Asynchronous, AsyncSGD
from sdesim.cores import cores
from sdesim.engine import run as engine
from sdesim.engine.blocks import LEAST, MOST, VECTOR, Blocks
from sdesim.engine.path import compiler_options
from sdesim.ensembles.grids import asked_of
from sdesim.ensembles.simulations import Simulations

COUNTS = (1, 2, 5, 17, 100, 3000)
MODELS = {
    # strong noise on a rough loss: a difference of one rounding grows to the size of the loss in a hundred steps
    "pairs": lambda: sdesim.Dynamics(
        sdesim.objectives.OscillatingDoubleWell(), coupling.Quorum(3.0), noise.Uniform(8.0), 0.05
    ),
    "users": lambda: sdesim.Dynamics(
        lambda x: jnp.sum(0.2 * x**4 - x**2 + jnp.sin(5 * x)) + jnp.prod(jnp.cos(x)),
        coupling.Elastic(1.0),
        noise.Gaussian(4.0),
        0.05,
        sdesim.Nesterov(0.5),
    ),
}
SIZES = {"pairs": dict(agents=10, dims=1), "users": dict(agents=3, dims=2)}
WATCH = dict(observe=[sdesim.observe.Spread(), sdesim.observe.Moments()], every=50)
FIELDS = ("agents", "quorum", "center", "diverged")


def run(name, **more):
    common = dict(steps=300, seed=1, init=sdesim.init.Normal(0.0, 0.5), exact=True, **SIZES[name])
    return sdesim.simulate(MODELS[name](), **{**common, **more})


def same(part, whole, sims=slice(None)):
    for field in FIELDS:
        np.testing.assert_array_equal(getattr(part, field), np.asarray(getattr(whole, field))[sims], err_msg=field)
    for field in part.observed:
        np.testing.assert_array_equal(part.observed[field], np.asarray(whole.observed[field])[sims], err_msg=field)


@pytest.mark.parametrize(
    ("name", "counts"), [("pairs", COUNTS), ("users", (17, 300)), pytest.param("users", COUNTS, marks=pytest.mark.slow)]
)
def test_a_simulation_has_the_same_bits_in_any_batch(name, counts, float32, monkeypatch):
    """At 1, 2, 5, 17, 100 and 3000 simulations, with records, and wherever in a batch and in whichever thread."""
    monkeypatch.setattr(engine, "THREAD_BYTES", 0)
    whole = run(name, sims=counts[-1], **WATCH)
    for count in counts[:-1]:
        same(run(name, sims=count, **WATCH), whole, slice(count))
    late = counts[-1] // 2 - 1
    same(run(name, sims=7, first_sim=late, exact=None, **WATCH), whole, slice(late, late + 7))
    assert np.abs(np.asarray(whole.agents)).max() > 1


@pytest.mark.parametrize("agents", [10, 250, 2000])
def test_whether_operations_are_cut_up_for_the_cores_hangs_on_one_simulation_alone(agents, float32, monkeypatch):
    """The two programs round differently; of few lanes, which have bits of their own, their number counts too."""
    asked, compiled = [], engine._compiled
    monkeypatch.setattr(engine, "_compiled", lambda *how: asked.append(how[-1]) or compiled(*how))
    monkeypatch.setattr(engine, "THREAD_BYTES", 0)
    for count in (1, 20, 300):
        sdesim.simulate(MODELS["pairs"](), agents=agents, sims=count, steps=1, exact=True)
    assert set(asked) == {agents < 300}
    asked.clear()
    for count in (1, 15):
        sdesim.simulate(MODELS["pairs"](), agents=agents, sims=count, steps=1)
    assert set(asked) == {agents < 375}


@pytest.mark.skipif(len(cores()) < 2, reason="XLA cuts nothing up for one core")
def test_xla_knows_the_option_by_which_it_cuts_nothing_up():
    """It ignores what it does not know, as of another version."""

    def step(x):
        for _ in range(30):
            x = 0.99 * x + 0.01 * x * x
        return x

    x = jnp.ones((4000, 64))
    text = lambda one: jax.jit(step, compiler_options=compiler_options(False, one)).lower(x).compile().as_text()
    assert ["outer_dimension_partitions" in text(one) for one in (False, True)] == [True, False]


def test_few_lanes_take_a_program_of_their_own_and_say_so(float32):
    """Faster, and equal to rounding alone, which chaos may make visible: which is why it says so."""
    short = [run("pairs", sims=2, steps=3, exact=exact) for exact in (None, True)]
    np.testing.assert_allclose(short[0].agents, short[1].agents, atol=1e-5)
    long = [run("pairs", sims=2, exact=exact) for exact in (None, True)]
    assert [r.run["exact"] for r in long] == [False, True]
    names = ["one program of all lanes", "blocks of 64 lanes"]
    why = [": fewer than 16 lanes", ""]
    assert [r.run["path"] for r in long] == [f"{n}, agents in pairs{w}" for n, w in zip(names, why, strict=True)]
    assert run("pairs", sims=VECTOR, steps=3, exact=None).run["exact"]


@pytest.mark.parametrize("exact", [None, True])
def test_a_continued_run_is_computed_as_it_was(exact, float32):
    whole = run("users", sims=3, exact=exact)
    part = run("users", sims=3, exact=exact, steps=120)
    same(sdesim.simulate(MODELS["users"](), init=part, steps=180), whole)


def test_a_point_of_a_sweep_has_the_bits_of_its_own_run(float32):
    """Swept numbers lie on the lanes; a run of one of the values has them in common."""
    model = MODELS["users"]()
    sizes = dict(steps=200, seed=1, init=sdesim.init.Normal(0.0, 0.5), **SIZES["users"])
    grid = {"coupling.k": [0.5, 1.0, 2.0], "eta": [0.03, 0.05]}
    whole = sdesim.sweep(model, grid, sims=20, **sizes)
    part = sdesim.sweep(model, {"coupling.k": [1.0], "eta": [0.05]}, sims=2, first_sim=7, **sizes)
    for name in ("agents", "quorum", "spread", "quorum_loss"):
        chosen = whole[name].sel(coupling_k=[1.0], eta=[0.05], sim=[7, 8])
        np.testing.assert_array_equal(part[name], chosen, err_msg=name)
    assert whole.attrs["path"].startswith("blocks of 128 lanes")


def test_blocks_are_of_one_width_that_depends_on_one_simulation_alone():
    for agents, dims in itertools.product((1, 2, 5, 16, 250), (1, 10)):
        widths = {Blocks.of(count, agents, dims).width for count in (1, 7, 16, 100, 5000)}
        assert len(widths) == 1
        (width,) = widths
        assert LEAST <= width <= MOST and width % VECTOR == 0
    layout, needed = Blocks.of(1000, 250, 1).shared_by(3)
    assert layout.number == 36 and needed == [11, 11, 10]
    assert Blocks.of(5, 250, 1).shared_by(4)[1] == [1, 0, 0, 0]
    assert Blocks.of(50, 250, 1).shared_by(2)[1] == [1, 1]  # though there is room for two in each
    assert Blocks.of(200, 250, 1).shared_by(16)[1] == 7 * [1] + 9 * [0]


def test_splitting_and_joining_lose_nothing():
    layout, _ = Blocks.of(70, 26, 1).shared_by(2)
    tree = {"a": jnp.arange(3 * 70).reshape(3, 70), "b": jnp.arange(70), "none": None}
    parts = layout.split(tree)
    assert parts["a"].shape == (4, 3, 32) and (parts["b"].ravel()[70:] == 69).all()
    for name in ("a", "b"):
        np.testing.assert_array_equal(layout.join(parts)[name], tree[name])


def test_programs_are_compiled_before_threads_start(float32, monkeypatch):
    """Divergence included: XLA's compiler has crashed in two threads at once."""
    import threading

    places = []
    event = "/jax/core/compile/backend_compile_duration"
    listen = lambda name, *_, **__: places.append(threading.current_thread()) if name == event else None
    jax.monitoring.register_event_duration_secs_listener(listen)
    monkeypatch.setattr(engine, "THREAD_BYTES", 0)
    monkeypatch.setattr(engine, "cores", lambda: [0, 1])
    model = sdesim.Dynamics(lambda x: -jnp.sum(x**4) + jnp.sum(x), coupling.Quorum(0.5), noise.Gaussian(1.0), 0.011)
    try:
        with pytest.warns(sdesim.DivergenceWarning):
            sdesim.simulate(model, agents=20, sims=100, steps=200, init=sdesim.init.Normal(), **WATCH)
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert places and set(places) == {threading.main_thread()}


@pytest.mark.parametrize("stepper", [None, lambda: Asynchronous(AsyncSGD())], ids=["together", "workers"])
def test_a_store_knows_the_width_of_sizes_that_it_was_not_asked_for(stepper):
    """Of tasks that somebody else put into it."""
    more = {} if stepper is None else {"stepper": stepper()}
    of = lambda agents: Simulations(asked_of(plain(), {"agents": agents}, sims=8, steps=20, **more))
    assert of([4]).width({"agents": 40}) == of([4, 40]).width({"agents": 40}) == (64 if more else 32)


def plain():
    return sdesim.Dynamics(sdesim.objectives.LogCosh(), coupling.Uncoupled(), noise.Uniform(1.0))
