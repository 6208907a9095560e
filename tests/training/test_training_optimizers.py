"""Agents' own optimizers: each is as if it were alone, whatever they are and whatever couples them."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest

from sdesim import coupling, training
from sdesim.training import step as steps
from sdesim.training.inner import Inner

pytestmark = [pytest.mark.relaxed, pytest.mark.usefixtures("float32")]  # as users have it

AGENTS = 3
RATES = np.array([0.02, 0.01, 0.005], np.float32)
_normal = lambda seed, *shape: np.random.default_rng(seed).normal(size=(AGENTS, *shape)).astype(np.float32)
PARAMS = {"matrix": 0.3 * _normal(0, 6, 4), "bias": 0.1 * _normal(1, 4)}
INPUTS, TARGETS = _normal(2, 8, 6), _normal(3, 8, 4)


def loss(params, x, y):
    return jnp.mean((jnp.tanh(x @ params["matrix"] + params["bias"]) - y) ** 2)


def clipped(eta):
    return optax.chain(optax.clip_by_global_norm(0.1), optax.sgd(20 * eta, momentum=0.9))


# What looks at one number at a time, at a matrix, at a whole array, at all parameters, and at the loss.
OPTIMIZERS = {
    "adam": optax.adam,
    "adamw": functools.partial(optax.adamw, b2=0.95, weight_decay=0.1),
    "muon": optax.contrib.muon,
    "lamb": optax.lamb,
    "clipped": clipped,
    "polyak": lambda eta: optax.polyak_sgd(max_learning_rate=10.0, scaling=eta),
}


def slopes(point):
    losses, gradients = jax.vmap(jax.value_and_grad(loss))(point, INPUTS, TARGETS)
    return gradients, losses


def coupled(algorithm, taken, params=PARAMS):
    """Steps of all agents, as the trainer takes them."""
    rates = jnp.asarray(RATES)
    state = algorithm.optimizer(rates).init(params)
    step = jax.jit(lambda p, s: steps.agents_step(algorithm, slopes, p, s, rates)[:2])
    for _ in range(taken):
        params, state = step(params, state)
    return params


def alone(make, agent, taken):
    """Steps of one agent by optax alone."""
    optimizer = optax.with_extra_args_support(make(RATES[agent]))
    params = jax.tree.map(lambda a: a[agent], PARAMS)
    state = optimizer.init(params)

    @jax.jit
    def step(params, state):
        value, gradient = jax.value_and_grad(loss)(params, INPUTS[agent], TARGETS[agent])
        updates, state = optimizer.update(gradient, state, params, value=value, grad=gradient)
        return optax.apply_updates(params, updates), state

    for _ in range(taken):
        params, state = step(params, state)
    return params


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_agents_have_optimizers_of_their_own(name):
    """To the rounding of two programs; a norm or a matrix over all agents would differ in the first digit."""
    make = OPTIMIZERS[name]
    together = coupled(training.Algorithm(coupling.Uncoupled(), inner=Inner(make)), 5)
    # Muon's step of 0.02 comes of 15 products of matrices, of 6 terms and coefficients up to 5: in five steps the
    # rounding of 6e-8 in each term grows to 5 * 0.02 * 15 * 6 * 5 * 6e-8.
    rounding = 2.7e-6 if name == "muon" else 2e-7
    for agent in range(AGENTS):
        own = alone(make, agent, 5)
        for leaf in PARAMS:
            np.testing.assert_allclose(together[leaf][agent], own[leaf], rtol=2e-6, atol=rounding)
        assert max(float(jnp.abs(own[leaf] - PARAMS[leaf][agent]).max()) for leaf in PARAMS) > 1e-3


@pytest.mark.parametrize("name", ["muon", "lamb", "clipped"])
def test_one_optimizer_over_all_agents_would_be_another(name):
    """What the mapping is for: the same transformation over the leading axis of agents gives other steps."""
    make, rate = OPTIMIZERS[name], RATES[0]
    over = make(rate)
    gradients, _ = slopes(PARAMS)
    state = over.init(PARAMS)
    over_all, _ = over.update(gradients, state, PARAMS)
    one = jax.tree.map(lambda a: a[0], PARAMS)
    own, _ = make(rate).update(jax.tree.map(lambda g: g[0], gradients), make(rate).init(one), one)
    far = max(float(jnp.abs(over_all[leaf][0] - own[leaf]).max() / jnp.abs(own[leaf]).max()) for leaf in PARAMS)
    assert far > 0.05


@pytest.mark.parametrize("order", coupling.ORDERS)
def test_the_rule_is_applied_as_without(order):
    """One step is the optimizer's, and the rule's: x + u + eta pull; in Gauss-Seidel order the pull comes first."""
    rule = coupling.Quorum(4.0)
    algorithm = training.Algorithm(rule, order=order, pace=0.05, inner=Inner(optax.adamw))
    found = coupled(algorithm, 1)
    pull = jax.tree.map(lambda a: 0.05 * 4.0 * (a.mean(axis=0) - a), PARAMS)
    at = PARAMS if order == "jacobi" else jax.tree.map(jnp.add, PARAMS, pull)
    gradients, _ = slopes(at)
    for agent in range(AGENTS):
        of = lambda tree: jax.tree.map(lambda a: a[agent], tree)  # noqa: B023
        optimizer = optax.adamw(RATES[agent])
        updates, _ = optimizer.update(of(gradients), optimizer.init(of(PARAMS)), of(at))
        for leaf in PARAMS:
            expected = PARAMS[leaf][agent] + pull[leaf][agent] + updates[leaf]
            np.testing.assert_allclose(found[leaf][agent], expected, rtol=2e-6, atol=2e-7)


def test_a_transformation_is_multiplied_by_the_rate():
    given = coupled(training.Algorithm(coupling.Uncoupled(), inner=Inner(optax.adamw(1.0))), 3)
    made = coupled(training.Algorithm(coupling.Uncoupled(), inner=Inner(optax.adamw)), 3)
    for leaf in PARAMS:
        np.testing.assert_allclose(given[leaf], made[leaf], rtol=2e-6, atol=2e-7)


# -- whole trainings ---------------------------------------------------------------------------------------------------


class Small(nn.Module):
    """A user's own network."""

    @nn.compact
    def __call__(self, x, train: bool = False):
        return nn.Dense(4)(nn.tanh(nn.Dense(12)(x.reshape(x.shape[0], -1))))


DATA = training.split(training.synthetic(400, 100, classes=4, size=8, noise=30.0))
RUN = dict(eta=0.01, batch=16, evaluation_batch=20, schedule=training.Constant())


def trained(optimizer, name="easgd", agents=2, **more):
    return training.train(
        Small(), DATA, training.algorithm(name), optimizer=optimizer, agents=agents, **{**RUN, **more}
    ).history


def test_sgd_is_the_trainers_own_step():
    """Through the mapped optimizer and without it."""
    mapped, plain = (trained(o, "easgd-wm", epochs=2, eta=0.05) for o in (optax.sgd, None))
    np.testing.assert_allclose(mapped.batch_loss, plain.batch_loss, rtol=2e-5)
    assert float(plain.batch_loss[2].mean()) < 0.5 * float(plain.train_loss[0].mean())


def test_an_agent_does_not_depend_on_how_many_there_are():
    three, one = trained(optax.contrib.muon, "msgd", 3, epochs=1), trained(optax.contrib.muon, "msgd", 1, epochs=1)
    np.testing.assert_allclose(three.batch_loss.isel(agent=0), one.batch_loss.isel(agent=0), rtol=1e-5)
    assert np.ptp(three.batch_loss.values[1]) > 1e-3


@pytest.mark.parametrize("name", ["muon", pytest.param("adamw", marks=pytest.mark.slow)])
def test_a_resumed_optimizer_goes_on(name, tmp_path):
    """Its state is in the checkpoint: the numbers are those of an uninterrupted training, to the bit."""
    go = lambda **more: trained(training.optimizer(name), runs=2, **more)
    whole = go(epochs=3)
    go(epochs=1, folder=tmp_path)
    resumed = go(epochs=3, folder=tmp_path, resume=True)
    for label in set(whole.data_vars) - {"seconds"}:
        np.testing.assert_array_equal(whole[label], resumed[label], err_msg=label)
    with pytest.raises(FileExistsError, match="other arguments"):
        trained(training.optimizer("adam"), runs=2, epochs=4, folder=tmp_path, resume=True)


def test_rates_fall_by_the_schedule_as_ever():
    """An agent's rate is the one that its optimizer is made with, at each step."""
    falls = trained(optax.adam, epochs=3, schedule=training.Stall(factors=(1e9,), patience=1, tolerance=10.0))
    assert float(falls.eta[0].min()) == pytest.approx(0.01) and float(falls.eta[-1].max()) < 1e-10
    loss = falls.train_loss.isel(model=0, run=0)
    assert abs(float(loss[3] - loss[2])) < 0.2 * abs(float(loss[1] - loss[0]))


def test_an_optimizer_that_is_made_anew_compiles_nothing():
    compiled = []

    def listen(event, duration, **details):
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(details.get("fun_name", event))

    make = lambda b2: functools.partial(optax.adamw, b2=b2)
    trained(make(0.9), epochs=1)
    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        trained(make(0.9), epochs=1, eta=0.02)
        again = list(compiled)
        other = trained(make(0.5), epochs=1, eta=0.02)
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert again == [] and compiled  # another number is another program
    assert not np.array_equal(other.batch_loss, trained(make(0.9), epochs=1, eta=0.02).batch_loss)


def test_made_by_makes_it_again():
    history = trained(training.optimizer("adamw", b2=0.95), epochs=1)
    said = next(line for line in history.attrs["made_by"].splitlines() if line.startswith("result"))
    assert "adamw, b2=0.95)" in said and "momentum" not in said


@pytest.mark.parametrize(
    ("optimizer", "error", "message"),
    [
        ("adamw", TypeError, "optimizer='adamw': must be a function of a learning rate"),
        (3.0, TypeError, "optimizer=3.0"),
        (lambda eta: eta, TypeError, "optimizer=.*and makes"),
        (lambda eta: optax.masked(optax.adam(eta), {"no": True}), ValueError, "optimizer: fails in a step"),
        (lambda eta: 1 / 0, ValueError, "optimizer: fails in a step"),
    ],
)
def test_unfit_optimizers_are_refused(optimizer, error, message):
    with pytest.raises(error, match=message):
        trained(optimizer, epochs=1)


def test_what_does_not_go_with_an_optimizer_is_refused():
    with pytest.raises(ValueError, match="eta=None: must be given beside an optimizer"):
        trained(optax.adam, epochs=1, eta=None)
    with pytest.raises(ValueError, match=r"momentum=.*must be 0 beside an optimizer"):
        training.train(Small(), DATA, training.algorithm("easgd", momentum=0.5), optimizer=optax.adam, **RUN)
    with pytest.raises(ValueError, match=r"momentum=.*must be 0 beside an optimizer"):
        training.train(Small(), DATA, training.Algorithm(coupling.Quorum(1.0), 0.9), optimizer=optax.adam, **RUN)
    with pytest.raises(ValueError, match="did you mean 'adamw'"):
        training.optimizer("adanw")
    with pytest.raises(ValueError, match=r"b3=0.5: adamw has none; it has b1"):
        training.optimizer("adamw", b3=0.5)
    with pytest.raises(TypeError, match=r"learning_rate=0.1: must be given to the training alone"):
        training.optimizer("adamw", learning_rate=0.1)
