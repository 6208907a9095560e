"""The command line, as a user runs it: subprocesses, exit status, files, one-line errors, Ctrl-C."""

import contextlib
import dataclasses
import importlib
import json
import signal
import subprocess
import sys
import time

import pytest
import xarray as xr

import sdesim as package
from sdesim import __version__, _moved
from sdesim.cli import main
from sdesim.ensembles import simulations
from sdesim.papers import EXPERIMENTS


def command(*arguments):
    return [sys.executable, "-m", "sdesim", *map(str, arguments)]


@pytest.fixture
def sdesim(users_environment):
    """The command in a process of its own."""

    def run(*arguments):
        return subprocess.run(command(*arguments), capture_output=True, text=True, env=users_environment, timeout=300)

    return run


def in_process(*arguments):
    """The exit status, where a start would take seconds."""
    try:
        return main([str(a) for a in arguments])
    except SystemExit as stop:
        return stop.code


def test_main_job_at_smoke_size(sdesim, tmp_path):
    done = sdesim("figure", "bs-fig1", "--preset", "smoke", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert {p.name for p in tmp_path.iterdir()} == {f"bs-fig1.{s}" for s in ("png", "pdf", "nc", "claims.json")}
    rows = json.loads((tmp_path / "bs-fig1.claims.json").read_text())
    assert all(row["verdict"] == "holds" for row in rows if row["counted"])
    for row in rows:
        assert row["id"] in done.stdout
    assert "counted:" in done.stdout
    assert (tmp_path / "bs-fig1.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert (tmp_path / "bs-fig1.pdf").read_bytes()[:5] == b"%PDF-"


def test_configuration_fields_are_options(tmp_path, float32, capsys):
    changes = ["--sims", 4, "--steps", 30, "--k", 0, 1, 2, 3, 4, 5, "--loss.w2", 12.0, "--seed", 7]
    # at the default preset claims decide the exit status, but not for another configuration
    assert in_process("figure", "bs-fig1", "--out", tmp_path, *changes) == 0
    told = capsys.readouterr().out
    assert "the configuration is not the preset's" in told
    assert "fails" in told
    assert "seed 7" in told


def test_the_sweeps_of_a_figure_are_kept(tmp_path, float32, monkeypatch):
    """Killed after a task, and the same command again: what was done is not done again, the data are the same."""
    changes, fig1 = ["--sims", 4, "--steps", 30], EXPERIMENTS["bs-fig1"]
    kept = ["--store", tmp_path / "store", "--out", tmp_path / "kept"]
    run, done = simulations.run_points, []

    def killed(*arguments, **options):
        if len(done) == 1:
            raise KeyboardInterrupt
        done.append(run(*arguments, **options))
        return done[-1]

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(simulations, "run_points", killed)
        patch.setattr(simulations.Simulations, "lanes", lambda self: 8)
        in_process("figure", "bs-fig1", *changes, *kept)
    (store,) = (tmp_path / "store").iterdir()
    first = (store / "tasks/000/000000.nc").stat().st_mtime_ns
    assert len(list(store.glob("tasks/000/*.nc"))) == 1
    assert in_process("figure", "bs-fig1", *changes, *kept) == 0
    assert list((tmp_path / "store").iterdir()) == [store]
    assert len(list(store.glob("tasks/000/*.nc"))) == 3
    assert (store / "tasks/000/000000.nc").stat().st_mtime_ns == first
    found = xr.load_dataset(tmp_path / "kept/bs-fig1.nc", engine="h5netcdf").drop_attrs()
    whole = fig1.run(dataclasses.replace(fig1.preset("default"), sims=4, steps=30), False)
    xr.testing.assert_identical(found, whole.drop_attrs())


def test_failing_claims_at_the_default_preset_exit_with_1(tmp_path, float32, monkeypatch, capsys):
    """In process, on an experiment that is the default preset and whose statements cannot hold."""
    from sdesim import papers

    fig1 = EXPERIMENTS["bs-fig1"]
    small = dataclasses.replace(fig1.preset("smoke"), sims=4, steps=5)
    broken = dataclasses.replace(fig1, presets={"smoke": small, "default": small, "paper": small})
    monkeypatch.setitem(papers.EXPERIMENTS, "bs-fig1", broken)
    assert main(["figure", "bs-fig1", "--out", str(tmp_path)]) == 1
    assert main(["figure", "bs-fig1", "--out", str(tmp_path), "--preset", "smoke"]) == 0
    assert "fail" in capsys.readouterr().out


def test_all_figures_and_their_gallery(tmp_path, float32, monkeypatch, capsys):
    """In process, on two small experiments, of which the first cannot be run."""
    from sdesim import papers

    fig1 = EXPERIMENTS["bs-fig1"]
    tiny = dict.fromkeys(("smoke", "default", "paper"), dataclasses.replace(fig1.preset("smoke"), sims=4, steps=5))

    def refuse(config, progress):
        raise ValueError("agents=0: must be positive")

    two = {"a": dataclasses.replace(fig1, name="a", presets=tiny, run=refuse)}
    two["b"] = dataclasses.replace(fig1, name="b", presets=tiny)
    monkeypatch.setattr(papers, "EXPERIMENTS", two)
    assert main(["figure", "all", "--preset", "smoke", "--seed", "3", "--out", str(tmp_path)]) == 2
    told = capsys.readouterr()
    assert "agents=0" in told.err and "not drawn: a" in told.out and "seed 3" in told.out
    assert (tmp_path / "b.png").exists() and "## b" in (tmp_path / "README.md").read_text(encoding="utf-8")
    for wrong in (["--sims", "3"], ["--preset", "smok"], ["--seed", "x"]):
        assert main(["figure", "all", *wrong]) == 2


def test_list_version_and_help(sdesim, capsys):
    assert sdesim("--version").stdout.strip() == f"sdesim {__version__}"
    assert in_process("figure", "--list") == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(EXPERIMENTS)
    for arguments in (["--help"], ["figure", "--help"]):
        assert in_process(*arguments) == 0
        assert "sdesim figure NAME" in capsys.readouterr().out
    assert in_process("figure", "bs-fig3", "--help") == 0
    fields = capsys.readouterr().out
    for option in ("--agents", "--seed", "--momentum", "--loss.w1", "--out", "--preset SIZE", "Learning rate"):
        assert option in fields


ERRORS = {
    "unknown figure": (["figure", "bs-fg1"], "did you mean 'bs-fig1'"),
    "unknown command": (["figur"], "did you mean 'figure'"),
    "unknown preset": (["figure", "bs-fig1", "--preset", "smok"], "preset='smok': did you mean 'smoke'"),
    "list without values": (["figure", "bs-fig1", "--k"], "k=(): must be six gains"),
    "number that is none": (["figure", "bs-fig1", "--eta", "nan"], "eta=nan: must be finite"),
    "preset without value": (["figure", "bs-fig1", "--preset"], "--preset: needs a value"),
    "unknown option": (["figure", "bs-fig1", "--agentz", "3"], "agentz"),
    "negative size": (["figure", "bs-fig1", "--agents", "-3"], "agents=-3: must be an integer of at least 1"),
    "zero size": (["figure", "bs-fig1", "--steps", "0"], "steps=0"),
    "not a number": (["figure", "bs-fig1", "--eta", "fast"], "fast"),
    "negative rate": (["figure", "bs-fig1", "--eta", "-1"], "eta=-1.0: must be finite and greater than 0"),
    "no store": (["figure", "bs-fig1", "--processes", "2"], "--store: must be the folder"),
    "negative seed": (["figure", "bs-fig1", "--preset", "smoke", "--seed", "-1"], "seed=-1"),
    "too few gains": (["figure", "bs-fig1", "--k", "1", "2"], "six gains"),
    "too much memory": (["figure", "bs-fig1", "--sims", "1000000000", "--steps", "3"], "GiB"),
    "no figure": (["figure"], "usage"),
    "nothing": ([], "usage"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_wrong_usage_exits_with_2_and_says_what_would_be_right(case, tmp_path, monkeypatch, capsys):
    arguments, message = ERRORS[case]
    monkeypatch.chdir(tmp_path)
    status = in_process(*arguments)
    said = capsys.readouterr()
    assert status == 2
    assert message in said.err + said.out
    if said.err.startswith("sdesim: error:"):
        assert said.err.count("\n") == 1
    assert not list(tmp_path.glob("**/*.*"))


def test_unwritable_folder(sdesim, tmp_path):
    """As a user meets an error: one line, and no traceback."""
    blocked = tmp_path / "file"
    blocked.write_text("")
    done = sdesim("figure", "bs-fig1", "--preset", "smoke", "--out", blocked / "figures")
    assert done.returncode == 3
    assert "must be a folder that can be written to" in done.stderr
    assert done.stderr.count("\n") == 1 and "Traceback" not in done.stderr


def test_too_stiff_a_coupling_warns_with_the_limit(tmp_path, float32, capsys):
    changes = ["--sims", 2, "--agents", 4, "--steps", 400, "--k", 0, 1, 2, 3, 4, 50]
    in_process("figure", "bs-fig1", "--preset", "smoke", "--out", tmp_path, *changes)
    told = capsys.readouterr().err
    assert "warning: coupling: unstable" in told
    assert "to less than 40, such as 20" in told  # 2 / eta
    assert "simulations (16.7%) diverged" in told


def test_ctrl_c_leaves_nothing_half_written(users_environment, tmp_path):
    process = subprocess.Popen(
        command("figure", "bs-fig1", "--preset", "paper", "--out", tmp_path / "figures"),
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=users_environment,
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "figures").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(4)  # well inside the computation, which takes minutes
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "interrupted" in errors
    assert "Traceback" not in errors
    assert list((tmp_path / "figures").iterdir()) == []


def test_the_package_imports_jax_when_it_is_asked_for_a_part():
    said = """
import sys, sdesim
assert not {"jax", "xarray", "tyro"} & set(sys.modules)
from sdesim.ensembles.grids import sweep
assert sdesim.sweep is sweep
assert all(hasattr(sdesim, name) for name in sdesim.__all__) and set(sdesim.__all__) <= set(dir(sdesim))
assert sdesim.results.schema.provenance and not hasattr(sdesim, "nothing")
import numpy as np
assert sdesim.statistics.decisive(5, 3) > 3 and sdesim.statistics.kernel_density([0, 1], np.zeros(1), 0.1) > 0
assert "scipy.stats" not in sys.modules  # half a second of each figure
"""
    subprocess.run([sys.executable, "-c", said], check=True, timeout=120)


def test_names_that_were_elsewhere_say_where_they_are():
    with pytest.raises(ModuleNotFoundError, match=r"^sdesim\.cnn is now sdesim\.training \(trainer is training.loop"):
        from sdesim import cnn  # noqa: F401
    with pytest.raises(ModuleNotFoundError, match=r"^sdesim\.store is now sdesim\.results\.datasets$"):
        importlib.import_module("sdesim.store")
    with pytest.raises(ModuleNotFoundError, match=r"^sdesim\.observe\.monte_carlo is now sdesim\.statistics\."):
        package.observe.monte_carlo  # noqa: B018
    with pytest.raises(ModuleNotFoundError, match=r"^sdesim\.couple is now sdesim\.interop\.as_optax$"):
        importlib.import_module("sdesim.couple")
    assert callable(package.couple) and callable(package.sweep)  # the functions are where they were
    for name in _moved.MOVED.values():
        module, _, part = name.rpartition(".")
        assert hasattr(importlib.import_module(module), part) or importlib.import_module(name)


def test_what_type_checkers_see_is_what_there_is():
    """The names of the package stand twice: imported for type checkers, and by the module that has them."""
    import ast
    import inspect

    import sdesim

    block = next(node for node in ast.parse(inspect.getsource(sdesim)).body if isinstance(node, ast.If))
    seen = {name.name: part.module for part in block.body for name in part.names}
    assert {*seen, "__version__"} == set(sdesim.__all__)
    assert {n: f"sdesim.{home}" for n, home in sdesim._HOME.items()} == {n: m for n, m in seen.items() if m != "sdesim"}


@pytest.mark.parametrize("command", ["sweep", "runs", "train", "new"])
def test_help_is_as_wide_as_the_terminal(command, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "60")
    with contextlib.suppress(SystemExit):  # how tyro ends what it has printed
        main([command, "--help"])
    said = [line for line in capsys.readouterr().out.splitlines() if not line.startswith("usage:")]  # tyro's own
    assert len(said) > 3 and max(map(len, said)) <= 60 and not any("\x1b" in line for line in said)


@pytest.mark.parametrize(
    ("out", "err", "no_color", "colors"),
    [(True, True, "", True), (True, True, "1", False), (False, True, "", False), (True, False, "", False)],
    ids=["terminal", "NO_COLOR", "help-into-a-file", "mistakes-into-a-file"],
)
def test_colors_are_of_terminals_alone(out, err, no_color, colors, monkeypatch, capsys):
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: out)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: err)
    assert in_process("new", "--help") == 0 and in_process("new", "--wrong") == 2
    said = capsys.readouterr()
    assert ("\x1b[" in said.out, "\x1b[" in said.err) == (colors, colors)
