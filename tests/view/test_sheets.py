"""What the run browser finds, draws and writes, without a browser."""

import html
import json
import re
import shutil

import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from places import ROOT

import sdesim
from sdesim.asynchrony import Exponential, timetable
from sdesim.cli import main
from sdesim.results.datasets import write_dataset
from sdesim.results.stores.folder import Store
from sdesim.results.stores.leases import Leases
from sdesim.view import drawing, markup
from sdesim.view.sheets import sheets

K, ETA = [0.5, 1.0, 2.0], [0.01, 0.02]
MODEL = sdesim.Dynamics(lambda x: jnp.sum(x**2) / 2, sdesim.Quorum(1.0), sdesim.noise.Gaussian(1.0), eta=0.05)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A finished sweep over two numbers."""
    path = tmp_path_factory.mktemp("view") / "store"
    grid = {"coupling.k": K, "eta": ETA}
    recorded = dict(observe=[sdesim.observe.Quorum()], every=5)
    sdesim.sweep(MODEL, grid, agents=4, sims=6, steps=20, init=1.0, store=str(path), **recorded)
    return path


def test_a_store_is_drawn_from_its_cards_alone(store, monkeypatch):
    from sdesim.results.stores.folder import Store

    monkeypatch.setattr(Store, "get", lambda *_: pytest.fail("a task's file was opened"))
    (sheet,) = sheets(store)
    assert sheet.what == "store"
    data = sheet.data()
    names = drawing.names(data)
    assert {"quorum", "spread", "done"} <= set(names) and not [n for n in names if n.endswith(("_mean", "_stderr"))]
    for name in names:
        assert drawing.draw(data, drawing.first(data, name)).startswith(b"\x89PNG")


def test_a_picture_is_of_what_was_chosen(store, monkeypatch):
    """The map at one time is that time's means; lines are those of the swept numbers."""
    data = sheets(store)[0].data()
    drawn = []
    png = drawing._png
    monkeypatch.setattr(drawing, "_png", lambda axes: drawn.append(axes) or png(axes))
    drawing.draw(data, drawing.Choice("quorum_series", "coupling_k", "eta", as_map=True, at={"step": 2}))
    shown = drawn[-1].collections[0].get_array().reshape(len(ETA), len(K))
    np.testing.assert_allclose(shown, data["quorum_series_mean"].isel(step=2, dim=0).values.T)
    step = drawing.dims(data, "quorum_series")[0]
    drawing.draw(data, drawing.Choice("quorum_series", step, "coupling_k", at={"eta": 1}))
    lines = drawn[-1].lines
    assert len(lines) == len(K)
    np.testing.assert_allclose(lines[2].get_ydata(), data["quorum_series_mean"].isel(coupling_k=2, eta=1, dim=0))


def test_a_folder_has_its_figures_with_their_claims():
    found = {sheet.name: sheet for sheet in sheets(ROOT / "figures")}
    fig1 = found["bs-fig1"]
    assert fig1.what == "figure" and fig1.picture().startswith(b"\x89PNG")
    text = markup.claims(fig1.claims())
    assert "✓ holds" in text and "coupling off" in text and text.count("<tr>") == len(fig1.claims()) + 1


def test_a_timetable_is_drawn(tmp_path):
    timetable(Exponential(), workers=3, arrivals=50, sims=2, seed=0).save(tmp_path / "times.csv")
    (tmp_path / "other.csv").write_text("k,quorum\n1,2\n")  # a table, and no timetable
    (sheet,) = sheets(tmp_path)
    assert sheets(tmp_path / "times.csv") == [sheet]
    table = sheet.timetable()
    begin, end = drawing.beginning(table)
    assert begin == 0 and 0 < end < table.time.max()
    assert drawing.draw_timetable(table, 1, (begin, end)).startswith(b"\x89PNG")


def test_how_far_a_sweep_is_and_what_went_wrong(store, tmp_path):
    begun = Store(shutil.copytree(store, tmp_path / "begun"))
    tasks = len(begun.done())
    begun.forget(0)
    begun.fail(0, "<b>no memory")
    text = markup.progress(begun, rate=0.5)
    assert f'max="{tasks}" value="{tasks - 1}"' in text and f"{tasks - 1} of {tasks} tasks, about 2 s left" in text
    assert "task 0 failed: &lt;b&gt;no memory" in text
    leases = Leases(begun.path / "leases")
    with leases.held(0):
        assert ", 1 in work" in markup.progress(begun)
    assert "in work" not in markup.progress(begun)
    leases.close()


def test_what_files_say_is_text(tmp_path):
    """Neither a name, nor a label, nor how a file was made is markup, on a page that has no scripts anyway."""
    evil = "<script>alert(1)"
    values = xr.DataArray(np.arange(6.0).reshape(2, 3), dims=("k", "time"), attrs={"long_name": evil})
    data = xr.Dataset({evil: values}, attrs={"made_by": evil, "settings": evil})
    write_dataset(data, tmp_path / "evil.nc")
    claim = dict(id="a", statement=evil, value=1.0, stderr=0.1, op=">=", threshold=0.5, verdict="holds", counted=True)
    (tmp_path / "bs-fig1.claims.json").write_text(json.dumps([claim]))
    text = markup.page(evil, sheets(tmp_path))
    assert "<script" not in text and text.count("&lt;script&gt;") >= 4


def test_export_is_one_file_that_asks_for_nothing(store, tmp_path):
    assert main(["view", str(store), "--export", str(tmp_path / "sweep.html")]) == 0
    text = (tmp_path / "sweep.html").read_text(encoding="utf-8")
    assert not re.findall(r'(?:src|href)="(?!data:image/png;base64,|#)', text) and "<script" not in text
    assert text.count("<img") == len(drawing.names(sheets(store)[0].data()))
    assert html.escape(sheets(store)[0].said()["made by"]) in text  # the call that makes it again


@pytest.mark.parametrize(
    ("name", "said", "status"),
    [
        ("nowhere", "there is no such file or folder", 3),
        ("empty", "holds nothing to look at", 3),
        ("notes.txt", "must be a .nc file of sdesim", 2),
        ("broken.nc", "broken.nc", 3),
    ],
)
def test_what_is_nothing_to_look_at_is_said(name, said, status, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("a note")
    (tmp_path / "broken.nc").write_text("not netCDF")
    assert main(["view", str(tmp_path / name), "--export", str(tmp_path / "out.html")]) == status
    told = capsys.readouterr().err
    assert said in told and told.count("\n") == 1 and not (tmp_path / "out.html").exists()
    assert main(["view", "--port", "70000"]) == 2
