"""Users' functions: today's values at every call, arrays that are inputs, nothing kept or compiled in vain."""

import gc
import time
import weakref

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sdesim
from sdesim import Dynamics, EulerMaruyama, functions, iterate, noise, objectives, observe, simulate, sweep
from sdesim.fields import number

FLAT = objectives.Quadratic()
X0 = np.array([[0.0], [1.0], [3.0]])


def one(result):
    return float(result.agents[0, 0, 0])


@pytest.fixture
def compilations():
    """A list that grows by one for each program that XLA compiles, by the name of its function."""
    names = []

    def listen(event, duration, **details):
        if event == "/jax/core/compile/backend_compile_duration":
            names.append(details.get("fun_name", event))

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield names
    jax.monitoring.unregister_event_duration_listener(listen)


# -- today's values --------------------------------------------------------------------------------------------------

A = 1.0


class Task:
    a = 1.0

    def loss(self, x):
        return 0.5 * self.a * jnp.sum(x**2)


class Bowl(objectives.AbstractObjective):
    depth: jax.Array = eqx.field(converter=number, default=1.0)

    def loss(self, x):
        return 0.5 * A * self.depth * jnp.sum(x**2)


class Own(objectives.AbstractObjective):
    """A gradient of its own, that is not its loss's."""

    def loss(self, x):
        return jnp.sum(x)

    def gradient(self, x):
        return A * x


class Pull(sdesim.AbstractCoupling):
    k: jax.Array = eqx.field(converter=number, default=1.0)

    def init(self, x, mean):
        return {"center": A * mean(x)}

    def pull(self, x, shared, t, mean):
        return A * self.k * (shared["center"][None] - x)

    def flow(self, x, shared, t, mean):
        return {"center": A * (mean(x) - shared["center"])}

    def renew(self, x, shared, t, losses):
        return {"center": shared["center"] + A}

    def center(self, x, shared, t, mean):
        return A + shared["center"]


class Law(noise.AbstractNoise):
    def variates(self, words, dtype, batch):
        return A * words[0].own.astype(dtype) * 2.0**-32

    def apply(self, z, x, gradient, batch, scale):
        return A * scale * z

    def diffuse(self, dw, x, gradient, batch, scale):
        return A * scale * dw


class Heavy(sdesim.dynamics.AbstractMomentum):
    def clock(self, eta):
        return jnp.sqrt(eta)

    def matched_step(self, eta):
        return jnp.sqrt(eta)

    def move(self, eta, dt):
        return 1.0 if dt is None else dt / jnp.sqrt(eta)

    def loss(self, move, t_end):
        return A * move


class Watch(observe.AbstractSeries):
    name = "watch"

    def value(self, view):
        return A * jnp.sum(view.state.x) + view.model.objective.loss(view.quorum)


class Largest(observe.AbstractAccumulator):
    name = "largest"
    axes = {"x": ()}  # noqa: RUF012

    def init(self, view):
        return -jnp.inf * jnp.ones(())

    def update(self, total, view):
        return jnp.maximum(total, A * jnp.max(view.state.x))

    def finish(self, total):
        return {"x": A * total}


class Start(sdesim.init.AbstractInit):
    def draw(self, words, dtype):
        return jnp.full(words.first.shape, A, dtype)


task, data = Task(), np.array([1.0])
KINDS = {
    "global": lambda: one(simulate(Dynamics(lambda x: 0.5 * A * jnp.sum(x**2), eta=0.1), steps=1, init=1.0)),
    "iterate": lambda: one(iterate(Dynamics(lambda x: 0.5 * A * jnp.sum(x**2), eta=0.1), steps=1, init=1.0)),
    "attribute": lambda: one(simulate(Dynamics(task.loss, eta=0.1), steps=1, init=1.0)),
    "data in place": lambda: one(
        simulate(Dynamics(lambda x: 0.5 * jnp.sum((x - data) ** 2), eta=0.5), steps=1, init=0.0)
    ),
    "compiled by the user": lambda: one(simulate(Dynamics(jitted, eta=0.1), steps=1, init=1.0)),
    "of a number": lambda: one(simulate(Dynamics(lambda x: 0.5 * A * x**2, eta=0.1), steps=1, init=1.0)),
    "gain": lambda: one(
        simulate(Dynamics(FLAT, sdesim.Quorum(lambda x, t: A * jnp.ones(())), eta=0.1), agents=3, steps=1, init=X0)
    ),
    "velocity gain": lambda: one(
        simulate(
            Dynamics(
                FLAT,
                momentum=sdesim.Nesterov(0.5),
                velocity_coupling=sdesim.Quorum(lambda v, t: A * jnp.ones(())),
                eta=0.1,
            ),
            agents=3,
            steps=2,
            init=X0,
        )
    ),
    "sender's gain": lambda: one(
        simulate(Dynamics(FLAT, sdesim.StateDependent(lambda x, t: A * x[0] ** 2), eta=0.1), agents=3, steps=1, init=X0)
    ),
    "matrix": lambda: one(
        simulate(Dynamics(FLAT, noise=noise.Diffusion(lambda x: A * jnp.ones(1)), eta=0.1), agents=3, steps=1, init=X0)
    ),
    "schedule": lambda: one(simulate(Dynamics(FLAT, eta=lambda n: jnp.asarray(0.1 * A)), steps=1, init=1.0)),
    "friction": lambda: one(
        simulate(Dynamics(FLAT, momentum=sdesim.Friction(lambda t: A / (1 + t)), eta=0.1), steps=3, init=1.0)
    ),
    "filter": lambda: one(
        simulate(
            Dynamics(FLAT, sdesim.Filtered(1.0, lambda c, x, t, mean: A * (mean(x) + 1.0 - c)), eta=0.1),
            agents=3,
            steps=4,
            init=X0,
        )
    ),
    "objective": lambda: one(simulate(Dynamics(Bowl(), eta=0.1), steps=1, init=1.0)),
    "gradient": lambda: one(simulate(Dynamics(Own(), eta=0.1), steps=1, init=1.0)),
    "rule": lambda: one(simulate(Dynamics(FLAT, Pull(), eta=0.1), agents=3, steps=4, init=X0, epoch=2)),
    "rule's center": lambda: float(
        simulate(Dynamics(FLAT, Pull(), eta=0.1), steps=1, init=X0[0], epoch=9).center[0, 0]
    ),
    "law": lambda: one(simulate(Dynamics(FLAT, noise=Law(), eta=0.1), steps=2, init=1.0)),
    "law, increments": lambda: one(
        simulate(Dynamics(FLAT, noise=Law(), eta=0.1), steps=2, init=1.0, increments=np.ones((2, 1, 1, 1)))
    ),
    "momentum": lambda: one(simulate(Dynamics(FLAT, momentum=Heavy(), eta=0.1), steps=3, init=1.0)),
    "series": lambda: float(
        simulate(Dynamics(FLAT, eta=0.1), steps=2, init=1.0, observe=Watch()).observed["watch"][0, -1]
    ),
    "accumulator": lambda: float(
        simulate(Dynamics(FLAT, eta=0.1), steps=2, init=1.0, observe=Largest()).observed["largest_x"][0]
    ),
    "series of a user's loss": lambda: float(
        simulate(Dynamics(task.loss, eta=0.1), steps=0, init=1.0, observe=Watch(), every=1).observed["watch"][0, 0]
    ),
    "initial law": lambda: one(simulate(Dynamics(FLAT, eta=0.1), steps=0, init=Start())),
    "continued": lambda: one(continued()),
    "sweep": lambda: float(
        sweep(Dynamics(lambda x: 0.5 * A * jnp.sum(x**2), eta=0.1), {"batch": [1]}, steps=1, init=1.0)["quorum"].item()
    ),
    "sweep's loss at the end": lambda: float(
        sweep(Dynamics(lambda x: A + 0.0 * jnp.sum(x), eta=0.1), {"batch": [1.0]}, steps=1)["quorum_loss"].values[0, 0]
    ),
    "sweep over a class's number": lambda: float(
        sweep(Dynamics(Bowl(), eta=0.1), {"objective.depth": [1.0, 2.0]}, steps=1, init=1.0)["quorum"].values[1, 0, 0]
    ),
}


@jax.jit
def jitted(x):
    return 0.5 * A * jnp.sum(x**2)


def continued():
    model = Dynamics(lambda x: 0.5 * A * jnp.sum(x**2), Pull(), eta=0.1)
    return simulate(model, steps=1, init=simulate(model, steps=1, init=1.0, epoch=9), epoch=9)


# By hand, for A = 1 and A = 2 (data at 5). One step of length 0.1 from 1: 1 - 0.1 A, and 1 - 0.1 for FLAT.
VALUES = {
    "data in place": (0.5, 2.5),
    "gain": (0.4 / 3, 0.8 / 3),
    "sender's gain": (2.8, 5.6),  # 0.1 A (1 * 1 + 9 * 3)
    "schedule": (0.9, 0.8),
    "rule's center": (1.9, 3.6),
    "law, increments": (0.81 + 1.9 * 0.1**0.5, 0.81 + 3.8 * 0.1**0.5),
    "series": (0.81 + 0.5 * 0.81**2, 1.62 + 0.5 * 0.81**2),
    "accumulator": (0.9, 3.6),  # first recorded after a step
    "series of a user's loss": (1.5, 3.0),
    "initial law": (1.0, 2.0),
    "continued": (0.99, 1.52),
    "sweep's loss at the end": (1.0, 2.0),
    "sweep over a class's number": (0.8, 0.6),
    **{name: (0.9, 0.8) for name in ("global", "iterate", "attribute", "compiled by the user", "of a number")},
    **{name: (0.9, 0.8) for name in ("objective", "gradient", "sweep")},
}


@pytest.mark.parametrize("kind", KINDS)
def test_functions_see_todays_values(kind, monkeypatch):
    before = KINDS[kind]()
    monkeypatch.setattr(f"{__name__}.A", 2.0)
    monkeypatch.setattr(task, "a", 2.0)
    data[0] = 5.0
    try:
        after = KINDS[kind]()
    finally:
        data[0] = 1.0
    assert before != after
    if kind in VALUES:
        assert (before, after) == pytest.approx(VALUES[kind], rel=1e-6)
    monkeypatch.undo()
    assert KINDS[kind]() == pytest.approx(before, rel=1e-12)


# -- what is compiled ------------------------------------------------------------------------------------------------


def advanced(names):
    return sum(str(name) == "jit(_advance)" for name in names)


def test_a_number_compiles_twice_at_most(compilations):
    def last(a):
        model = Dynamics(lambda x: 0.5 * a * jnp.sum(x**2), sdesim.Quorum(lambda x, t: 2.0 + a * x[0]), eta=0.125)
        return one(simulate(model, steps=1, init=1.0))

    assert [last(a) for a in (1.0, 2.0, 3.0, 4.0, 1.0)] == [0.875, 0.75, 0.625, 0.5, 0.875]
    assert advanced(compilations) == 2


def test_an_array_compiles_once(compilations):
    def last(a, kind):
        target = kind([a])
        return one(simulate(Dynamics(lambda x: 0.25 * jnp.sum((x - target) ** 2), eta=1.0), steps=1, init=0.0))

    assert [last(a, jnp.array) for a in (1.0, 2.0, 3.0)] == [0.5, 1.0, 1.5]
    assert advanced(compilations) == 1
    assert [last(a, np.array) for a in (1.0, 2.0, 3.0)] == [0.5, 1.0, 1.5]
    assert advanced(compilations) == 1


def test_a_loss_defined_anew_compiles_nothing(compilations):
    def define():
        class Hill(objectives.AbstractObjective):
            def loss(self, x):
                return jnp.sum(x**2) * 0.375

        return Hill()

    for loss in (lambda x: 0.75 * jnp.sum(jnp.cosh(x)), lambda x: 0.75 * jnp.sum(jnp.cosh(x))):
        simulate(Dynamics(loss, eta=0.1), steps=1)
    assert advanced(compilations) == 1
    for _ in range(2):
        assert one(simulate(Dynamics(define(), eta=0.5), steps=1, init=1.0)) == 0.625
    assert advanced(compilations) == 2


def test_a_constant_stays_one_in_the_program():
    # As before functions were traced by themselves: the very same program of a step.
    def loss(x):
        return 0.1 * jnp.sum(x**4 - 6 * jnp.cos(3.6 * x) + 4 * jnp.sin(16 * x))

    model = Dynamics(loss, sdesim.Quorum(3.0), noise.Uniform(8.0), eta=0.05)
    x = jnp.ones((4, 1))

    def step(m, x):
        return m.gradients(x)

    still = jax.tree.map(lambda _: None, model)
    with functions.today(model, still, (), EulerMaruyama(), agents=4, dims=1) as (new, axes, _, _):
        assert not jax.tree.leaves(new.objective)
        assert jax.tree.structure(axes, is_leaf=lambda a: a is None) == jax.tree.structure(
            jax.tree.map(lambda _: None, new), is_leaf=lambda a: a is None
        )
        texts = [jax.jit(lambda x, m=m: step(m, x)).lower(x).as_text() for m in (model, new)]
    assert texts[0] == texts[1]


def test_derivative_rules_and_callbacks_see_todays_values(monkeypatch):
    seen = []

    @jax.custom_jvp
    def slope(x):
        return x * 1.0

    slope.defjvp(lambda primals, tangents: (slope(*primals), A * tangents[0]))

    @jax.custom_vjp
    def pull(x):
        return x * 1.0

    pull.defvjp(lambda x: (x, None), lambda _, ct: (A * ct,))

    def told(x):
        jax.debug.callback(lambda _: seen.append(A), x)
        return 0.5 * jnp.sum(x**2)

    for a in (1.0, 2.0):
        monkeypatch.setattr(f"{__name__}.A", a)
        for fn in (slope, pull):
            model = Dynamics(lambda x, fn=fn: jnp.sum(fn(x)), eta=0.25)
            assert one(simulate(model, steps=1, init=1.0)) == 1 - 0.25 * a
        simulate(Dynamics(told, eta=0.25), steps=1).agents.block_until_ready()
        jax.effects_barrier()
        assert set(seen[-1:]) == {a}


def test_nothing_of_a_function_is_kept():
    class Data:
        pass

    def run(a):
        held, values = Data(), np.full(1000, a)
        held.values = jnp.asarray(values)

        def loss(x):
            return 0.5 * jnp.mean(held.values) * jnp.sum(x**2)

        simulate(Dynamics(loss, sdesim.Quorum(lambda x, t: held.values[0]), eta=0.1), steps=2, observe=Watch(), every=1)
        sweep(Dynamics(loss, eta=0.1), {"batch": [1.0]}, steps=2)
        return [weakref.ref(o) for o in (held, held.values, loss)]

    dead = run(1.0) + run(2.0)
    gc.collect()
    assert [ref() for ref in dead] == [None] * 6


def test_tracing_a_function_takes_milliseconds(float32):
    def loss(x):
        return 0.1 * jnp.sum(x**4 - 5 * x**2 - 0.75 * x - 6 * jnp.cos(3.6 * x) + 4 * jnp.sin(16 * x))

    model = Dynamics(loss, eta=0.05)
    still = jax.tree.map(lambda _: None, model)
    seconds = []
    for _ in range(20):
        began = time.thread_time()
        with functions.today(model, still, (), EulerMaruyama(), agents=4, dims=1):
            pass
        seconds.append(time.thread_time() - began)
    assert min(seconds) < 0.012  # about 3 ms; twice what is aimed at, for slow machines


# -- derivatives with respect to what is closed over -----------------------------------------------------------------


def by_loss(a):
    model = Dynamics(lambda x: 0.5 * a * jnp.sum(x**2), sdesim.Quorum(1.0), noise.Gaussian(1.0), eta=0.1)
    return simulate(model, agents=4, sims=3, steps=5, init=1.0).quorum.mean()


def by_gain(k):
    rule = sdesim.StateDependent(lambda x, t: k * jnp.exp(-x[0]))
    model = Dynamics(FLAT, rule, noise.Gaussian(1.0), eta=0.1)
    return simulate(model, agents=4, steps=5, init=1.0).quorum.mean()


def by_schedule(e):
    model = Dynamics(FLAT, noise=noise.Gaussian(1.0), eta=lambda n: e / (10 + 10 * n.astype(float)))
    return simulate(model, agents=4, steps=5, init=1.0).quorum.mean()


def by_filter(a):
    model = Dynamics(FLAT, sdesim.Filtered(1.0, lambda c, x, t, mean: a * (mean(x) + 1 - c)), eta=0.1)
    return simulate(model, agents=3, steps=5, init=X0).quorum.mean()


def by_matrix(a):
    model = Dynamics(FLAT, noise=noise.Diffusion(lambda x: a * (1 + x**2)), eta=0.1)
    return simulate(model, agents=3, steps=5, init=X0).quorum.mean()


def by_watch(a):
    class Scaled(observe.AbstractSeries):
        name = "scaled"

        def value(self, view):
            return a * jnp.sum(view.state.x)

    return simulate(Dynamics(FLAT, eta=0.1), steps=2, init=1.0, observe=Scaled()).observed["scaled"].mean()


@pytest.mark.parametrize("run", [by_loss, by_gain, by_schedule, by_filter, by_matrix, by_watch])
def test_derivatives_reach_what_is_closed_over(run):
    at, h = 1.0, 1e-5
    right = (run(at + h) - run(at - h)) / (2 * h)
    assert abs(right) > 1e-4
    np.testing.assert_allclose(jax.grad(run)(at), right, rtol=1e-5)
    np.testing.assert_allclose(jax.jvp(run, (at,), (1.0,))[1], right, rtol=1e-5)
    np.testing.assert_allclose(jax.jit(jax.grad(run))(at), right, rtol=1e-5)
    np.testing.assert_allclose(jax.vmap(run)(jnp.array([1.0, 2.0])), [run(1.0), run(2.0)], rtol=1e-12)


# -- what is refused -------------------------------------------------------------------------------------------------


def test_random_numbers_of_numpy_are_refused():
    rng = np.random.default_rng(0)
    drawn = rng.normal(size=1)
    for loss in (
        lambda x: 0.5 * jnp.sum((x - rng.normal()) ** 2),
        lambda x: 0.5 * jnp.sum((x - rng.normal(size=3).mean()) ** 2),
        lambda x: 0.5 * jnp.sum((x - jnp.asarray(rng.normal(size=1))) ** 2),
    ):
        for _ in range(2):
            with pytest.raises(ValueError, match=r"objective: .*random numbers.*law.*array"):
                simulate(Dynamics(loss, eta=0.1), steps=1)
    assert simulate(Dynamics(lambda x: 0.5 * jnp.sum((x - drawn) ** 2), eta=0.1), steps=1).agents.shape == (1, 1, 1)


def test_what_does_not_fit_is_refused_by_name():
    flat = lambda x: jnp.sum(x**2)
    refused = {
        r"coupling\.k: .*\(1,\).*must be \(\)": dict(coupling=sdesim.Quorum(lambda x, t: jnp.exp(-x))),
        r"coupling\.gain: .*\(1,\).*must be \(\)": dict(coupling=sdesim.StateDependent(lambda x, t: jnp.exp(-x))),
        r"coupling\.k: cannot be evaluated: TypeError": dict(coupling=sdesim.Quorum(lambda x: 1.0)),
        r"coupling\.filter: .*center": dict(coupling=sdesim.Filtered(1.0, lambda c, x, t, mean: x)),
        r"noise\.matrix: .*must be \(1,\)": dict(noise=noise.Diffusion(lambda x: jnp.ones(3))),
        r"eta: .*\(2,\).*must be \(\) or \(3,\)": dict(eta=lambda n: 0.1 * jnp.ones(2)),
        r"eta: cannot be evaluated: .* use jnp\.where": dict(eta=lambda n: 0.1 if n < 5 else 0.01),
    }
    for message, parts in refused.items():
        with pytest.raises(ValueError, match=message):
            simulate(Dynamics(flat, **parts), agents=3, steps=1)


# -- dimensions ------------------------------------------------------------------------------------------------------


def rosenbrock(x):
    return (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2


@pytest.mark.parametrize("run", [simulate, lambda model, **rest: sweep(model, {"batch": [1.0]}, **rest)])
def test_a_loss_that_looks_beyond_its_point_is_refused(run):
    model = Dynamics(rosenbrock, eta=1e-3)
    with pytest.raises(ValueError, match=r"objective: .*\(1,\).*index 1 out of bounds.*give dims="):
        run(model, steps=1)
    with pytest.raises(ValueError, match=r"\(2,\).*index 2 .*give dims="):
        run(Dynamics(lambda x: x[2], eta=0.1), steps=1, dims=2)
    run(model, steps=1, dims=2)


@pytest.mark.relaxed
def test_dims_are_the_objectives_else_those_of_init_else_one():
    model = Dynamics(rosenbrock, eta=1e-3)
    laws = sdesim.init
    for init in ([0.5, 0.5], np.ones((3, 2)), jnp.ones((1, 3, 2)), laws.Point([0.5, 0.5]), laws.Normal(std=[1.0, 2.0])):
        assert simulate(model, agents=3, steps=1, init=init).agents.shape == (1, 3, 2)
    assert simulate(model, agents=3, steps=1, init=laws.Uniform(-1.0, [1.0, 2.0])).agents.shape == (1, 3, 2)
    assert sweep(model, {"batch": [1.0, 2.0]}, steps=1, init=[0.5, 0.5]).sizes["dim"] == 2
    assert simulate(Dynamics(objectives.Quadratic([1.0, 2.0, 3.0])), steps=1, init=0.5).agents.shape == (1, 1, 3)
    assert simulate(Dynamics(lambda x: x**2), steps=1, init=0.5).agents.shape == (1, 1, 1)
    assert simulate(Dynamics(lambda x: jnp.sum(x**2)), steps=1, init=laws.Uniform(-1, 1)).agents.shape == (1, 1, 1)
    with pytest.raises(ValueError, match="dims=2"):
        simulate(Dynamics(objectives.Quadratic([1.0, 2.0, 3.0])), steps=1, dims=2)


def test_the_message_is_of_the_function_of_a_point():
    for loss, message in (
        (lambda x: jnp.sum(x @ jnp.ones(2)), r"\(1,\) and \(2,\)"),
        (lambda x: jnp.array([x[0] ** 2]), r"has shape \(1,\)"),
        (lambda x: "no", "str"),
    ):
        with pytest.raises(ValueError, match=message):
            simulate(Dynamics(loss), steps=1)
