"""Every protocol against a plain Python program of events, with the same words and clocks, to rounding."""

import importlib.util
import pathlib
import sys

import numpy as np
import pytest

import sdesim
from sdesim import coupling, noise
from sdesim.asynchrony import (
    ADMM,
    EASGD,
    Asynchronous,
    AsyncSGD,
    DecoupledDiLoCo,
    DelayAdaptive,
    Deterministic,
    Downpour,
    Gamma,
    Gossip,
    LogNormal,
    MomentumDownpour,
    PartialBarrier,
    PowerLaw,
    Rennala,
    Ringmaster,
)
from sdesim.dynamics import HeavyBall, Nesterov

_spec = importlib.util.spec_from_file_location("oracle", pathlib.Path(__file__).with_name("oracle.py"))
oracle = importlib.util.module_from_spec(_spec)
sys.modules["oracle"] = oracle
_spec.loader.exec_module(oracle)

P, D, SIMS, ARRIVALS, ETA, K, SEED = 6, 2, 3, 90, 0.08, 1.7, 11


X = np.random.default_rng(0).normal(size=(SIMS, P, D))
# name: protocol, rule, momentum, the oracle's protocol, its barrier
CASES = {
    "sgd": (lambda: AsyncSGD(), coupling.Uncoupled, None, oracle.sgd, None),
    "power-law": (
        *(lambda: AsyncSGD(PowerLaw(0.7)), coupling.Uncoupled, None),
        *(lambda w: oracle.sgd(w, oracle.power_law(0.7)), None),
    ),
    "delay-adaptive": (
        *(lambda: AsyncSGD(DelayAdaptive(P, 4.0)), coupling.Uncoupled, None),
        *(lambda w: oracle.sgd(w, oracle.delay_adaptive(P, 4.0)), None),
    ),
    "easgd": (lambda: EASGD(), lambda: coupling.Elastic(K), None, lambda w: oracle.easgd(w, K), None),
    "easgd-period": (lambda: EASGD(4), lambda: coupling.Elastic(K), None, lambda w: oracle.easgd(w, K, 4), None),
    "eamsgd": (
        *(lambda: EASGD(2), lambda: coupling.Elastic(K), lambda: Nesterov(0.9)),
        *(lambda w: oracle.easgd(w, K, 2, 0.9, True), None),
    ),
    "easgd-heavy-ball": (
        *(lambda: EASGD(), lambda: coupling.Elastic(K), lambda: HeavyBall(0.5)),
        *(lambda w: oracle.easgd(w, K, 1, 0.5), None),
    ),
    "downpour": (lambda: Downpour(3), coupling.Uncoupled, None, lambda w: oracle.downpour(w, 3), None),
    "momentum-downpour": (
        *(lambda: MomentumDownpour(0.6), coupling.Uncoupled, None),
        *(lambda w: oracle.momentum_downpour(w, 0.6), None),
    ),
    "admm": (lambda: ADMM(1.3), coupling.Uncoupled, None, lambda w: oracle.admm(w, 1.3), None),
    "gossip": (lambda: Gossip(), lambda: coupling.Quorum(K), None, lambda w: oracle.gossip(w, K), None),
    "rennala": (lambda: Rennala(4), coupling.Uncoupled, None, lambda w: oracle.rennala(w, 4), None),
    "ringmaster": (lambda: Ringmaster(3), coupling.Uncoupled, None, lambda w: oracle.ringmaster(w, 3), None),
    "diloco": (
        *(lambda: DecoupledDiLoCo(3, 2, 1), lambda: coupling.Outer(1.0, 0.7, 0.6), None),
        *(lambda w: oracle.diloco(w, 3, 2, 1, 0.7, 0.6), None),
    ),
    "diloco-alone": (
        *(lambda: DecoupledDiLoCo(2), lambda: coupling.Outer(1.0, 0.3, 0.8), None),
        *(lambda w: oracle.diloco(w, 2, 1, 0, 0.3, 0.8), None),
    ),
    "barrier": (
        *(lambda: PartialBarrier(4), lambda: coupling.Elastic(K), None),
        *(lambda w: oracle.barrier(w, K, 4), 4),
    ),
}


def model_of(rule, momentum=None, **more):
    momentum = None if momentum is None else momentum()
    return sdesim.Dynamics(oracle.loss, rule(), noise.Gaussian(0.5), eta=ETA, momentum=momentum, **more)


@pytest.mark.parametrize("law", [Gamma(3.0), LogNormal(0.8, mean=np.linspace(0.5, 2.0, P))], ids=["gamma", "unequal"])
@pytest.mark.parametrize("name", CASES)
def test_a_protocol_does_what_its_paper_says(name, law):
    make, rule, momentum, plain, barrier = CASES[name]
    model = model_of(rule, momentum)
    run = sdesim.simulate(
        *(model,), stepper=Asynchronous(make(), compute=law), agents=P, sims=SIMS, steps=ARRIVALS, init=X, seed=SEED
    )
    for sim in range(SIMS):
        world = oracle.World(model, law, P, X[sim], SEED, sim, ARRIVALS + 2)
        world.run(ARRIVALS, plain(world), barrier)
        np.testing.assert_allclose(run.agents[sim], world.x, rtol=0, atol=1e-11)
        if hasattr(world, "c"):
            np.testing.assert_allclose(run.center[sim], world.c, rtol=0, atol=1e-11)
    assert np.ptp(np.asarray(run.agents)) > 0.1  # something happened


def test_diloco_of_all_workers_in_step_is_the_iteration():
    """All wait for all, of equal times: rounds of the synchronous algorithm, whose agents jump a moment later."""
    period, rounds, rule = 4, 6, lambda: coupling.Outer(1.0, 0.7, 0.9)
    model = model_of(rule)
    sizes = dict(agents=P, dims=D, sims=SIMS, init=X, seed=SEED)
    stepper = Asynchronous(DecoupledDiLoCo(period, P), compute=Deterministic())
    found = sdesim.simulate(model, stepper=stepper, steps=P * period * rounds, **sizes)
    iteration = sdesim.Iteration(period, pace=1.0, order="gauss-seidel")
    together = sdesim.simulate(model, stepper=iteration, steps=period * rounds, **sizes)
    np.testing.assert_allclose(found.center, together.center, rtol=0, atol=1e-11)
    np.testing.assert_allclose(found.agents, np.broadcast_to(together.center[:, None], X.shape), rtol=0, atol=1e-11)


def test_diloco_counts_messages_and_refuses_other_rules():
    stepper = Asynchronous(DecoupledDiLoCo(3, 2, 1), compute=Gamma(3.0))
    model = model_of(lambda: coupling.Outer(1.0))
    run = sdesim.simulate(model, stepper=stepper, agents=P, dims=D, steps=300, seed=SEED)
    counts = stepper.counts(run.state, 300)
    assert 300 // 3 - P <= int(np.max(counts.up)) <= 300 // 3
    assert 0 < int(np.max(counts.updates)) <= int(np.max(counts.down)) // 2 <= 50
    with pytest.raises(ValueError, match=r"^coupling=Quorum: must be Outer"):
        sdesim.simulate(model_of(lambda: coupling.Quorum(K)), stepper=stepper, agents=P, dims=D, steps=1)
