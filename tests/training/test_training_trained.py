"""What `train` gives: the networks of every run, at the end and at their best, which say what was measured of them."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from sdesim import training
from sdesim.results.datasets import read_dataset, write_dataset

pytestmark = [pytest.mark.relaxed, pytest.mark.usefixtures("float32")]  # as users have it


class Small(nn.Module):
    width: int = 16

    @nn.compact
    def __call__(self, x, train: bool = False):
        return nn.Dense(4)(nn.tanh(nn.Dense(self.width)(x.reshape(x.shape[0], -1))))


class Other(nnx.Module):
    def __init__(self, rngs):
        self.layers = nnx.List([nnx.Linear(192, 4, rngs=rngs)])

    def __call__(self, x):
        return self.layers[0](x.reshape(x.shape[0], -1))


IMAGES = training.synthetic(60, 40, classes=4, size=8, noise=90.0)  # few and noisy: a run turns back before its end
DATA = training.split(IMAGES)
RUN = dict(agents=2, runs=2, eta=0.2, batch=12, evaluation_batch=15, schedule=training.Constant())


def train(epochs, **more):
    return training.train(Small(), DATA, training.algorithm("easgd"), epochs=epochs, **RUN, **more)


def equal(one, other):
    jax.tree.map(np.testing.assert_array_equal, one, other)


def test_networks_say_what_was_measured_of_them(tmp_path):
    whole = train(6, folder=tmp_path)
    assert whole.best.epoch.tolist() == [6, 5]
    loaded = training.Trained.load(tmp_path, Small())
    equal((loaded.best, loaded.last), (whole.best, whole.last))
    said = loaded.predict(IMAGES.test_x[:30], run=1)  # of whole batches
    measured = whole.history["test_accuracy"].sel(model="center").values[5, 1]
    assert (said.argmax(-1) == IMAGES.test_y[:30]).mean() == pytest.approx(measured)


@pytest.mark.slow
def test_networks_of_all_and_where_a_training_is_resumed(tmp_path):
    whole, told = train(6), []
    loss = whole.history["validation_loss"].sel(model="center").values
    assert whole.best.epoch.tolist() == loss.argmin(axis=0).tolist() == [6, 5]
    for epoch, at in (("best", whole.best.epoch), ("last", [6, 6])):
        for run in range(2):
            for place, of in enumerate((0, 1, "center")):
                said = whole.predict(IMAGES.test_x, of, run=run, epoch=epoch)
                measured = whole.history["test_accuracy"].values[at[run], run, place]
                told.append((said[:30].argmax(-1) == IMAGES.test_y[:30]).mean() - measured)  # of whole batches
    np.testing.assert_allclose(told, 0, atol=1e-6)
    first, second, mean = (whole.parameters(of, run=1)["Dense_0"]["kernel"] for of in (0, 1, "quorum"))
    np.testing.assert_allclose(mean, (first + second) / 2, rtol=1e-6)
    assert Small().apply({"params": whole.parameters()}, np.zeros((1, 8, 8, 3))).shape == (1, 4)

    train(5, folder=tmp_path)  # with the best of one run
    resumed = train(6, folder=tmp_path, resume=True)
    loaded = training.Trained.load(tmp_path, Small())
    for one in (resumed, loaded):
        equal(one.best, whole.best)
        equal(one.last, whole.last)
        equal(one.predict(IMAGES.test_x), whole.predict(IMAGES.test_x))
    with pytest.raises(ValueError, match=r"^network: must be that of the training, .* \(16, 4\), .* \(5, 4\)"):
        training.Trained.load(tmp_path, Small(5))

    # A checkpoint of before networks were kept: it goes on, and what comes is compared from then on.
    old = training.Training(Small(), DATA, training.algorithm("easgd"), **RUN)
    old.resume(tmp_path)
    kept, old._kept = old._kept, lambda at: kept(at)[:2]
    old.save(tmp_path / "old")
    history = read_dataset(tmp_path / "old" / "history.nc")
    del history.attrs["checkpoint_parts"]
    write_dataset(history, tmp_path / "old" / "history.nc")
    with pytest.raises(ValueError, match=r"before networks were kept.*; an epoch more, with resume=True, writes them"):
        training.Trained.load(tmp_path / "old", Small())
    on = train(7, folder=tmp_path / "old", resume=True)
    equal(on.last, train(7, folder=tmp_path, resume=True).last)
    assert set(on.best.epoch) <= {6, 7}


@pytest.mark.slow
def test_networks_of_nnx_and_rows_in_their_own_units(tmp_path):
    trained = training.train(Other, DATA, training.algorithm("qsgd"), folder=tmp_path, epochs=1, batch=12)
    module = Other(nnx.Rngs(0))
    nnx.update(module, trained.parameters(0))
    said = module((IMAGES.test_x - DATA.mean) / DATA.std)
    np.testing.assert_allclose(trained.predict(IMAGES.test_x, 0), said, rtol=1e-4, atol=1e-5)
    equal(training.Trained.load(tmp_path, Other).parameters(), trained.parameters())

    rows = training.diabetes()
    options = dict(epochs=3, batch=32, evaluation_batch=len(rows.test_y))
    trained = training.train(
        training.Perceptron(hidden=(8,)), training.split(rows), training.algorithm("sgd"), **options
    )
    wrong = ((trained.predict(rows.test_x, epoch="last") - rows.test_y) ** 2).mean() / rows.test_y.var()
    assert 1 - wrong == pytest.approx(float(trained.history["test_r2"].sel(model="center")[-1, 0]), abs=1e-5)
    for bad, said in (
        ({"samples": rows.test_x[:, :3]}, r"^samples=.*: must be rows as the training's, of shape \(n, 10\)"),
        ({"samples": IMAGES.test_x}, "^samples="),
        ({"of": 1}, r"^of=1: must be an integer from 0 to 0"),
        ({"of": "mean"}, "^of='mean': .*known: center, quorum"),
        ({"run": 1}, "^run=1: "),
        ({"epoch": 2}, "^epoch=2: "),
    ):
        with pytest.raises((ValueError, TypeError), match=said):
            trained.predict(**{"samples": rows.test_x, **bad})
    with pytest.raises(FileNotFoundError, match=r"^folder=.*: must keep a training"):
        training.Trained.load(tmp_path / "none", Other)


def test_a_loss_metrics_and_arrays_of_ones_own():
    """What is trained and measured, against the same by hand of what the network says."""
    rows = training.diabetes()
    close = lambda said, y: jnp.abs(said - y) < 0.5
    own = dict(loss=optax.losses.huber_loss, metrics={"close": close, "bias": lambda said, y: (said - y).mean()})
    options = dict(
        epochs=2, batch=32, evaluation_batch=len(rows.test_y), weight_decay=0.0, schedule=training.Constant()
    )
    go = lambda data, **more: training.train(
        training.Perceptron(hidden=()), data, training.algorithm("sgd"), **options, **more
    )
    trained = go(tuple(rows[:4]), **own)
    data, measured = training.split(rows), trained.history.isel(epoch=-1, run=0).sel(model="center")
    said, y = (
        (v - data.target_mean) / data.target_std for v in (trained.predict(rows.test_x, epoch="last"), rows.test_y)
    )
    wrong = np.abs(said - y)
    by_hand = {"loss": np.where(wrong < 1, wrong**2 / 2, wrong - 0.5), "close": wrong < 0.5, "bias": said - y}
    for name, values in by_hand.items():
        assert float(measured[f"test_{name}"]) == pytest.approx(values.mean(), rel=1e-4, abs=1e-6)
    assert trained.history["validation_close"].attrs["long_name"] == "mean close on validation rows"
    for bad, wrong in (
        ({"loss": 3}, r"^loss=3: must be a function"),
        ({"loss": lambda said: said}, r"^loss: fails on what the network says"),
        ({"metrics": close}, r"^metrics=.*: must be functions by their names"),
        ({"metrics": {"loss": close}}, r"^metrics: .*'loss' is no name that is free"),
        ({"metrics": {"a": lambda said, y: "text"}}, r"^metrics: a: fails"),
    ):
        with pytest.raises((TypeError, ValueError), match=wrong):
            go(data, **bad)


@pytest.mark.slow
def test_half_the_loss_at_twice_the_rate_is_the_same_training():
    data = training.split(training.diabetes())
    go = lambda **more: training.train(
        training.Perceptron(hidden=()), data, training.algorithm("sgd"), epochs=2, batch=32, **more
    )
    half = go(loss=lambda said, y: (said - y) ** 2 / 2, eta=0.04)
    np.testing.assert_allclose(2 * half.history["test_loss"], go(eta=0.02).history["test_loss"], rtol=1e-5)


def test_event_files_have_the_history(tmp_path):
    """Written by two runs of a training, the second of which repeats what a crash had left ahead of the checkpoint."""
    from tensorboardX.proto.event_pb2 import Event

    class Crash(training.Callback):
        def after_epoch(self, one):
            if one.epochs_done == 2:
                raise RuntimeError("power is gone")

    log = lambda: training.TensorBoard(tmp_path / "log")
    one = training.Training(Small(), DATA, training.algorithm("easgd"), **RUN)
    one.run(1, [training.Keep(tmp_path / "kept"), log()])
    with pytest.raises(RuntimeError):
        one.run(2, [log(), Crash()])
    history = train(3, folder=tmp_path / "kept", resume=True, callbacks=[log()]).history
    found = {}
    paths = sorted((tmp_path / "log" / "run-1").iterdir())
    assert len(paths) == 3  # also of two that begin within a second
    for path in paths:
        blob = path.read_bytes()
        while blob:  # length, its checksum, the event, its checksum
            length = int.from_bytes(blob[:8], "little")
            event, blob = Event.FromString(blob[12 : 12 + length]), blob[16 + length :]
            if event.session_log.status == event.session_log.START:  # what was written of later epochs is void
                found = {at: value for at, value in found.items() if at[1] < event.step}
            for value in event.summary.value:
                assert (value.tag, event.step) not in found
                found[value.tag, event.step] = value.simple_value
    of_run = history.isel(run=1)
    for epoch in range(4):
        here = of_run.sel(epoch=epoch)
        assert found["test_loss/center", epoch] == here["test_loss"].sel(model="center")
        assert found["test_loss/agents", epoch] == pytest.approx(float(here["test_loss"][:2].mean()), rel=1e-6)
        assert found["spread_by_layer/Dense_0", epoch] == here["spread_by_layer"].sel(layer="Dense_0")
    assert ("batch_loss/agents", 1) in found and ("batch_loss/agents", 0) not in found  # which is not a number
    with pytest.raises(TypeError, match=r"^folder=3: must be the name of a folder"):
        training.TensorBoard(3)
