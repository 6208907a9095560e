"""What is recorded of asynchronous runs: gradients, bytes, the computation tree, averages over a server's updates."""

import functools

import numpy as np
import pytest

import sdesim
from sdesim import coupling, noise, observe
from sdesim.asynchrony import (
    EASGD,
    AbstractServer,
    Asynchronous,
    AsyncSGD,
    Bytes,
    Deterministic,
    Downpour,
    Exponential,
    Gamma,
    Gossip,
    Gradients,
    KAsyncSGD,
    Link,
    MomentumDownpour,
    PartialBarrier,
    PowerLaw,
    Rennala,
    Ringmaster,
    Timetable,
    computation,
    timetable,
)

P, SIMS, N, SEED = 5, 4, 120, 3
LAW = Gamma(2.0, mean=np.array([0.3, 1.0, 1.0, 1.0, 4.0]))  # a fast worker and a slow one


def run_of(protocol, rule=None, **more):
    rule = rule or coupling.Uncoupled()
    model = sdesim.Dynamics(sdesim.objectives.Quadratic(1.0), rule, noise.Gaussian(1.0), eta=0.05)
    start = {} if "init" in more else {"agents": P, "sims": SIMS, "init": 1.0, "seed": SEED}
    return sdesim.simulate(model, stepper=Asynchronous(protocol, compute=LAW), **{**start, **more})


PROTOCOLS = {
    "sgd": lambda: AsyncSGD(),
    "downpour": lambda: Downpour(3),
    "rennala": lambda: Rennala(4),
    "ringmaster": lambda: Ringmaster(3),
    "k-async": lambda: KAsyncSGD(3),
    "easgd": lambda: EASGD(2),
    "barrier": lambda: PartialBarrier(4),
    "gossip": lambda: Gossip(2),  # two messages an exchange: one of who begins it, one of its partner
}
DIMS, DOWN, RATE = 2, 1000.0, 0.1


@functools.cache
def watched(name):
    """A run of a protocol with all that can be recorded, after every arrival."""
    rule = {"easgd": coupling.Elastic(1.0), "barrier": coupling.Quorum(1.0), "gossip": coupling.Quorum(1.0)}.get(name)
    watch = [observe.Center(), Gradients(), Bytes(down=DOWN), observe.RunningMean(), observe.MovingAverage(RATE)]
    run = run_of(PROTOCOLS[name](), rule, steps=N, every=1, dims=DIMS, observe=watch)
    return {key: np.asarray(value) for key, value in run.observed.items()}


def table_of(protocol, **more):
    return timetable(LAW, workers=P, arrivals=N, sims=SIMS, seed=SEED, barrier=protocol.barrier, **more)


class Events:
    """One simulation of a server whose points have names, event by event: which gradients each point is made of."""

    def __init__(self, table, sim):
        self.center, self.x = (), [()] * P  # points, as the gradients on the way from the root
        self.read = [0] * P
        self.used, self.got, self.version = [], [], 0
        self.worker = table.worker[sim].tolist()

    def apply(self, gradients):
        """Each moves the main branch by one edge."""
        for arrival, taken in gradients:
            common = next((i for i, (a, b) in enumerate(zip(self.center, taken, strict=False)) if a != b), None)
            common = min(len(self.center), len(taken)) if common is None else common
            self.used.append((arrival, len(self.center) - common, len(taken) - common))
            self.center = (*self.center, arrival)


def events_of(name, table, sim, number):
    world, pending = Events(table, sim), [[] for _ in range(P)]
    for n, i in enumerate(world.worker):
        taken = world.x[i]
        if name == "sgd":
            world.apply([(n, taken)])
        elif name == "downpour":
            pending[i].append((n, taken))
            world.x[i] = (*taken, n)
            if len(pending[i]) < number:
                continue
            world.apply(pending[i])
            pending[i] = []
        elif name == "rennala":
            if world.read[i] == world.version:
                world.got.append((n, taken))
            if len(world.got) == number:
                world.apply(world.got)
                world.got, world.version = [], world.version + 1
            world.read[i] = world.version
        elif name == "ringmaster":
            if len(world.center) - world.read[i] < number:
                world.apply([(n, taken)])
            world.read[i] = len(world.center)
        elif name == "k-async":
            world.got.append((n, taken))
            if len(world.got) < number:
                continue
            there = [world.worker[m] for m, _ in world.got]
            world.apply(world.got)
            world.got = []
            for j in there:
                world.x[j] = world.center
            continue
        world.x[i] = world.center
    return world


SUMS = {"sgd": 1, "downpour": 3, "rennala": 4, "ringmaster": 3, "k-async": 3}


@pytest.mark.parametrize("name", SUMS)
def test_the_tree_is_that_of_a_plain_program(name):
    protocol = PROTOCOLS[name]()
    table = table_of(protocol)
    for sim in range(2):
        tree, world = computation(protocol, table, sim), events_of(name, table, sim, SUMS[name])
        np.testing.assert_array_equal(np.stack([tree.arrival, tree.staleness, tree.aside], axis=1), world.used)
        used = np.array(world.used)
        assert tree.radius == used[:, 1:].max() and tree.tau_max == used[:, 1].max()
        assert tree.tau_avg == used[:, 1].mean()


def test_what_the_tree_says_of_protocols():
    table = table_of(AsyncSGD())
    tree = computation(AsyncSGD(), table)
    np.testing.assert_array_equal(tree.staleness, table.staleness()[0])  # R of AsyncSGD is its staleness
    assert tree.radius == table.staleness()[0].max() and not tree.aside.any()
    assert computation(AsyncSGD(PowerLaw(1.0)), table).radius == tree.radius  # another rate is no other tree
    assert computation(Rennala(4), table).radius == 3  # a batch of one point: 0, 1, 2, 3
    assert computation(Ringmaster(3), table).tau_max == 2  # fewer than 3
    assert computation(Downpour(3), table).aside.max() == 2
    barrier = computation(KAsyncSGD(P), table_of(KAsyncSGD(P)))
    np.testing.assert_array_equal(barrier.staleness, np.arange(N) % P)
    assert np.isnan(computation(Rennala(N + 1), table).tau_avg)


class Smoothed(AbstractServer):
    """Of the documents: each gradient moves the server twice."""

    def init(self, model, state):
        state = super().init(model, state)
        return state._replace(shared={**state.shared, "last": 0 * state.x[0]})

    def arrive(self, state, job):
        step, _ = job.step(job.of(state.x), job.of(state.v))
        center = state.shared["center"] + (step[0] + state.shared["last"]) / 2
        return state._replace(x=job.put(state.x, center[None]), shared={"center": center, "last": step[0]})


@pytest.mark.parametrize("protocol", [EASGD(), Gossip(), PartialBarrier(2), MomentumDownpour(0.5), Smoothed()])
def test_what_sums_no_gradients_has_no_tree(protocol):
    with pytest.raises(ValueError, match=r"protocol=.*no sum of gradients"):
        computation(protocol, table_of(AsyncSGD()))


def test_a_tree_is_refused_where_there_is_no_room_for_it():
    with pytest.raises(MemoryError, match=r"memory='1kB'.*120 arrivals of 5 workers"):
        computation(AsyncSGD(), table_of(AsyncSGD()), memory="1kB")


# -- gradients and bytes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["rennala", "ringmaster", "sgd"])
def test_gradients_are_counted_as_a_plain_program_does(name):
    seen = watched(name)["gradients"]
    assert seen.dtype.kind == "i" and (seen.sum(axis=-1) == np.arange(N + 1)).all()
    for sim in range(SIMS):
        world = events_of(name, table_of(PROTOCOLS[name]()), sim, SUMS[name])
        assert seen[sim, -1, 0] == len(world.used) + len(world.got)
    assert (seen[:, -1, 1] > 0).all() == (name != "sgd")


@pytest.mark.parametrize("name", PROTOCOLS)
def test_bytes_are_those_of_the_messages(name):
    protocol, seen = PROTOCOLS[name](), watched(name)["bytes"]
    table, period = table_of(protocol), int(getattr(protocol, "period", 1))
    sent = np.cumsum((table.job + 1) % period == 0, axis=1)
    answered = sent if protocol.barrier is None else sent // protocol.barrier * protocol.barrier
    np.testing.assert_array_equal(seen[:, 1:, 0], sent * DIMS * 8)  # the numbers of a test are float64
    np.testing.assert_array_equal(seen[:, 1:, 1], answered * DOWN)
    assert not seen[:, 0].any()


@pytest.mark.usefixtures("float32")
def test_counts_go_on_and_are_the_same_by_seconds():
    protocol, rule = EASGD(3), coupling.Elastic(1.0)
    watch = [Gradients(), Bytes()]
    whole = run_of(protocol, rule, steps=N, every=1, observe=watch)
    first = run_of(protocol, rule, steps=50)  # watched by nobody
    rest = run_of(protocol, rule, init=first, steps=N - 50, every=1, observe=watch)
    seconds = run_of(protocol, rule, at=[2.0, 5.0], observe=watch)
    table = table_of(protocol)
    for name in ("gradients", "bytes"):
        np.testing.assert_array_equal(rest.observed[name], np.asarray(whole.observed[name])[:, 50:])
        for sim in range(SIMS):
            arrived = [int((table.time[sim] < t).sum()) for t in (0.0, 2.0, 5.0)]
            assert max(arrived) < N
            np.testing.assert_array_equal(seconds.observed[name][sim], np.asarray(whole.observed[name])[sim, arrived])


def test_agents_that_step_together_have_no_messages():
    model = sdesim.Dynamics(sdesim.objectives.Quadratic(1.0))
    for watch in (Gradients(), Bytes()):
        with pytest.raises(ValueError, match=f"observe={type(watch).__name__}"):
            sdesim.iterate(model, agents=2, steps=10, observe=watch)


def test_a_swept_period_has_its_own_bytes():
    model = sdesim.Dynamics(sdesim.objectives.Quadratic(1.0), noise=noise.Gaussian(1.0), eta=0.05)
    data = sdesim.sweep(
        model,
        {"stepper.protocol.period": [1, 4]},
        stepper=Asynchronous(Downpour(), compute=Deterministic()),
        **dict(agents=P, sims=2, steps=40 * P, every=40 * P, observe=Bytes(up=1.0, down=1.0)),
    )
    assert (data["bytes"].isel(step=-1).values == np.array([40 * P, 10 * P]).reshape(2, 1, 1)).all()


# -- messages of a size ------------------------------------------------------------------------------------------------


def test_a_link_takes_its_latency_and_a_time_for_each_byte():
    plain = timetable(Exponential(), workers=P, arrivals=200, sims=3, seed=1)
    link = Link(size=200.0, bandwidth=400.0)
    slow = timetable(Exponential(), workers=P, arrivals=200, sims=3, seed=1, uplink=link)
    for sim in range(3):
        for i in range(P):
            late = slow.time[sim][slow.worker[sim] == i]
            soon = plain.time[sim][plain.worker[sim] == i]
            both = min(late.size, soon.size)  # one that is late lets others come first
            np.testing.assert_allclose(late[:both], soon[:both] + 0.5 * np.arange(1, both + 1), rtol=1e-12)
    link = Link(1e3, np.array([1e3, 1e6]), Exponential(mean=0.2))
    one = timetable(Exponential(), workers=2, arrivals=50, uplink=link)
    same = timetable(Exponential(), workers=2, arrivals=50, uplink=Exponential(mean=0.2))
    first = lambda table, i: table.time[0][table.worker[0] == i][0]
    assert first(one, 0) == pytest.approx(first(same, 0) + 1.0) and first(one, 1) == pytest.approx(
        first(same, 1) + 1e-3
    )


def test_a_link_of_a_period_sends_with_the_protocol():
    link = Link(size=2.0, bandwidth=1.0, period=3)
    table = timetable(Deterministic(), workers=1, arrivals=7, uplink=link, downlink=link)
    np.testing.assert_allclose(table.time[0], [1, 2, 5, 8, 9, 12, 15])  # a job, two seconds up, two down
    assert link.average == pytest.approx(2 / 3)


def test_a_link_sends_when_the_protocol_does():
    """Its period is that of the protocol, in every point of a sweep; another one is refused."""
    model = sdesim.Dynamics(sdesim.objectives.Quadratic(1.0), noise=noise.Gaussian(1.0), eta=0.05)
    of = lambda period, link: Asynchronous(Downpour(period), compute=LAW, uplink=link, downlink=link)
    how = dict(agents=P, sims=2, steps=60, every=60, observe=observe.Center())
    data = sdesim.sweep(model, {"stepper.protocol.period": [1, 4]}, stepper=of(2, Link(1.0, 2.0)), **how)
    for i, period in enumerate((1, 4)):
        said = sdesim.simulate(model, stepper=of(period, Link(1.0, 2.0, period=period)), **how)
        table = timetable(
            LAW, workers=P, arrivals=60, sims=2, **dict.fromkeys(("uplink", "downlink"), Link(1.0, 2.0, period=period))
        )
        np.testing.assert_allclose(said.observed["time"][:, -1], table.time[:, -1])
        np.testing.assert_allclose(np.asarray(data["center"])[i], said.center, rtol=0, atol=1e-12)
    for make, words in (
        (lambda: of(4, Link(1.0, 1.0, period=3)), "^uplink.period=3: must be left out, or .* is 4"),
        (lambda: Asynchronous(AsyncSGD(), downlink=Link(1.0, 1.0, period=2)), "^downlink.period=2: .* is 1"),
    ):
        with pytest.raises(ValueError, match=words):
            make()


def test_bad_links_are_refused():
    with pytest.raises(ValueError, match="bandwidth=0"):
        Link(1.0, 0.0)
    with pytest.raises(ValueError, match=r"mean=.*left out"):
        Link(1.0, 1.0, mean=2.0)
    with pytest.raises(TypeError, match="latency=3"):
        Link(1.0, 1.0, latency=3.0)
    with pytest.raises(ValueError, match="period=0"):
        Link(1.0, 1.0, period=0)
    with pytest.raises(ValueError, match="compute="):
        timetable(Link(1.0, 1.0), workers=3, arrivals=4, start="stationary")
    with pytest.raises(ValueError, match="size"):
        timetable(Exponential(), workers=3, arrivals=4, uplink=Link([1.0, 2.0], 1.0))


# -- Z's averages ------------------------------------------------------------------------------------------------------


def averaged(centers, rate):
    """z of the recursion of Z, chapter 4, over the centers before each update, (updates + 1, ...)."""
    z = np.array(centers[0], float)
    for t, c in enumerate(centers[:-1]):
        z = z + (1 / (t + 1) if rate is None else rate) * (c - z)
    return z


@pytest.mark.parametrize("name", SUMS)
def test_averages_of_a_server_run_on_its_clock(name):
    run = watched(name)
    for sim in range(SIMS):
        center = run["center"][sim]
        updates = center[np.concatenate([[True], (np.diff(center, axis=0) != 0).any(axis=1)])]
        assert len(updates) > N // 8
        for average, rate in (("running_mean", None), ("moving_average", RATE)):
            np.testing.assert_allclose(run[f"{average}_point"][sim], averaged(updates, rate), rtol=0, atol=1e-12)


AVERAGES = [observe.RunningMean(), observe.MovingAverage(RATE)]


def test_averages_by_seconds_are_those_of_the_arrivals():
    moment = 6.0
    run = run_of(Downpour(2), at=[2.0, moment], observe=AVERAGES)
    for sim in range(2):
        count = int((table_of(Downpour()).time[sim] < moment).sum())
        one = run_of(Downpour(2), sims=1, first_sim=sim, steps=count, every=1, observe=AVERAGES)
        for name in ("running_mean_point", "moving_average_point"):
            np.testing.assert_allclose(run.observed[name][sim], one.observed[name][0], rtol=0, atol=1e-13)


@pytest.mark.usefixtures("float32")
def test_an_average_hangs_on_its_simulation_alone():
    whole = run_of(Downpour(2), sims=300, steps=N, observe=AVERAGES, every=N)
    part = run_of(Downpour(2), sims=40, first_sim=260, steps=N, observe=AVERAGES, every=N)
    for name in ("running_mean_point", "moving_average_point"):
        np.testing.assert_array_equal(part.observed[name], np.asarray(whole.observed[name])[260:])


def test_bad_rates_of_averages_are_refused():
    for bad in (-0.1, 1.5, [0.1, 0.2]):
        with pytest.raises(ValueError, match="rate"):
            observe.MovingAverage(bad)


# -- the picture -------------------------------------------------------------------------------------------------------


def bars_of(table, **more):
    """Of each kind, the seconds of each worker."""
    from matplotlib.figure import Figure

    from sdesim import plot

    axes = Figure().subplots()
    plot.timeline(table, ax=axes, **more)
    found = {}
    for bars in axes.containers:
        seconds = np.zeros(table.workers)
        for bar in bars:
            seconds[round(bar.get_y() + bar.get_height() / 2)] += bar.get_width()
        found[bars.get_label()] = seconds
    return found, axes


def test_a_timeline_shows_what_workers_did():
    up, down = Link(1.0, 5.0), Exponential(mean=0.3)
    law = Deterministic(mean=np.array([1.0, 2.0, 0.5]))
    table = timetable(law, workers=3, arrivals=60, sims=2, seed=4, first_sim=7, uplink=up, downlink=down)
    found, axes = bars_of(table, sim=1, uplink=up, downlink=down, seed=4, first_sim=7)
    jobs = np.bincount(table.worker[1], minlength=3)
    np.testing.assert_allclose(found["computes"], jobs * [1.0, 2.0, 0.5], rtol=1e-9)
    np.testing.assert_allclose(found["sends"], jobs * 0.2, rtol=1e-9)
    assert set(found) == {
        "computes",
        "sends",
        "is answered",
    }  # nobody waits for anybody, and the answers close the gaps
    assert axes.get_xlim() == (0.0, table.time[1, -1])
    assert (
        "waits" in bars_of(table, sim=1, uplink=up, downlink=down, seed=5, first_sim=7)[0]
    )  # of another seed they do not


def test_a_timeline_shows_who_waits_and_what_is_lost():
    table = timetable(Deterministic(mean=np.array([1.0, 3.0])), workers=2, arrivals=8, barrier=2)
    found, _ = bars_of(table)
    np.testing.assert_allclose(found["computes"], [4.0, 12.0])
    np.testing.assert_allclose(found["waits"], [6.0, 0.0])
    late, _ = bars_of(table, window=(3.0, 6.0))
    np.testing.assert_allclose(late["computes"], [1.0, 3.0])
    lossy = timetable(Deterministic(), workers=3, arrivals=60, failure=0.4)
    found, _ = bars_of(lossy)
    last = [lossy.job[0][lossy.worker[0] == i][-1] + 1 for i in range(3)]
    np.testing.assert_allclose(found["computes"] + found["job lost"], last)
    np.testing.assert_allclose(found["computes"], np.bincount(lossy.worker[0]))
    assert "waits" not in found


def test_a_timeline_needs_to_know_when_jobs_began():
    table = timetable(Deterministic(), workers=2, arrivals=4)
    bare = Timetable(table.time, table.worker, table.job, 2)
    with pytest.raises(ValueError, match="table: its began"):
        bars_of(bare)
    with pytest.raises(ValueError, match=r"window\[0\]"):
        bars_of(table, window=(2.0, 1.0))
    with pytest.raises(ValueError, match="sim=1"):
        bars_of(table, sim=1)
