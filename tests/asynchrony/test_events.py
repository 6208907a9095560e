"""Runs of workers in virtual time: what is the same, what goes on, what is said, what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sdesim
from sdesim import coupling, noise, observe, schedules
from sdesim.asynchrony import (
    EASGD,
    AbstractServer,
    Asynchronous,
    AsyncSGD,
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
    timetable,
)
from sdesim.asynchrony.events import Arrival
from sdesim.dynamics import Nesterov

P, ETA = 5, 0.05


def loss(x):
    return jnp.sum(0.5 * x**2 + jnp.cos(3 * x))


def model_of(rule=None, law=None, **more):
    return sdesim.Dynamics(loss, rule or coupling.Uncoupled(), law or noise.Gaussian(1.0), **{"eta": ETA, **more})


def simulate(model, protocol, law=None, **more):
    stepper = Asynchronous(protocol, **more.pop("how", {"compute": law or Gamma(3.0)}))
    defaults = {"agents": P, "sims": 20, "init": 1.0, "seed": 3}
    defaults = {} if isinstance(more.get("init"), sdesim.Result) else defaults
    return sdesim.simulate(model, stepper=stepper, **{**defaults, **more})


def equal(a, b):
    np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


# -- what is the same --------------------------------------------------------------------------------------------------


def test_downpour_of_period_one_is_async_sgd():
    for law in (Exponential(), Gamma(5.0)):
        one, other = (simulate(model_of(), protocol, law, steps=200) for protocol in (AsyncSGD(), Downpour(1)))
        np.testing.assert_allclose(one.agents, other.agents, rtol=0, atol=1e-13)
        np.testing.assert_allclose(one.center, other.center, rtol=0, atol=1e-13)


def test_momentum_downpour_of_one_worker_is_nesterov():
    """Of Z's MSGD the point ahead, x + delta v, is what the worker holds."""
    run = simulate(model_of(), MomentumDownpour(0.8), agents=1, steps=60)
    plain = sdesim.iterate(model_of(momentum=Nesterov(0.8)), agents=1, sims=20, steps=60, init=1.0, seed=3)
    np.testing.assert_allclose(run.center, plain.agents[:, 0], rtol=0, atol=1e-12)


def test_one_worker_is_sgd():
    plain = sdesim.iterate(model_of(), agents=1, sims=20, steps=70, init=1.0, seed=3)
    for protocol in (AsyncSGD(), Rennala(1), KAsyncSGD(1)):
        run = simulate(model_of(), protocol, agents=1, steps=70)
        np.testing.assert_allclose(run.agents[:, 0], plain.agents[:, 0], rtol=0, atol=1e-12)
    # DOWNPOUR's worker goes on alone; its server is behind
    np.testing.assert_allclose(
        simulate(model_of(), Downpour(7), agents=1, steps=70).center, plain.agents[:, 0], rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("rule", [coupling.Elastic(1.5), coupling.Quorum(2.0)], ids=["elastic", "quorum"])
@pytest.mark.parametrize("momentum", [None, Nesterov(0.7)], ids=["plain", "nesterov"])
def test_a_barrier_of_all_is_the_iteration(rule, momentum):
    """An exchange is at the head of a job, a gradient at its end: after n jobs there is one exchange more."""
    model = model_of(rule, momentum=momentum)
    start = np.random.default_rng(0).normal(size=(20, P, 2))
    run = simulate(model, PartialBarrier(P), steps=40 * P, init=start, dims=2)
    plain = sdesim.iterate(model, agents=P, sims=20, steps=40, dims=2, init=start, seed=3)
    tick, mean = ETA, plain.agents.mean(axis=1, keepdims=True)
    to = plain.center[:, None] if isinstance(rule, coupling.Elastic) else mean
    due = plain.agents + tick * float(rule.k) * (to - plain.agents)
    np.testing.assert_allclose(run.agents, due, rtol=0, atol=1e-12)


@pytest.mark.parametrize("law", [Deterministic(), Gamma(2.0)], ids=["equal", "gamma"])
def test_a_batch_of_all_is_the_minibatch_iteration(law):
    run = simulate(model_of(), KAsyncSGD(P), law, steps=30 * P)
    x, gradient = np.full((20, 1), 1.0), jax.vmap(jax.grad(loss))
    for n in range(30):
        x = x - ETA * gradient(x) + ETA * noise_of(n).mean(axis=1)
    np.testing.assert_allclose(run.center, x, rtol=0, atol=1e-12)
    np.testing.assert_allclose(run.agents, np.broadcast_to(x[:, None], run.agents.shape), rtol=0, atol=1e-12)


def noise_of(step, sims=20, dims=1, seed=3):
    """zeta of the step of all agents, (sims, agents, dims)."""
    from sdesim import random
    from sdesim.random import Stream

    law = noise.Gaussian(1.0)

    def one(sim):
        words = [
            random.words(random.step_key(random.seed_words(seed), Stream.NOISE + i, step), sim, P, dims)
            for i in range(law.word_pairs)
        ]
        still = jnp.zeros((P, dims))
        return law.apply(law.variates(words, jnp.float64, jnp.ones(())), still, still, jnp.ones(()), jnp.ones(()))

    return jax.vmap(one)(jnp.arange(sims, dtype=jnp.uint32))


def test_equal_times_are_the_round_robin_scheme():
    """Z 3.55-3.56: workers in turn, with x and c of the same moment in exchange and gradient."""
    model = model_of(coupling.Elastic(2.0))
    start = np.random.default_rng(1).normal(size=(20, P, 1))
    run = simulate(model, EASGD(), Deterministic(), steps=6 * P, init=start)
    x, c, alpha = start.copy(), start.mean(axis=1), 2.0 * ETA
    gradient = jax.vmap(jax.grad(loss))
    for turn in range(7 * P):
        i, job = turn % P, turn // P
        old = x[:, i].copy()
        x[:, i] = old - ETA * gradient(old) + ETA * noise_of(job)[:, i] - alpha * (old - c)
        c = c + alpha * (old - c)
    np.testing.assert_allclose(run.center, c, rtol=0, atol=1e-12)


# -- the one-step interface, bits, continuations -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "protocol, rule", [(AsyncSGD(PowerLaw(0.5)), None), (EASGD(2), coupling.Elastic(1.0))], ids=["sgd", "easgd"]
)
def test_steps_by_hand_are_the_run(protocol, rule):
    """The public step, which draws its own words, in plain jit and scan."""
    model, table = model_of(rule), timetable(Gamma(3.0), workers=P, arrivals=50, sims=20, seed=3)
    run = simulate(model, protocol, steps=50)
    stepper = Asynchronous(protocol)

    def one(sim, workers, jobs):
        def step(state, here):
            n, worker, job = here
            return stepper.step(model, state, n, seed=3, sim=sim, arrival=Arrival(worker, job)), None

        state = stepper.init(model, jnp.ones((P, 1)))
        end = jax.lax.scan(step, state, (jnp.arange(50), workers, jobs))[0]
        return end.x, end.time

    x, time = jax.jit(jax.vmap(one))(jnp.arange(20, dtype=jnp.uint32), table.worker, table.job)
    np.testing.assert_allclose(run.agents, x, rtol=0, atol=1e-13)
    np.testing.assert_allclose(run.time, time, rtol=1e-12)


@pytest.mark.usefixtures("float32")
@pytest.mark.parametrize("protocol", [AsyncSGD(), Rennala(3), PartialBarrier(3)], ids=["sgd", "rennala", "barrier"])
def test_bits_hang_on_the_simulation_alone(protocol):
    model = model_of(coupling.Quorum(1.0) if isinstance(protocol, PartialBarrier) else None, noise.Uniform(1.0))
    whole = simulate(model, protocol, sims=300, steps=300)
    equal(simulate(model, protocol, sims=40, first_sim=260, steps=300).agents, whole.agents[260:])
    first = simulate(model, protocol, sims=300, steps=130)
    equal(simulate(model, protocol, init=first, steps=170).agents, whole.agents)


@pytest.mark.usefixtures("float32")
def test_by_seconds_goes_on_as_if_never_stopped(tmp_path):
    model, watch = model_of(coupling.Elastic(1.0)), observe.Center()
    whole = simulate(model, EASGD(), until=9.0, at=9, observe=watch)
    first = simulate(model, EASGD(), until=4.0, at=4, observe=watch)
    first.save(tmp_path / "first.nc")
    for start in (first, sdesim.load(tmp_path / "first.nc")):
        rest = simulate(model, EASGD(), init=start, at=[5, 6, 7, 8, 9], observe=watch)
        equal(rest.agents, whole.agents)
        equal(rest.observed["center"], whole.observed["center"][:, 4:])
    assert whole.to_xarray()["center_series"].dims == ("sim", "time", "dim")
    equal(whole.records, np.arange(10.0))


@pytest.mark.parametrize(
    "protocol", [EASGD(2), Gossip(), PartialBarrier(3), KAsyncSGD(2), Rennala(3)], ids=lambda p: type(p).__name__
)
def test_by_seconds_is_by_arrivals(protocol):
    """Between two moments each simulation takes as many steps as the busiest one; those of nobody move nobody."""
    rule = None if isinstance(protocol, KAsyncSGD | Rennala) else coupling.Elastic(1.0)
    model, watch = model_of(rule), observe.Center()
    whole = simulate(model, protocol, Gamma(4.0), sims=3, until=7.3, at=[1.1, 3.7, 7.3], observe=watch)
    first = simulate(model, protocol, Gamma(4.0), sims=3, until=3.7, observe=watch, at=4)
    rest = simulate(model, protocol, Gamma(4.0), init=first, until=7.3, observe=watch, at=2)
    equal(rest.agents, whole.agents)
    for sim, steps in enumerate(np.asarray(whole.state.kept.arrivals)):
        alone = simulate(model, protocol, Gamma(4.0), sims=1, first_sim=sim, steps=int(steps))
        np.testing.assert_allclose(alone.agents[0], whole.agents[sim], atol=1e-12)
        np.testing.assert_allclose(alone.center[0], whole.center[sim], atol=1e-12)


@pytest.mark.parametrize(
    "watch, said",
    [(observe.FirstPassage(0.0, 0.5), "^observe=FirstPassage: "), (observe.Moments(after=60), "^after=60: ")],
)
def test_what_counts_steps_is_not_observed_by_seconds(watch, said):
    """Between two moments there are as many steps as the busiest simulation needs, so their number says nothing."""
    with pytest.raises(ValueError, match=said):
        simulate(model_of(), AsyncSGD(), until=5.0, at=5, observe=watch)
    assert simulate(model_of(), AsyncSGD(), steps=200, observe=watch).observed


def test_a_timetable_without_waiting_is_not_replayed_where_workers_wait():
    table = timetable(Gamma(3.0), workers=P, arrivals=60, sims=20, seed=3)
    with pytest.raises(ValueError, match=r"^timetable: .* barrier=2"):
        simulate(model_of(), KAsyncSGD(2), steps=60, how={"timetable": table})


@pytest.mark.parametrize(
    "how, name",
    [
        (dict(compute=Gamma(2.0)), "compute"),
        (dict(start="staggered"), "start"),
        (dict(uplink=Deterministic()), "uplink"),
        (dict(downlink=Deterministic()), "downlink"),
        (dict(failure=0.1), "failure"),
        (dict(leave=[5.0] * P), "leave"),
    ],
)
def test_what_a_timetable_says_already_is_refused(how, name):
    table = timetable(Gamma(3.0), workers=P, arrivals=60)
    with pytest.raises(ValueError, match=f"^{name}=.* beside timetable="):
        Asynchronous(AsyncSGD(), timetable=table, **how)
    with pytest.raises(ValueError, match=r"^compute=.* beside timetable="):
        stepper = Asynchronous(AsyncSGD(), timetable=table)
        sdesim.sweep(model_of(), {"stepper.compute.mean": [1.0, 2.0]}, stepper=stepper, agents=P, steps=60)


class Shaken(AbstractServer):
    """Whoever arrives moves all, and what all keep."""

    def init(self, model, state):
        return super().init(model, state)._replace(kept=jnp.zeros(len(state.x)))

    def arrive(self, state, job):
        step, v = job.step(job.of(state.x), job.of(state.v))
        center = state.shared["center"] + step[0]
        x = 0.9 * state.x + 0.1 * center[None]
        return state._replace(x=x, v=job.put(state.v, v), shared={"center": center}, kept=state.kept + 1)


class Shaking(EASGD):
    """One that takes after a protocol whose arrivals change the worker's rows alone."""

    def arrive(self, state, job):
        new = super().arrive(state, job)
        return new._replace(x=0.9 * new.x)


@pytest.mark.parametrize("protocol", [Shaken(), Shaking()], ids=lambda p: type(p).__name__)
def test_by_seconds_nobody_is_moved_where_nobody_arrives(protocol):
    """Also by a protocol of one's own that changes the rows of all."""
    model = model_of(None if isinstance(protocol, Shaken) else coupling.Elastic(1.0))
    whole = simulate(model, protocol, sims=3, at=[1.1, 3.7])
    for sim, steps in enumerate(np.asarray(whole.state.kept.arrivals)):
        alone = simulate(model, protocol, sims=1, first_sim=sim, steps=int(steps))
        np.testing.assert_allclose(alone.agents[0], whole.agents[sim], rtol=0, atol=1e-12)
        if isinstance(protocol, Shaken):
            np.testing.assert_array_equal(np.asarray(whole.state.kept.own)[..., sim], steps)


def test_a_run_by_seconds_in_which_nobody_arrives():
    run = simulate(model_of(), AsyncSGD(), Deterministic(mean=5.0), at=[1.0, 2.0], observe=observe.Center())
    assert (np.asarray(run.agents) == 1.0).all() and (np.asarray(run.observed["center"]) == 1.0).all()


def test_a_record_by_seconds_is_the_state_just_before():
    table = timetable(Gamma(3.0), workers=P, arrivals=400, sims=20, seed=3)
    run = simulate(model_of(), AsyncSGD(), at=[0.7, 2.0, 6.3], observe=observe.Center())
    for sim in range(20):
        for record, moment in enumerate([0.7, 2.0, 6.3], 1):
            count = int((table.time[sim] < moment).sum())
            until = simulate(model_of(), AsyncSGD(), sims=1, first_sim=sim, steps=count) if sim < 2 else None
            if until is not None:
                np.testing.assert_allclose(run.observed["center"][sim, record], until.center[0], atol=1e-12)
    # a moment at which somebody arrives, to the bit, is before that arrival
    just = simulate(model_of(), AsyncSGD(), Deterministic(), at=[1.0, 1.5], observe=observe.Center())
    np.testing.assert_allclose(just.observed["center"][:, 1], 1.0)
    assert (np.asarray(just.observed["center"])[:, 2] != 1.0).all()


def test_times_of_records():
    table = timetable(Gamma(3.0), workers=P, arrivals=100, sims=20, seed=3)
    run = simulate(model_of(), AsyncSGD(), steps=100, every=20, observe=observe.Quorum())
    due = np.concatenate([np.zeros((20, 1)), table.time[:, 19::20]], axis=1)
    np.testing.assert_allclose(run.observed["time"], due, rtol=1e-12)
    assert run.to_xarray()["time"].dims == ("sim", "step")


def test_a_timetable_of_ones_own_is_replayed():
    model, table = model_of(), timetable(Gamma(3.0), workers=P, arrivals=60, sims=20, seed=3)
    run = simulate(model, AsyncSGD(), steps=60)
    equal(simulate(model, AsyncSGD(), steps=60, how={"timetable": table}).agents, run.agents)
    with pytest.raises(ValueError, match="timetable: has 20 simulations, 60 arrivals"):
        simulate(model, AsyncSGD(), steps=61, how={"timetable": table})


# -- a worker's own time -----------------------------------------------------------------------------------------------


def test_a_schedule_runs_on_the_workers_own_count():
    eta = schedules.Halving(0.1, 4)
    run = simulate(model_of(eta=eta, law=noise.Silent()), AsyncSGD(), steps=60)
    table = timetable(Gamma(3.0), workers=P, arrivals=60, sims=20, seed=3)
    gradient = jax.grad(lambda x: loss(x[None]))
    c, read = 1.0, [1.0] * P
    for worker, job in zip(table.worker[0], table.job[0], strict=True):
        c = c - float(eta(int(job))) * float(gradient(read[worker]))
        read[worker] = c
    np.testing.assert_allclose(run.center[0, 0], c, atol=1e-12)


def test_workers_have_rates_and_batches_of_their_own():
    eta, batch = np.linspace(0.02, 0.1, P), np.array([1.0, 4.0, 1.0, 2.0, 9.0])
    run = simulate(model_of(eta=eta, batch=batch), AsyncSGD(), Deterministic(), steps=P)
    gradient = float(jax.grad(lambda x: loss(x[None]))(1.0))
    due = 1.0 - gradient * eta.sum() + (np.asarray(noise_of(0))[..., 0] * eta / np.sqrt(batch)).sum(axis=1)
    np.testing.assert_allclose(run.center[:, 0], due, rtol=0, atol=1e-12)


def test_a_gain_sees_the_workers_own_time():
    seen = simulate(model_of(coupling.Elastic(lambda x, t: 1.0 + t)), EASGD(), steps=40)
    fixed = simulate(model_of(coupling.Elastic(1.0)), EASGD(), steps=40)
    assert np.abs(np.asarray(seen.agents - fixed.agents)).max() > 1e-3
    by_schedule = simulate(model_of(coupling.Elastic(lambda x, t: 1.0 + t), eta=lambda n: ETA), EASGD(), steps=40)
    np.testing.assert_allclose(seen.agents, by_schedule.agents, rtol=0, atol=1e-12)
    np.testing.assert_allclose(seen.time, 40 * ETA / P, rtol=1e-6)
    np.testing.assert_allclose(by_schedule.time, 40 * ETA / P, rtol=1e-6)


# -- sweeps, protocols of one's own, refusals --------------------------------------------------------------------------


def test_sweeps_take_numbers_of_model_protocol_and_law():
    stepper = Asynchronous(Downpour(2), compute=Gamma(2.0))
    grid = {
        "stepper.protocol.period": [1, 3],
        "eta": [0.02, 0.05],
        "stepper.compute.shape": [1.0, 4.0],
        "agents": [2, 5],
    }
    data = sdesim.sweep(model_of(), grid, stepper=stepper, steps=60, sims=4, init=1.0, seed=3)
    there = Asynchronous(Downpour(3), compute=Gamma(4.0))
    alone = sdesim.simulate(model_of(eta=0.02), stepper=there, agents=2, steps=60, sims=4, init=1.0, seed=3)
    picked = data.sel(stepper_protocol_period=3, eta=0.02, stepper_compute_shape=4.0, n_agents=2)
    np.testing.assert_allclose(picked["center"], alone.center, rtol=0, atol=1e-12)


class Pulled(coupling.AbstractCoupling):
    """Elastic averaging, as a user would write it."""

    k: float = 1.5

    def init(self, x, mean):
        return mean(x)

    def pull(self, x, shared, t, mean):
        return self.k * (shared[None] - x)

    def flow(self, x, shared, t, mean):
        return self.k * mean.count * (mean(x) - shared)

    def center(self, x, shared, t, mean):
        return shared


class Even(noise.AbstractNoise):
    """Uniform noise, as a user would write it."""

    word_pairs = 1

    def variates(self, words, dtype, batch):
        return sdesim.random.centered(words[0].own, dtype)

    def apply(self, z, x, gradient, batch, scale):
        return scale * z


@pytest.mark.parametrize("protocol", [EASGD(), Gossip(), PartialBarrier(3)], ids=["easgd", "gossip", "barrier"])
def test_rules_and_laws_of_ones_own(protocol):
    """They are traced for those who take part, and for one worker's noise."""
    mine, built = ((Pulled(), Even()), (coupling.Elastic(1.5), noise.Uniform(1.0)))
    runs = [simulate(model_of(rule, law), protocol, steps=60) for rule, law in (mine, built)]
    np.testing.assert_allclose(runs[0].agents, runs[1].agents, rtol=0, atol=1e-12)


class Lazy(AbstractServer):
    """The server takes every other gradient of a worker."""

    def arrive(self, state, job):
        step, v = job.step(job.of(state.x), job.of(state.v))
        center = state.shared["center"] + jnp.where(job.number % 2 == 0, step[0], 0.0)
        return state._replace(x=job.put(state.x, center[None]), v=job.put(state.v, v), shared={"center": center})


def test_a_protocol_of_ones_own():
    run = simulate(model_of(law=noise.Silent()), Lazy(), Deterministic(), steps=2 * P)
    c, gradient = 1.0, jax.grad(lambda x: loss(x[None]))
    for _ in range(P):
        c = c - ETA * float(gradient(1.0))
    np.testing.assert_allclose(run.center, c, atol=1e-12)


class Stale(AbstractServer):
    """A center that counts: staleness x number of the arrival, from 1."""

    def init(self, model, state):
        return super().init(model, state)._replace(kept=jnp.zeros(len(state.x), jnp.int32))

    def arrive(self, state, job):
        counted = job.staleness(state.kept) * (job.arrival + 1)
        center = state.shared["center"] + counted.astype(state.x.dtype)
        return state._replace(shared={"center": center}, kept=job.read_now(state.kept))


def test_a_job_knows_its_staleness():
    table = timetable(Gamma(3.0), workers=P, arrivals=60, sims=20, seed=3)
    run = simulate(model_of(), Stale(), steps=60, init=0.0)
    equal(run.center[:, 0], table.staleness() @ np.arange(1, 61))


@pytest.fixture
def compilations():
    """A list that grows by one for each program that XLA compiles."""
    names = []

    def listen(event, duration, **details):
        if event == "/jax/core/compile/backend_compile_duration":
            names.append(details.get("fun_name", event))

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield names
    jax.monitoring.unregister_event_duration_listener(listen)


def test_a_protocol_of_ones_own_is_looked_at_anew(compilations):
    """A number that its methods close over: a new value is used at the next call, the same one compiles nothing."""
    factor = 1.0

    class Scaled(AbstractServer):
        def arrive(self, state, job):
            step, v = job.step(job.of(state.x), job.of(state.v), factor)
            center = state.shared["center"] + step[0]
            return state._replace(x=job.put(state.x, center[None]), v=job.put(state.v, v), shared={"center": center})

        def center(self, model, state, mean):
            return factor * state.shared["center"]

    def run():
        return simulate(model_of(law=noise.Silent()), Scaled(), Deterministic(), steps=P)

    gradient = float(jax.grad(lambda x: loss(x[None]))(1.0))
    for factor in (1.0, 0.5):
        made = run()
        np.testing.assert_allclose(made.agents[:, P - 1], 1.0 - factor * ETA * P * gradient, atol=1e-12)
        np.testing.assert_allclose(made.center, factor * made.agents[:, P - 1], atol=1e-12)
        so_far = len(compilations)
        run()
        assert len(compilations) == so_far


@pytest.mark.parametrize(
    "call, words",
    [
        (
            lambda: simulate(model_of(coupling.Elastic(1.0)), AsyncSGD(), steps=5),
            "coupling=Elastic: AsyncSGD has a server",
        ),
        (lambda: simulate(model_of(coupling.Tree(1.0, (2, 2))), EASGD(), steps=5, agents=4), "members"),
        (lambda: simulate(model_of(), PartialBarrier(P + 1), steps=5), f"^size={P + 1}"),
        (lambda: simulate(model_of(), KAsyncSGD(P + 1), steps=5), f"^size={P + 1}"),
        (lambda: Asynchronous(KAsyncSGD(2), failure=0.1), "^failure=0.1"),
        (lambda: simulate(model_of(weak_order=2), AsyncSGD(), steps=5), "weak_order"),
        (lambda: simulate(model_of(), AsyncSGD(), steps=5, until=3.0), "steps=5"),
        (lambda: simulate(model_of(), AsyncSGD(), until=-1.0), "until=-1"),
        (lambda: simulate(model_of(), AsyncSGD(), at=[3.0, 2.0]), "at="),
        (lambda: simulate(model_of(), AsyncSGD()), "steps=None"),
        (lambda: sdesim.simulate(model_of(), until=3.0), "EulerMaruyama"),
        (lambda: Asynchronous("sgd"), "protocol='sgd'"),
        (lambda: Asynchronous(AsyncSGD(), compute=1.0), "compute=1"),
        (lambda: Asynchronous(AsyncSGD(), start="late"), "start='late'"),
        (lambda: Rennala(0), "batch"),
        (lambda: PowerLaw(-1.0), "exponent"),
        (lambda: simulate(model_of(), AsyncSGD(), Gamma(2.0, mean=[1.0, 2.0]), steps=5), "mean"),
    ],
)
def test_bad_input_is_refused_by_name(call, words):
    with pytest.raises((ValueError, TypeError), match=words):
        call()


def test_by_steps_does_not_go_on_by_seconds():
    run = simulate(model_of(), AsyncSGD(), steps=20)
    with pytest.raises(ValueError, match="steps="):
        simulate(model_of(), AsyncSGD(), init=run, until=30.0)
