"""Numbers are data: a new value compiles nothing, every one can be mapped over, and runs can be differentiated."""

import contextlib

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sdesim
from sdesim import coupling, noise, schedules

COMPILATION = "/jax/core/compile/backend_compile_duration"


@contextlib.contextmanager
def compilations():
    """Counts the programs that XLA compiles inside."""
    seen = []
    listen = lambda event, duration, **_: seen.append(event) if event == COMPILATION else None
    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield seen
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


class Counted:
    """A user's loss that counts how often it is traced."""

    def __init__(self):
        self.traces = 0

    def __call__(self, x):
        self.traces += 1
        return jnp.sum(jnp.cosh(x))


class Root(eqx.Module):
    """B(x) = strength sqrt(1 + x^2)."""

    strength: jax.Array

    def __call__(self, x):
        return self.strength * jnp.sqrt(1 + x * x)


class Bell(eqx.Module):
    width: jax.Array

    def __call__(self, x, t):
        return jnp.exp(-jnp.sum(x * x) / self.width) / 4


def array(value):
    return jnp.asarray(value, float)


SIZES = dict(agents=4, dims=2, sims=3, steps=12, seed=1, init=sdesim.init.Normal(), epoch=4)
LOSS = sdesim.objectives.LogCosh(0.7, tilt=0.2)


def model_of(**parts):
    return sdesim.Dynamics(**(dict(objective=LOSS, noise=noise.Gaussian(0.5), eta=0.05) | parts))


MODELS = {
    "quorum": model_of(coupling=coupling.Quorum(1.0)),
    "elastic": model_of(coupling=coupling.Elastic(0.5, 1.5), noise=noise.Uniform(0.8)),
    "own": model_of(
        coupling=coupling.Elastic(np.linspace(0.2, 0.5, 4)), eta=np.linspace(0.02, 0.05, 4), batch=np.arange(1.0, 5)
    ),
    "state-dependent": model_of(coupling=coupling.StateDependent(Bell(array(2.0))), noise=noise.StudentT(0.5, 4.0)),
    "spiking": model_of(coupling=coupling.Spiking(1.0, 3.0, 0.2, 0.14)),
    "filtered": model_of(coupling=coupling.Filtered(1.0, coupling.LinearFilter(2.0))),
    "saturating": model_of(coupling=coupling.Filtered(1.0, coupling.SaturatingFilter(2.0, 0.4))),
    "tree": model_of(coupling=coupling.Tree(0.6, (2, 2), up=1.2, down=0.5), noise=noise.Diffusion(Root(array(0.5)))),
    "gamma": model_of(objective=sdesim.objectives.Quadratic(1.2, 0.3), noise=noise.GammaMultiplicative(3.0)),
    "heavy ball": model_of(coupling=coupling.Quorum(1.0), momentum=sdesim.HeavyBall(0.8)),
    "nesterov": model_of(coupling=coupling.Elastic(0.5), momentum=sdesim.Nesterov(0.8)),
    "friction": model_of(
        coupling=coupling.Quorum(1.0), momentum=sdesim.Friction(1.5), velocity_coupling=coupling.Quorum(0.7)
    ),
    "halving": model_of(eta=schedules.Halving(0.08, 4, 0.03)),
    "per step": model_of(eta=schedules.PerStep(np.linspace(0.05, 0.02, 12))),
    "second order": model_of(coupling=coupling.Elastic(0.5, 1.0), weak_order=2),
    "wells": model_of(objective=sdesim.objectives.CoupledDoubleWells(), eta=0.01),
}


def run(model, **options):
    return sdesim.simulate(model, **(SIZES | options)).agents


# -- no recompilation ------------------------------------------------------------------------------------------------


def test_new_numbers_compile_nothing():
    loss = Counted()

    def go(k=1.0, eta=0.05, sigma=0.5, batch=1.0, momentum=0.8, init=0.3, **options):
        model = sdesim.Dynamics(
            loss, coupling=coupling.Elastic(k), noise=noise.Gaussian(sigma), eta=eta, batch=batch,
            momentum=sdesim.Nesterov(momentum),
        )  # fmt: skip
        return np.asarray(run(model, **({"init": init} | options)))

    first = go()
    loss.traces = 0
    with compilations() as compiled:
        go()
    once = loss.traces  # a user's function is looked at at each call, without compiling
    assert not compiled
    new_values = [
        dict(k=2.0), dict(k=3), dict(eta=0.04), dict(sigma=1.0), dict(batch=4.0), dict(momentum=0.5), dict(seed=99),
        dict(init=-0.5), dict(first_sim=500, exact=False), dict(steps=13),
    ]  # fmt: skip
    for new in new_values:
        go(**new) if "steps" in new else None  # other lengths share the loop, not the small programs around it
        loss.traces = 0
        with compilations() as compiled:
            other = go(**new)
        assert not compiled, new
        assert loss.traces == once, new
        assert "steps" in new or np.abs(other - first).max() > 1e-6, new
    # The control: another number of agents is another program.
    with compilations() as compiled:
        go(agents=6)
    assert compiled


@pytest.mark.parametrize("steps", [7, 40, 41])
def test_length_is_data(steps):
    """One compiled loop serves every number of steps: the loss is looked at, and the step is not."""
    loss = Counted()
    model = sdesim.Dynamics(loss, noise=noise.Gaussian(0.5), eta=0.01)
    sdesim.simulate(model, steps=20, sims=3)
    loss.traces = 0
    sdesim.simulate(model, steps=20, sims=3)
    once, loss.traces = loss.traces, 0
    sdesim.simulate(model, steps=steps, sims=3)
    assert loss.traces == once


# -- every number is a traced leaf -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_no_number_is_static(name):
    """No Python float is left in a model, which would be a constant of the compiled program."""
    for leaf in jax.tree.leaves(MODELS[name]):
        assert callable(leaf) or eqx.is_array(leaf), leaf


@pytest.mark.parametrize("name", MODELS)
def test_vmap_over_every_number(name):
    """One map in which each variant has one number raised by a tenth, against runs of each variant alone."""
    model = MODELS[name]
    numbers, rest = eqx.partition(model, eqx.is_inexact_array)
    leaves, tree = jax.tree.flatten(numbers)
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_flatten_with_path(numbers)[0]]
    assert len(leaves) >= 3
    variants = [[leaf * 1.1 if i == raised else leaf for i, leaf in enumerate(leaves)] for raised in range(len(leaves))]
    stacked = jax.tree.unflatten(tree, [jnp.stack(values) for values in zip(*variants, strict=True)])
    mapped = jax.jit(jax.vmap(lambda numbers: run(eqx.combine(numbers, rest))))(stacked)
    plain = np.asarray(run(model))
    for path, variant, agents in zip(paths, variants, np.asarray(mapped), strict=True):
        alone = run(eqx.combine(jax.tree.unflatten(tree, variant), rest))
        np.testing.assert_allclose(agents, alone, rtol=0, atol=1e-11, err_msg=path)
        assert np.abs(agents - plain).max() > 1e-8, path


def test_vmap_over_the_initial_state_and_dt():
    model = MODELS["elastic"]
    starts, dts = jnp.asarray([[0.5, 1.0], [2.0, -1.0]]), jnp.asarray([0.05, 0.02])
    mapped = jax.vmap(lambda x, dt: run(model, init=x, dt=dt))(starts, dts)
    for x, dt, agents in zip(starts, dts, mapped, strict=True):
        np.testing.assert_allclose(agents, run(model, init=x, dt=dt), rtol=0, atol=1e-12)


def test_observables_inside_jit():
    model = MODELS["quorum"]
    watch = [sdesim.observe.Spread(), sdesim.observe.Moments()]
    go = lambda model: sdesim.simulate(model, **SIZES, observe=watch, every=4).observed
    inside, outside = eqx.filter_jit(go)(model), go(model)
    assert set(inside) == set(outside)
    for name, values in outside.items():
        np.testing.assert_allclose(inside[name], values, rtol=0, atol=1e-12)


# -- gradients -------------------------------------------------------------------------------------------------------

# The Gamma sampler rejects, and a floor cuts off a schedule: the others are smooth (the spike ends between two steps).
SMOOTH = [name for name in MODELS if name not in ("gamma", "halving")]


def derivative(f, h=1e-4):
    """f'(0) from five points, to O(h^4)."""
    return (8 * (f(h) - f(-h)) - (f(2 * h) - f(-2 * h))) / (12 * h)


@pytest.mark.parametrize("name", SMOOTH)
def test_gradient_of_a_run(name):
    """With respect to every number at once, against differences along a random direction."""
    model = MODELS[name]
    numbers, rest = eqx.partition(model, eqx.is_inexact_array)

    def end(numbers):
        return jnp.mean(jnp.tanh(run(eqx.combine(numbers, rest), epoch=None if name != "spiking" else 4)))

    gradient = jax.jit(jax.grad(end))(numbers)
    rng = np.random.default_rng(0)
    direction = jax.tree.map(lambda a: jnp.asarray(rng.normal(size=a.shape)) * a, numbers)
    slope = sum(jnp.sum(g * d) for g, d in zip(jax.tree.leaves(gradient), jax.tree.leaves(direction), strict=True))
    expected = derivative(lambda s: float(end(jax.tree.map(lambda a, d: a + s * d, numbers, direction))))
    assert abs(expected) > 1e-4
    np.testing.assert_allclose(float(slope), expected, rtol=1e-6)


def test_gradient_of_the_initial_state_and_the_noise():
    model = MODELS["elastic"]
    dw = jnp.asarray(0.2 * np.random.default_rng(1).normal(size=(12, 3, 4, 2)))
    x = jnp.asarray(np.random.default_rng(2).normal(size=(3, 4, 2)))
    end = lambda x, dw: jnp.sum(run(model, init=x, increments=dw) ** 2)
    gradients = jax.grad(end, argnums=(0, 1))(x, dw)
    for i, gradient in enumerate(gradients):
        direction = jnp.asarray(np.random.default_rng(3 + i).normal(size=gradient.shape))

        def along(s, i=i, direction=direction):
            return float(end(*(a + s * direction if j == i else a for j, a in enumerate((x, dw)))))

        np.testing.assert_allclose(jnp.sum(gradient * direction), derivative(along), rtol=1e-6)
