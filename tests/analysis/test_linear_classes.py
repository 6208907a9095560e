"""Agents that are told apart, delayed gradients, noise whose size hangs on the point: against all agents by hand."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

import sdesim
from sdesim import coupling, noise, objectives
from sdesim.analysis import linearize, moments
from sdesim.asynchrony import Asynchronous, AsyncSGD, Deterministic, Exponential, Gamma
from sdesim.dynamics import Nesterov
from sdesim.noise import AbstractNoise
from sdesim.steppers import Delayed, EulerMaruyama, Iteration

H, ETA, SIGMA = 0.75, 0.25, 1.25
A, S2 = ETA * H, (ETA * SIGMA) ** 2
GAINS = np.array([0.5, 1.0, 0.5, 1.0, 1.5])


def model_of(rule=None, eta=ETA, **more):
    return sdesim.Dynamics(objectives.Quadratic(H), rule or coupling.Uncoupled(), noise.Gaussian(SIGMA), eta, **more)


def agrees(found, matrix, kicks, p):
    """Radius and stationary moments, of a step of x^1, ..., x^p and all else that there is, by its covariance."""
    whole = scipy.linalg.solve_discrete_lyapunov(matrix, kicks)
    radius = np.abs(np.linalg.eigvals(matrix)).max() ** 2
    assert found.radius() == pytest.approx(radius, rel=1e-9)
    there = found.stationary()
    assert there["own"][0, 0] == pytest.approx(np.diag(whole)[:p].mean(), rel=1e-9)
    if p > 1:
        pairs = (whole[:p, :p].sum() - np.trace(whole[:p, :p])) / (p * (p - 1))
        assert there["pair"][0, 0] == pytest.approx(pairs, rel=1e-9, abs=1e-12)
    if found.shared:
        np.testing.assert_allclose(np.diag(there["shared"]), np.diag(whole)[-found.shared :], rtol=1e-9)


def elastic_by_hand(steps, gains, tick):
    """x^i by gains of their own, with the center at the sum of these."""
    p = len(gains)
    matrix = np.diag([*(1 - steps * H - steps * gains), 1 - tick * gains.sum()])
    matrix[:p, p], matrix[p, :p] = steps * gains, tick * gains
    return matrix


def test_gains_of_the_agents_own():
    found = linearize(model_of(coupling.Elastic(GAINS)), Iteration(), agents=5)
    assert found.modes[0].sizes == (2, 2, 1) and not found.dense and "up to 3 classes" in repr(found)
    agrees(found, elastic_by_hand(ETA, GAINS, ETA), np.diag([S2] * 5 + [0]), 5)


def test_rates_and_batches_of_the_agents_own():
    eta, batch = np.array([0.125, 0.25, 0.25, 0.375]), np.array([1.0, 2.0, 2.0, 1.0])
    found = linearize(model_of(coupling.Elastic(0.5), eta, batch=batch), Iteration(), agents=4)
    assert found.modes[0].sizes == (1, 2, 1)
    matrix = elastic_by_hand(eta, np.full(4, 0.5), eta.mean())
    agrees(found, matrix, np.diag([*((eta * SIGMA) ** 2 / batch), 0]), 4)
    only = linearize(model_of(coupling.Elastic(0.5), eta, rates="noise"), Iteration(), agents=4)
    matrix = elastic_by_hand(np.full(4, eta.mean()), np.full(4, 0.5), eta.mean())
    agrees(only, matrix, np.diag([*(eta.mean() * eta * SIGMA**2), 0]), 4)


def test_ten_thousand_agents_of_two_kinds_have_as_many_moments_as_four():
    gains = np.resize([0.5, 1.0], 10_000)
    rule = lambda p: coupling.Elastic(gains[:p], center_rate=2.0)
    few, many = (linearize(model_of(rule(p)), Iteration(), agents=p) for p in (4, 10_000))
    assert few.second()[1].shape == many.second()[1].shape
    joint = np.diag([1 - A - ETA * 0.5, 1 - A - ETA, 1 - ETA * 2])
    joint[:2, 2], joint[2, :2] = ETA * np.array([0.5, 1.0]), ETA
    np.testing.assert_allclose(many.mean(), joint, atol=1e-12)


def tree_by_hand(k, fanout):
    """Leaves and nodes, by who is whose parent."""
    rule = coupling.Tree(k, fanout)
    parents, sizes = rule.parents(), rule.level_sizes
    leaves, matrix = sizes[0], np.eye(sum(sizes))
    matrix[:leaves, :leaves] -= A * np.eye(leaves)
    for i, parent in enumerate(parents):
        if parent >= 0:
            for one, other in ((i, parent), (parent, i)):
                matrix[one, one] -= ETA * k
                matrix[one, other] += ETA * k
    return rule, matrix


@pytest.mark.parametrize("written", [True, False])
def test_a_tree_is_dense(written, monkeypatch):
    """With the map of moments as a matrix, and as a function."""
    rule, matrix = tree_by_hand(0.5, (3, 2))
    if not written:
        monkeypatch.setattr(moments, "WORK", 0)
    found = linearize(model_of(rule), Iteration(), agents=6)
    assert found.dense and repr(found).startswith("Linear(dense: each of 6 agents by itself")
    agrees(found, matrix, np.diag([S2] * 6 + [0] * 3), 6)
    assert found.rate() == pytest.approx(-np.log(np.abs(np.linalg.eigvals(matrix)).max() ** 2), rel=1e-9)
    if not written:
        with pytest.raises(ValueError, match="too large"):
            found.second()


def test_a_function_in_place_of_the_matrix_of_joined_states(monkeypatch):
    """With discrete states, rates and noise that hangs on the point."""
    objective, law = noise.zhang_multiplicative(2.0, 4.0)
    model = sdesim.Dynamics(objective, noise=law, eta=ETA)
    steps = Asynchronous(AsyncSGD(), compute=Exponential(mean=[1.0, 1.0, 2.0, 4.0]))
    found = linearize(model, steps, agents=4)
    seen = found.radius(), found.rate()
    monkeypatch.setattr(moments, "WORK", 0)
    monkeypatch.setattr(moments, "DENSE", 0)
    again = linearize(model, steps, agents=4)
    assert (again.radius(), again.rate()) == pytest.approx(seen, rel=1e-9)


def test_a_tree_of_too_many_unknowns_is_refused():
    with pytest.raises(ValueError, match=r"agents=400: .*up to 400 unknowns .* there are 421"):
        linearize(model_of(coupling.Tree(0.125, (20, 20))), Iteration(), agents=400)


def test_a_center_among_agents_is_told_apart():
    """All but the first are alike, and all answer alike to the first."""

    class Star(coupling.AbstractCoupling):
        def pull(self, x, shared, t, mean):
            hub = jnp.zeros_like(x).at[0].set(jnp.sum(x[1:] - x[:1], axis=0))
            return hub.at[1:].set(x[:1] - x[1:])

    found = linearize(model_of(Star()), Iteration(), agents=4)
    matrix = (1 - A - ETA) * np.eye(4)
    matrix[0, 0], matrix[0, 1:], matrix[1:, 0] = 1 - A - 3 * ETA, ETA, ETA
    assert found.dense
    agrees(found, matrix, S2 * np.eye(4), 4)


def test_workers_with_compute_times_of_their_own():
    """The center, and the reads of each worker, that come at rates 1 / mean."""
    means, p = np.array([1.0, 1.0, 2.0, 4.0]), 4
    chances = 1 / means / (1 / means).sum()
    second, added, size = np.zeros((25, 25)), np.zeros(25), p + 1
    for i, chance in enumerate(chances):
        step, kick = np.eye(size), np.zeros(size)
        step[p, i], kick[[i, p]] = -A, 1
        step[i] = step[p]
        second += chance * np.kron(step, step)
        added += chance * S2 * np.kron(kick, kick)
    stepper = Asynchronous(AsyncSGD(), compute=Exponential(mean=means))
    found = linearize(model_of(), stepper, agents=p)
    assert found.modes[0].sizes == (2, 1, 1)
    radius = np.abs(np.linalg.eigvals(second)).max()
    assert found.radius() == pytest.approx(radius, rel=1e-9)
    whole = np.linalg.solve(np.eye(25) - second, added).reshape(size, size)
    assert found.stationary()["shared"][0, 0] == pytest.approx(whole[p, p], rel=1e-9)
    assert found.stationary()["own"][0, 0] == pytest.approx(np.diag(whole)[:p].mean(), rel=1e-9)
    assert found.rate() == pytest.approx((1 - radius) * (means.mean() / means).sum(), rel=1e-9)  # in 1 / mean of means


# -- delayed gradients -------------------------------------------------------------------------------------------------


def delayed_by_hand(delays, alpha, slots):
    """All x^i, then all of a step ago, and so on; each drawn to the mean."""
    p = len(delays)
    size = p * (slots + 1)
    matrix = np.eye(size, k=-p)
    matrix[:p] = 0
    matrix[:p, :p] = (1 - alpha) * np.eye(p) + alpha / p
    for i, delay in enumerate(delays):
        whole = int(delay)
        matrix[i, whole * p + i] -= A * (1 - delay + whole)
        if delay > whole:
            matrix[i, (whole + 1) * p + i] -= A * (delay - whole)
    kicks = np.zeros((size, size))
    kicks[:p, :p] = S2 * np.eye(p)
    return matrix, kicks


@pytest.mark.parametrize("delays", [1.0, 3.0, 2.5, [0.0, 2.0, 2.0]])
def test_delays(delays):
    p = 3
    each = np.broadcast_to(delays, p)
    found = linearize(model_of(coupling.Quorum(0.5)), Delayed(np.asarray(delays)), agents=p)
    assert len(found.modes) == 1 and not found.dense
    agrees(found, *delayed_by_hand(each, ETA * 0.5, int(np.ceil(each.max()))), p)


def test_a_delay_of_0_is_none_and_the_limit_of_stability_is_known():
    """x' = x - a x(d steps ago) is stable for a < 2 sin(pi / (4 d + 2))."""
    bare = linearize(model_of(), EulerMaruyama(), agents=2)
    assert linearize(model_of(), Delayed(0), agents=2).radius() == pytest.approx(bare.radius(), rel=1e-12)
    for d in (1, 2, 5):
        limit = 2 * np.sin(np.pi / (4 * d + 2)) / H
        below, above = (linearize(model_of(eta=e * limit), Delayed(d), agents=1).radius() for e in (0.999, 1.001))
        assert below < 1 < above


def test_a_distributed_delay_is_the_mean_of_gradients_that_are_past():
    law = Gamma(4.0, mean=1.5)
    stepper = Delayed(law, longest=4.0, distributed=True)
    words = ((2 * np.arange(2**16) + 1) * 2**15).astype(np.uint32)
    back = np.minimum(law.quantiles(words) * 1.5, 4)
    weights = [np.maximum(0, 1 - np.abs(back - k)).mean() for k in range(5)]  # the past is linear between steps
    matrix = np.eye(5, k=-1)
    matrix[0], matrix[0, 0] = -A * np.array(weights), 1 - A * weights[0]
    found = linearize(model_of(), stepper, agents=1)
    assert found.radius() == pytest.approx(np.abs(np.linalg.eigvals(matrix)).max() ** 2, rel=1e-4)


def test_a_past_that_was_elsewhere_does_not_matter():
    model = sdesim.Dynamics(objectives.LogCosh(1.0, 0.5), noise=noise.Gaussian(1.0), eta=0.1)
    here, there = (linearize(model, Delayed(2, history=h), agents=1).radius() for h in (None, lambda t: 5.0 + t))
    assert here == pytest.approx(there, rel=1e-14)


def test_delays_that_are_drawn_are_refused():
    with pytest.raises(ValueError, match="delay=Exponential: is drawn anew"):
        linearize(model_of(), Delayed(Exponential(), longest=5.0), agents=2)


# -- noise whose size hangs on the point -------------------------------------------------------------------------------


class Rooted(AbstractNoise):
    """Of the covariance 1 + x^2, whose root is curved at 0."""

    state_dependent = True

    def diffuse(self, dw, x, gradient, batch, scale):
        return scale * jnp.sqrt((1 + x**2) / batch) * dw


def test_a_covariance_that_is_quadratic_is_exact():
    """1 + x^2, by its root and by that of two noises; 1 + x + x^2 / 4 has a slope, which means of 0 do not feel."""
    expected = ETA**2 / (1 - (1 - A) ** 2 - ETA**2)
    model = sdesim.Dynamics(objectives.Quadratic(H), noise=Rooted(), eta=ETA)
    found = linearize(model, Iteration(), agents=2)
    assert found.radius() == pytest.approx((1 - A) ** 2 + ETA**2, rel=1e-12)
    assert found.stationary()["own"][0, 0] == pytest.approx(expected, rel=1e-12)
    slope = noise.Diffusion(lambda x: 1 + 0.5 * x)
    found = linearize(sdesim.Dynamics(objectives.Quadratic(H), noise=slope, eta=ETA), Iteration(), agents=2)
    expected = ETA**2 / (1 - (1 - A) ** 2 - ETA**2 / 4)
    assert found.stationary()["own"][0, 0] == pytest.approx(expected, rel=1e-12)


def test_a_full_matrix_in_two_dimensions():
    """B(x) = B0 + B1 x^1 + B2 x^2, with Nesterov's momentum, whose gradients are taken ahead."""
    rng, delta = np.random.default_rng(0), 0.5
    b0, b1, b2 = (rng.normal(size=(2, 2)) for _ in range(3))
    law = noise.Diffusion(lambda x: jnp.asarray(b0) + b1 * x[0] + b2 * x[1], "full")
    model = sdesim.Dynamics(objectives.Quadratic(np.diag([0.5, 1.0])), noise=law, eta=ETA, momentum=Nesterov(delta))
    found = linearize(model, Iteration(), agents=1, at=np.zeros(2))
    turn = -ETA * np.diag([0.5, 1.0])
    fall = np.hstack([turn, delta * (np.eye(2) + turn)])  # of v, by (x, v)
    step = np.vstack([fall + np.hstack([np.eye(2), np.zeros((2, 2))]), fall])
    second, added = np.kron(step, step), np.zeros((4, 4))
    for column in range(2):  # of each Brownian motion
        ahead = np.hstack([np.eye(2), delta * np.eye(2)])
        slope = ETA * np.stack([b1[:, column], b2[:, column]], axis=1) @ ahead
        both = np.vstack([slope, slope])
        second += np.kron(both, both)
        kick = ETA * np.tile(b0[:, column], 2)
        added += np.outer(kick, kick)
    assert found.radius() == pytest.approx(np.abs(np.linalg.eigvals(second)).max(), rel=1e-6)
    if found.radius() < 1:
        whole = np.linalg.solve(np.eye(16) - second, added.ravel()).reshape(4, 4)
        np.testing.assert_allclose(found.stationary()["own"], whole, rtol=1e-5)


@pytest.mark.parametrize("delay", [0, 2])
def test_simulations_under_multiplicative_noise_decay_as_the_map_says(delay, z_scores):
    """E x^2 of a step's mean and two more, by the map and by many simulations of few steps."""
    objective, law = noise.zhang_multiplicative(2.0, 4.0)
    model = sdesim.Dynamics(objective, coupling.Elastic(0.5, center_rate=1.0), law, ETA)
    stepper, p, steps = (Iteration() if delay == 0 else Delayed(delay)), 3, 6
    found = linearize(model, stepper, agents=p)
    own, means = found.own, found.own + found.shared
    s, f = np.ones((means, means)), np.zeros((1, own, own))  # all begin at 1, and were there
    state = np.concatenate([s[np.triu_indices(means)], f[0][np.triu_indices(own)]])
    for _ in range(steps):
        state = found.second()[0] @ state
    square = state[0] + (1 - 1 / p) * state[means * (means + 1) // 2]
    run = sdesim.simulate(model, stepper=stepper, agents=p, sims=4000, steps=steps, init=1.0, seed=1)
    assert abs(z_scores((np.asarray(run.agents)[..., 0] ** 2).mean(1), square)) < 4


class Unstated(AbstractNoise):
    def variates(self, words, dtype, batch):
        return jnp.zeros((), dtype)

    def apply(self, z, x, gradient, batch, scale):
        return z * x


@pytest.mark.parametrize("law, words", [(Unstated(), "diffuse"), (noise.StudentT(1.0, freedom=1.5), "no variance")])
def test_a_law_without_moments_is_refused(law, words):
    model = sdesim.Dynamics(objectives.Quadratic(H), noise=law, eta=ETA)
    with pytest.raises(ValueError, match=f"noise={type(law).__name__}: .*{words}"):
        linearize(model, Iteration(), agents=2)


def test_unequal_times_do_not_come_in_turn():
    with pytest.raises(ValueError, match="compute="):
        linearize(model_of(), Asynchronous(AsyncSGD(), compute=Deterministic(mean=[1.0, 2.0])), agents=2)
