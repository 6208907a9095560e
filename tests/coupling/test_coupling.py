"""Coupling rules: their equations written out in NumPy, how rules contain each other, and their fastest rates."""

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest

import sdesim
from sdesim import coupling
from sdesim.coupling import ArrayMean

P, D, K, T = 4, 2, 1.3, 0.7
MEAN = ArrayMean(P)
X = np.random.default_rng(0).normal(size=(P, D))
CENTER = np.array([0.4, -1.1])
GAINS = np.array([0.5, 1.0, 0.0, 2.0])
close = dict(rtol=1e-12, atol=1e-13)


def pull(rule, shared=None, x=X, t=T):
    return np.asarray(rule.pull(jnp.asarray(x), shared, jnp.asarray(t), ArrayMean(len(x))))


def flow(rule, shared, x=X, t=T):
    return rule.flow(jnp.asarray(x), shared, jnp.asarray(t), ArrayMean(len(x)))


# -- equations -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [K, GAINS], ids=["common", "own"])
def test_quorum(k):
    expected = np.stack([np.broadcast_to(k, P)[i] * (X.mean(0) - X[i]) for i in range(P)])
    np.testing.assert_allclose(pull(coupling.Quorum(k)), expected, **close)


def test_quorum_with_a_gain_of_state_and_time():
    rule = coupling.Quorum(lambda x, t: jnp.sum(x**2) + t)
    expected = np.stack([(np.sum(x**2) + T) * (X.mean(0) - x) for x in X])
    np.testing.assert_allclose(pull(rule), expected, **close)


@pytest.mark.parametrize("k", [K, GAINS, lambda x, t: 1 + jnp.sum(x**2) * t], ids=["common", "own", "function"])
@pytest.mark.parametrize("rate", [None, 2.5])
def test_elastic(k, rate):
    """Symmetric: the center's velocity is the reaction to all pulls, sum_i k_i (x^i - center)."""
    gains = np.broadcast_to(k, P) if not callable(k) else np.array([1 + np.sum(x**2) * T for x in X])
    rule, center = coupling.Elastic(k, rate), jnp.asarray(CENTER)
    np.testing.assert_allclose(pull(rule, center), gains[:, None] * (CENTER - X), **close)
    reaction = (gains[:, None] * (X - CENTER)).sum(0)
    np.testing.assert_allclose(flow(rule, center), reaction if rate is None else rate * (X.mean(0) - CENTER), **close)
    np.testing.assert_array_equal(rule.center(X, center, T, MEAN), CENTER)


def test_elastic_moving_rates():
    """Z 2.3-2.4: x <- x - alpha (x - center), center <- (1 - beta) center + beta mean."""
    alpha, beta, eta = 0.2, 0.6, 0.05
    model = sdesim.Dynamics(lambda x: 0 * x, coupling=coupling.Elastic.from_moving_rates(alpha, beta, eta), eta=eta)
    x = np.array([1.0, 2.0, 6.0])
    center, expected = x.mean(), x.copy()
    for _ in range(5):
        expected, center = expected - alpha * (expected - center), (1 - beta) * center + beta * expected.mean()
        expected = expected + 0.1  # so that the center has something to follow
        center_seen = center
    shifted = sdesim.Dynamics(lambda x: -0.1 / eta * x, coupling=model.coupling, eta=eta)
    result = sdesim.simulate(shifted, agents=3, steps=5, init=x[:, None])
    np.testing.assert_allclose(result.agents[0, :, 0], expected, **close)
    np.testing.assert_allclose(result.center[0, 0], center_seen, **close)


def test_state_dependent():
    """BS 55-57: sum_j k(x^j, t) (x^j - x^i)."""
    k = lambda x, t: np.exp(-np.sum(x**2)) * (1 + t)
    rule = coupling.StateDependent(lambda x, t: jnp.exp(-jnp.sum(x**2)) * (1 + t))
    expected = np.stack([sum(k(y, T) * (y - x) for y in X) for x in X])
    np.testing.assert_allclose(pull(rule), expected, **close)
    gains = np.array([k(x, T) for x in X])
    np.testing.assert_allclose(rule.center(jnp.asarray(X), None, T, MEAN), gains @ X / gains.sum(), **close)
    silent = coupling.StateDependent(lambda x, t: 0 * t)
    assert np.all(pull(silent) == 0)
    np.testing.assert_allclose(silent.center(jnp.asarray(X), None, jnp.asarray(T), MEAN), X.mean(0), **close)


SPIKE = dict(k=K, magnification=5.0, relaxation=0.5, duration=2.0)


@pytest.mark.parametrize("tau", [0.0, 0.3, 1.9])
def test_spiking(tau):
    """BS 60-61, with the best agent's gain at M k and the others' at 0 at the epoch's start."""
    rule = coupling.Spiking(**SPIKE)
    losses = jnp.asarray([3.0, 2.0, 0.5, 1.0])
    shared = rule.renew(jnp.asarray(X), rule.init(jnp.asarray(X), MEAN), jnp.asarray(T), losses)
    decay = np.exp(-tau / 0.5)
    gains = K / P * (1 - decay) + np.where(np.arange(P) == 2, 5.0 * K * decay, 0.0)
    np.testing.assert_allclose(rule.gains(shared, jnp.asarray(T + tau), P), gains, **close)
    expected = np.stack([sum(g * (y - x) for g, y in zip(gains, X, strict=True)) for x in X])
    np.testing.assert_allclose(pull(rule, shared, t=T + tau), expected, **close)
    center = rule.center(jnp.asarray(X), shared, jnp.asarray(T + tau), MEAN)
    np.testing.assert_allclose(center, X[2] if tau == 0 else gains @ X / gains.sum(), **close)


def test_spiking_is_quorum_before_the_first_epoch_and_after_the_duration():
    rule, expected = coupling.Spiking(**SPIKE), pull(coupling.Quorum(K))
    fresh = rule.init(jnp.asarray(X), MEAN)
    np.testing.assert_allclose(pull(rule, fresh, t=0.0), expected, **close)
    shared = rule.renew(jnp.asarray(X), fresh, jnp.asarray(T), jnp.arange(4.0))
    np.testing.assert_allclose(pull(rule, shared, t=T + 2.0), expected, **close)
    assert np.abs(pull(rule, shared, t=T + 1.99) - expected).max() > 1e-3


def test_a_diverged_agent_does_not_lead():
    rule = coupling.Spiking(**SPIKE)
    losses = jnp.asarray([jnp.nan, 2.0, -jnp.inf, 1.0])
    assert rule.renew(X, rule.init(jnp.asarray(X), MEAN), jnp.asarray(T), losses)["best"] == 3


def test_saturating_filter():
    rule = coupling.Filtered(K, coupling.SaturatingFilter(2.0, 0.3))
    expected = 2.0 * 0.3 * np.tanh((X.mean(0) - CENTER) / 0.3)
    np.testing.assert_allclose(flow(rule, jnp.asarray(CENTER)), expected, **close)
    np.testing.assert_allclose(pull(rule, jnp.asarray(CENTER)), K * (CENTER - X), **close)


def test_filter_with_a_state_of_its_own():
    """A second-order low-pass filter: its state is more than a center."""

    class Second:
        def init(self, x, mean):
            return {"center": mean(x), "speed": jnp.zeros_like(mean(x))}

        def output(self, state):
            return state["center"]

        def __call__(self, state, x, t, mean):
            return {"center": state["speed"], "speed": 4 * (mean(x) - state["center"]) - 2 * state["speed"]}

    rule = coupling.Filtered(K, Second())
    model = sdesim.Dynamics(lambda x: -x, coupling=rule, eta=0.1)
    x, center, speed = np.array([0.0, 1.0]), 0.5, 0.0
    for _ in range(20):
        x, center, speed = (
            x + 0.1 * (1 + K * (center - x)),
            center + 0.1 * speed,
            speed + 0.1 * (4 * (x.mean() - center) - 2 * speed),
        )
    result = sdesim.simulate(model, agents=2, steps=20, init=np.array([[0.0], [1.0]]))
    np.testing.assert_allclose(result.agents[0, :, 0], x, **close)
    np.testing.assert_allclose(result.center[0], [center], **close)


def test_tree():
    """Two levels above six leaves, every node written out."""
    x = np.random.default_rng(1).normal(size=(6, 1))
    rule = coupling.Tree(K, (2, 3), up=0.9, down=0.4)
    low, root = np.array([[1.0], [-0.5], [2.0]]), np.array([[0.3]])
    shared = [jnp.asarray(low), jnp.asarray(root)]
    np.testing.assert_allclose(pull(rule, shared, x), K * (np.repeat(low, 2, 0) - x), **close)
    leaves = x.reshape(3, 2, 1).mean(1)
    for ours, expected in zip(
        flow(rule, shared, x), (0.9 * (leaves - low) + 0.4 * (root - low), 0.9 * (low.mean(0) - root)), strict=True
    ):
        np.testing.assert_allclose(ours, expected, **close)
    start = rule.init(jnp.asarray(x), ArrayMean(6))
    np.testing.assert_allclose(start[0], leaves, **close)
    np.testing.assert_allclose(start[1], x.mean(0)[None], **close)
    np.testing.assert_allclose(rule.center(x, shared, T, ArrayMean(6)), root[0], **close)


@pytest.mark.parametrize("fanout", [(), (0, 2), (2, -1), (2.0, 2)])
def test_tree_of_bad_fanout_is_refused(fanout):
    with pytest.raises(ValueError, match=r"^fanout=.*positive integers, leaves first"):
        coupling.Tree(1.0, fanout)


def test_tree_of_other_size_is_refused():
    model = sdesim.Dynamics(lambda x: x, coupling=coupling.Tree(1.0, (2, 3)))
    with pytest.raises(ValueError, match=r"^coupling.fanout=\(2, 3\): has 6 leaves, and not agents=5"):
        sdesim.simulate(model, agents=5, steps=1)


# -- rules within rules ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (coupling.StateDependent(lambda x, t: jnp.full_like(t, K / P)), coupling.Quorum(K)),
        (coupling.Filtered(K, coupling.LinearFilter(2.0)), coupling.Elastic(K, 2.0)),
        (coupling.Tree(K, (P,)), coupling.Elastic(K)),
        (coupling.Tree(K, (P,), up=2.0), coupling.Elastic(K, 2.0)),
        (coupling.Elastic(K), coupling.Elastic(K, K * P)),
        (coupling.Elastic(np.full(P, K)), coupling.Elastic(K)),
        (coupling.Spiking(**{**SPIKE, "duration": 0.0}), coupling.Quorum(K)),
        (coupling.Quorum(0.0), coupling.Uncoupled()),
    ],
)
@pytest.mark.parametrize("order", coupling.ORDERS)
def test_equal_rules_give_equal_runs(one, other, order):
    runs = []
    sizes = dict(agents=P, dims=D, sims=2, steps=30, init=sdesim.init.Normal(), epoch=10)
    for rule in (one, other):
        model = sdesim.Dynamics(sdesim.objectives.LogCosh(), coupling=rule, noise=sdesim.noise.Gaussian(1.0), eta=0.05)
        runs.append(sdesim.simulate(model, order=order, **sizes))
    np.testing.assert_allclose(runs[0].agents, runs[1].agents, rtol=0, atol=1e-12)
    np.testing.assert_allclose(runs[0].center, runs[1].center, rtol=0, atol=1e-12)


# -- fastest rates ---------------------------------------------------------------------------------------------------

KNOWN = [
    coupling.Uncoupled(),
    coupling.Quorum(K),
    coupling.Elastic(K),
    coupling.Elastic(K, 2.5),
    coupling.Elastic(0.2, 9.0),
    coupling.Tree(K, (3, 2)),
    coupling.Tree(K, (2, 3), up=2.0),
    coupling.Tree(K, (2, 3), up=0.3, down=4.0),
    coupling.Tree(K, (6,)),
    coupling.Mixing(K, coupling.torus(2, 3)),
    coupling.Outer(K, 0.7, 0.6),
    coupling.Outer(K, 0.2, 0.9, nesterov=False),
]


def spectrum(rule, agents):
    """Eigenvalues of the Jacobian of (pull, flow), with everything that flows in one vector."""
    mean = ArrayMean(agents)
    x = jnp.asarray(np.random.default_rng(2).normal(size=(agents, 1)))
    vector, unravel = jax.flatten_util.ravel_pytree((x, rule.init(x, mean)))

    def field(z):
        x, shared = unravel(z)
        return jax.flatten_util.ravel_pytree(
            (rule.pull(x, shared, jnp.asarray(T), mean), rule.flow(x, shared, jnp.asarray(T), mean))
        )[0]

    return np.linalg.eigvals(jax.jacfwd(field)(vector))


@pytest.mark.parametrize("rule", KNOWN, ids=lambda rule: type(rule).__name__.lower())
def test_stiffness_is_the_spectral_radius(rule):
    eigenvalues = spectrum(rule, 6)
    np.testing.assert_allclose(np.abs(eigenvalues).max(), rule.stiffness(6), rtol=1e-9, atol=1e-12)
    assert eigenvalues.real.max() < 1e-9  # and nothing grows in continuous time


@pytest.mark.parametrize(
    "rule",
    [
        coupling.Quorum(np.linspace(0.2, 3, 6)),
        coupling.Elastic(np.linspace(0.2, 3, 6)),
        coupling.Elastic(np.linspace(0.2, 3, 6), 4.0),
    ],
    ids=["quorum", "elastic", "elastic-own-center"],
)
def test_stiffness_of_unequal_gains_is_an_upper_bound(rule):
    radius = np.abs(spectrum(rule, 6)).max()
    assert 0.6 * rule.stiffness(6) < radius <= rule.stiffness(6) * (1 + 1e-12)


def test_stiffness_of_a_spike_is_that_at_its_start():
    rule = coupling.Spiking(**SPIKE)
    x = jnp.asarray(X)
    for tau, expected in ((0.0, 5.0 * K), (2.0, K)):
        shared = {"best": jnp.asarray(1, jnp.int32), "start": jnp.asarray(T)}
        jacobian = jax.jacfwd(lambda x, s=shared, t=T + tau: rule.pull(x, s, jnp.asarray(t), MEAN)[:, 0])(x)[..., 0]
        np.testing.assert_allclose(np.abs(np.linalg.eigvals(jacobian)).max(), expected, rtol=1e-9)
    assert rule.stiffness(P) == pytest.approx(5.0 * K)


def test_stiffness_of_unknown_gains_is_unknown():
    assert coupling.Quorum(lambda x, t: t).stiffness(3) is None
    assert coupling.Elastic(lambda x, t: t).stiffness(3) is None
    assert coupling.StateDependent(lambda x, t: t).stiffness(3) is None
    assert coupling.Filtered(1.0, lambda center, x, t, mean: -center).stiffness(3) is None


@pytest.mark.parametrize("filter", [coupling.LinearFilter(3.0), coupling.SaturatingFilter(3.0, 0.5)])
def test_stiffness_of_known_filters(filter):
    """k + rate, as for EASGD; the saturating filter is nowhere steeper than in its middle."""
    rule = coupling.Filtered(2.0, filter)

    def velocity(z):
        pull = rule.pull(z[:-1, None], z[-1:], jnp.asarray(0.0), MEAN)[:, 0]
        return jnp.concatenate([pull, rule.flow(z[:-1, None], z[-1:], jnp.asarray(0.0), MEAN)])

    jacobian = jax.jacfwd(velocity)(jnp.zeros(P + 1))
    np.testing.assert_allclose(np.abs(np.linalg.eigvals(jacobian)).max(), 5.0, rtol=1e-9)
    assert rule.stiffness(P) == pytest.approx(5.0)


@pytest.mark.parametrize("order", coupling.ORDERS)
@pytest.mark.parametrize("step", [0.9, 1.6, 2.5])
@pytest.mark.parametrize(
    "rule",
    [
        *(coupling.Quorum(1.5), coupling.Elastic(1.0, 0.8), coupling.Elastic(0.3, 1.2), coupling.Elastic(1.2, 2.0)),
        *(coupling.Outer(0.8, 0.7, 0.6), coupling.Outer(1.1, 0.9, 0.5, nesterov=False)),
        coupling.Mixing(1.1, coupling.exponential(3)),
    ],
    ids=["quorum", "elastic-0", "elastic-1", "elastic-2", "outer", "outer-heavy-ball", "mixing"],
)
def test_amplification_is_that_of_one_step(rule, step, order):
    """The largest eigenvalue of one step of the coupling alone, consensus (eigenvalue 1) taken out."""
    agents = 3
    mean = ArrayMean(agents)
    model = sdesim.Dynamics(lambda x: 0 * jnp.sum(x), coupling=rule, eta=step)
    x = jnp.asarray(np.random.default_rng(3).normal(size=(agents, 1)))
    vector, unravel = jax.flatten_util.ravel_pytree((x, rule.init(x, mean)))

    def advance(z):
        x, shared = unravel(z)
        state = model.init(x, mean)._replace(shared=shared)
        kick = lambda *_: jnp.zeros((agents, 1))
        new = sdesim.EulerMaruyama(order=order).advance(model, state, jnp.asarray(0, jnp.int32), kick, mean)
        return jax.flatten_util.ravel_pytree((new.x, new.shared))[0]

    eigenvalues = np.linalg.eigvals(jax.jacfwd(advance)(vector))
    consensus = np.argmin(np.abs(eigenvalues - 1))
    assert abs(eigenvalues[consensus] - 1) < 1e-9
    rest = np.abs(np.delete(eigenvalues, consensus)).max()
    np.testing.assert_allclose(rest, rule.amplification(step, agents, order), rtol=1e-7)


def test_registry_holds_every_rule():
    rules = {
        c for c in vars(coupling).values()
        if isinstance(c, type) and issubclass(c, coupling.AbstractCoupling) and not c.__name__.startswith("Abstract")
    }  # fmt: skip
    assert set(coupling.RULES.values()) == rules
