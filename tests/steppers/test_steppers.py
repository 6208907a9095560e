"""Steppers as objects: one step by itself, in any run, and one of a user's own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sdesim
from sdesim import coupling, noise, steppers


def sized(**more):
    return dict(agents=4, dims=2, init=sdesim.init.Normal(0.0, 1.0), seed=5, **more)


def loss(x):
    return jnp.sum(0.25 * x**4 - 0.5 * x**2 + 0.1 * jnp.cos(7 * x))


def model(momentum=None, rule=None):
    rule = coupling.Elastic(1.0, 2.0) if rule is None else rule
    return sdesim.Dynamics(loss, rule, noise.Gaussian(1.0), 0.05, momentum)


STEPPERS = {
    "matched": lambda: sdesim.EulerMaruyama(),
    "resolved": lambda: sdesim.EulerMaruyama(0.01, order="gauss-seidel"),
    "iteration": lambda: sdesim.Iteration(3),
    "gauss-seidel": lambda: sdesim.Iteration(2, order="gauss-seidel"),
}


@pytest.mark.parametrize("name", STEPPERS)
@pytest.mark.parametrize("momentum", [None, lambda: sdesim.Nesterov(0.8)], ids=["plain", "nesterov"])
def test_a_scan_of_steps_has_the_numbers_of_a_run(name, momentum, float32):
    """Of the user's own jit, vmap and scan: within rounding of 2 units in the last place a step, over 20 steps."""
    stepper, dynamics = STEPPERS[name](), model(momentum() if momentum else None)
    run = sdesim.simulate(dynamics, sims=3, steps=20, stepper=stepper, **sized())
    begin = sdesim.simulate(dynamics, sims=3, steps=0, **sized()).agents

    @jax.jit
    def one(x, sim):
        body = lambda state, n: (stepper.step(dynamics, state, n, seed=5, sim=sim), None)
        return jax.lax.scan(body, stepper.init(dynamics, x), jnp.arange(20, dtype=jnp.int32))[0]

    end = jax.vmap(one)(begin, jnp.arange(3, dtype=jnp.uint32))
    scale = np.spacing(np.float32(np.abs(end.x).max()))
    assert np.abs(end.x - run.agents).max() <= 40 * scale
    np.testing.assert_allclose(end.clock.value, run.state.clock.value, rtol=1e-6)


def test_iterate_and_simulate_with_an_iteration_are_one():
    a = sdesim.iterate(model(), sims=3, steps=30, period=4, order="gauss-seidel", **sized())
    b = sdesim.simulate(model(), sims=3, steps=30, stepper=sdesim.Iteration(4, order="gauss-seidel"), **sized())
    np.testing.assert_array_equal(a.agents, b.agents)
    np.testing.assert_array_equal(a.center, b.center)


def test_a_period_may_be_a_function_of_the_step(float32):
    """It is asked at each exchange how long it is to the next: every step at first, then every third."""
    period = lambda n: jnp.where(n < 10, 1, 3)
    silent = sdesim.Dynamics(lambda x: 0.0 * jnp.sum(x), coupling.Quorum(4.0), eta=0.05)
    run = sdesim.iterate(silent, sims=1, steps=22, period=period, observe=sdesim.observe.Spread(), every=1, **sized())
    spread = np.asarray(run.observed["spread"])[0]
    fell = np.flatnonzero(np.diff(spread) < -1e-6 * spread[:-1])
    np.testing.assert_array_equal(fell, [*range(11), 13, 16, 19])
    again = sdesim.iterate(silent, sims=1, steps=22, period=lambda n: 3, **sized())
    np.testing.assert_array_equal(again.agents, sdesim.iterate(silent, sims=1, steps=22, period=3, **sized()).agents)


@pytest.mark.parametrize("name", STEPPERS)
def test_a_sweep_takes_every_stepper(name):
    stepper, gains = STEPPERS[name](), [0.5, 1.0, 2.0]
    swept = sdesim.sweep(model(), {"coupling.k": gains}, sims=20, steps=15, stepper=stepper, **sized())
    for k in gains:
        one = sdesim.simulate(model(rule=coupling.Elastic(k, 2.0)), sims=20, steps=15, stepper=stepper, **sized())
        np.testing.assert_allclose(swept["agents"].sel(coupling_k=k), one.agents, rtol=1e-12, atol=1e-12)


def test_a_sweep_takes_increments():
    dw = np.random.default_rng(0).normal(size=(6, 3, 4, 2)) * 0.1
    swept = sdesim.sweep(model(), {"coupling.k": [0.5, 2.0]}, sims=3, steps=6, increments=dw, **sized())
    one = sdesim.simulate(model(rule=coupling.Elastic(2.0, 2.0)), sims=3, steps=6, increments=dw, **sized())
    np.testing.assert_allclose(swept["agents"].sel(coupling_k=2.0), one.agents, rtol=1e-12, atol=1e-12)


class Midpoint(steppers.AbstractStepper):
    """Descent by the gradient half a step ahead, without noise or coupling."""

    def sizes(self, model, n):
        return model.sizes(model.at_step(n))

    def advance(self, model, state, n, kick, mean):
        eta = self.sizes(model, n).tick
        half = state.x - 0.5 * eta * model.gradients(state.x)
        return state._replace(x=state.x - eta * model.gradients(half), clock=state.clock.plus(eta))


def test_a_stepper_of_ones_own():
    """Of second order: the error of exp(-t) at t = 1 falls as eta^2."""
    errors = []
    for eta in (0.1, 0.05):
        bowl = sdesim.Dynamics(lambda x: 0.5 * jnp.sum(x**2), eta=eta)
        run = sdesim.simulate(bowl, stepper=Midpoint(), steps=round(1 / eta), init=1.0)
        errors.append(float(run.agents[0, 0, 0]) - np.exp(-1.0))
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.1)
    swept = sdesim.sweep(bowl, {"eta": [0.1, 0.05]}, stepper=Midpoint(), steps=20, init=1.0)
    assert float(swept["agents"][1].squeeze()) == pytest.approx(errors[1] + np.exp(-1.0), rel=1e-12)


@pytest.mark.parametrize("name", ["dt", "order"])
def test_shorthands_are_refused_beside_a_stepper(name):
    value = {"dt": 0.01, "order": "jacobi"}[name]
    for call in (sdesim.simulate, lambda m, **a: sdesim.sweep(m, {"eta": [0.1]}, **a)):
        with pytest.raises(ValueError, match=rf"^{name}=.*must be left out beside stepper="):
            call(model(), steps=1, stepper=sdesim.Iteration(), **{name: value})


def test_bad_steppers_are_refused():
    with pytest.raises(TypeError, match=r"^stepper=3: must be a stepper of sdesim\.steppers"):
        sdesim.simulate(model(), steps=1, stepper=3)
    with pytest.raises(ValueError, match=r"^order='jacoby': did you mean 'jacobi'"):
        sdesim.Iteration(order="jacoby")
    with pytest.raises(ValueError, match=r"^period=0: must be an integer from 1"):
        sdesim.Iteration(0)
    with pytest.raises(ValueError, match=r"^dt=-0.1: must be"):
        sdesim.EulerMaruyama(-0.1)
    with pytest.raises(TypeError, match=r"^init: a result is of one model"):
        sdesim.sweep(model(), {"eta": [0.1]}, steps=1, init=sdesim.simulate(model(), steps=0, **sized()))
