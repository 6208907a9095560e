"""The engine with the GPU kernel in place of its own loop: interpreted without a GPU, and compiled on one."""

import itertools
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sdesim
from sdesim.dynamics import State
from sdesim.engine import gpu, path
from sdesim.engine import run as engine
from sdesim.sums import Sum

pytestmark = pytest.mark.usefixtures("float32")


@pytest.fixture
def on_a_gpu(monkeypatch):
    """on_a_gpu(): until here the engine runs no kernel, and from here on it does as on a GPU."""
    choices = [gpu.Choice(None, "")]
    monkeypatch.setattr(
        path.Path, "in_one_thread", lambda *_: False
    )  # as on a GPU, where the scan is compared by its bits
    monkeypatch.setattr(gpu, "backend_for", lambda *_: choices[-1])
    for how in itertools.product((False, True), repeat=2):
        engine._compiled(*how)  # the options of this machine, which are looked up once

    def begin():
        choices.append(gpu.Choice("mosaic" if jax.default_backend() == "gpu" else "interpret", ""))
        monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
        path._KERNELS.clear()
        path._warn_once.cache_clear()

    return begin


@pytest.fixture
def launches(monkeypatch):
    """How often the kernel was traced."""
    count, right = [], gpu.advance
    monkeypatch.setattr(gpu, "advance", lambda *a, **options: count.append(1) or right(*a, **options))
    return count


@pytest.mark.parametrize("more", [{}, {"stepper": lambda: sdesim.Delayed(2.5)}], ids=["now", "delayed"])
def test_the_engine_runs_it_between_records(more, on_a_gpu, launches):
    """Chunks, records, epochs and divergence are the engine's with the kernel too."""
    loss = lambda x: 0.2 * x**4 - x**2 + 0.3 * jnp.sin(4 * x)
    rule = sdesim.Spiking(2.0, 9.0, 0.05, 0.5)
    model = sdesim.Dynamics(loss, rule, sdesim.noise.Uniform(2.0), 0.02, sdesim.Nesterov(0.5))
    sizes = dict(agents=6, sims=5, steps=12, init=sdesim.init.Uniform(-1, 1), every=4, epoch=6)
    sizes.update({name: make() for name, make in more.items()})
    run = lambda: sdesim.simulate(model, observe=[sdesim.observe.Spread(), sdesim.observe.Moments()], **sizes)
    plain = run()
    on_a_gpu()
    with warnings.catch_warnings(action="error"):
        kernel_run = run()
    assert len(launches) == 1 and not plain.diverged.max() > -1  # one program is compared, and run
    assert np.abs(np.asarray(kernel_run.agents) - np.asarray(plain.agents)).max() < 1e-5
    for name in plain.observed:
        np.testing.assert_allclose(kernel_run.observed[name], plain.observed[name], rtol=1e-3, atol=1e-5)


# -- the first run of a program ----------------------------------------------------------------------------------------


def moved(state, steps):
    return state._replace(x=state.x + 1e-4)


def one_agent_moved(state, steps):
    return state._replace(x=state.x.at[2].add(1e-4))


def last_lane_lost(state, steps):
    return state._replace(x=state.x.at[..., -1].set(jnp.nan))


def slow_clock(state, steps):
    return state._replace(clock=Sum.of(0.999 * state.t))


def loop_that_drifts(state, steps):
    return state._replace(x=state.x * jnp.where(steps > 1, 1 + 1e-6, 1).astype(jnp.float32))


def no_such_instruction(state, steps):
    raise RuntimeError("no such instruction\nat line 3")


WRONG = {
    moved: "Disagreement: x after step 0, by 0.0001",
    one_agent_moved: "Disagreement: x after step 0, by 0.0001",
    last_lane_lost: "Disagreement: which lanes are finite after step 0: x",
    slow_clock: "Disagreement: clock after step 0, by 2e-05",
    loop_that_drifts: "Disagreement: x after 8 steps at once and one by one",
    no_such_instruction: "RuntimeError: no such instruction$",
}


@pytest.mark.parametrize("number", range(len(WRONG)), ids=[wrong.__name__ for wrong in WRONG])
def test_a_kernel_that_is_wrong_is_replaced_and_said_so(number, monkeypatch, on_a_gpu, launches):
    wrong, says = list(WRONG.items())[number]
    right = gpu.advance

    def advance(*arguments, **options):
        return wrong(right(*arguments, **options), steps=arguments[-1])

    monkeypatch.setattr(gpu, "advance", advance)
    model = sdesim.Dynamics(lambda x: 0.5 * x * x, sdesim.Quorum(2.0), sdesim.noise.Uniform(2.0), 0.02)
    run = lambda: sdesim.simulate(model, agents=3 + number, sims=4, steps=12)  # each a program of its own
    plain = run()
    on_a_gpu()
    with pytest.warns(path.EngineWarning, match=f"goes on as a scan: {says}") as said:
        replaced = run()
    assert len(said) == 1
    np.testing.assert_array_equal(replaced.agents, plain.agents)
    launches.clear()
    with warnings.catch_warnings(action="error"):
        again = run()
    np.testing.assert_array_equal(again.agents, plain.agents)
    assert not launches


def test_a_program_is_compared_once(monkeypatch, on_a_gpu):
    seen, confirm = [], gpu.confirm
    monkeypatch.setattr(gpu, "confirm", lambda *a: seen.append(1) or confirm(*a))
    model = lambda k: sdesim.Dynamics(sdesim.objectives.LogCosh(), sdesim.Quorum(k), sdesim.noise.Uniform(2.0), 0.02)
    run = lambda k, sims: sdesim.simulate(model(k), agents=4, sims=sims, steps=3)
    on_a_gpu()
    for k, sims, count in ((1.0, 3, 1), (2.0, 3, 1), (1.0, 4, 2), (3.0, 4, 2)):  # other lanes are another layout
        run(k, sims)
        assert len(seen) == count


def test_how_far_a_step_may_round():
    """64 units in the last place of the state's scale, and not one more; of large states more than of small ones."""
    lanes = np.arange(2)
    unit = np.spacing(np.float32(3))

    def state(x, t=0.5):
        clock = Sum.of(jnp.full(2, t, jnp.float32))
        return State(jnp.full((4, 1, 2), x, jnp.float32), None, (), (), None, clock, clock)

    def confirm(units, t_units=0):
        fused = lambda s, *_: state(3 + units * unit, 0.5 + t_units * np.spacing(np.float32(0.5)))
        gpu.confirm(fused, lambda *_: state(3.0), state(3.0), 0, None, lanes)

    for right in ((64,), (-64,), (0, 64)):
        confirm(*right)
    for wrong in ((65,), (-65,), (np.nan,), (0, 65)):
        with pytest.raises(gpu.Disagreement):
            confirm(*wrong)


def test_steps_are_compared_one_by_one():
    """In a chaotic step rounding grows tenfold; what is compared begins at the same place each time."""
    clock = Sum.of(jnp.zeros(3, jnp.float32))
    state = lambda x: State(x, None, (), (), None, clock, clock)
    step = lambda x: jnp.sin(10 * x)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(5, 1, 3)), jnp.float32)

    def fused(s, first, turns, stride):
        x = s.x
        for _ in range(turns * stride):
            x = step(x) * (1 + jnp.finfo(x.dtype).eps)
        return state(x)

    asked = []
    scan = lambda s, n: asked.append(n) or state(step(s.x))
    gpu.confirm(fused, scan, state(x), 20, None, np.arange(3))
    assert asked == list(range(20, 28))
    asked.clear()
    gpu.confirm(fused, scan, state(x), 20, 3, np.arange(3))  # in whole strides
    assert asked == list(range(20, 26))
