"""Photographs of a folder of ImageNet's layout, made here; and the network that Zhang trains on them."""

import flax.linen as nn
import jax
import numpy as np
import pytest
from PIL import Image

from sdesim import training
from sdesim.asynchrony import EASGD, Asynchronous, Gamma
from sdesim.training import lazy, photos

pytestmark = [pytest.mark.relaxed, pytest.mark.usefixtures("float32")]  # as users have it

COLORS = {"n01": (200, 30, 40), "n02": (20, 180, 60), "n03": (10, 60, 220)}


@pytest.fixture
def folder(tmp_path):
    """Three classes of photographs of one color each, tall and wide, large and small, one of them gray."""
    sizes = [(90, 50), (40, 120), (400, 300), (64, 64), (33, 500)]
    for part, count in (("train", 5), ("val", 2)):
        for name, color in COLORS.items():
            place = tmp_path / part / name
            place.mkdir(parents=True)
            for i, size in enumerate(sizes[:count]):
                Image.new("RGB", size, color).save(place / f"{name}_{i}.JPEG")
    Image.new("L", (70, 60), 128).save(tmp_path / "train" / "n03" / "n03_9.JPEG")
    return tmp_path


def test_images_are_squares_of_their_classes_in_turn(folder):
    found = training.imagenet(folder, side=32)
    assert found.train_x.shape == (16, 32, 32, 3) and found.test_x.shape == (6, 32, 32, 3)
    assert found.train_y.tolist() == [0, 1, 2] * 5 + [2] and found.test_y.tolist() == [0, 1, 2] * 2
    assert found.outputs == 3
    colors = np.array([*COLORS.values()])[found.train_y[:15]]
    assert np.abs(found.train_x[:15].astype(int) - colors[:, None, None]).max() <= 3  # of JPEG's rounding
    assert np.abs(found.train_x[15].astype(int) - 128).max() <= 1
    few = training.imagenet(folder, 10, side=32)
    np.testing.assert_array_equal(few.train_x, found.train_x[:10])


def test_a_square_is_the_middle_of_the_image(tmp_path):
    """At each scale that a JPEG is decoded at, and of PNG: left and right of a wide image are cut off alike."""
    wide = np.zeros((240, 480, 3), np.uint8)
    wide[:, 120:240], wide[:, 240:360], wide[:, 360:] = 80, 160, 255
    for name in ("a.png", "a.JPEG"):
        Image.fromarray(wide).save(tmp_path / name, quality=95)
        for side in (240, 100, 30):
            seen = photos.square(tmp_path / name, side)[:, :, 0].astype(int)
            assert abs(seen[:, 2 : side // 2 - 2] - 80).max() <= 8 and abs(seen[:, side // 2 + 2 : -2] - 160).max() <= 8


def test_threads_decode_the_same(folder):
    paths = sorted((folder / "train").rglob("*.JPEG"))
    np.testing.assert_array_equal(photos.decoded(paths, 24, threads=1), photos.decoded(paths, 24, threads=3))


def test_what_cannot_be_read_is_named(folder):
    broken = folder / "train" / "n02" / "n02_2.JPEG"
    blob = broken.read_bytes()
    for damaged in (blob[: len(blob) // 2], b"no image", b""):
        broken.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"n02_2\.JPEG: must be an image that can be read whole"):
            training.imagenet(folder, side=16)
    with pytest.raises(ValueError, match=r"gone\.JPEG: must be an image"):
        photos.square(folder / "gone.JPEG", 16)


def test_another_layout_is_refused_by_its_folder(folder):
    with pytest.raises(FileNotFoundError, match=r"nowhere/train is not there; .*train/n01440764"):
        training.imagenet(folder / "nowhere")
    (folder / "val" / "n77").mkdir()
    with pytest.raises(ValueError, match=r"val/n77 has no images"):
        training.imagenet(folder)
    Image.new("RGB", (9, 9)).save(folder / "val" / "n77" / "a.JPEG")
    with pytest.raises(ValueError, match=r"val has the class 'n77', which train must have too"):
        training.imagenet(folder)
    (folder / "val" / "n77").rename(folder / "train" / "n77")
    with pytest.raises(MemoryError, match=r"images=\d+ fit"):
        training.imagenet(folder, side=1 << 18, lazy=False)
    assert isinstance(training.imagenet(folder, side=1 << 18).train_x, training.Lazy)  # what does not fit is not read


def test_the_eleven_layers_have_the_sizes_that_zhang_prints():
    """Maps of Z 4.1, and parameters of around 233 MB (Z 4.3.4)."""
    network = training.ElevenLayer()
    shapes = jax.eval_shape(network.init, jax.random.key(0), np.zeros((1, 221, 221, 3), np.float32))["params"]
    assert shapes["Dense_0"]["kernel"].shape == (6 * 6 * 256, 4096)
    size = sum(leaf.size * 4 for leaf in jax.tree.leaves(shapes))
    assert round(size / 2**20) == 233
    with pytest.raises(TypeError, match=r"^channels=\(1, 2\): must be four whole numbers"):
        training.ElevenLayer(channels=(1, 2))


def test_it_trains_on_such_a_folder(folder):
    """A narrow one, on crops of the least size that its maps allow: some steps, and their measurement."""
    data = training.split(training.imagenet(folder, side=104), validation=0.0)
    network = training.ElevenLayer(3, channels=(2, 2, 3, 2), units=4, weights="kaiming")
    options = dict(agents=2, eta=0.01, batch=4, crop=101, epochs=1, schedule=training.Constant(), evaluation_batch=6)
    history = training.train(network, data, training.algorithm("easgd"), **options).history
    assert np.isfinite(history["test_loss"]).all()


# -- photographs that are decoded as they are needed -------------------------------------------------------------------


class Small(nn.Module):
    @nn.compact
    def __call__(self, x, train=False):
        x = nn.Dropout(0.25, deterministic=not train)(x.reshape(x.shape[0], -1) / 10)
        return nn.Dense(3)(x)


@pytest.mark.parametrize("runs", [2, [7, 7, 3]])
def test_steps_are_handed_the_images_of_their_order(folder, monkeypatch, runs):
    """Whatever the portions, in which order they are asked for, and how many threads read; runs of one number once."""
    monkeypatch.setattr(
        lazy, "PORTION", 3 * 2 * 2 * 2 * 32 * 32 * 3
    )  # three steps of two runs, two agents, batches of 2
    whole, read = (training.split(training.imagenet(folder, side=32, lazy=on, threads=2)) for on in (False, True))
    options = dict(agents=2, batch=2, runs=runs, schedule=training.Constant())
    setup = training.Training(Small(), read, training.algorithm("easgd"), **options)._setup
    order = np.random.default_rng(0).integers(0, len(read.train_y), (setup.steps, len(setup.numbers), 2, 2))
    if len(setup.numbers) == 3:
        order[:, 1] = order[:, 0]
    assert setup.reader is not None and setup.reader.steps == 3 < setup.steps
    for done in (0, 1, 3, 5, 2):
        pixels, index, first = setup.handed(order, done)
        assert pixels.x.shape[0] == 3 * 2 * 2 * 2
        there = np.asarray(index[done - first])
        np.testing.assert_array_equal(np.asarray(pixels.x)[there], np.asarray(whole.train_x)[order[done]])
        np.testing.assert_array_equal(np.asarray(pixels.y)[there], whole.train_y[order[done]])
    assert [setup.reader.left(done) for done in (0, 1, 3, 5, 6)] == [3, 2, 3, 1, 0]


@pytest.mark.slow
@pytest.mark.parametrize("stepper", [None, pytest.param(Asynchronous(EASGD(2), compute=Gamma(3.0)), id="workers")])
def test_lazy_photographs_train_the_same(folder, tmp_path, monkeypatch, stepper):
    """To the bit: of unequal deals, however many threads decode, with measurements in portions, and resumed."""
    # Three steps, or measurements of six images, at a time.
    monkeypatch.setattr(lazy, "PORTION", 3 * 2 * 2 * 32 * 32 * 3)
    options = dict(agents=2, batch=2, crop=30, evaluation_batch=2, deal=training.Dirichlet(0.5), stepper=stepper)
    options |= dict(schedule=training.Constant(), eta=0.02)
    run = lambda data, epochs, **more: training.train(
        Small(), training.split(data, validation=0.25), training.algorithm("easgd"), epochs=epochs, **options, **more
    )
    whole = run(training.imagenet(folder, side=32, lazy=False), 2)
    read = lambda threads: training.imagenet(folder, side=32, lazy=True, threads=threads)
    assert "photographs" in repr(read(1).train_x).lower() and len(read(1).train_x[2:5]) == 3
    run(read(1), 1, folder=tmp_path / "kept")
    found = run(read(3), 2, folder=tmp_path / "kept", resume=True)
    jax.tree.map(np.testing.assert_array_equal, found.last, whole.last)
    for name in ("train_loss", "validation_loss", "test_accuracy", "gradient_noise", "batch_loss"):
        np.testing.assert_allclose(found.history[name], whole.history[name], rtol=1e-6, err_msg=name)
    assert (found.history["waited"] <= found.history["seconds"]).all() and "waited" not in whole.history
    assert np.ptp(whole.history["train_loss"].values) > 1e-3
    (folder / "train" / "n01" / "n01_2.JPEG").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"n01_2\.JPEG: must be an image that can be read whole"):
        run(read(2), 1)


def test_lazy_images_are_of_any_array_on_disk(tmp_path):
    """Rows of a file in memory's place, of which numbers are read; and what is no such array is refused."""
    values = np.random.default_rng(0).integers(0, 256, (7, 4, 4, 3), np.uint8)
    np.save(tmp_path / "values.npy", values)
    images = training.Lazy(np.load(tmp_path / "values.npy", mmap_mode="r"))
    some = images[np.array([5, 1, 3])]
    np.testing.assert_array_equal(some.read(np.array([[2, 0], [1, 1]])), values[[[3, 5], [1, 1]]])
    assert not np.array_equal(some.identity, images.identity)
    with pytest.raises(ValueError, match=r"^source: is float64 of shape \(7, 4, 4, 3\), and must be images, uint8"):
        training.Lazy(values / 2)
    with pytest.raises(TypeError, match=r"^source=\[\]: must have a shape"):
        training.Lazy([])
