"""Photographs of a folder of ImageNet's layout, made here; and the network that Zhang trains on them."""

import jax
import numpy as np
import pytest
from PIL import Image

from sdesim import training
from sdesim.training import photos

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
        training.imagenet(folder, side=1 << 18)


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
