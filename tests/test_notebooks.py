"""Notebooks run from top to bottom, at smoke size, and are the same as the text beside them."""

import jupytext
import nbclient
import pytest
from places import ROOT

FOLDER = ROOT / "notebooks"
TEXTS = sorted(FOLDER.glob("*.py"))

text = pytest.mark.parametrize("text", TEXTS, ids=lambda p: p.stem)


def _cells(path):
    return [(cell.cell_type, cell.source) for cell in jupytext.read(path).cells]


def test_every_notebook_has_its_text():
    assert TEXTS
    assert [p.stem for p in sorted(FOLDER.glob("*.ipynb"))] == [p.stem for p in TEXTS]


@text
def test_pair_agrees(text):
    """Mend a difference with: jupytext --to notebook --update notebooks/NAME.py"""
    assert _cells(text.with_suffix(".ipynb")) == _cells(text)


@text
def test_runs(text, users_environment, monkeypatch, tmp_path):
    for name, value in users_environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SDESIM_NOTEBOOK_SIMS", "3")
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
