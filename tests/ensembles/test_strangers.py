"""A store from a stranger: nothing of it runs, reads or writes elsewhere, or takes the memory of who opens it."""

import io
import json
import os
import pickle
import shutil
import subprocess
import sys
import tracemalloc

import h5py
import jax.numpy as jnp
import numpy as np
import pytest

import sdesim
from sdesim.results.datasets import from_bytes
from sdesim.results.files import Damaged, read_sealed, write_sealed


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    path = tmp_path_factory.mktemp("made") / "store"
    model = sdesim.Dynamics(lambda x: jnp.sum(x**2), sdesim.Quorum(1.0), sdesim.noise.Uniform(1.0), eta=0.05)
    sdesim.sweep(model, {"coupling.k": [0.0, 1.0], "eta": [0.05, 0.1]}, sims=4, steps=5, store=path, lanes=4)
    return path


@pytest.fixture
def store(made, tmp_path):
    shutil.copytree(made, tmp_path / "store")
    return tmp_path / "store"


def change(path, how):
    """A file of JSON, changed and sealed as its writer would."""
    read = json.loads(read_sealed(path))
    how(read)
    write_sealed(json.dumps(read).encode(), path)


def test_a_pickle_is_not_opened(store):
    class Program:
        def __reduce__(self):
            return os.mkdir, (str(store / "ran"),)

    blob = pickle.dumps(Program())
    for path in (*store.glob("tasks/*/*"), *store.glob("cards/*"), *store.glob("notes/*"), *store.glob("rounds/*")):
        if path.is_file():
            write_sealed(blob, path)
            with pytest.raises(Damaged):
                sdesim.open(store)["quorum"].load()
    with pytest.raises(Damaged):
        sdesim.open(store)
    assert not (store / "ran").exists()


HUGE = 10**15


@pytest.mark.parametrize(
    "how",
    [
        lambda r: r["boxes"][0]["at"].__setitem__(0, [[0, HUGE]]),
        lambda r: r["boxes"][0]["at"].__setitem__(0, [[0, 1]] * 10**5),
        lambda r: r["boxes"][0]["sims"].__setitem__(1, HUGE),
        lambda r: r["values"].update({"coupling.k": list(range(4000)), "eta": list(range(4000))}),
        lambda r: r["said"]["sizes"].update({"": ["../../x"]}),
        lambda r: r["said"].update(labels={"coupling.k": ["<script>alert(1)</script>"] * 3}),
        lambda r: r["said"].pop("sizes"),
    ],
    ids=["points", "runs", "sims", "grid", "name", "labels", "nothing"],
)
def test_what_is_asked_for_is_limited(store, how):
    change(store / "rounds" / "000000.json", how)
    size = (store / "rounds" / "000000.json").stat().st_size
    tracemalloc.start()
    with pytest.raises(Damaged):
        sdesim.open(store)
    assert tracemalloc.get_traced_memory()[1] < 2e7 + 20 * size
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("name", "value"),
    [("settings", "[" * 10**5), ("settings", '{"first_sim": 1e999}'), ("identity", "[]"), ("design", 4)],
)
def test_a_manifest_of_anything(store, name, value):
    change(store / "manifest.json", lambda r: r.update({name: value}))
    with pytest.raises(Damaged):
        sdesim.open(store)


def test_labels_are_text(store):
    """In a notebook, too."""
    evil = "<script>alert(1)</script>"
    (layout,) = (store / "notes").glob("layout-*")
    change(layout, lambda r: (r["labels"].update(dim=[evil]), r["variables"]["quorum"]["attrs"].update(units=evil)))
    change(store / "manifest.json", lambda r: r.update(made_by=evil))
    data = sdesim.open(store)
    assert data["dim"].values.tolist() == [evil]
    assert evil not in data._repr_html_()


def test_links_lead_nowhere(store, tmp_path):
    """Cards that are lost are made again, and not in the folder that a link in their place names."""
    home = tmp_path / "home"
    home.mkdir()
    (home / ".000000.sdesim-mine").touch()
    shutil.rmtree(store / "cards")
    (store / "cards").mkdir()
    (store / "cards" / "000").symlink_to(home)
    with pytest.raises(ValueError, match="is a link, which could lead anywhere"):
        sdesim.open(store)["quorum_mean"].load()
    assert [p.name for p in home.iterdir()] == [".000000.sdesim-mine"]


def external(file, secret):
    file.create_dataset("x", shape=(8,), dtype="u1", external=[(str(secret), 0, 8)])


def virtual(file, secret):
    layout = h5py.VirtualLayout(shape=(8,), dtype="u1")
    layout[:] = h5py.VirtualSource(str(secret), "x", shape=(8,))
    file.create_virtual_dataset("group/x", layout)


def link(file, secret):
    file["x"] = h5py.ExternalLink(str(secret), "/x")


def huge(file, secret):
    file.create_dataset("x", shape=(10**12,), dtype="u1", chunks=(10**6,))


@pytest.mark.parametrize("attack", [external, virtual, link, huge])
def test_a_file_reads_no_other(tmp_path, attack):
    secret, blob = tmp_path / "secret", io.BytesIO()
    secret.write_bytes(b"password")
    with h5py.File(blob, "w") as file:
        attack(file, secret)
    with pytest.raises(Damaged, match=r"would read other files|claims to hold"):
        from_bytes(blob.getvalue(), "task 0")


def test_opening_imports_no_jax(store):
    """It takes a second, and a stranger's store could ask for nothing that it does."""
    program = "import sys, sdesim; data = sdesim.open(sys.argv[1]); data.quorum_mean.load(); data.quorum.load(); "
    program += "assert not {'jax', 'equinox', 'matplotlib'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program, store], check=True)
    assert np.isfinite(sdesim.open(store)["quorum"]).all()
