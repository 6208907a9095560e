"""Mixing over graphs: weights, what is conserved, how fast differences go, and decentralized SGD on a quadratic."""

import jax.numpy as jnp
import numpy as np
import pytest

import sdesim
from sdesim import analysis, coupling, noise, objectives
from sdesim.coupling import ArrayMean
from sdesim.steppers import Iteration

P = 8
CHAIN = np.abs(np.subtract.outer(np.arange(P), np.arange(P))) == 1
GRAPHS = {
    "ring": coupling.ring(P),
    "torus": coupling.torus(2, 4),
    "exponential": coupling.exponential(P),
    "complete": coupling.complete(P),
    "chain": coupling.metropolis(CHAIN),
    "one peer": coupling.one_peer(P),
    "one peer of six": coupling.one_peer(6),
}


def flat(x):
    return 0.0 * jnp.sum(x)


@pytest.mark.parametrize("name", GRAPHS)
def test_graphs_are_doubly_stochastic(name):
    for axis in (-1, -2):
        np.testing.assert_allclose(GRAPHS[name].sum(axis), 1, rtol=1e-14)
    assert GRAPHS[name].min() >= 0


def test_weights_are_those_of_the_graphs():
    np.testing.assert_allclose(coupling.ring(4)[0], [1 / 3, 1 / 3, 0, 1 / 3])
    np.testing.assert_allclose(coupling.ring(2), np.full((2, 2), 0.5))
    np.testing.assert_allclose(coupling.torus(3, 3)[0], np.array([1, 1, 1, 1, 0, 0, 1, 0, 0]) / 5)
    np.testing.assert_allclose(coupling.exponential(6)[0], np.array([1, 1, 1, 0, 1, 0]) / 4)
    np.testing.assert_allclose(coupling.one_peer(4)[1, 0], [0.5, 0, 0.5, 0])
    np.testing.assert_allclose(coupling.metropolis(CHAIN)[0, :3], [2 / 3, 1 / 3, 0])


def test_mix_is_one_product_of_any_pytree():
    rng = np.random.default_rng(0)
    x = {"w": jnp.asarray(rng.normal(size=(P, 2, 3))), "b": jnp.asarray(rng.normal(size=P))}
    w = jnp.asarray(rng.normal(size=(P, P)))
    found = ArrayMean(P).mix(x, w)
    np.testing.assert_allclose(found["w"], np.einsum("ij,jkl->ikl", w, x["w"]), rtol=1e-12)
    np.testing.assert_allclose(found["b"], w @ x["b"], rtol=1e-12)


def mixed(matrix, x, steps):
    model = sdesim.Dynamics(flat, coupling.Mixing(1.0, matrix), eta=0.1)
    run = sdesim.simulate(model, agents=len(x), dims=x.shape[1], steps=steps, init=x, stepper=Iteration(pace=1.0))
    return np.asarray(run.agents[0])


@pytest.mark.parametrize("name", GRAPHS)
def test_exchanges_are_products_and_the_gap_says_how_fast_differences_go(name):
    """The mean stays; the spread falls by (1 - gap)^2 an exchange, in the end."""
    w = GRAPHS[name]
    p = w.shape[-1]
    x = np.random.default_rng(1).normal(size=(p, 2))
    turns = w if w.ndim == 3 else w[None]
    steps, expected = 6 * len(turns), x
    for n in range(steps):
        expected = turns[n % len(turns)] @ expected
    found = mixed(w, x, steps)
    np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(found.mean(0), x.mean(0), atol=1e-13)
    gap = coupling.spectral_gap(w)
    if gap > 1 - 1e-6:  # at once, or after a round
        assert name in ("complete", "one peer") and np.ptp(found, axis=0).max() < 1e-12
        return
    spread = lambda x: np.sum((x - x.mean(0)) ** 2)
    begins = int(np.ceil(8 / gap / len(turns))) * len(turns)
    near, far = (spread(mixed(w, x, n)) for n in (begins, begins + 4 * len(turns)))
    assert (far / near) ** (1 / (8 * len(turns))) == pytest.approx(1 - gap, rel=0.02)


def test_gaps_of_known_graphs():
    assert coupling.spectral_gap(coupling.ring(P)) == pytest.approx(2 / 3 * (1 - np.cos(2 * np.pi / P)), rel=1e-12)
    assert coupling.spectral_gap(coupling.complete(P)) == pytest.approx(1, abs=1e-7)
    assert coupling.spectral_gap(coupling.one_peer(P)) == pytest.approx(1, abs=1e-4)  # the cube root of a rounding
    assert coupling.spectral_gap(np.eye(3)) == pytest.approx(0, abs=1e-12)
    order = [
        coupling.spectral_gap(g(64)) for g in (coupling.ring, lambda p: coupling.torus(8, 8), coupling.exponential)
    ]
    assert order == sorted(order) and order[0] < 0.01


def test_a_graph_of_all_is_a_quorum():
    x = np.random.default_rng(0).normal(size=(P, 2))
    sizes = dict(agents=P, dims=2, steps=30, init=x, sims=2)
    runs = [
        sdesim.simulate(sdesim.Dynamics(objectives.LogCosh(), rule, noise.Gaussian(1.0), 0.05), **sizes)
        for rule in (coupling.Mixing(2.0, coupling.complete(P)), coupling.Quorum(2.0))
    ]
    np.testing.assert_allclose(runs[0].agents, runs[1].agents, rtol=0, atol=1e-12)


def test_graphs_take_turns_in_time():
    """A graph acts for 1 / switch: half steps of the SDE stay on it, and only then comes the next."""
    w, x = GRAPHS["one peer"], np.random.default_rng(2).normal(size=(P, 1))
    model = sdesim.Dynamics(flat, coupling.Mixing(4.0, w, switch=10.0), eta=0.1)
    found = sdesim.simulate(model, agents=P, dims=1, steps=6, init=x, dt=0.05)
    for n in range(6):
        x = x + 0.05 * 4.0 * (w[n // 2 % 3] @ x - x)
    np.testing.assert_allclose(found.agents[0], x, rtol=1e-11)


@pytest.mark.parametrize("name", ["ring", "torus", "chain"])
def test_decentralized_sgd_on_a_quadratic(name):
    """D-PSGD, x <- W x - eta g: a mode of eigenvalue w has the variance s^2 / (1 - (w - eta h)^2); symmetric W."""
    h, eta, w = 0.75, 0.125, GRAPHS[name]
    model = sdesim.Dynamics(objectives.Quadratic(h), coupling.Mixing(1.0, w), noise.Gaussian(1.0), eta)
    found = analysis.linearize(model, Iteration(pace=1.0), agents=P)
    modes = eta**2 / (1 - (np.linalg.eigvalsh(w) - eta * h) ** 2)
    there = found.stationary()
    np.testing.assert_allclose(there["own"][0, 0], modes.mean(), rtol=1e-10)
    mean = (there["own"][0, 0] + (P - 1) * there["pair"][0, 0]) / P
    np.testing.assert_allclose(mean, eta**2 / P / (1 - (1 - eta * h) ** 2), rtol=1e-10)


def test_an_exchange_by_a_strong_gain_is_warned_of():
    model = sdesim.Dynamics(flat, coupling.Mixing(2.6, coupling.ring(P)), eta=1.0)
    with pytest.warns(sdesim.StabilityWarning, match="a step of Mixing with 8 agents"):
        sdesim.simulate(model, agents=P, steps=1, init=1.0)


@pytest.mark.parametrize(
    ("matrix", "says"),
    [
        (np.full((3, 3), 0.3), r"^matrix: has a row that sums to 0\.9; every row must sum to 1"),
        (np.ones((2, 3)), r"^matrix: has shape \(2, 3\), and must be"),
        (np.ones(3), r"^matrix: has shape \(3,\), and must be"),
    ],
)
def test_what_is_no_mixing_is_refused(matrix, says):
    with pytest.raises(ValueError, match=says):
        coupling.Mixing(1.0, matrix)


def test_another_number_of_agents_is_refused():
    model = sdesim.Dynamics(flat, coupling.Mixing(1.0, coupling.ring(4)))
    with pytest.raises(ValueError, match=r"^coupling\.matrix: is of 4 agents, and not of agents=5"):
        sdesim.simulate(model, agents=5, steps=1)
    with pytest.raises(ValueError, match=r"^adjacency=.*must be a symmetric"):
        coupling.metropolis(np.triu(np.ones((3, 3))))


@pytest.mark.parametrize("power", [0.0, 1.0, 2.0])
def test_a_pace_that_fades_keeps_disagreement(power):
    """DSGD-AC: a mode of eigenvalue w has s^2 / (1 - (1 - pace (1 - w) - eta h)^2); flat directions keep it at 2."""
    h, w, spreads = 1e-5, GRAPHS["ring"], []
    for eta in (0.1, 0.025):
        pace = sdesim.schedules.Fading(0.1, power)
        model = sdesim.Dynamics(objectives.Quadratic(h), coupling.Mixing(0.5, w), noise.Gaussian(1.0), eta)
        there = analysis.linearize(model, Iteration(pace=pace), agents=P).stationary()
        modes = np.sort(np.linalg.eigvalsh(w))[:-1]
        weight = 0.5 * (eta / 0.1) ** power
        expected = np.sum(eta**2 / (1 - (1 - weight * (1 - modes) - eta * h) ** 2))
        spreads.append((P - 1) * (there["own"] - there["pair"])[0, 0])
        assert spreads[-1] == pytest.approx(expected, rel=1e-6)
    kept = {0.0: (0.06, 0.07), 1.0: (0.15, 0.3), 2.0: (0.6, 1.1)}[power]
    assert kept[0] < spreads[1] / spreads[0] < kept[1]


def test_a_pace_that_fades_follows_a_schedule():
    x = np.random.default_rng(1).normal(size=(P, 1))
    etas = [0.1, 0.1, 0.05, 0.02]
    model = sdesim.Dynamics(flat, coupling.Mixing(1.0, GRAPHS["ring"]), eta=sdesim.schedules.PerStep(etas))
    stepper = Iteration(pace=sdesim.schedules.Fading(0.1, 2.0))
    run = sdesim.simulate(model, agents=P, steps=4, init=x, stepper=stepper)
    for eta in etas:
        x = x + (eta / 0.1) ** 2 * (GRAPHS["ring"] @ x - x)
    np.testing.assert_allclose(run.agents[0], x, rtol=1e-12)
