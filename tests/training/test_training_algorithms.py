"""Zhang's algorithms by their names are Zhang's pseudo-code, with all workers in step."""

import dataclasses

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest

from sdesim import training
from sdesim.papers.zhang import chapter4 as zhang
from sdesim.training import step as steps

pytestmark = [pytest.mark.relaxed, pytest.mark.usefixtures("float32")]

P, ETA, DELTA, TAKEN = 3, 0.05, 0.8, 13  # 13 iterations end within a period
TARGETS = np.random.default_rng(1).normal(size=(TAKEN, P, 4))
STARTS = np.random.default_rng(2).normal(size=(P, 4))


def gradient(x, t):
    """Of a loss that is not quadratic, with noise of the iteration and the agent; x (P, 4)."""
    return x**3 / 3 + x - TARGETS[t]


def followed(algorithm, starts=STARTS, rates=None, taken=TAKEN):
    """The library's path: agents (taken + 1, P, 4), centers and tested averages (taken + 1, 4)."""
    x = jnp.asarray(starts, jnp.float32)
    rates = jnp.full(P, ETA) if rates is None else jnp.asarray(rates, jnp.float32)
    optimizer = algorithm.optimizer().init(x)
    center = algorithm.coupling().center(x, optimizer)
    path = [(x, center, center)]
    for t in range(taken):
        slope = lambda point, t=t: (point**3 / 3 + point - jnp.asarray(TARGETS[t], jnp.float32), None)
        x, optimizer, _ = steps.agents_step(algorithm, slope, x, optimizer, rates)
        center = algorithm.coupling().center(x, optimizer)
        weight = algorithm.weight(jnp.int32(t)) if algorithm.averages else 0.0
        path.append((x, center, weight * path[-1][2] + (1 - weight) * center))
    return [np.stack(part) for part in zip(*path, strict=True)]


def assert_same(found, expected):
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-6)


# -- Algorithms 1 to 5, by hand ----------------------------------------------------------------------------------------


def elastic(alpha, delta, period, etas):
    """Alg. 2 (Alg. 1 without momentum); workers in step read one center and send it their differences together."""
    x, center, v = STARTS.copy(), STARTS.mean(axis=0), np.zeros_like(STARTS)
    path = [(x.copy(), center)]
    for t in range(TAKEN):
        old = x.copy()
        if t % period == 0:
            difference = alpha * (old - center)
            x = x - difference
            center = center + difference.sum(axis=0)
        v = delta * v - etas[:, None] * gradient(old + delta * v, t)
        x = x + v
        path.append((x.copy(), center))
    return [np.stack(part) for part in zip(*path, strict=True)]


def downpour(period, etas):
    """Alg. 3; centers are of the clock of the master, a tick a period, the start first."""
    center, v = STARTS.mean(axis=0), np.zeros_like(STARTS)
    agents, centers = [STARTS], [center]
    for t in range(TAKEN):
        if t % period == 0:
            if t:
                center = center + v.sum(axis=0)
                centers.append(center)
            x, v = np.tile(center, (P, 1)), np.zeros_like(v)
        g = etas[:, None] * gradient(x, t)
        x, v = x - g, v - g
        agents.append(x)
    if TAKEN % period == 0:  # what was sent with the last iteration
        centers.append(center + v.sum(axis=0))
    return np.stack(agents), np.stack(centers)


@pytest.mark.parametrize("period", [1, 4])
@pytest.mark.parametrize("delta", [0.0, DELTA])
def test_easgd_and_eamsgd_are_algorithms_1_and_2(delta, period):
    name = "eamsgd" if delta else "easgd-wm"
    algorithm = training.algorithm(name, momentum=DELTA, period=period)(P, ETA, TAKEN)
    agents, centers, _ = followed(algorithm)
    expected = elastic(0.9 / P, delta, period, np.full(P, ETA))
    assert_same(agents, expected[0])
    assert_same(centers, expected[1])
    assert np.abs(agents[-1] - agents[0]).max() > 0.1


def test_late_exchanges_come_on_top_of_what_agents_did_meanwhile():
    """EAMSGD whose workers read and send at t = 0, 4, ..., and hear of it two iterations later."""
    x, center, v = STARTS.copy(), STARTS.mean(axis=0), np.zeros_like(STARTS)
    agents, centers, began = [x], [center], x
    for t in range(TAKEN):
        began, pull = x if t % 4 == 0 else began, 0.0 * x
        if t % 4 == 2:
            difference = 0.9 / P * (began - center)
            pull, center = -difference, center + difference.sum(axis=0)
        v = DELTA * v - ETA * gradient(x + DELTA * v, t)
        x = x + pull + v
        agents.append(x)
        centers.append(center)
    named = training.algorithm("eamsgd", momentum=DELTA, period=4, late=2)
    found = followed(named(P, ETA, TAKEN))
    assert_same(found[0], np.stack(agents))
    assert_same(found[1], np.stack(centers))
    with pytest.raises(ValueError, match=r"^late=4: must be less than the period, 4"):
        training.algorithm("eamsgd", period=4, late=4)


def test_moving_rates_stay_where_learning_rates_differ_or_fall():
    """With a pace of its own the coupling is what it was; without one, the weights of the pull follow the rates."""
    etas = ETA * np.array([1.0, 0.5, 0.1])
    plain = training.algorithm("eamsgd", momentum=DELTA, period=4)(P, ETA, TAKEN)
    agents, centers, _ = followed(dataclasses.replace(plain, pace=ETA), rates=etas)
    expected = elastic(0.9 / P, DELTA, 4, etas)
    assert_same(agents, expected[0])
    assert_same(centers, expected[1])
    assert np.abs(followed(plain, rates=etas)[1] - expected[1]).max() > 0.01


@pytest.mark.parametrize("etas", [np.full(P, ETA), ETA * np.array([1.0, 0.5, 0.1])], ids=["common", "own"])
@pytest.mark.parametrize("period", [1, 4])
def test_downpour_is_algorithm_3(period, etas):
    """Its pushes and pulls are whole ones with any learning rates, own and fallen ones too."""
    agents, centers, _ = followed(training.algorithm("downpour", period=period)(P, ETA, TAKEN), rates=etas)
    expected_agents, expected_centers = downpour(period, etas)
    assert_same(agents, expected_agents)
    assert_same(centers, expected_centers[np.arange(TAKEN + 1) // period])


@pytest.mark.parametrize("period", [1, 4])
def test_averages_of_downpour_count_by_the_clock_of_the_master(period):
    """z_{t+1} = (1 - a) z_t + a center_t, with a = 1 / (t + 1) or constant: one center a period."""
    _, centers = downpour(period, np.full(P, ETA))
    plain, moving = [centers[0]], [centers[0]]
    for t, center in enumerate(centers[1:], 1):
        plain.append(plain[-1] + (center - plain[-1]) / (t + 1))
        moving.append(0.75 * moving[-1] + 0.25 * center)
    tick = np.arange(TAKEN + 1) // period
    np.testing.assert_allclose(plain[-1], centers.mean(axis=0))
    found = followed(training.algorithm("adownpour", period=period)(P, ETA, TAKEN))
    assert_same(found[2], np.stack(plain)[tick])
    assert_same(found[1], centers[tick])
    found = followed(training.algorithm("mvadownpour", period=period, average=0.75)(P, ETA, TAKEN))
    assert_same(found[2], np.stack(moving)[tick])


def test_mdownpour_is_algorithms_4_and_5():
    """From different starts too: workers read the master, and are all where it is after each iteration."""
    center, v = STARTS.mean(axis=0), np.zeros(4)
    expected = [center]
    for t in range(TAKEN):
        v = DELTA * v - ETA * gradient(np.tile(center + DELTA * v, (P, 1)), t).sum(axis=0)
        center = center + v
        expected.append(center)
    agents, centers, _ = followed(training.algorithm("mdownpour", momentum=DELTA)(P, ETA, TAKEN))
    assert_same(centers, np.stack(expected))
    assert_same(agents[1:], np.broadcast_to(centers[1:, None], (TAKEN, P, 4)))
    with pytest.raises(ValueError, match="period=4: mdownpour has none"):
        training.algorithm("mdownpour", period=4)


def test_averages_of_one_agent():
    """ASGD is the mean of its path; MVASGD weighs it."""
    for name, decay in (("asgd", None), ("mvasgd", 0.75)):
        agents, _, averages = followed(training.algorithm(name, average=decay)(P, ETA, TAKEN))
        mean = agents.mean(axis=1)  # uncoupled agents: their center is their mean
        expected = [mean[0]]
        for t, new in enumerate(mean[1:], 1):
            past = t / (t + 1) if decay is None else decay
            expected.append(past * expected[-1] + (1 - past) * new)
        assert_same(averages, np.stack(expected))


def test_moving_rates_of_averages_are_zhangs():
    assert float(training.algorithm("mvadownpour")(4, ETA, TAKEN).average) == pytest.approx(1 - 0.001)
    assert float(training.algorithm("mvasgd")(1, ETA, TAKEN).average) == pytest.approx(1 - 0.001)
    assert float(training.algorithm("qsgd")(4, ETA, TAKEN).average) == pytest.approx(0.99)
    bounded = training.Algorithm(training.algorithm("sgd")(1, ETA, TAKEN).rule, average=0.75, running=True)
    assert [float(bounded.weight(jnp.int32(t))) for t in (0, 1, 2, 9)] == pytest.approx([0.5, 2 / 3, 0.75, 0.75])
    with pytest.raises(ValueError, match="running: needs the weight"):
        training.Algorithm(training.algorithm("sgd")(1, ETA, TAKEN).rule, running=True)
    with pytest.raises(ValueError, match="pace=0"):
        training.Algorithm(training.algorithm("sgd")(1, ETA, TAKEN).rule, pace=0.0)
    with pytest.raises(ValueError, match="every=0"):
        training.Algorithm(training.algorithm("sgd")(1, ETA, TAKEN).rule, every=0)


# -- in the trainer ----------------------------------------------------------------------------------------------------


class Dense(nn.Module):
    @nn.compact
    def __call__(self, x, train: bool = False):
        return nn.Dense(4)(x.reshape(x.shape[0], -1))


def test_decaying_rates_of_the_trainer_without_validation_images():
    """eta / (1 + gamma t)^0.5 after each epoch, of each run its own; one that needs losses is refused."""
    data = training.split(training.synthetic(60, 20, classes=4, size=6), validation=0.0)
    run = dict(runs=[0, 0], agents=2, batch=20, epochs=3, evaluation_batch=20, eta=np.array([0.05, 0.02]))
    algorithm = training.algorithm("eamsgd", k=9.0, momentum=0.5)
    found = training.train(Dense(), data, algorithm, schedule=zhang.Decay((0.0, 0.5), 3), **run).history
    t = 3 * np.arange(4)
    expected = np.stack([np.full(4, 0.05), 0.02 / np.sqrt(1 + 0.5 * t)], axis=1)
    # a measurement after an epoch tells the rate that the epoch had
    np.testing.assert_allclose(found.eta.values[1:, :, 0], expected[:-1], rtol=1e-6)
    assert "validation_loss" not in found
    plain = training.train(Dense(), data, algorithm, **run).history
    np.testing.assert_array_equal(plain.eta.values[-1], plain.eta.values[0])
    with pytest.raises(ValueError, match="schedule: Stall looks at validation losses"):
        training.train(Dense(), data, algorithm, schedule=training.Stall(), **run)
    with pytest.raises(ValueError, match="gamma"):
        zhang.Decay((-0.1,), 3)


def test_workers_of_downpour_read_all_of_the_center_whatever_their_rates():
    """As after a fall of one agent's rate: with weights that followed it, that agent would read a quarter."""
    algorithm = training.algorithm("downpour", period=3)(2, 0.05, 1)
    params = {"w": jnp.array([[1.0, 2.0], [3, -1]])}
    rates, optimizer = jnp.array([0.05, 0.0125]), algorithm.optimizer().init(params)
    point = algorithm.coupling().gradient_point(params, optimizer, algorithm.coupling_rate(rates))
    np.testing.assert_allclose(point["w"], np.tile([2.0, 0.5], (2, 1)), rtol=1e-6)


# -- outer optimizers and Local SGD, by hand ---------------------------------------------------------------------------


def outer(lr, momentum, nesterov, inner, rounds, etas):
    """Rounds of so many steps from the center, with Nesterov's momentum of each agent's own; then torch's SGD."""
    center, buffer, v = STARTS.mean(axis=0), None, np.zeros_like(STARTS)
    x, path = STARTS, [(STARTS, center)]
    for t in range(TAKEN):
        if t in rounds:
            x = np.tile(center, (P, 1))
        v = inner * v - etas[t] * gradient(x + inner * v, t)
        x = x + v
        if t + 1 in rounds:
            slope = center - x.mean(axis=0)
            buffer = slope if buffer is None else momentum * buffer + slope
            center = center - lr * (slope + momentum * buffer if nesterov else buffer)
        path.append((x, center))
    return [np.stack(part) for part in zip(*path, strict=True)]


@pytest.mark.parametrize(
    ("name", "numbers", "expected"),
    [
        ("diloco", {}, (0.7, 0.9, True)),
        ("diloco", {"lr": 0.4, "outer_momentum": 0.3}, (0.4, 0.3, True)),
        ("slowmo", {}, (1.0, 0.5, False)),
        ("lookahead", {}, (0.5, 0.0, True)),
        ("local-sgd", {}, (1.0, 0.0, True)),
    ],
)
@pytest.mark.parametrize("period", [1, 4])
def test_outer_optimizers_are_torch_sgd_on_the_way_that_agents_came(name, numbers, expected, period):
    algorithm = training.algorithm(name, momentum=DELTA, period=period, **numbers)(P, ETA, TAKEN)
    rounds = range(0, TAKEN + 1, period)
    agents, centers = outer(*expected, DELTA, rounds, [ETA] * TAKEN)
    found = followed(algorithm)
    assert_same(found[0], agents)
    if name != "local-sgd":  # of which the agents' mean is tested at any time
        assert_same(found[1], centers)
    assert np.abs(agents[-1] - agents[0]).max() > 0.1


@pytest.mark.parametrize("numbers", [{"alpha": 2.05 * ETA}, {"until": 5}])
def test_local_sgd_of_periods_that_change(numbers):
    """QSR by the rates that the agents have, and post-local SGD."""
    algorithm = training.algorithm("local-sgd", momentum=0.0, period=3, **numbers)(P, ETA, TAKEN)
    period = (lambda t: 4) if "alpha" in numbers else (lambda t: 1 if t < 5 else 3)
    rounds = [0]
    while rounds[-1] <= TAKEN:
        rounds.append(rounds[-1] + period(rounds[-1]))
    assert_same(followed(algorithm)[0], outer(1.0, 0.0, True, 0.0, rounds, [ETA] * TAKEN)[0])
    with pytest.raises(ValueError, match=r"^alpha=1.0: must be left out beside until"):
        training.algorithm("local-sgd", alpha=1.0, until=3)
    with pytest.raises(ValueError, match=r"^lr=0.5: local-sgd has none"):
        training.algorithm("local-sgd", lr=0.5)
