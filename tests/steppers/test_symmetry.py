"""Conservation and symmetry of every rule: means, momentum, permutations, translations, consensus."""

import catalogue
import equinox as eqx
import hypothesis.extra.numpy as hnp
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import sdesim
from sdesim import coupling, noise
from sdesim.coupling import ArrayMean

P, D = 6, 2
MEAN = ArrayMean(P)
OWN = np.linspace(0.3, 1.5, P)


def fading(x, t):
    """A gain that no agent's position enters."""
    return 1 / (1 + t)


RULES = {**catalogue.rules(P), "state-dependent, of time alone": lambda: coupling.StateDependent(fading)}
ALL = [pytest.param(make(), id=name) for name, make in RULES.items()]

number = st.floats(-10, 10, allow_subnormal=False)
points = hnp.arrays(np.float64, (P, D), elements=number)
shift = hnp.arrays(np.float64, (D,), elements=number)
few = settings(max_examples=15)


@eqx.filter_jit
def fields(rule, x, shared):
    """pull, flow and center half a unit of time into an epoch."""
    t = jnp.asarray(0.5)
    return rule.pull(x, shared, t, MEAN), rule.flow(x, shared, t, MEAN), rule.center(x, shared, t, MEAN)


@eqx.filter_jit
def start(rule, x, best):
    """What agents share after an epoch's start at time 0.3, with agent `best` in the lead."""
    losses = jnp.where(jnp.arange(P) == best, 0.0, 1.0)
    return rule.renew(x, rule.init(x, MEAN), jnp.asarray(0.3), losses)


def is_state(leaf):
    return jnp.issubdtype(leaf.dtype, jnp.floating) and leaf.ndim > 0


def moved(shared, by):
    """Shared states translated; indices, times and velocities stay."""
    if isinstance(shared, dict) and "rule" in shared:
        return {**shared, "rule": moved(shared["rule"], by)}
    if isinstance(shared, dict) and "velocity" in shared:
        return {**moved({k: v for k, v in shared.items() if k != "velocity"}, by), "velocity": shared["velocity"]}
    return jax.tree.map(lambda a: a + jnp.broadcast_to(by, a.shape) if is_state(a) else a, shared)


@few
@given(x=points, y=points, by=shift)
@pytest.mark.parametrize("rule", [p for p in ALL if p.id != "state-dependent"])
def test_translation(rule, x, y, by):
    """Velocities do not see where the origin is (unless a gain looks at positions); the shared state is that of y."""
    shared = start(rule, jnp.asarray(y), 2)
    here, there = fields(rule, jnp.asarray(x), shared), fields(rule, jnp.asarray(x + by), moved(shared, by))
    for a, b in zip(jax.tree.leaves(here[:2]), jax.tree.leaves(there[:2]), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-11)
    np.testing.assert_allclose(there[2] - by, here[2], rtol=0, atol=1e-11)


@few
@given(point=shift)
@pytest.mark.parametrize("rule", ALL)
def test_consensus_is_a_fixed_point(rule, point):
    x = jnp.asarray(np.tile(point, (P, 1)))
    pull, flow, center = fields(rule, x, start(rule, x, 1))
    for velocity in filter(is_state, jax.tree.leaves((pull, flow))):  # graphs take turns all the time
        np.testing.assert_allclose(velocity, 0, rtol=0, atol=1e-12)
    np.testing.assert_allclose(center, point, rtol=0, atol=1e-13)


@few
@given(x=points, y=points, order=st.permutations(range(P)), data=st.data())
@pytest.mark.parametrize("rule", ALL)
def test_permuted_fields(rule, x, y, order, data):
    """Renumbered agents have renumbered velocities, and what they share does not change."""
    order = np.array(order)
    if isinstance(rule, coupling.Mixing):  # a ring is turned, and so is every circulant
        order = np.roll(np.arange(P), data.draw(st.integers(0, P - 1)))
    if isinstance(rule, coupling.Tree):  # siblings alone may change places
        fan = rule.fanout[0]
        blocks = [data.draw(st.permutations(range(i, i + fan))) for i in range(0, P, fan)]
        order = np.concatenate(blocks)
    renumbered = rule
    if isinstance(getattr(rule, "k", None), jax.Array) and rule.k.ndim:
        renumbered = eqx.tree_at(lambda r: r.k, rule, rule.k[order])
    best = 2
    shared = start(rule, jnp.asarray(y), best)
    shared_too = start(renumbered, jnp.asarray(y[order]), int(np.argwhere(order == best).item()))
    pull, flow, center = fields(rule, jnp.asarray(x), shared)
    pull_too, flow_too, center_too = fields(renumbered, jnp.asarray(x[order]), shared_too)
    close = dict(rtol=0, atol=1e-10)
    np.testing.assert_allclose(pull_too, pull[order], **close)
    np.testing.assert_allclose(center_too, center, **close)
    for a, b in zip(jax.tree.leaves(flow), jax.tree.leaves(flow_too), strict=True):
        np.testing.assert_allclose(a, b, **close)


# -- the same of whole runs ------------------------------------------------------------------------------------------


def run(rule, x, *, steps=20, loss=None, law=None, momentum=None, **options):
    model = sdesim.Dynamics(
        sdesim.objectives.LogCosh() if loss is None else loss, coupling=rule, noise=law or noise.Silent(),
        eta=0.05, momentum=momentum,
    )  # fmt: skip
    return sdesim.simulate(model, agents=P, dims=D, steps=steps, init=x, **options)


@settings(max_examples=5)
@given(x=points, order=st.permutations(range(P)))
@pytest.mark.parametrize("momentum", [None, sdesim.Nesterov(0.8)], ids=["plain", "nesterov"])
@pytest.mark.parametrize("name", ["quorum", "elastic", "state-dependent", "spiking"])
def test_permuted_runs(name, momentum, x, order):
    """Agents that start, and are driven, in each other's place end in each other's place. (Losses do not tie.)"""
    order, rule = list(order), RULES[name]()
    dw = 0.2 * np.random.default_rng(0).normal(size=(20, 1, P, D))
    x = x + 0.01 * np.arange(P)[:, None]
    options = dict(law=noise.Gaussian(1.0), momentum=momentum, epoch=8)
    result = run(rule, x, increments=dw, **options)
    permuted = run(rule, x[order], increments=dw[:, :, order], **options)
    np.testing.assert_allclose(permuted.agents[0], result.agents[0][np.array(order)], rtol=0, atol=1e-9)
    np.testing.assert_allclose(permuted.quorum, result.quorum, rtol=0, atol=1e-9)


def flat(x):
    return 0.0 * jnp.sum(x)


@settings(max_examples=5)
@given(x=points)
@pytest.mark.parametrize("order", coupling.ORDERS)
def test_quorum_coupling_leaves_the_mean_alone(order, x):
    result = run(coupling.Quorum(3.0), x, loss=flat, order=order, steps=40)
    agents = np.asarray(result.agents[0])
    np.testing.assert_allclose(result.quorum[0], x.mean(0), rtol=0, atol=1e-12)
    farthest = np.abs(x - x.mean(0)).max()
    assert np.abs(agents - x.mean(0)).max() <= farthest * 0.85**40 + 1e-12  # and it did couple


@settings(max_examples=5)
@given(x=points)
def test_unequal_gains_move_the_mean(x):
    """The control of the test above: gains of each agent's own conserve nothing."""
    assume(np.abs((OWN @ (x.mean(0) - x)) / P).max() > 0.1)
    result = run(coupling.Quorum(OWN), x, loss=flat, steps=1)
    assert np.abs(np.asarray(result.quorum[0]) - x.mean(0)).max() > 1e-3


@settings(max_examples=5)
@given(x=points, y=points)
@pytest.mark.parametrize("rule", [coupling.Elastic(0.6), coupling.Elastic(OWN), coupling.Tree(1.0, (6,))])
def test_elastic_symmetry_conserves_agents_and_center(rule, x, y):
    """Action and reaction: sum_i dx^i + dcenter = 0, from any center."""
    shared = start(rule, jnp.asarray(y), 0)
    pull, flow, _ = fields(rule, jnp.asarray(x), shared)
    np.testing.assert_allclose(pull.sum(0) + sum(jax.tree.leaves(flow)).reshape(D), 0, rtol=0, atol=1e-11)


@settings(max_examples=5)
@given(x=points)
def test_elastic_runs_conserve_agents_and_center(x):
    """Driven by a force that is switched on for the noise of one step, and free thereafter."""
    dw = np.zeros((20, 1, P, D))
    dw[0] = np.random.default_rng(1).normal(size=(1, P, D))
    result = run(coupling.Elastic(0.6), x, loss=flat, law=noise.Gaussian(1.0), increments=dw)
    pushed = x.sum(0) + np.sqrt(0.05) * dw[0, 0].sum(0) + x.mean(0)
    np.testing.assert_allclose(result.agents[0].sum(0) + result.center[0], pushed, rtol=0, atol=1e-10)


def test_tree_conserves_all_nodes():
    rule = coupling.Tree(0.8, (3, 2))
    rng = np.random.default_rng(4)
    x = jnp.asarray(rng.normal(size=(P, D)))
    shared = jax.tree.map(lambda a: jnp.asarray(rng.normal(size=a.shape)), rule.init(x, MEAN))
    pull, flow, _ = fields(rule, x, shared)
    total = pull.sum(0) + sum(f.sum(0) for f in flow)
    np.testing.assert_allclose(total, 0, rtol=0, atol=1e-13)


# -- momentum --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", [coupling.Quorum, coupling.Elastic])
@pytest.mark.parametrize("order", coupling.ORDERS)
def test_heavy_ball_is_friction_in_other_units(order, rule):
    """mu = (1 - delta) / sqrt(eta), eta -> sqrt(eta), k_1 = k sqrt(eta)."""
    eta, delta, k = 0.04, 0.85, 2.0
    root = np.sqrt(eta)
    common = dict(objective=sdesim.objectives.LogCosh(), noise=noise.Gaussian(1.5))
    ball = sdesim.Dynamics(coupling=rule(k), eta=eta, momentum=sdesim.HeavyBall(delta), **common)
    sde = sdesim.Dynamics(coupling=rule(k * root), eta=root, momentum=sdesim.Friction((1 - delta) / root), **common)
    for dt in (None, 0.05):
        a, b = (
            sdesim.simulate(
                m, agents=P, dims=D, sims=3, steps=50, init=sdesim.init.Normal(), order=order, dt=dt, seed=3
            )
            for m in (ball, sde)
        )
        np.testing.assert_allclose(a.agents, b.agents, rtol=0, atol=1e-12)
        np.testing.assert_allclose(a.velocity, b.velocity, rtol=0, atol=1e-12)


def test_heavy_ball_without_memory_is_sgd():
    """delta = 0: the displacement is one step of gradient descent."""
    common = dict(
        objective=sdesim.objectives.LogCosh(), coupling=coupling.Elastic(1.0), noise=noise.Gaussian(1.0), eta=0.05
    )
    runs = [
        sdesim.iterate(sdesim.Dynamics(momentum=m, **common), agents=P, dims=D, steps=30, init=sdesim.init.Normal())
        for m in (None, sdesim.HeavyBall(0.0), sdesim.Nesterov(0.0))
    ]
    for other in runs[1:]:
        np.testing.assert_allclose(other.agents, runs[0].agents, rtol=0, atol=1e-12)
