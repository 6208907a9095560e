"""The outer optimizer: beside plain programs of DiLoCo, SlowMo and Lookahead, and the rules that it contains."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sdesim
from sdesim import coupling

P, D, ETA, H, ROUNDS = 4, 3, 0.05, 5, 7
LR, MU = 0.7, 0.9


def loss(x):
    return jnp.sum(0.5 * x * x + 0.3 * jnp.cos(2 * x)) + 0.2 * x[0] * x[-1]


def torch_sgd(parameter, gradient, buffer, lr, momentum, nesterov):
    """torch.optim.SGD, as its page writes it, without dampening and decay; the buffer begins with the gradient."""
    buffer = gradient if buffer is None else momentum * buffer + gradient
    gradient = gradient + momentum * buffer if nesterov else buffer
    return parameter - lr * gradient, buffer


def outer_by_hand(x, noise, lr, momentum, nesterov, eta=lambda n: ETA):
    """Every worker takes H steps from the common point; the outer optimizer's gradient is the mean of start - end."""
    gradient = jax.jit(jax.vmap(jax.grad(loss)))
    center, buffer = x.mean(0), None
    for r in range(ROUNDS):
        agents = np.broadcast_to(center, x.shape)
        for h in range(H):
            n = r * H + h
            agents = agents - eta(n) * (np.asarray(gradient(jnp.asarray(agents))) - noise[n])
        ends = agents
        center, buffer = torch_sgd(center, center - agents.mean(0), buffer, lr, momentum, nesterov)
    return ends, center


def started(agents=P, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(agents, D)), rng.normal(size=(ROUNDS * H, agents, D))


def run(rule, x, noise, eta=ETA, order="gauss-seidel", pace=1.0, period=H):
    model = sdesim.Dynamics(loss, rule, sdesim.noise.Gaussian(1.0), eta)
    stepper = sdesim.Iteration(period, pace=pace, order=order)
    sizes = dict(agents=len(x), dims=D, steps=len(noise), init=x, stepper=stepper)
    return sdesim.simulate(model, increments=noise[:, None], **sizes)


@pytest.mark.parametrize("nesterov", [True, False], ids=["diloco", "slowmo"])
def test_it_is_torch_sgd_on_the_way_that_agents_came(nesterov):
    x, noise = started()
    found = run(coupling.Outer(1.0, LR, MU, nesterov), x, noise)
    ends, center = outer_by_hand(x, noise, LR, MU, nesterov)
    np.testing.assert_allclose(found.agents[0], ends, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.center[0], center, rtol=0, atol=1e-12)
    other = outer_by_hand(x, noise, LR, MU, not nesterov)[1]
    assert np.abs(found.center[0] - other).max() > 1e-2


def test_a_schedule_leaves_the_weight_of_the_exchange_alone():
    """At a pace of 1 and a gain of 1 it is the algorithm at any learning rate; without one it falls with the rate."""
    x, noise = started()
    eta = lambda n: ETA * 0.9**n
    schedule = sdesim.schedules.PerStep([eta(n) for n in range(len(noise))])
    found = run(coupling.Outer(1.0, LR, MU), x, noise, schedule)
    np.testing.assert_allclose(found.center[0], outer_by_hand(x, noise, LR, MU, True, eta)[1], rtol=0, atol=1e-12)
    same = run(coupling.Outer(2.0, LR, MU), x, noise, schedule, pace=lambda n: 0.5)
    np.testing.assert_allclose(same.agents, found.agents, rtol=0, atol=1e-12)
    falling = run(coupling.Outer(1 / ETA, LR, MU), x, noise, schedule, pace=None)
    assert np.abs(falling.center - found.center).max() > 1e-2


def test_one_agent_without_momentum_is_lookahead():
    """Zhang et al. 2019, Alg. 1: slow weights go the share alpha of the way of H fast steps, which start anew there."""
    x, noise = started(1)
    found = run(coupling.Outer(1.0, 0.5, 0.0), x, noise)
    slow = x[0]
    for r in range(ROUNDS):
        fast = slow
        for h in range(H):
            fast = fast - ETA * (np.asarray(jax.grad(loss)(jnp.asarray(fast))) - noise[r * H + h, 0])
        slow = slow + 0.5 * (fast - slow)
    np.testing.assert_allclose(found.center[0], slow, rtol=0, atol=1e-12)


def test_rate_one_without_momentum_is_local_sgd():
    """H steps alone, then all at their mean: also `Quorum` of weight 1, whose pull comes at the next step's head."""
    x, noise = started()
    found = run(coupling.Outer(1.0, 1.0, 0.0), x, noise)
    agents, gradient = x, jax.vmap(jax.grad(loss))
    for n in range(len(noise)):
        if n % H == 0:
            agents = np.broadcast_to(agents.mean(0), x.shape)
        agents = agents - ETA * (np.asarray(gradient(jnp.asarray(agents))) - noise[n])
    np.testing.assert_allclose(found.agents[0], agents, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.center[0], agents.mean(0), rtol=0, atol=1e-12)
    np.testing.assert_allclose(run(coupling.Quorum(1.0), x, noise).agents[0], agents, rtol=0, atol=1e-12)


@pytest.mark.parametrize("order", coupling.ORDERS)
def test_without_momentum_it_is_the_elastic_rule(order):
    x, noise = started()
    for nesterov in (True, False):
        one = run(coupling.Outer(2.0, 0.6, 0.0, nesterov), x, noise, order=order, pace=None)
        other = run(coupling.Elastic(2.0, 1.2), x, noise, order=order, pace=None)
        np.testing.assert_allclose(one.agents, other.agents, rtol=0, atol=1e-12)
        np.testing.assert_allclose(one.center, other.center, rtol=0, atol=1e-12)


def exchanged_at(period, etas):
    """The steps at which agents that nothing drives come nearer to each other."""
    model = sdesim.Dynamics(lambda x: 0 * jnp.sum(x), coupling.Quorum(0.5), eta=sdesim.schedules.PerStep(etas))
    spread = sdesim.observe.Spread()
    sizes = dict(agents=4, steps=len(etas), init=sdesim.init.Normal(), observe=spread, every=1)
    run = sdesim.simulate(model, stepper=sdesim.Iteration(period, pace=1.0), **sizes)
    seen = np.asarray(run.observed["spread"])[0]
    return np.flatnonzero(np.diff(seen) < -0.5 * seen[:-1]).tolist()


def test_qsr_asks_at_each_exchange_how_long_the_round_is():
    """2310.14423, Alg. 2: H = max(H_0, floor((alpha / eta_t)^2)) by the rate of the step at which a round begins."""
    etas = [0.1] * 10 + [0.05] * 20 + [0.025] * 50 + [0.0]
    alpha, base = 0.151, 2
    expected, n = [], 0
    while n < len(etas):
        expected.append(n)
        n += max(base, int((alpha / etas[n]) ** 2)) if etas[n] else len(etas)
    assert np.diff(expected).tolist() == [2] * 5 + [9] * 3 + [36]
    assert exchanged_at(sdesim.schedules.QSR(alpha, base), etas) == expected


def test_post_local_sgd_begins_with_all_steps():
    found = exchanged_at(sdesim.schedules.PostLocal(7, 4), [0.1] * 20)
    assert found == [*range(8), 11, 15, 19]


@pytest.mark.filterwarnings("ignore:coupling. unstable")  # jumps of all at once, in order "jacobi"
@pytest.mark.parametrize("order", coupling.ORDERS)
@pytest.mark.parametrize("kind", ["qsr", "post", "function"])
def test_periods_agree_with_optax(kind, order):
    etas = jnp.asarray([0.05] * 12 + [0.025] * 20)
    make = {
        "qsr": lambda: sdesim.schedules.QSR(0.09, 2),
        "post": lambda: sdesim.schedules.PostLocal(9, 5),
        "function": lambda: lambda n: jnp.where(n < 10, 1, 4),
    }
    period, rule, (x, _) = make[kind](), coupling.Outer(1.0, LR, MU), started()
    model = sdesim.Dynamics(loss, rule, eta=sdesim.schedules.PerStep(etas))
    stepper = sdesim.Iteration(period, pace=1.0, order=order)
    run = sdesim.simulate(model, agents=P, dims=D, steps=len(etas), init=x, stepper=stepper)
    couple = sdesim.couple(rule, 1.0, order=order, period=period)
    params, state = jnp.asarray(x), couple.init(jnp.asarray(x))
    for eta in etas:
        gradients = jax.vmap(jax.grad(loss))(couple.gradient_point(params, state))
        updates, state = couple.update(-eta * gradients, state, params, descent=eta)
        params = params + updates
    np.testing.assert_allclose(run.agents[0], params, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(run.center[0], couple.center(params, state), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("late", [1, 3])
def test_late_exchanges_leave_what_was_done_meanwhile(late):
    """Agents go on while what they sent is under way; then they jump by as much as they would have jumped before."""
    x, noise = started()
    model = sdesim.Dynamics(loss, coupling.Outer(1.0, LR, MU), sdesim.noise.Gaussian(1.0), ETA)
    stepper = sdesim.Iteration(H, pace=1.0, late=late, order="gauss-seidel")
    sizes = dict(agents=P, dims=D, steps=len(noise), init=x, stepper=stepper)
    found = sdesim.simulate(model, increments=noise[:, None], **sizes)
    agents, center, buffer, gradient = x, x.mean(0), None, jax.jit(jax.vmap(jax.grad(loss)))
    for n in range(len(noise)):
        if n % H == 0:
            sent = agents
        if n % H == late:
            center, buffer = torch_sgd(center, center - sent.mean(0), buffer, LR, MU, True)
            agents = agents + (center - sent)
        agents = agents - ETA * (np.asarray(gradient(jnp.asarray(agents))) - noise[n])
    np.testing.assert_allclose(found.agents[0], agents, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.center[0], center, rtol=0, atol=1e-12)
    half = sdesim.simulate(model, increments=noise[: H + 1, None], **{**sizes, "steps": H + 1})
    more = {**sizes, "steps": len(noise) - H - 1}
    on = sdesim.simulate(model, increments=noise[H + 1 :, None], **{**more, "init": half})
    np.testing.assert_array_equal(on.agents, found.agents)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (dict(lr=-0.1), r"^lr=-0\.1: "),
        (dict(momentum=1.2), r"^momentum=1\.2: must be from 0 to 1"),
        (dict(nesterov=1), r"^nesterov=1: "),
    ],
)
def test_bad_numbers_are_refused(arguments, says):
    with pytest.raises((TypeError, ValueError), match=says):
        coupling.Outer(**{"k": 1.0, **arguments})


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (dict(period=3, late=3), r"^late=3: must be less than the period, 3"),
        (dict(period=lambda n: 4, late=1), r"^late=1: must be 0 where the period is a function"),
        (dict(late=-1), r"^late=-1: "),
        (dict(pace=0.0), r"^pace=0: |^pace=0\.0: "),
        (dict(pace=[1.0, 2.0]), r"^pace=.*: must be None, one number"),
    ],
)
def test_bad_exchanges_are_refused(arguments, says):
    with pytest.raises((TypeError, ValueError), match=says):
        sdesim.Iteration(**arguments)


@pytest.mark.parametrize("fragments", [1, 3])
def test_streaming_exchanges_fragments_in_turn(fragments):
    """Each coordinate has its own rounds, fragments * H steps long and staggered by H (2501.18512)."""
    x, noise = started()
    found = run(coupling.Streaming(coupling.Outer(1.0, LR, MU), fragments), x, noise)
    agents, center, buffer, gradient = x, x.mean(0), np.zeros(D), jax.jit(jax.vmap(jax.grad(loss)))
    of = np.arange(D) * fragments // D
    agents = np.where(of == fragments - 1, center, agents)  # the turn before the first
    for n in range(len(noise)):
        agents = agents - ETA * (np.asarray(gradient(jnp.asarray(agents))) - noise[n])
        if (n + 1) % H == 0:
            now = of == n // H % fragments
            moved, after = torch_sgd(center, center - agents.mean(0), buffer, LR, MU, True)
            center, buffer, ends = np.where(now, moved, center), np.where(now, after, buffer), agents
            agents = np.where(now, center, agents)  # which agents do at the head of the next step
    np.testing.assert_allclose(found.agents[0], ends, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.center[0], center, rtol=0, atol=1e-12)


def test_fragments_are_parts_of_all_coordinates_of_a_network():
    rule, mean = coupling.Streaming(coupling.Quorum(1.0), 2), coupling.ArrayMean(2)
    x = {"a": jnp.asarray([[0.0], [1.0]]), "b": jnp.asarray(np.random.default_rng(0).normal(size=(2, 3, 2)))}
    shared = rule.init(x, mean)
    first = rule.pull(x, shared, jnp.asarray(0.0), mean)
    second = rule.pull(x, {**shared, "turn": jnp.asarray(1.0)}, jnp.asarray(0.0), mean)
    whole = coupling.Quorum(1.0).pull(x, None, jnp.asarray(0.0), mean)
    jax.tree.map(lambda a, b, c: np.testing.assert_allclose(a + b, c), first, second, whole)
    counts = [int((np.asarray(a)[0] != 0).sum()) for a in jax.tree.leaves(second)]
    assert counts == [1, 3]  # after the first turn, of 7 coordinates the first 4


def test_what_does_not_stream_is_refused():
    for rule, why in ((coupling.Spiking(1.0, 2.0, 1.0, 1.0), "jumps at epochs"), (3, "must be a coupling rule")):
        with pytest.raises((TypeError, ValueError), match=why):
            coupling.Streaming(rule, 2)
