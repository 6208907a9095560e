"""The trainer: its step is the simulator's, its runs depend on themselves alone, and what is interrupted goes on."""

import dataclasses
import functools
import warnings

import catalogue
import equinox as eqx
import flax.linen as nn
import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import sdesim
from sdesim import coupling, training
from sdesim.training import step as steps

pytestmark = [pytest.mark.relaxed, pytest.mark.usefixtures("float32")]  # as users have it


class Small(nn.Module):
    """A user's own network, without anything random."""

    classes: int = 4

    @nn.compact
    def __call__(self, x, train: bool = False):
        x = nn.tanh(nn.Dense(12)(x.reshape(x.shape[0], -1)))
        return nn.Dense(self.classes)(x)


DATA = training.split(training.synthetic(400, 100, classes=4, size=8, noise=30.0))
RUN = dict(eta=0.05, epochs=2, batch=16, evaluation_batch=20, schedule=training.Constant())


@functools.cache
def trained(name: str, agents: int, **changed):
    options = {**RUN, **changed}
    return training.train(Small(), DATA, training.algorithm(name), agents=agents, **options).history


# -- one definition ----------------------------------------------------------------------------------------------------

RULES = catalogue.some(
    catalogue.rules(4), "quorum", "elastic", "tree", "saturating", "spiking", "outer", "mixing-turns", "streaming"
)


class Convolutional(nn.Module):
    """A convolutional network small enough that its parameters are a point of the simulator."""

    @nn.compact
    def __call__(self, x, train: bool = False):
        x = training.networks.max_pool(nn.relu(training.networks.Convolution(3, (3, 3))(x)))
        return nn.Dense(3)(training.networks.BatchNorm()(x).reshape(x.shape[0], -1))


@pytest.mark.parametrize("order", coupling.ORDERS)
@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("name", RULES)
def test_a_step_of_the_trainer_is_a_step_of_the_simulator(name, momentum, order):
    """The same loss of the same parameters, as a network's and as a point's: both step the same rule."""
    rule, eta, agents, taken = RULES[name](), 0.05, 4, 5
    images = training.synthetic(12, 1, classes=3, size=6)
    x, y = jnp.asarray(images.train_x / 128.0 - 1, jnp.float32), jnp.asarray(images.train_y, jnp.int32)
    network = Convolutional()
    first = network.init(jax.random.key(0), x)["params"]
    flat, unravel = jax.flatten_util.ravel_pytree(first)

    def loss(point):
        logits = network.apply({"params": unravel(point)}, x)
        return -jnp.mean(jax.nn.log_softmax(logits)[jnp.arange(12), y])

    starts = flat + 0.3 * jax.random.normal(jax.random.key(1), (agents, flat.size))
    model = sdesim.Dynamics(loss, rule, eta=eta, momentum=sdesim.Nesterov(momentum) if momentum else None)
    epoch = taken if rule.renews else None
    expected = sdesim.iterate(
        model, agents=agents, dims=flat.size, steps=taken, init=starts, order=order, epoch=epoch, fast=False
    )
    algorithm = training.Algorithm(rule, momentum, order=order)
    params = jax.vmap(unravel)(starts)
    optimizer = algorithm.coupling().renew(params, algorithm.optimizer().init(params), jax.vmap(loss)(starts))
    rates = jnp.full(agents, eta)

    def gradients_at(point):
        return jax.vmap(jax.grad(lambda p: loss(jax.flatten_util.ravel_pytree(p)[0])))(point), None

    for _ in range(taken):
        params, optimizer, _ = steps.agents_step(algorithm, gradients_at, params, optimizer, rates)
    found = jax.vmap(lambda p: jax.flatten_util.ravel_pytree(p)[0])(params)
    assert np.abs(found - starts).max() > 1e-2
    np.testing.assert_allclose(found, expected.agents[0], rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("name", [name for name in RULES if name != "mixing-turns"])
def test_the_order_of_the_agents_means_nothing(name):
    """Agents exchanged, everything is exchanged; in the tree, within one parent."""
    algorithm, order = training.Algorithm(RULES[name](), 0.9), jnp.asarray([1, 0, 3, 2])
    params = {"w": jax.random.normal(jax.random.key(0), (4, 5, 2))}
    slope = lambda point: (jax.tree.map(lambda a: a**3 - a, point), None)
    step = lambda p: steps.agents_step(algorithm, slope, p, algorithm.optimizer().init(p), jnp.full(4, 0.1))[0]["w"]
    np.testing.assert_allclose(step({"w": params["w"][order]}), step(params)[order], rtol=1e-6)


def test_downpour_of_one_agent_is_sgd():
    downpour, sgd = trained("downpour", 1), trained("sgd", 1)
    for name in ("validation_loss", "test_accuracy", "batch_loss"):
        one, other = (d[name] if name == "batch_loss" else d[name].isel(model=0) for d in (downpour, sgd))
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_momentum_downpour_of_one_agent_is_msgd():
    np.testing.assert_allclose(trained("mdownpour", 1).batch_loss, trained("msgd", 1).batch_loss, rtol=1e-5)


def test_averages_of_one_agent_leave_it_alone_and_are_averages():
    sgd, asgd = trained("sgd", 1, epochs=1), trained("asgd", 1, epochs=1)
    np.testing.assert_allclose(asgd.validation_loss.isel(model=0), sgd.validation_loss.isel(model=0), rtol=1e-5)
    path, rule = np.arange(5.0), training.algorithm("asgd")(1, 0.05, 20)
    average = path[0]
    for n, new in enumerate(path[1:]):
        average = rule.weight(n) * average + (1 - rule.weight(n)) * new
    assert average == pytest.approx(path.mean())


# -- runs --------------------------------------------------------------------------------------------------------------


def test_agents_without_coupling_are_single_runs():
    together = training.train(Small(), DATA, training.algorithm("qsgd", k=0.0), agents=3, **RUN).history
    alone = trained("msgd", 1)
    np.testing.assert_allclose(together.batch_loss.isel(agent=0), alone.batch_loss.isel(agent=0), rtol=1e-4)
    assert np.ptp(together.batch_loss.values[1]) > 1e-3  # the others start elsewhere and see other batches


def test_a_run_does_not_depend_on_which_others_there_are():
    two = trained("easgd", 2, runs=2)
    other = training.train(Small(), DATA, training.algorithm("easgd"), agents=2, runs=[1], **RUN).history
    np.testing.assert_allclose(two.batch_loss.isel(run=1), other.batch_loss.isel(run=0), rtol=1e-4)
    assert np.abs(two.batch_loss.isel(run=0) - two.batch_loss.isel(run=1)).max() > 1e-3


def test_runs_may_differ_in_numbers():
    """A sweep of gains and rates is one program; each run is the one of its own numbers."""
    gains, rates = np.array([0.0, 4.0]), np.array([0.02, 0.05])
    algorithm = training.Algorithm(coupling.Quorum(gains), 0.5)
    both = training.train(Small(), DATA, algorithm, agents=2, runs=[0, 0], **{**RUN, "eta": rates}).history
    for i, (k, eta) in enumerate(zip(gains, rates, strict=True)):
        one = training.train(
            Small(), DATA, training.Algorithm(coupling.Quorum(k), 0.5), agents=2, **{**RUN, "eta": eta}
        ).history
        np.testing.assert_allclose(both.validation_loss.isel(run=i), one.validation_loss.isel(run=0), rtol=2e-4)
        np.testing.assert_allclose(both.eta.isel(run=i), eta, rtol=1e-6)
    assert both.spread.isel(run=1, epoch=-1) < 0.5 * both.spread.isel(run=0, epoch=-1)


def test_a_diverging_run_ends_alone():
    rates = np.array([0.05, 1e38])
    both = training.train(Small(), DATA, training.algorithm("sgd"), runs=[0, 0], **{**RUN, "eta": rates}).history
    alone = trained("sgd", 1)
    assert both.diverged.values[0] == -1
    assert 0 < both.diverged.values[1] <= 20
    np.testing.assert_allclose(both.batch_loss.isel(run=0), alone.batch_loss.isel(run=0), rtol=1e-4)
    assert not np.isfinite(both.batch_loss.values[-1, 1]).any()


def test_an_agent_of_rate_0_stands_still_alone():
    """No gradient, no pull, no push: the others go on as if it had a rate."""
    rule = training.Algorithm(coupling.Quorum(2.0), 0.9)
    history = training.train(Small(), DATA, rule, agents=2, **{**RUN, "eta": np.array([[0.05, 0.0]])}).history
    goes, still, _ = history.train_loss.values[:, 0].T
    assert np.ptp(still) == 0 and float(goes[-1]) < 0.5 * float(goes[0])
    assert int(history.diverged[0]) == -1
    none = training.train(Small(), DATA, rule, agents=2, **{**RUN, "eta": 0.0}).history
    assert np.ptp(none.spread.values) == 0 and np.ptp(none.test_loss.values, axis=0).max() == 0
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        training.summary(none, "nothing moves")


def test_same_start():
    one, many = trained("easgd", 3, same_start=True, epochs=0), trained("easgd", 3, epochs=0)
    assert one.spread.values[0].max() < 1e-9
    assert many.spread.values[0].min() > 1
    np.testing.assert_allclose(many.spread_by_layer.sum("layer"), many.spread, rtol=1e-6)


def test_each_agent_sees_every_image_once_an_epoch_in_its_own_order():
    words, runs = sdesim.random.seed_words(7), jnp.arange(2, dtype=jnp.uint32)
    order = np.asarray(steps.shuffled(words, jnp.uint32(3), runs, 3, 50))
    assert (np.sort(order, axis=-1) == np.arange(50)).all()
    flat = order.reshape(6, 50)
    assert all((flat[i] != flat[j]).any() for i in range(6) for j in range(i))
    assert (order != np.asarray(steps.shuffled(words, jnp.uint32(4), runs, 3, 50))).any()
    places = np.stack([np.asarray(steps.shuffled(words, jnp.uint32(e), runs, 3, 50))[0, 0] for e in range(400)])
    expected, error = 24.5, 50 / np.sqrt(12 * 400)
    assert (np.abs(places.mean(axis=0) - expected) < 4 * error).all()


def test_gradient_noise_is_the_trace_of_the_covariance():
    """Of a linear network at 0, by hand from each image's own gradient."""

    class Linear(nn.Module):
        @nn.compact
        def __call__(self, x, train: bool = False):
            return nn.Dense(4, kernel_init=nn.initializers.zeros)(x.reshape(x.shape[0], -1))

    few = dict(train_images=20)  # that losses are measured on
    history = training.train(Linear(), DATA, training.algorithm("sgd"), runs=40, **few, **{**RUN, "epochs": 0}).history
    x = ((DATA.train_x - DATA.mean) / DATA.std).reshape(len(DATA.train_y), -1)
    residual = 0.25 - np.eye(4)[DATA.train_y]
    gradients = np.concatenate([(x[:, :, None] * residual[:, None]).reshape(len(x), -1), residual], axis=1)
    exact = ((gradients - gradients.mean(axis=0)) ** 2).sum(axis=1).mean()
    found = history.gradient_noise.values[0, :, 0]
    # two batches of 16 of 320 images, drawn without putting back
    finite = 320 / 319
    assert abs(found.mean() - exact * finite) < 4 * found.std(ddof=1) / np.sqrt(40)


# -- the store ---------------------------------------------------------------------------------------------------------


def test_resume_equals_no_interruption(tmp_path):
    options = dict(agents=2, runs=2, **{**RUN, "schedule": training.Stall(patience=1, tolerance=10.0)})
    algorithm = training.algorithm("sd-qsgd")
    go = lambda **more: training.train(Small(), DATA, algorithm, **{**options, **more}).history
    whole = go(epochs=4)
    go(epochs=2, folder=tmp_path)
    with pytest.raises(FileExistsError, match="holds a training already"):
        go(epochs=4, folder=tmp_path)
    with pytest.raises(FileExistsError, match="other arguments"):
        go(epochs=4, folder=tmp_path, resume=True, seed=1)
    other = DATA._replace(train_x=255 - DATA.train_x)
    with pytest.raises(FileExistsError, match="other arguments or data"):
        training.train(Small(), other, algorithm, **{**options, "epochs": 4, "folder": tmp_path, "resume": True})
    resumed = go(epochs=4, folder=tmp_path, resume=True)
    for name in set(whole.data_vars) - {"seconds"}:
        np.testing.assert_array_equal(whole[name], resumed[name], err_msg=name)
    assert float(whole.eta.min()) < 0.05  # the schedule's state went on too
    with xr.open_dataset(tmp_path / "history.nc") as saved:
        np.testing.assert_array_equal(saved["test_loss"], whole["test_loss"])
        assert saved.attrs["sdesim_version"] == sdesim.__version__
    assert [p.name for p in tmp_path.glob("checkpoint-*")] == ["checkpoint-4"]
    again = go(epochs=4, folder=tmp_path, resume=True)  # there is nothing left to do
    np.testing.assert_array_equal(again["test_loss"], whole["test_loss"])


def test_an_interrupted_epoch_is_done_again(tmp_path):
    algorithm = training.algorithm("easgd")

    def stop(told):
        if told.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        training.train(Small(), DATA, algorithm, agents=2, folder=tmp_path, progress=stop, **{**RUN, "epochs": 3})
    resumed = training.train(
        Small(), DATA, algorithm, agents=2, folder=tmp_path, resume=True, **{**RUN, "epochs": 3}
    ).history
    whole = training.train(Small(), DATA, algorithm, agents=2, **{**RUN, "epochs": 3}).history
    np.testing.assert_array_equal(resumed["validation_loss"], whole["validation_loss"])


# -- learning ----------------------------------------------------------------------------------------------------------


QUICK = ("msgd", "easgd", "downpour", "qsgd", "tree")  # the others take as long


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in training.NAMES])
def test_every_algorithm_learns(name):
    """A network of one hidden layer, some epochs: what is tested is right on 90 % of unseen images, by chance 25 %."""
    agents = 1 if name in ("sgd", "msgd", "asgd", "mvasgd", "filter", "saturating-filter") else 4
    # the sum of four agents' gradients, and four pushes to a center, are four times the step
    eta = 0.0125 if name in ("downpour", "adownpour", "mvadownpour", "mdownpour") else 0.05
    more = dict(average=0.9) if name in ("mvasgd", "mvadownpour", "qsgd", "sd-qsgd") else {}
    algorithm = training.algorithm(name, momentum=0.8, **more)
    epochs = 6 if name in ("asgd", "filter", "saturating-filter") else 3  # their averages remember the start for longer
    history = training.train(Small(), DATA, algorithm, agents=agents, **{**RUN, "eta": eta, "epochs": epochs}).history
    assert float(history.test_accuracy.isel(epoch=0).max()) < 0.6
    assert float(history.test_accuracy.isel(epoch=-1, model=-1, run=0)) > 0.9
    assert int(history.diverged[0]) == -1


def test_a_tree_of_two_levels_learns():
    history = training.train(Small(), DATA, training.algorithm("tree", fanout=(2, 2)), agents=4, **RUN).history
    start = history.test_loss.isel(epoch=0, run=0).values
    assert np.isfinite(start).all() and float(history.test_accuracy.isel(epoch=-1, model=-1, run=0)) > 0.8


def test_defaults_are_the_papers():
    elastic = training.algorithm("easgd")(4, 0.1, 20)
    assert 0.1 * float(elastic.rule.k) == pytest.approx(0.9 / 4) and elastic.rule.center_rate is None
    downpour = training.algorithm("downpour", period=3)(4, 0.1, 20)
    assert (float(downpour.rule.k), float(downpour.rule.center_rate)) == pytest.approx((10.0, 40.0))
    assert (downpour.order, downpour.period) == ("gauss-seidel", 3)
    spike = training.algorithm("sd-qsgd", relaxation=10)(4, 0.1, 50).rule
    assert [float(v) for v in (spike.magnification, spike.relaxation, spike.duration)] == pytest.approx([4, 1, 5])
    assert float(training.algorithm("easgd-wm")(4, 0.1, 20).momentum) == 0


# -- speed -------------------------------------------------------------------------------------------------------------


def test_another_number_does_not_compile_again():
    """The network is looked at anew, and no program of it is traced or compiled again."""
    traced, compiled = [], []

    class Counted(nn.Module):
        @nn.compact
        def __call__(self, x, train: bool = False):
            traced.append(x.shape)
            return nn.Dense(4)(x.reshape(x.shape[0], -1))

    def listen(event, duration, **details):
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(details.get("fun_name", event))

    options = dict(agents=2, batch=16, evaluation_batch=20)
    made = lambda k, **more: training.Training(
        Counted(), DATA, training.Algorithm(coupling.Quorum(k), 0.9), **options, **more
    )
    made(1.0, eta=0.05, seed=0).run(2)
    traced.clear()
    looked = made(1.0)
    assert looked._code and traced
    looks = len(traced)
    traced.clear()
    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        made(2.0, eta=0.02, seed=1).run(2)
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert compiled == [] and len(traced) == looks


def test_task_is_static():
    task = steps.Task(Small())
    assert hash(task) == hash(dataclasses.replace(task)) and eqx.is_array(task) is False
