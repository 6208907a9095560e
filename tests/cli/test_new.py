"""`sdesim new`: what it writes works as it stands, and nothing is overwritten."""

import ast
import re
import subprocess
import sys
from typing import get_args

import pytest
from places import ROOT

from sdesim.cli import main
from sdesim.cli.new import Kind
from sdesim.cli.usage import FILES

KINDS = get_args(Kind)


def new(*arguments):
    try:
        return main(["new", *map(str, arguments)])
    except SystemExit as stop:
        return stop.code


def run_tests(folder, environment):
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    return done.returncode == 0, done.stdout + done.stderr


def test_parts_pass_their_own_tests_and_those_fail_of_a_wrong_one(tmp_path, users_environment):
    parts = set(KINDS) - {"figure", "sweep"}
    for kind in parts:
        assert new(kind, f"my-{kind}", "--out", tmp_path) == 0
    assert {p.name for p in tmp_path.iterdir()} == {f"{test}my_{kind}.py" for kind in parts for test in ("", "test_")}
    assert "class MyRule(" in (tmp_path / "my_rule.py").read_text()
    assert not [p for p in tmp_path.iterdir() if "skeleton" in p.read_text().lower()]
    passed, told = run_tests(tmp_path, users_environment)
    assert passed, told
    wrong = {
        "my_rule": ("self.k * (", "1.1 * self.k * ("),
        "my_loss": ("self.frequency * x)", "self.frequency * jax.lax.stop_gradient(x))"),
        "my_noise": ("jnp.log1p(-jnp.abs(u))", "1.02 * jnp.log1p(-jnp.abs(u))"),
        "my_observable": ("jnp.max(view.state.x, axis=0)", "view.quorum"),
        "my_protocol": ("/ 2", "/ 2.1"),
    }
    for module, (right, mistaken) in wrong.items():
        path = tmp_path / f"{module}.py"
        assert right in path.read_text()
        path.write_text(path.read_text().replace(right, mistaken))
    _, told = run_tests(tmp_path, users_environment)
    for module in wrong:
        assert f"FAILED test_{module}.py" in told, told


def test_a_sweep_is_asked_for_by_its_file(tmp_path, monkeypatch, capsys):
    """It is that of docs/sweeps.md: the file there and the call there are one sweep."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())  # to which the folder of the file comes
    assert new("sweep", "phase") == 0 and [p.name for p in tmp_path.iterdir()] == ["phase.py"]
    assert new("sweep", "phase") == FILES
    assert main(["sweep", "phase.py", "--dry-run"]) == 0
    assert "8 points, 160 simulations" in capsys.readouterr().out
    code = lambda text: text[text.index("def loss") :].rstrip()
    page = re.findall(r"^```python\n(.*?)^```$", (ROOT / "docs/sweeps.md").read_text(), re.DOTALL | re.MULTILINE)
    (shown,) = (block for block in page if "SWEEP = dict(" in block)
    assert ast.dump(ast.parse(code((tmp_path / "phase.py").read_text()))) == ast.dump(ast.parse(code(shown)))


def test_a_figure_is_made_by_its_file(tmp_path, monkeypatch, float32, capsys):
    assert new("figure", "my-figure", "--out", tmp_path) == 0
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert main(["figure", "my_figure.py", "--preset", "smoke", "--sims", "8", "--out", "drawn"]) == 0
    assert {p.name for p in (tmp_path / "drawn").iterdir()} == {
        f"my-figure.{s}" for s in ("png", "pdf", "nc", "claims.json")
    }
    assert "together" in capsys.readouterr().out
    assert main(["figure", "my_figure.py", "--from", "drawn/my-figure.nc", "--out", "again"]) == 0


@pytest.mark.slow
def test_a_figure_passes_its_own_test(tmp_path, users_environment):
    assert new("figure", "own-figure", "--out", tmp_path) == 0  # my_figure is a module of this process by now
    passed, told = run_tests(tmp_path, users_environment)
    assert passed, told


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["rule", "numpy"], 2, "would hide the module numpy"),
        (["rule", "soft quorum"], 2, "name='soft quorum': must be words of letters and digits"),
        (["rule", "../rule"], 2, "must be words"),
        (["rule", "lambda"], 2, "must be words"),
        (["rul", "mine"], 2, "rul"),
        (["rule"], 2, ""),
        (["loss", "there"], 3, "there.py is there; choose another name"),
        (["rule", "mine", "--out", "there.py/x"], 3, "must be a folder that can be written to"),
    ],
)
def test_what_is_refused(arguments, status, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.py").write_text("mine")
    assert new(*arguments) == status
    told = capsys.readouterr()
    assert said in told.err + told.out
    assert (tmp_path / "there.py").read_text() == "mine" and len(list(tmp_path.iterdir())) == 1
