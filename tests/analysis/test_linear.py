"""Maps of moments from the answers of a step: equal to what is derived by hand, and to what simulations do."""

import dataclasses
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

import sdesim
from sdesim import coupling, noise, objectives, observe
from sdesim.analysis import linearize, moments
from sdesim.asynchrony import (
    ADMM,
    EASGD,
    AbstractServer,
    Asynchronous,
    AsyncSGD,
    DecoupledDiLoCo,
    Deterministic,
    Downpour,
    Exponential,
    Gamma,
    Gossip,
    KAsyncSGD,
    MomentumDownpour,
    PartialBarrier,
    PowerLaw,
    Rennala,
    Ringmaster,
)
from sdesim.dynamics import Friction, HeavyBall, Nesterov
from sdesim.steppers import EulerMaruyama, Iteration
from sdesim.theory import staleness

H, ETA, SIGMA = 0.75, 0.125, 1.25  # which float32 rounds not


def model_of(rule=None, **more):
    return sdesim.Dynamics(objectives.Quadratic(H), rule or coupling.Uncoupled(), noise.Gaussian(SIGMA), ETA, **more)


def has_spectrum(moments, hand):
    """Every eigenvalue by hand is one; the others are of what only waits for its worker, at most 1 - 1/p."""
    found, due = np.linalg.eigvals(moments), np.linalg.eigvals(hand)
    assert max(np.abs(found - value).min() for value in due) < 1e-10


@pytest.mark.parametrize("p", [2, 3, 8, 1000])
def test_sgd_is_that_of_theory(p):
    found = linearize(model_of(), Asynchronous(AsyncSGD()), agents=p)
    assert (found.own, found.shared, len(found.modes)) == (1, 1, 1)
    a = ETA * H
    moments, added = found.second()
    hand = staleness.sgd_moments(p, a)
    has_spectrum(moments.toarray(), hand)
    assert found.mean_rate() == pytest.approx(staleness.mean_rate(p, a), abs=1e-10)
    # of x_mean^2, x_mean c, c^2 and the difference of two workers, which is (M - D) p / (p - 1)
    units = (ETA * SIGMA) ** 2 * np.array([1 / p**2, 1 / p, 1, 1 / p])
    np.testing.assert_allclose(added, units, atol=1e-12)
    if p < staleness.mean_square_limit(a):
        c, cross, spread, own = staleness.sgd_stationary(p, a, (ETA * SIGMA) ** 2)
        there = found.stationary()
        assert there["shared"] == pytest.approx(c) and there["cross"] == pytest.approx(cross)
        assert there["own"] == pytest.approx(own)
        assert own / p + (1 - 1 / p) * there["pair"] == pytest.approx(spread)
    else:
        with pytest.raises(ValueError, match="stationary"):
            found.stationary()


@pytest.mark.parametrize("p", [2, 8, 40])
def test_easgd_is_that_of_theory(p):
    found = linearize(model_of(coupling.Elastic(1.5)), Asynchronous(EASGD()), agents=p)
    hand = staleness.easgd_moments(p, ETA * H, ETA * 1.5)
    has_spectrum(found.second()[0].toarray(), hand)
    c = staleness.easgd_stationary(p, ETA * H, ETA * 1.5, (ETA * SIGMA) ** 2)[0]
    assert found.stationary()["shared"] == pytest.approx(c)


def test_a_rate_of_the_center_is_shared():
    """`center_rate` moves by the share of those who take part, which a map of few workers would not know."""
    symmetric, own = coupling.Elastic(1.5), coupling.Elastic(1.5, center_rate=50 * 1.5)
    maps = [linearize(model_of(rule), Asynchronous(EASGD()), agents=50).events[0].joint for rule in (symmetric, own)]
    np.testing.assert_allclose(*maps, atol=1e-12)


ELASTIC = coupling.Elastic(1.5)
CASES: dict[str, tuple] = {
    "sgd": (AsyncSGD(), None, {}),
    "momentum-downpour": (MomentumDownpour(0.5), None, {}),
    "eamsgd": (EASGD(), ELASTIC, {"momentum": Nesterov(0.625)}),
    "gossip": (Gossip(), coupling.Quorum(4.0), {}),
    "eamsgd-period": (EASGD(2), ELASTIC, {"momentum": Nesterov(0.5)}),
    "downpour-period": (Downpour(3), None, {}),
    "ringmaster": (Ringmaster(2), None, {}),
    "k-async": (KAsyncSGD(3), None, {}),
    "decoupled-diloco": (DecoupledDiLoCo(2, 2, 1), coupling.Outer(1.0, 0.5, 0.375), {}),
}


class Squares(observe.AbstractSeries):
    """The moments of one coordinate: E x_i^2, E x_i x_j, E c^2."""

    name = "squares"
    axes = ("what",)

    def value(self, view: observe.View):
        x = view.state.x[:, 0]
        own, p = jnp.mean(x**2), len(x)
        return jnp.stack([own, (jnp.mean(x) ** 2 * p - own) / (p - 1), view.center[0] ** 2])

    def numbers(self, agents: int, dims: int):
        return 3


def squares(model, stepper, p: int, steps: int, last: int, sims: int = 2000) -> np.ndarray:
    """Of a run, over its last records, (sims, 3)."""
    run = sdesim.simulate(
        *(model,), stepper=stepper, agents=p, sims=sims, steps=steps, seed=3, observe=Squares(), every=1
    )
    return run.to_xarray()["squares"].values[:, -last:].mean(1)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.slow
def test_simulations_have_the_stationary_moments(name, z_scores):
    protocol, rule, more = CASES[name]
    model, p = model_of(rule, **more), 5
    stepper = Asynchronous(protocol, compute=Exponential())
    found = linearize(model, stepper, agents=p)
    assert found.radius() ** 570 < 1e-5
    seen, there = squares(model, stepper, p, 600, 30), found.stationary()
    scores = [z_scores(seen[:, 0], there["own"][0, 0]), z_scores(seen[:, 1], there["pair"][0, 0])]
    if found.shared:
        scores.append(z_scores(seen[:, 2], there["shared"][0, 0]))
    assert np.abs(scores).max() < 4, scores


# -- the whole discrete state, worker by worker, by hand ---------------------------------------------------------------


def by_hand(p: int, start, step: Callable, size: int) -> tuple[float, np.ndarray]:
    """Radius and stationary covariance of all coordinates, of which the covariance is kept for every discrete state.

    `step(state, worker)` gives the matrix, the direction of the noise and the next state; None for one who waits.
    """
    states, moves = [start], []
    for state in states:
        here = [step(state, i) for i in range(p)]
        at_work = [found for found in here if found is not None]
        for matrix, kick, after in at_work:
            if after not in states:
                states.append(after)
            moves.append((states.index(state), states.index(after), 1 / len(at_work), matrix, kick))
    n, m = len(states), size**2
    chain, whole = np.zeros((n, n)), np.zeros((n * m, n * m))
    for a, b, chance, matrix, _ in moves:
        chain[b, a] += chance
        whole[b * m : (b + 1) * m, a * m : (a + 1) * m] += chance * np.kron(matrix, matrix)
    share = np.linalg.lstsq(np.vstack([chain - np.eye(n), np.ones(n)]), np.append(np.zeros(n), 1), rcond=None)[0]
    added = np.zeros(n * m)
    for a, b, chance, _, kick in moves:
        added[b * m : (b + 1) * m] += share[a] * chance * (ETA * SIGMA) ** 2 * np.kron(kick, kick)
    found = np.linalg.solve(np.eye(n * m) - whole, added).reshape(n, size, size).sum(0)
    return float(np.abs(np.linalg.eigvals(whole)).max()), found


def set_to(size: int, rows: dict) -> np.ndarray:
    """The identity, but for some rows: each a dict of coefficients."""
    matrix = np.eye(size)
    for i, row in rows.items():
        matrix[i] = 0
        for j, value in row.items():
            matrix[i, j] = value
    return matrix


def easgd_by_hand(p: int, period: int):
    """Coordinates x_i, then the points of the next gradients, then c."""
    a, alpha, c, size = ETA * H, ETA * 1.5, 2 * p, 2 * p + 1

    def step(phases, i):
        moved = set_to(size, {i: {i: 1, p + i: -a}, p + i: {i: 1, p + i: -a}})
        kick = np.zeros(size)
        kick[[i, p + i]] = 1
        after = tuple((q + (j == i)) % period for j, q in enumerate(phases))
        if after[i] == 0:
            meet = set_to(size, {i: {i: 1 - alpha, c: alpha}, c: {c: 1 - alpha, i: alpha}})
            moved, kick = meet @ moved, meet @ kick
        return moved, kick, after

    return by_hand(p, (0,) * p, step, size)


def downpour_by_hand(p: int, period: int):
    """Coordinates x_i, what is pushed, c."""
    a, c, size = ETA * H, 2 * p, 2 * p + 1

    def step(phases, i):
        moved = set_to(size, {i: {i: 1 - a}, p + i: {p + i: 1, i: -a}})
        kick = np.zeros(size)
        kick[[i, p + i]] = 1
        after = tuple((q + (j == i)) % period for j, q in enumerate(phases))
        if after[i] == 0:
            meet = set_to(size, {c: {c: 1, p + i: 1}, i: {c: 1, p + i: 1}, p + i: {}})
            moved, kick = meet @ moved, meet @ kick
        return moved, kick, after

    return by_hand(p, (0,) * p, step, size)


def rennala_by_hand(p: int, batch: int):
    """Coordinates x_i, the sum, c; of the discrete state who is fresh, and how many have come."""
    a, total, c, size = ETA * H, p, p + 1, p + 2

    def step(state, i):
        fresh, count = state
        moved, kick = np.eye(size), np.zeros(size)
        if i in fresh:
            moved, count = set_to(size, {total: {total: 1, i: -a}}), count + 1
            kick[total] = 1
        if count == batch:
            meet = set_to(size, {c: {c: 1, total: 1 / batch}, total: {}})
            moved, kick, count, fresh = meet @ moved, meet @ kick, 0, frozenset()
        read = set_to(size, {i: {c: 1}})
        return read @ moved, read @ kick, (fresh | {i}, count)

    return by_hand(p, (frozenset(range(p)), 0), step, size)


def ringmaster_by_hand(p: int, threshold: int):
    """Coordinates x_i, c; of the discrete state the accepted updates since each read, up to the threshold."""
    a, c, size = ETA * H, p, p + 1

    def step(since, i):
        moved, kick = np.eye(size), np.zeros(size)
        used = since[i] < threshold
        if used:
            moved = set_to(size, {c: {c: 1, i: -a}})
            kick[c] = 1
        read = set_to(size, {i: {c: 1}})
        after = tuple(0 if j == i else min(s + used, threshold) for j, s in enumerate(since))
        return read @ moved, read @ kick, after

    return by_hand(p, (0,) * p, step, size)


def k_async_by_hand(p: int, size_of: int):
    """Coordinates x_i, the sum, c; of the discrete state who waits."""
    a, total, c, size = ETA * H, p, p + 1, p + 2

    def step(there, i):
        if i in there:
            return None
        moved, kick = set_to(size, {total: {total: 1, i: -a}}), np.zeros(size)
        kick[total] = 1
        there = there | {i}
        if len(there) == size_of:
            new = {c: 1, total: 1 / size_of}
            meet = set_to(size, {c: new, total: {}, **dict.fromkeys(there, new)})
            moved, kick, there = meet @ moved, meet @ kick, frozenset()
        return moved, kick, there

    return by_hand(p, frozenset(), step, size)


def barrier_by_hand(p: int, size_of: int):
    """Coordinates x_i, the points of gradients, c; those who came exchange with c by `Elastic`."""
    a, alpha, c, size = ETA * H, ETA * 1.5, 2 * p, 2 * p + 1

    def step(there, i):
        if i in there:
            return None
        moved, kick = set_to(size, {i: {i: 1, p + i: -a}}), np.zeros(size)
        kick[i] = 1
        there = there | {i}
        if len(there) == size_of:
            rows = {j: {j: 1 - alpha, c: alpha} for j in there} | {p + j: {j: 1} for j in there}
            rows[c] = {c: 1 - size_of * alpha} | dict.fromkeys(there, alpha)
            meet = set_to(size, rows)
            moved, kick, there = meet @ moved, meet @ kick, frozenset()
        return moved, kick, there

    return by_hand(p, frozenset(), step, size)


@pytest.mark.parametrize(
    "protocol, hand, p, shared",
    [
        (EASGD(2), lambda p: easgd_by_hand(p, 2), 3, -1),
        (EASGD(3), lambda p: easgd_by_hand(p, 3), 2, -1),
        (Downpour(2), lambda p: downpour_by_hand(p, 2), 3, -1),
        (Rennala(2), lambda p: rennala_by_hand(p, 2), 3, -1),
        (Ringmaster(2), lambda p: ringmaster_by_hand(p, 2), 3, -1),
        (KAsyncSGD(2), lambda p: k_async_by_hand(p, 2), 3, -1),
        (PartialBarrier(2), lambda p: barrier_by_hand(p, 2), 3, -1),
    ],
)
def test_discrete_states_are_joined_as_if_every_worker_were_told_apart(protocol, hand, p, shared):
    rule = ELASTIC if isinstance(protocol, EASGD | PartialBarrier) else None
    found, (radius, whole) = linearize(model_of(rule), Asynchronous(protocol), agents=p), hand(p)
    assert found.radius() == pytest.approx(radius, rel=1e-10)
    there = found.stationary()
    assert there["own"][0, 0] == pytest.approx(np.mean(np.diag(whole)[:p]), rel=1e-10)
    assert there["pair"][0, 0] == pytest.approx(
        (whole[:p, :p].sum() - np.trace(whole[:p, :p])) / (p * (p - 1)), rel=1e-10
    )
    assert there["shared"][0, 0] == pytest.approx(whole[shared, shared], rel=1e-10)
    assert there["cross"][0, 0] == pytest.approx(np.mean(whole[shared, :p]), rel=1e-10)


def test_radius_and_rate_of_many_moments_are_those_of_a_dense_matrix(monkeypatch):
    found = linearize(model_of(), Asynchronous(KAsyncSGD(2)), agents=4)
    dense = found.radius(), found.rate()
    monkeypatch.setattr(moments, "DENSE", 0)
    assert (found.radius(), found.rate()) == pytest.approx(dense, rel=1e-8)


@pytest.mark.parametrize("p, period", [(2, 1), (3, 1), (3, 2)])
def test_workers_in_turn(p, period):
    """The product of the arrivals of a whole cycle."""
    a, alpha, size = ETA * H, ETA * 1.5, 2 * p + 1
    whole, noise_of, seen, sums = np.eye(size), np.zeros((size, size)), [], np.zeros(size)
    for n in range(p * period):
        i, c = n % p, 2 * p
        moved, kick = set_to(size, {i: {i: 1, p + i: -a}, p + i: {i: 1, p + i: -a}}), np.zeros(size)
        kick[[i, p + i]] = 1
        if (n // p + 1) % period == 0:
            meet = set_to(size, {i: {i: 1 - alpha, c: alpha}, c: {c: 1 - alpha, i: alpha}})
            moved, kick = meet @ moved, meet @ kick
        whole, noise_of = moved @ whole, moved @ noise_of @ moved.T + (ETA * SIGMA) ** 2 * np.outer(kick, kick)
        seen.append((moved, kick))
    covariance = scipy.linalg.solve_discrete_lyapunov(whole, noise_of)
    for moved, kick in seen:
        covariance = moved @ covariance @ moved.T + (ETA * SIGMA) ** 2 * np.outer(kick, kick)
        sums += np.diag(covariance) / len(seen)
    found = linearize(model_of(ELASTIC), Asynchronous(EASGD(period), compute=Deterministic()), agents=p)
    radius = np.abs(np.linalg.eigvals(whole)).max()
    assert found.radius() ** (p * period) == pytest.approx(radius**2, rel=1e-10)
    assert found.rate() == pytest.approx(-2 * np.log(radius) / period, rel=1e-10)
    there = found.stationary()
    assert there["own"][0, 0] == pytest.approx(sums[:p].mean(), rel=1e-10)
    assert there["shared"][0, 0] == pytest.approx(sums[-1], rel=1e-10)
    if period == 1:  # (mu - 1 + alpha)(mu^p - (1 - a - alpha)) = alpha^2, mu of an arrival (Z 3.55-3.56)
        polynomial = np.zeros(p + 2)
        polynomial[[0, 1]] += 1, alpha - 1
        polynomial[[p, p + 1]] += -(1 - a - alpha) * np.array([1, alpha - 1])
        polynomial[-1] -= alpha**2
        assert found.radius() == pytest.approx(np.abs(np.roots(polynomial)).max() ** 2, rel=1e-10)


# -- agents that step together -----------------------------------------------------------------------------------------


def of_step(matrix: np.ndarray, alone: np.ndarray, kick: np.ndarray, own_kick: np.ndarray, p: int):
    """Radius and stationary moments: of the means and what is shared a matrix, of differences of agents another."""
    s2 = (ETA * SIGMA) ** 2
    joint = scipy.linalg.solve_discrete_lyapunov(matrix, s2 / p * np.outer(kick, kick))
    apart = scipy.linalg.solve_discrete_lyapunov(alone, s2 * np.outer(own_kick, own_kick))
    n = len(alone)
    radius = max(np.abs(np.linalg.eigvals(m)).max() ** 2 for m in (matrix, alone))
    return radius, joint[:n, :n] + (1 - 1 / p) * apart, joint[:n, :n] - apart / p, joint[n:, n:]


A, ALPHA = ETA * H, ETA * 1.5


def lockstep(name: str, p: int):
    """Model, stepper, and the maps of (mean, center) and of differences with their kicks, by hand."""
    beta, delta = p * ALPHA, 0.625
    if name == "qsgd":
        return model_of(coupling.Quorum(1.5)), Iteration(), [[1 - A]], [[1 - A - ALPHA]], [1], [1]
    if name == "euler":  # two steps of half of eta: the noise of a step has half of the variance
        one = [[1 - A / 2]], [[1 - (A + ALPHA) / 2]], [0.5**0.5], [0.5**0.5]
        return model_of(coupling.Quorum(1.5)), EulerMaruyama(ETA / 2), *one
    if name == "jacobi":  # Z 2.3-2.4
        joint = [[1 - A - ALPHA, ALPHA], [beta, 1 - beta]]
        return model_of(ELASTIC), Iteration(), joint, [[1 - A - ALPHA]], [1, 0], [1]
    if name == "seidel":  # Z 6.3
        x = np.array([(1 - A) * (1 - ALPHA), (1 - A) * ALPHA])
        joint = [x, beta * x + [0, 1 - beta]]
        return model_of(ELASTIC), Iteration(order="gauss-seidel"), joint, [[x[0]]], [1, beta], [1]
    ahead = A * delta if name == "nesterov" else 0.0  # the gradient is taken at x + delta v
    step = lambda pull: np.array([[1 - A - pull, delta - ahead], [-A, delta - ahead]])  # of x, v
    joint = np.zeros((3, 3))
    joint[:2, :2], joint[0, 2], joint[2] = step(ALPHA), ALPHA, [beta, 0, 1 - beta]
    momentum = Nesterov(delta) if name == "nesterov" else HeavyBall(delta)
    return model_of(ELASTIC, momentum=momentum), Iteration(), joint, step(ALPHA), [1, 1, 0], [1, 1]


@pytest.mark.parametrize("p", [2, 10_000])
@pytest.mark.parametrize("name", ["qsgd", "euler", "jacobi", "seidel", "nesterov", "heavy-ball"])
def test_steps_of_all_agents(name, p):
    if p > 2 and name in ("jacobi", "seidel", "nesterov", "heavy-ball"):
        p = 6  # beyond it the center is unstable
    model, stepper, *hand = lockstep(name, p)
    radius, own, pair, shared = of_step(*(np.array(part, float) for part in hand), p)
    found = linearize(model, stepper, agents=p)
    assert found.radius() == pytest.approx(radius, rel=1e-10)
    assert found.rate() == pytest.approx(-np.log(radius), rel=1e-10)
    there = found.stationary()
    np.testing.assert_allclose(there["own"], own, rtol=1e-10)
    np.testing.assert_allclose(there["pair"], pair, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(there["shared"], shared, rtol=1e-10)


@pytest.mark.parametrize("order", ["jacobi", "gauss-seidel"])
@pytest.mark.parametrize("rule, momentum", [(ELASTIC, None), (coupling.Quorum(6.0), Nesterov(0.5))])
def test_simulations_of_all_agents_with_a_period_have_the_stationary_moments(order, rule, momentum, z_scores):
    model, stepper, p = model_of(rule, momentum=momentum), Iteration(period=3, order=order), 4
    found = linearize(model, stepper, agents=p)
    assert len(found.modes) == 3 and found.radius() ** 150 < 1e-5
    seen, there = squares(model, stepper, p, 180, 30), found.stationary()
    scores = [z_scores(seen[:, 0], there["own"][0, 0]), z_scores(seen[:, 1], there["pair"][0, 0])]
    if found.shared:
        scores.append(z_scores(seen[:, 2], there["shared"][0, 0]))
    assert np.abs(scores).max() < 4, scores


def test_a_barrier_of_all_is_the_step_of_all():
    """Its moments over the arrivals are those of the step, of which only the last arrival makes one."""
    model, p = model_of(ELASTIC), 3
    together = linearize(model, Iteration(), agents=p)
    apart = linearize(model, Asynchronous(PartialBarrier(p)), agents=p)
    assert apart.radius() ** p == pytest.approx(together.radius(), rel=1e-9)


def test_many_dimensions():
    """A rotated quadratic, whose moments are those of its curvatures."""
    turn = np.array([[0.6, -0.8], [0.8, 0.6]])
    matrix = turn @ np.diag([0.8, 2.0]) @ turn.T
    model = sdesim.Dynamics(objectives.Quadratic(matrix), ELASTIC, noise.Gaussian(SIGMA), ETA)
    for stepper in (Iteration(), Asynchronous(EASGD())):
        whole = turn.T @ linearize(model, stepper, agents=4, at=np.zeros(2)).stationary()["shared"] @ turn
        for k, h in enumerate((0.8, 2.0)):
            one = sdesim.Dynamics(objectives.Quadratic(h), ELASTIC, noise.Gaussian(SIGMA), ETA)
            alone = linearize(one, stepper, agents=4).stationary()["shared"][0, 0]
            assert whole[k, k] == pytest.approx(alone, rel=1e-10)
        assert abs(whole[0, 1]) < 1e-8


# -- what is refused ---------------------------------------------------------------------------------------------------


def test_more_moments_than_are_solved_for_are_refused(monkeypatch):
    monkeypatch.setattr(sdesim.analysis.linear, "MOST", 100)
    with pytest.raises(ValueError, match=r"agents=4: there are .* second moments"):
        linearize(model_of(ELASTIC), Asynchronous(EASGD(4)), agents=4)


class Alternating(AbstractServer):
    """Every second job of a worker is of no use: which it does not say in `discrete`."""

    def arrive(self, state, job):
        step, v = job.step(job.of(state.x), job.of(state.v))
        center = state.shared["center"] + jnp.where(job.number % 2 == 0, step[0], 0.0)
        return state._replace(x=job.put(state.x, center[None]), v=v, shared={"center": center})


@pytest.mark.parametrize(
    "stepper, words",
    [
        (Asynchronous(AsyncSGD(PowerLaw(1.0))), "integers"),
        (Asynchronous(Alternating()), "hang on the time"),
        (Asynchronous(Gossip(2)), "period of 1"),
        (Asynchronous(AsyncSGD(), compute=Gamma(2.0)), "compute="),
        (Asynchronous(KAsyncSGD(2), compute=Deterministic()), "in turn"),
        (Asynchronous(AsyncSGD(), failure=0.1), "failures"),
        (Iteration(period=lambda n: 1 + n // 10), r"period=int\(period\(n\)\)"),
    ],
)
def test_what_is_no_map_of_moments_is_refused(stepper, words):
    rule = None if isinstance(getattr(stepper, "protocol", None), AbstractServer) else coupling.Elastic(1.5)
    with pytest.raises(ValueError, match=words):
        linearize(model_of(rule), stepper, agents=4)


@pytest.mark.parametrize(
    "more, words",
    [
        ({"eta": lambda n: 0.1 / (1 + n)}, r"replace\(model, eta=float\(model.eta\(n\)\)\)"),
        ({"momentum": Friction(lambda t: 3 / t)}, "friction"),
        ({"noise": noise.StudentT(1.0, freedom=1.5)}, "variance"),
        ({"coupling": coupling.Quorum(lambda x, t: 1.0 + t)}, "hang on the time"),
        ({"coupling": coupling.Spiking(1.0, magnification=2.0, relaxation=1.0, duration=2.0)}, r"is Quorum\(k\)"),
    ],
)
def test_a_model_that_is_no_map_of_moments_is_refused(more, words):
    parts = {"objective": objectives.Quadratic(H), "noise": noise.Gaussian(1.0), "eta": 0.1, **more}
    with pytest.raises(ValueError, match=words):
        linearize(sdesim.Dynamics(**parts), Iteration(), agents=4)


def test_a_schedule_has_a_map_at_each_step():
    """As the refusal says."""
    parts = {"objective": objectives.Quadratic(H), "coupling": coupling.Quorum(1.0), "noise": noise.Gaussian(1.0)}
    model = sdesim.Dynamics(**parts, eta=lambda n: 0.4 / (1 + n))
    frozen = dataclasses.replace(model, eta=float(model.eta(3)))
    assert linearize(frozen, Iteration(), agents=4).radius() == pytest.approx((1 - 0.1 * H) ** 2)


def test_spiking_between_its_jumps_is_quorum():
    """As the refusal says: from where it is after the spike."""
    start = np.linspace(-0.3, 0.3, 4)[:, None]
    rule = coupling.Spiking(1.5, magnification=2.0, relaxation=0.1, duration=0.2)
    model = lambda rule: sdesim.Dynamics(objectives.Quadratic(H), rule, noise.Gaussian(0.0), eta=0.1)
    after = lambda rule, steps, start, **how: sdesim.iterate(
        model(rule), agents=4, sims=1, steps=steps, init=start, **how
    ).agents[0]
    spiked = {steps: after(rule, steps, start, epoch=100) for steps in (1, 5, 9)}
    np.testing.assert_allclose(after(coupling.Quorum(1.5), 4, spiked[5]), spiked[9], rtol=1e-5)
    assert np.abs(after(coupling.Quorum(1.5), 4, spiked[1]) - spiked[5]).max() > 1e-2  # of which the second jumps


def test_what_is_conserved_is_not_stationary():
    """ADMM's center is the mean of x - lambda, whatever that is at the start."""
    with pytest.raises(ValueError, match="stationary"):
        linearize(model_of(), Asynchronous(ADMM(2.0)), agents=3).stationary()


def test_the_sign_of_the_coupling_is_felt():
    """With the coupling flipped, workers run away from the center."""
    assert linearize(model_of(coupling.Elastic(-6.0)), Asynchronous(EASGD()), agents=4).radius() > 1


IN_TURN = {
    "sde": (EulerMaruyama(dt=0.5, order="gauss-seidel"), 0.5),
    "iteration": (Iteration(2, pace=1.0), 1.0),
    "late": (Iteration(2, pace=1.0, late=1, order="gauss-seidel"), 1.0),
}


@pytest.mark.parametrize("name", IN_TURN)
def test_graphs_that_take_turns_are_the_product_of_their_maps(name):
    """Three graphs, each for two exchanges: dense maps by hand, one after another, of agents and of where they met."""
    (stepper, tick), p = IN_TURN[name], 3
    graphs = np.random.default_rng(0).random((3, p, p))
    graphs /= graphs.sum(-1, keepdims=True)
    found = linearize(model_of(coupling.Mixing(1.0, graphs, switch=0.5 / tick)), stepper, agents=p)
    late, period, steps = getattr(stepper, "late", 0), stepper.cycle, 6 * stepper.cycle
    descent, variance = (0.5 * H, 0.5 * ETA * SIGMA**2) if name == "sde" else (ETA * H, (ETA * SIGMA) ** 2)
    one, maps = np.eye(2 * p), []
    agents, met = one[:p], one[p:]
    for n in range(steps):
        kept = agents if n % period == 0 else met
        drawn = 0 * agents
        if n % period == late:  # with what is shared come turns, before a late pull
            drawn = tick * (graphs[(n // period + (late > 0)) // 2 % 3] - np.eye(p)) @ kept
        at = agents + drawn if stepper.order == "gauss-seidel" else agents
        maps.append(np.concatenate([agents + drawn - descent * at, kept]))
    whole = np.linalg.multi_dot(maps[::-1])
    covariance, kick = np.zeros((2 * p, 2 * p)), np.diag([variance] * p + [0.0] * p)
    seen = []
    for n in range(60 * steps):
        covariance = maps[n % steps] @ covariance @ maps[n % steps].T + kick
        seen.append(covariance)
    assert len(found.modes) == steps
    kinds = np.argsort(graphs[0][:, 0])  # classes are in the order of their agents' numbers
    places = np.empty(p, int)
    places[kinds] = found.own * np.arange(p)
    places = np.concatenate([places, places + 1]) if found.own == 2 else places
    hand = whole if found.own == 2 else whole[:p, :p] + whole[:p, p:]
    power = np.linalg.matrix_power(found.mean(), steps)[np.ix_(places, places)]
    np.testing.assert_allclose(power, hand, atol=1e-10)
    backwards = np.linalg.multi_dot(maps)
    assert np.abs(backwards - whole).max() > 1e-3  # so the order of turns matters
    own = np.mean([np.trace(c[:p, :p]) / p for c in seen[-steps:]])
    np.testing.assert_allclose(found.stationary()["own"][0, 0], own, rtol=1e-10)


def test_fragments_that_take_turns_are_those_of_outer_optimizers_at_a_longer_period():
    """Two coordinates in turn, each exchanged every second round: of one alone, the same with rounds twice as long."""
    whole = linearize(model_of(coupling.Outer(1.0, 0.5, 0.375)), Iteration(6, pace=1.0, order="gauss-seidel"), agents=3)
    streaming = coupling.Streaming(coupling.Outer(1.0, 0.5, 0.375), 2)
    in_turn = linearize(model_of(streaming), Iteration(3, pace=1.0, order="gauss-seidel"), agents=3, at=[0.0, 0.0])
    assert in_turn.radius() == pytest.approx(whole.radius(), rel=1e-10)
    np.testing.assert_allclose(np.diag(in_turn.stationary()["own"]), whole.stationary()["own"][0, 0], rtol=1e-10)


def test_turns_that_never_begin_anew_are_refused():
    graphs = coupling.Mixing(1.0, coupling.one_peer(4), switch=np.pi)
    with pytest.raises(ValueError, match=r"^switch: makes 3.14159265 turns in an exchange"):
        linearize(model_of(graphs), Iteration(pace=1.0), agents=4)
    with pytest.raises(ValueError, match=r"take turns, which do not come at all workers' exchanges"):
        linearize(model_of(graphs), Asynchronous(Gossip()), agents=4)


def test_the_radius_of_a_long_period_is_that_of_its_map():
    """Of all modes at once eigenvalues are as many roots of each: an iteration for the greatest missed it by 2e-5."""
    found = linearize(model_of(coupling.Outer(1.0, 0.5, 0.375)), Iteration(12, order="gauss-seidel"), agents=3)
    dense = np.abs(np.linalg.eigvals(found.second()[0].toarray())).max()
    assert found.radius() == pytest.approx(dense, rel=1e-12)
