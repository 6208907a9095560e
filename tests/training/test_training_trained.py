"""What `train` gives: the networks of every run, at the end and at their best, which say what was measured of them."""

import flax.linen as nn
import jax
import numpy as np
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


def test_networks_say_what_was_measured_of_them_and_are_kept(tmp_path):
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
