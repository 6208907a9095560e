"""Batches that come from an iterable in place of arrays."""

import flax.linen as nn
import numpy as np
import pytest

from sdesim import training
from sdesim.asynchrony import Asynchronous, AsyncSGD
from sdesim.training import lazy

pytestmark = [pytest.mark.relaxed, pytest.mark.usefixtures("float32")]  # as users have it

IMAGES = training.synthetic(48, 10, classes=3, size=8)
OPTIONS = dict(agents=2, eta=0.05, batch=4, schedule=training.Constant(), evaluation_batch=5)


class Net(nn.Module):
    @nn.compact
    def __call__(self, x, train=False):
        return nn.Dense(3)(x.reshape(x.shape[0], -1))


def batches(epoch=1, count=11):
    for i in range(count):
        yield IMAGES.train_x[4 * i : 4 * i + 4], IMAGES.train_y[4 * i : 4 * i + 4] + 0 * epoch


def made(data, **more):
    return training.Training(Net(), data, training.algorithm("easgd"), **(OPTIONS | more))


def test_each_agent_takes_the_next_batch(monkeypatch):
    """In portions of two steps, of two runs that see the same; what is left over of a pass is left out."""
    monkeypatch.setattr(lazy, "PORTION", 2 * 2 * 4 * 8 * 8 * 3)
    setup = made(training.Batches([*batches()]), runs=2)._setup
    assert (setup.steps, setup.reader.steps) == (5, 2)
    order = np.zeros((5, 2, 2, 4), np.int32)
    for number in (1, 2):
        setup.reader.begins(number)
        for step in range(5):
            pixels, index, first = setup.handed(order, step)
            for agent in range(2):
                for run in range(2):
                    there = np.asarray(index[step - first, run, agent])
                    place = slice(4 * (2 * step + agent), 4 * (2 * step + agent) + 4)
                    np.testing.assert_array_equal(np.asarray(pixels.x)[there], IMAGES.train_x[place])
                    np.testing.assert_array_equal(np.asarray(pixels.y)[there], IMAGES.train_y[place])
        assert [setup.reader.left(done) for done in range(6)] == [2, 1, 2, 1, 1, 0]
    kept, given = ({image.tobytes() for image in images} for images in (setup.data.train_x, IMAGES.train_x[:44]))
    assert kept == given


@pytest.mark.slow
def test_batches_in_the_order_of_arrays_train_the_same(tmp_path):
    """To the bit; a training that is resumed begins with the next pass."""
    data = training.split(IMAGES, validation=0.0)
    whole = made(data)

    def as_arrays(epoch):
        for step in np.asarray(whole._order(epoch, whole.steps_an_epoch))[:, 0]:
            yield from ((data.train_x[numbers], data.train_y[numbers]) for numbers in step)

    whole.run(2)
    # Of a pass of both agents: every image twice, which have the mean and the deviation of all.
    given = training.Batches(as_arrays, batches=24, test=(IMAGES.test_x, IMAGES.test_y), measured=96)
    run = lambda epochs: training.train(
        Net(), given, training.algorithm("easgd"), epochs=epochs, folder=tmp_path / "kept", resume=True, **OPTIONS
    )
    run(1)
    found = run(2).history
    for name in ("test_loss", "batch_loss", "spread"):
        np.testing.assert_allclose(found[name], whole.history[name], rtol=1e-6, err_msg=name)


@pytest.mark.parametrize(
    ("data", "more", "says"),
    [
        (lambda: training.Batches(batches()), {}, r"^make=.*: must be an iterable that begins anew each time"),
        (lambda: training.Batches(batches), {}, r"^batches=None: must be the batches of an epoch"),
        (
            lambda: training.Batches(batches, batches=12),
            {},
            r"^batches=12: must be at most 11, with which epoch 1 ends",
        ),
        (lambda: training.Batches(batches, batches=11), {"batch": 5}, r"^batch=5: must be 4, as the batches of"),
        (lambda: training.Batches(batches, batches=1), {}, r"^batches=1: must be at least agents=2"),
        (lambda: training.Batches(batches, batches=11), {"deal": training.Dirichlet(1.0)}, r"^deal: must be None"),
        (lambda: training.Batches(batches, batches=11), {"stepper": Asynchronous(AsyncSGD())}, r"^stepper: must be"),
    ],
)
def test_what_cannot_be_trained_on_is_refused(data, more, says):
    with pytest.raises((TypeError, ValueError), match=says):
        made(data(), **more)
