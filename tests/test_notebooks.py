"""Notebooks run from top to bottom, at smoke size, and are the same as the text beside them."""

import jupytext
import nbclient
import pytest
from places import ROOT

FOLDER = ROOT / "notebooks"
TEXTS = sorted(FOLDER.glob("[0-9]*.py"))
MOST = 2**20  # bytes of a file

text = pytest.mark.parametrize("text", TEXTS, ids=lambda p: p.stem)


def _cells(path):
    return [(cell.cell_type, cell.source) for cell in jupytext.read(path).cells]


def test_every_notebook_has_its_text():
    assert TEXTS
    assert [p.stem for p in sorted(FOLDER.glob("*.ipynb"))] == [p.stem for p in TEXTS]


@text
def test_pair_agrees(text):
    """Mend a difference with: python notebooks/regenerate.py NAME"""
    assert _cells(text.with_suffix(".ipynb")) == _cells(text)


@text
def test_what_is_kept_is_of_full_size(text):
    """Each has its pictures, none is of the smoke size, and a clone stays small."""
    path = text.with_suffix(".ipynb")
    outputs = [output for cell in jupytext.read(path).cells for output in cell.get("outputs", ())]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    printed = "".join(output.text for output in outputs if output.output_type == "stream")
    assert printed and "(3, " not in printed
    assert path.stat().st_size < MOST


@pytest.mark.parametrize(
    "text", [pytest.param(p, id=p.stem, marks=[] if p in TEXTS[:3] else pytest.mark.slow) for p in TEXTS]
)
def test_runs(text, users_environment, monkeypatch, tmp_path):
    for name, value in users_environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SDESIM_SMOKE", "1")
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    notebook = jupytext.read(text.with_suffix(".ipynb"))
    client = nbclient.NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()  # raises CellExecutionError with the cell and its traceback
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    warned = [output.text for output in outputs if output.output_type == "stream" and output.name == "stderr"]
    assert warned == []
    assert any("image/png" in output.get("data", {}) for output in outputs), "no picture was drawn"
    printed = "".join(output.text for output in outputs if output.output_type == "stream")
    assert "(3, " in printed, "the notebook ran at another size than the smoke size"
