"""One definition, three consumers: the SDE integrator, the discrete iteration and the optax transformation agree.

For every rule of the registry, both orders, without and with momentum, with zero and with shared non-zero noise.
"""

import catalogue
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from catalogue import loss

import sdesim
from sdesim import coupling

AGENTS, SHAPES, STEPS, ETA, DELTA = 6, {"a": (2, 2), "b": (1,)}, 20, 0.05, catalogue.DELTA
DIMS = sum(int(np.prod(s)) for s in SHAPES.values())

RULES = catalogue.rules(AGENTS)
MOMENTA = catalogue.some(catalogue.MOMENTA, *catalogue.DISCRETE)


def split(x):
    """(agents, dims) -> a pytree of stacked parameters, as a trainer has them; leaves in the coordinates' order."""
    w = int(np.prod(SHAPES["a"]))
    return {"a": x[:, :w].reshape(-1, *SHAPES["a"]), "b": x[:, w:].reshape(-1, *SHAPES["b"])}


def join(params):
    return jnp.concatenate([a.reshape(a.shape[0], -1) for a in (params["a"], params["b"])], axis=1)


def train(rule, order, momentum, x, increments, epoch):
    """The same run through optax, on parameters in a pytree, gradients taken where `couple` says."""
    look = DELTA if momentum == "nesterov" else None
    couple = sdesim.couple(rule, ETA, order=order, lookahead=look)
    optimizer = optax.chain(optax.sgd(ETA, momentum=None if momentum == "none" else DELTA), couple)
    params = split(x)
    state = optimizer.init(params)
    with jax.numpy_dtype_promotion("standard"):  # optax mixes types; our own modules do not
        for n in range(STEPS):
            if epoch and n % epoch == 0:
                state = couple.renew(params, state, jax.vmap(loss)(join(params)))
            point = join(couple.gradient_point(params, state))
            gradients = jax.vmap(jax.grad(loss))(point) - increments[n]
            updates, state = optimizer.update(split(gradients), state, params)
            params = optax.apply_updates(params, updates)
    return join(params), join(jax.tree.map(lambda a: a[None], couple.center(params, state)))[0]


@pytest.mark.parametrize("noisy", [pytest.param(False, marks=pytest.mark.slow), True], ids=["silent", "noisy"])
@pytest.mark.parametrize("momentum", MOMENTA)
@pytest.mark.parametrize("order", coupling.ORDERS)
@pytest.mark.parametrize("name", RULES)
def test_three_consumers_agree(name, order, momentum, noisy):
    rule = RULES[name]()
    epoch = 7 if name == "spiking" else None
    rng = np.random.default_rng(3)
    x = jnp.asarray(rng.normal(size=(AGENTS, DIMS)))
    z = rng.normal(size=(STEPS, AGENTS, DIMS)) if noisy else np.zeros((STEPS, AGENTS, DIMS))
    sigma = 1.7
    model = sdesim.Dynamics(loss, rule, sdesim.noise.Gaussian(sigma), ETA, MOMENTA[momentum]())
    dt = float(model.matched_step())
    sizes = dict(agents=AGENTS, dims=DIMS, steps=STEPS, init=x, order=order, epoch=epoch)
    em = sdesim.simulate(model, increments=np.sqrt(dt) * z[:, None], **sizes)
    sgd = sdesim.iterate(model, increments=z[:, None], **sizes)
    params, center = train(rule, order, momentum, x, jnp.asarray(sigma * z), epoch)
    assert np.ptp(em.agents) > 0.1  # the agents have not all gone to one point, where any two rules agree
    for other in (sgd.agents[0], params):
        np.testing.assert_allclose(em.agents[0], other, rtol=1e-12, atol=1e-12)
    for other in (sgd.center[0], center):
        np.testing.assert_allclose(em.center[0], other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("order", coupling.ORDERS)
def test_communication_period_agrees_with_optax(order):
    rule, period = coupling.Elastic(2.0, 3.0), 4
    x = jnp.asarray(np.random.default_rng(0).normal(size=(AGENTS, DIMS)))
    model = sdesim.Dynamics(loss, rule, eta=ETA)
    run = sdesim.iterate(model, agents=AGENTS, dims=DIMS, steps=STEPS, init=x, order=order, period=period)
    couple = sdesim.couple(rule, ETA, order=order, period=period)
    params, state = x, couple.init(x)
    for _ in range(STEPS):
        gradients = jax.vmap(jax.grad(loss))(couple.gradient_point(params, state))
        updates, state = couple.update(-ETA * gradients, state, params)
        params = params + updates
    np.testing.assert_allclose(run.agents[0], params, rtol=1e-12, atol=1e-12)
    every = sdesim.iterate(model, agents=AGENTS, dims=DIMS, steps=STEPS, init=x, order=order)
    assert np.abs(run.agents - every.agents).max() > 1e-2


@pytest.mark.parametrize("order", coupling.ORDERS)
def test_late_exchanges_are_those_of_a_plain_loop(order):
    """Of the iteration, of optax and of a loop: an exchange comes 2 steps after it began, and is of where all were."""
    rule, period, late, k, c = coupling.Elastic(2.0, 3.0), 5, 2, 2.0, 3.0
    x = jnp.asarray(np.random.default_rng(0).normal(size=(AGENTS, DIMS)))
    gradients = jax.vmap(jax.grad(loss))
    stepper = sdesim.Iteration(period, late=late, order=order)
    model = sdesim.Dynamics(loss, rule, eta=ETA)
    run = sdesim.simulate(model, stepper=stepper, agents=AGENTS, dims=DIMS, steps=STEPS, init=x)
    couple = sdesim.couple(rule, ETA, order=order, period=period, late=late)
    params, state = x, couple.init(x)
    agents, began, center = x, x, x.mean(0)
    for n in range(STEPS):
        updates, state = couple.update(-ETA * gradients(couple.gradient_point(params, state)), state, params)
        params = params + updates
        began = agents if n % period == 0 else began
        if n % period == late:
            moved = center + ETA * c * (began.mean(0) - center)
            drawn = ETA * k * ((moved if order == "gauss-seidel" else center)[None] - began)
            center = moved
        else:
            drawn = 0.0
        at = agents + drawn if order == "gauss-seidel" else agents
        agents = agents + drawn - ETA * gradients(at)
    for other in (run.agents[0], params):
        np.testing.assert_allclose(other, agents, rtol=1e-12, atol=1e-12)
    for other in (run.center[0], couple.center(params, state)):
        np.testing.assert_allclose(other, center, rtol=1e-12, atol=1e-12)
    with pytest.raises(ValueError, match=r"^late=5: must be less than the period, 5"):
        sdesim.couple(rule, ETA, period=5, late=5)


def test_learning_rate_an_agent_and_at_update():
    """eta one an agent, and eta passed at update, give the iteration whose drift each agent scales by its own."""
    eta = jnp.asarray(np.linspace(0.02, 0.08, AGENTS))
    rule = coupling.Quorum(2.0)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(AGENTS, DIMS)))
    model = sdesim.Dynamics(loss, rule, eta=eta)
    run = sdesim.simulate(model, agents=AGENTS, dims=DIMS, steps=STEPS, init=x)
    for given, later in ((eta, {}), (None, {"eta": eta})):
        couple = sdesim.couple(rule, given)
        params, state = x, couple.init(x)
        for _ in range(STEPS):
            gradients = jax.vmap(jax.grad(loss))(params)
            updates, state = couple.update(-eta[:, None] * gradients, state, params, **later)
            params = params + updates
        np.testing.assert_allclose(run.agents[0], params, rtol=1e-12, atol=1e-12)
    with pytest.raises(ValueError, match="eta=None"):
        sdesim.couple(rule).update(x, couple.init(x), x)


@pytest.mark.parametrize("period", [2, 3])
def test_downpour_with_a_period(period):
    """Z, Alg. 3, all workers in step: each runs alone from the center for a period, and pushes all that it did."""
    rule = coupling.Elastic.from_moving_rates(1.0, AGENTS, ETA)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(AGENTS, DIMS)))
    model = sdesim.Dynamics(loss, rule, eta=ETA)
    sizes = dict(agents=AGENTS, dims=DIMS, steps=3 * period, init=x)
    run = sdesim.iterate(model, order="gauss-seidel", period=period, **sizes)
    center = x.mean(0)
    for _ in range(3):
        agents = jnp.broadcast_to(center, x.shape)
        for _ in range(period):
            agents = agents - ETA * jax.vmap(jax.grad(loss))(agents)
        center = center + jnp.sum(agents - center[None], 0)
    np.testing.assert_allclose(run.agents[0], agents, rtol=1e-10)
    np.testing.assert_allclose(run.center[0], center, rtol=1e-10)


def test_downpour_is_the_gauss_seidel_elastic_rule():
    """Z 6.2: DOWNPOUR with period 1 is alpha = 1, beta = agents; here its own iteration, written out."""
    rule = coupling.Elastic.from_moving_rates(1.0, AGENTS, ETA)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(AGENTS, DIMS)))
    model = sdesim.Dynamics(loss, rule, eta=ETA)
    run = sdesim.simulate(model, agents=AGENTS, dims=DIMS, steps=STEPS, init=x, order="gauss-seidel")
    center = x.mean(0)
    for _ in range(STEPS):
        agents = center[None] - ETA * jax.vmap(jax.grad(loss))(jnp.broadcast_to(center, x.shape))
        center = center + jnp.sum(agents - center[None], 0)
    np.testing.assert_allclose(run.agents[0], agents, rtol=1e-10)
    np.testing.assert_allclose(run.center[0], center, rtol=1e-10)
