"""The benchmark runs the same iteration everywhere, and writes what it says it writes. No timing is asserted."""

import dataclasses
import json
import math
import subprocess
import sys

import numpy as np
import pytest
from places import ROOT

from sdesim.bench import VARIANTS, WORKLOADS, native, report
from sdesim.bench.commits import Commit
from sdesim.bench.interleaved import Row, Worker, WorkerError, measure
from sdesim.cli import main
from sdesim.cores import cores
from sdesim.results.schema import Header

compiled = pytest.mark.skipif(native.compiler() is None, reason="there is no C++ compiler here")
EPSILON = float(np.finfo(np.float32).eps)


def native_state(workload, seed):
    """Of the C++ program, in a process of its own, because -ffast-math changes the arithmetic of a whole process."""
    with Worker(VARIANTS["cpp"], workload, cores()[-1:]) as worker:
        worker.start()
        worker.ask("compile")
        return np.array(worker.ask("state", seed=seed)["state"])


def state(variant, workload, seed=7):
    result = VARIANTS[variant].build(workload)(seed)
    return np.asarray(getattr(result, "agents", result), float)


def small(name, **sizes):
    return dataclasses.replace(WORKLOADS[name], **sizes)


def amplification(workload):
    """A bound on the factor by which one step multiplies a small difference of two states near 0."""
    slopes = 110.0 if workload.dims == 1 else 0.15 * (12 * 2.5**2 + 6 * 4.4**2 * 2)
    return 1 + workload.momentum + workload.eta * (slopes + workload.k)


@compiled
@pytest.mark.relaxed
@pytest.mark.usefixtures("float32")
@pytest.mark.parametrize("name", ["w1-uniform", "w1-gaussian", "w2"])
def test_cpp_takes_the_steps_of_sdesim(name):
    """The same random words and the same step: equal to rounding, which each step amplifies, over three steps.

    19 simulations are no multiple of a vector.
    """
    workload = small(name, sims=19, agents=6, steps=3, **({"dims": 5} if name == "w2" else {}))
    ours, cpp = state("sdesim", workload), native_state(workload, 7)
    assert ours.shape == cpp.shape == (19, 6, workload.dims)
    assert np.abs(ours - cpp).max() > 0  # two programs, not one
    # A sine's argument of 16 x carries a rounding of 16 |x| eps / 2; the rest of the step a few units of |x|.
    rounding = EPSILON * np.abs(ours).max() * (workload.eta * 6.4 * 16 + 4)
    growth = sum(amplification(workload) ** n for n in range(workload.steps))
    assert np.abs(ours - cpp).max() < rounding * growth
    assert np.abs(ours - state("sdesim", workload, seed=8)).max() > 100 * rounding * growth


@pytest.mark.relaxed
@pytest.mark.usefixtures("float32")
@pytest.mark.parametrize("name", ["w1-uniform", "w1-gaussian", "user-loss", "w2"])
def test_peers_run_the_same_model(name):
    """Mean and second moment of the agents after 40 steps agree with sdesim's within 5 standard errors.

    diffrax and torchsde step W2 explicitly and with Gaussian noise, so they are other chains there.
    """
    sizes = {"sims": 400, "agents": 4, "steps": 40, **({"dims": 3} if name == "w2" else {})}
    workload = small(name, **sizes)
    moments = lambda x: np.stack([x.mean((1, 2)), (x * x).mean((1, 2))])
    ours = moments(state("sdesim", workload))
    peers = [v for v in VARIANTS.values() if v.installed() and v.fits(workload)]
    names = [v.name for v in peers if v.cores is not None and not (v.gaussian and workload.dims > 1)]
    assert {"naive", "numpy", "sdesim"} <= set(names)
    for peer in names:
        if peer == "cpp":  # equal step for step
            continue
        theirs = moments(state(peer, workload, seed=3))
        error = np.sqrt((ours.var(1) + theirs.var(1)) / workload.sims)
        assert np.abs((ours.mean(1) - theirs.mean(1)) / error).max() < 5, peer


FIELDS = [
    "workload",
    "variant",
    "min",
    "median",
    "max",
    "unit",
    "ratio_to_naive",
    "ratio_to_cpp",
    "compile_s",
    "peak_mb",
]


def test_command_writes_table_json_picture_and_record(tmp_path):
    arguments = ["--quick", "--steps", 5, "--workloads", "w1-uniform", "--variants", "naive", "cpp", "numpy", "sdesim"]
    files = ["--json", tmp_path / "rows.json", "--out", tmp_path / "figures", "--record", tmp_path / "record.md"]
    command = [sys.executable, "-m", "sdesim", "bench", *map(str, arguments), *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    whole = json.loads((tmp_path / "rows.json").read_text())
    header, rows = Header.of(whole, "benchmark", "rows.json"), whole["rows"]
    assert header.settings["steps"] == 5 and header.made_by.startswith("sdesim bench --quick --steps 5")
    here = ["naive", "numpy", *(["cpp"] if native.compiler() else []), "sdesim"]
    assert sorted(row["variant"] for row in rows) == sorted(here)
    medians = {row["variant"]: row["median"] for row in rows}
    for row in rows:
        assert list(row) == FIELDS
        assert row["workload"] == "w1-uniform"
        assert row["unit"] == "million agent-steps/s"
        assert 0 < row["min"] <= row["median"] <= row["max"] < math.inf
        assert 0 <= row["compile_s"] < math.inf
        assert 0 <= row["peak_mb"] < math.inf
        assert row["ratio_to_naive"] == pytest.approx(row["median"] / medians["naive"])
        cpp = medians.get("cpp")
        assert row["ratio_to_cpp"] == (None if cpp is None else pytest.approx(row["median"] / cpp))
        assert VARIANTS[row["variant"]].title in done.stdout
    assert rows[0]["compile_s"] > 0.05  # naive: a program of XLA is not compiled faster
    assert (tmp_path / "figures" / "bench.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    lines = (tmp_path / "record.md").read_text().splitlines()
    assert sum("| 200 x 250 x 1 x 5 |" in line for line in lines) == len(here) - 1  # NumPy is not recorded


def test_record_appends_to_what_is_there(tmp_path):
    workload = small("w1-uniform", steps=5)
    row = Row(workload.name, "sdesim", 1.0, 2.0, 3000.0, workload.unit, 4.0, None, 0.5, 6.0)
    result = report.Report([row], {workload.name: workload})
    path = tmp_path / "record.md"
    path.write_text("# A page\n\nwith words.\n")
    assert [report.record(result, path) for _ in range(2)] == [1, 1]
    lines = path.read_text().splitlines()
    assert lines[:4] == ["# A page", "", "with words.", ""]
    head, rule, first, second = lines[4:]
    assert first == second
    assert [len(line.split(" | ")) for line in (head, rule, first)] == [len(report.COLUMNS)] * 3
    assert (
        "| w1-uniform | 200 x 250 x 1 x 5 | sdesim | 2 (1 to 3000) | million agent-steps/s | 4 | - | 0.50 | 6 |"
        in first
    )


def test_record_in_the_documentation_has_the_columns_that_are_written():
    page = ROOT / "docs" / "benchmarks.md"
    assert "| " + " | ".join(report.COLUMNS) + " |" in page.read_text(encoding="utf-8").splitlines()


def test_a_variant_that_fails_is_left_out_and_named():
    said = []
    odd = small("w1-uniform", sims=2, agents=3, steps=2)  # the C++ program steps pairs
    rows = measure(odd, [VARIANTS["cpp"], VARIANTS["numpy"]], 1, said.append)
    assert [row.variant for row in rows] == ["numpy"]
    assert rows[0].ratio_to_cpp is None
    assert ["cpp is left out" in line for line in said if "busy" not in line] == [True]


def test_a_compiler_that_does_not_work_is_told_in_one_line(tmp_path, monkeypatch, capsys):
    fake = tmp_path / "c++"
    fake.write_text("#!/bin/sh\necho 'no headers here' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    arguments = ["--quick", "--workloads", "w1-uniform", "--variants", "cpp", "numpy", "--steps", "2", "--rounds", "1"]
    assert main(["bench", *arguments]) == 0
    told = capsys.readouterr()
    assert "NumPy" in told.out
    assert "C++, the same generator" not in told.out
    assert [("no headers here" in line) for line in told.err.splitlines() if "left out" in line] == [True, True]


def test_a_worker_that_dies_tells_its_last_words():
    broken = small("w1-uniform", agents=0, steps=1)
    with Worker(VARIANTS["sdesim"], broken) as worker, pytest.raises(WorkerError, match="agents=0"):
        worker.start()
        worker.ask("compile")


ERRORS = {
    "unknown workload": (["--workloads", "w3"], "workloads='w3': did you mean 'w2'"),
    "unknown variant": (["--variants", "nump"], "variants='nump': did you mean 'numpy'"),
    "no rounds": (["--rounds", "0"], "rounds=0: must be an integer of at least 1"),
    "no steps": (["--steps", "-1"], "steps=-1"),
    "no such folder": (["--json", "missing/rows.json"], "json='missing/rows.json': must be a file in a folder"),
    "folder as record": (["--record", "."], "record='.'"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_wrong_usage_exits_with_2(case, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    arguments, message = ERRORS[case]
    assert main(["bench", *arguments]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


def test_unknown_option_exits_with_2(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["bench", "--quik"])
    assert "quik" in capsys.readouterr().err


def test_another_commit_is_what_its_worker_runs(tmp_path, monkeypatch):
    """Also begun in a checkout, whose modules Python would find first."""
    package = tmp_path / "sdesim" / "bench"
    package.mkdir(parents=True)
    for folder in (package, package.parent):
        (folder / "__init__.py").touch()
    (package / "worker.py").write_text(
        "import json, sys\ndef main():\n    for line in sys.stdin: print(json.dumps({'from': __file__}), flush=True)\n"
    )
    monkeypatch.chdir(ROOT)
    variant = dataclasses.replace(VARIANTS["sdesim"], commit=Commit("other", tmp_path, sys.executable))
    with Worker(variant, WORKLOADS["w1-uniform"]) as worker:
        assert worker.ask("where") == {"from": str(package / "worker.py")}
