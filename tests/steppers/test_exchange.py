"""An exchange is the rule applied to those who take part: all, some, or one with the server."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sdesim
from sdesim import coupling
from sdesim.coupling import ArrayMean
from sdesim.steppers import Iteration, exchange

P, D, T, TICK, K = 6, 2, 0.4, 0.1, 1.5
GAINS = np.array([0.2, 1.0, 3.0, 0.0, 2.0, 0.7])
SPIKE = dict(k=K, magnification=5.0, relaxation=0.5, duration=2.0)
RING = np.asarray(coupling.ring(P), float)
RULES = {
    "uncoupled": coupling.Uncoupled(),
    "quorum": coupling.Quorum(K),
    "quorum-own": coupling.Quorum(GAINS),
    "quorum-function": coupling.Quorum(lambda x, t: jnp.sum(x**2) + t),
    "elastic": coupling.Elastic(K),
    "elastic-own": coupling.Elastic(GAINS),
    "elastic-rate": coupling.Elastic(K, 2.5),
    "state-dependent": coupling.StateDependent(lambda x, t: jnp.exp(-jnp.sum(x**2))),
    "spiking": coupling.Spiking(**SPIKE),
    "filtered": coupling.Filtered(K, coupling.LinearFilter(2.5)),
    "filtered-saturating": coupling.Filtered(K, coupling.SaturatingFilter(2.5, 0.3)),
    "outer": coupling.Outer(K, 0.7, 0.6),
    "outer-heavy-ball": coupling.Outer(K, 0.7, 0.6, nesterov=False),
    "mixing": coupling.Mixing(K, RING),
    "mixing-turns": coupling.Mixing(K, coupling.one_peer(P), switch=0.5),
    "streaming": coupling.Streaming(coupling.Elastic(K), 2, switch=0.5),
    "tree": coupling.Tree(K, (3, 2)),
}
X = np.random.default_rng(5).normal(size=(P, D))
SOME = [[4], [1, 4], [5, 0, 2]]


def began(rule):
    """Agents and what they share, away from its rest, at time T."""
    x = jnp.asarray(X)
    shared = rule.init(x, ArrayMean(P))
    if isinstance(rule, coupling.Spiking):
        return x, {"best": jnp.asarray(4, jnp.int32), "start": jnp.asarray(0.1)}
    return x, jax.tree.map(lambda a: a + 0.3, shared)


def exchanged(rule, members):
    x, shared = began(rule)
    members = None if members is None else jnp.asarray(members)
    return exchange(rule, x, shared, jnp.asarray(T), jnp.asarray(TICK), members)


def test_every_rule_is_here():
    assert {type(rule) for rule in RULES.values()} == set(coupling.RULES.values())


@pytest.mark.parametrize("name", RULES)
def test_of_all_agents_is_a_step_to_the_bit(name):
    rule = RULES[name]
    model = sdesim.Dynamics(lambda x: 0 * jnp.sum(x), coupling=rule, eta=TICK)
    x, shared = began(rule)
    state = Iteration().init(model, x)._replace(shared=shared, clock=sdesim.sums.Sum.of(jnp.asarray(T)))
    stepped = jax.jit(lambda state: Iteration().step(model, state, 0))(state)
    found = jax.jit(lambda x, shared: exchange(rule, x, shared, state.t, model.eta))(x, shared)
    jax.tree.map(np.testing.assert_array_equal, (stepped.x, stepped.shared), found)


@pytest.mark.parametrize("name", [name for name in RULES if name != "tree"])
def test_of_all_by_number_is_that_of_all_to_the_bit(name):
    """In another order too, but for the rounding of a sum."""
    whole, named = exchanged(RULES[name], None), exchanged(RULES[name], range(P))
    jax.tree.map(np.testing.assert_array_equal, whole, named)
    order = np.random.default_rng(0).permutation(P)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), whole, exchanged(RULES[name], order))


@pytest.mark.parametrize("members", SOME, ids=str)
@pytest.mark.parametrize("name", [name for name in RULES if name != "tree"])
def test_of_some_agents(name, members):
    """Beside the formulas, agent by agent: of the members' states, the members' numbers, and their share."""
    rule = RULES[name]
    (x, shared), m = began(rule), np.array(members)
    x, those, c = np.asarray(x), X[m], None
    if name.startswith(("elastic", "filtered")):
        c = np.asarray(shared)
    if name.startswith("outer"):
        c, speed = np.asarray(shared["center"]), np.asarray(shared["velocity"])
    mean, share = those.mean(0), len(m) / P
    gain = {"quorum-own": GAINS[m], "elastic-own": GAINS[m], "quorum-function": (those**2).sum(1) + T}
    k = gain.get(name, np.full(len(m), K))[:, None]
    if name == "uncoupled":
        pull, flow = 0 * those, None
    elif name.startswith("quorum"):
        pull, flow = k * (mean - those), None
    elif name in ("state-dependent", "spiking"):
        sent = np.exp(-(those**2).sum(1))
        if name == "spiking":
            decay = np.exp(-(T - 0.1) / SPIKE["relaxation"])
            sent = K / P * (1 - decay) + (m == 4) * SPIKE["magnification"] * K * decay
        pull, flow = np.array([(sent[:, None] * (those - a)).sum(0) for a in those]), None
    elif name.startswith("mixing"):  # the edges between them
        w = RING if name == "mixing" else coupling.one_peer(P)[0]
        pull = np.array([K * sum(w[i, j] * (X[j] - X[i]) for j in m) for i in m])
        c, flow = (shared, None) if name == "mixing" else (shared, {"turn": share * 0.5})
    elif name == "streaming":  # the first coordinate of what is shared, after the turn of the agents' other one
        c, now = {"rule": np.asarray(shared["rule"]), "turn": shared["turn"]}, np.array([1.0, 0.0])
        pull = (1 - now) * K * (c["rule"] - those)
        flow = {"rule": now * (K * (those - c["rule"])).sum(0), "turn": share * 0.5}
    elif name.startswith("outer"):  # whoever came, and not by their share
        pull, come = k * (c - those), mean - c
        by = 1.6 * come + 0.36 * speed if name == "outer" else come + 0.6 * speed
        flow = {"center": K * 0.7 * by, "velocity": K * (come - 0.4 * speed)}
        c = {"center": c, "velocity": speed}
    else:
        pull = k * (c - those)
        own = {"filtered-saturating": 2.5 * 0.3 * np.tanh((mean - c) / 0.3)}.get(name, 2.5 * (mean - c))
        flow = (k * (those - c)).sum(0) if name in ("elastic", "elastic-own") else share * own
    new_x, new_shared = exchanged(rule, members)
    expected = X.copy()
    expected[m] += TICK * pull
    np.testing.assert_allclose(new_x, expected, rtol=1e-12, atol=1e-14)
    others = np.setdiff1d(np.arange(P), m)
    np.testing.assert_array_equal(np.asarray(new_x)[others], X[others])
    if flow is not None:
        expected = jax.tree.map(lambda c, f: c + TICK * f, c, flow)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), new_shared, expected)
    elif shared is not None:
        jax.tree.map(np.testing.assert_array_equal, new_shared, shared)


@pytest.mark.parametrize("rule", [coupling.Elastic(K), coupling.Elastic(K, P * K), coupling.Elastic(np.full(P, K))])
def test_one_agent_and_the_center_are_algorithm_1(rule):
    """x <- x - alpha (x - c), c <- c + alpha (x - c), both of the old values (Z, Alg. 1)."""
    x, c = began(rule)
    alpha = TICK * K
    new_x, new_c = exchanged(rule, [2])
    np.testing.assert_allclose(new_x[2], x[2] - alpha * (x[2] - c), rtol=1e-12)
    np.testing.assert_allclose(new_c, c + alpha * (x[2] - c), rtol=1e-12)


@pytest.mark.parametrize("members", SOME, ids=str)
def test_some_conserve_what_all_do(members):
    """Elastic symmetry conserves the sum of agents and center; one common gain that of the agents."""
    x, c = began(coupling.Elastic(GAINS))
    new_x, new_c = exchanged(coupling.Elastic(GAINS), members)
    np.testing.assert_allclose(new_x.sum(0) + new_c, x.sum(0) + c, rtol=1e-12)
    assert np.abs(new_c - c).max() > 0.01
    np.testing.assert_allclose(exchanged(coupling.Quorum(K), members)[0].sum(0), x.sum(0), rtol=1e-12)


def test_two_agents_that_meet_halfway_agree():
    """An exchange of weight 1 is a jump onto the center of those who meet."""
    x, _ = exchange(coupling.Quorum(1.0), jnp.asarray(X), None, jnp.asarray(0.0), jnp.asarray(1.0), jnp.array([1, 3]))
    np.testing.assert_allclose(x[1], (X[1] + X[3]) / 2, rtol=1e-12)
    np.testing.assert_allclose(x[1], x[3], rtol=1e-12)


def test_a_rule_without_meaning_on_a_subset_refuses():
    with pytest.raises(ValueError, match="members: a message in a Tree moves its receiver alone"):
        exchanged(RULES["tree"], [0, 1])
    assert RULES["tree"].all_only() is not None and RULES["elastic"].all_only() is None


@pytest.mark.parametrize("members", [[6], [-1], [1, 1], [0.5], [[1]], []], ids=str)
def test_members_that_are_none_are_refused(members):
    with pytest.raises(ValueError, match=r"^members=.*: must be None, or an array of different integers from 0 to 5"):
        exchanged(RULES["quorum"], np.array(members))


def test_who_takes_part_may_be_traced_and_mapped():
    """One program of any members: what a simulator of events needs."""
    rule = RULES["elastic-own"]
    x, c = began(rule)
    one = lambda who: exchange(rule, x, c, jnp.asarray(T), jnp.asarray(TICK), who[None])
    xs, cs = jax.jit(jax.vmap(one))(jnp.arange(P))
    for i in range(P):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), (xs[i], cs[i]), exchanged(rule, [i]))
