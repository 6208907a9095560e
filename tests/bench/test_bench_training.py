"""Training in the benchmark: everyone takes the same steps, and the rows are those of the other workloads."""

import dataclasses
import json
import math
import subprocess
import sys

import numpy as np
import pytest

from sdesim import training
from sdesim.bench import TRAINERS, TRAININGS, report, trainers
from sdesim.bench.interleaved import Row
from sdesim.cli import main

pytestmark = [pytest.mark.relaxed, pytest.mark.usefixtures("float32")]  # as users have it

# Few channels and no dropout, whose masks everyone draws in a way of their own.
SMALL = dataclasses.replace(
    TRAININGS["cnn"], agents=2, steps=3, batch=16, channels=(4, 6, 5), dropout=0.0, images=40, alpha=0.2
)


@pytest.mark.parametrize("peer", ["naive", "torch"])
def test_peers_take_the_steps_of_sdesim(peer):
    """Equal to rounding over three steps, the third in a second epoch, and far from where they began."""
    if not TRAINERS[peer].installed():
        pytest.skip(f"{peer} is not installed")
    ours, theirs = (TRAINERS[name].build(SMALL)(7) for name in ("sdesim", peer))
    *_, state = trainers._start(SMALL)
    began = trainers.flat(_first(state.params))
    assert ours.shape == theirs.shape == (SMALL.agents, 4 * 243 + 25 * 24 + 9 * 30 + 15 + 2 * 15 + 10 * 6)
    assert np.abs(ours - began).max() > 0.01
    # Gradients of a few hundred to a few thousand products each, of order 1, in another order of summation.
    np.testing.assert_allclose(theirs, ours, rtol=1e-4, atol=1e-4)


def _first(params):
    return {name: {key: leaf[0] for key, leaf in layer.items()} for name, layer in params.items()}


def test_agents_differ_and_coupling_gathers_them():
    spread = lambda w: np.ptp(TRAINERS["sdesim"].build(w)(7), axis=0).std()
    apart, together = spread(dataclasses.replace(SMALL, alpha=0.0)), spread(SMALL)
    assert 0 < together < 0.9 * apart


def test_seeds_draw_other_batches():
    build = TRAINERS["sdesim"].build(SMALL)
    assert np.abs(build(1) - build(2)).max() > 1e-3
    assert (build(1) == build(1)).all()


def test_step_is_the_papers_network():
    assert trainers._network(TRAININGS["cnn"]) == training.ThreeLayer()
    assert {w.batch for w in TRAININGS.values()} == {128}
    assert [(w.agents, w.amount) for w in TRAININGS.values()] == [(1, 512.0), (4, 1024.0)]


@pytest.mark.slow  # a network of the paper's size is compiled
def test_command_measures_training(tmp_path):
    arguments = ["--quick", "--steps", 1, "--rounds", 1, "--workloads", "cnn-one", "--variants", "sdesim", "torch"]
    files = ["--json", tmp_path / "rows.json", "--out", tmp_path, "--record", tmp_path / "record.md"]
    command = [sys.executable, "-m", "sdesim", "bench", *map(str, arguments), *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    rows = [Row(**row) for row in json.loads((tmp_path / "rows.json").read_text())["rows"]]
    here = [name for name in ("torch", "sdesim") if TRAINERS[name].installed()]
    assert sorted(row.variant for row in rows) == sorted(here)
    for row in rows:
        assert (row.workload, row.unit, row.ratio_to_naive, row.ratio_to_cpp) == ("cnn-one", "images/s", None, None)
        assert 0 < row.min <= row.median <= row.max < math.inf
        assert TRAINERS[row.variant].title in done.stdout
        # One image takes some 60 million multiplications and additions, and as many more for the gradients.
        assert row.median * 6e7 < 1e13
    assert "one agent x batch 128 x 1 steps" in done.stdout
    assert "ceiling" not in done.stdout
    assert (tmp_path / "bench.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    lines = (tmp_path / "record.md").read_text().splitlines()
    assert sum("| cnn-one | 1 x 1 x 128 images x 1 |" in line for line in lines) == len(here)


def test_a_table_names_variants_by_what_they_are_there():
    """A name means one thing among simulations and another among trainings."""
    rows = [Row(name, "naive", 1.0, 2.0, 3.0, "images/s", 1.0, None, 0.5, 6.0) for name in ("cnn", "w1-uniform")]
    result = report.Report(rows, {"cnn": SMALL})
    assert [result.title(row) for row in rows] == [
        "Flax convolutions, one agent after another",
        "lax.scan with jax.random",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workloads", "cnnn"], "workloads='cnnn': did you mean 'cnn'"),
        (["--variants", "torhc"], "variants='torhc': did you mean 'torch'"),
    ],
)
def test_wrong_names_are_refused(arguments, message, capsys):
    assert main(["bench", *arguments]) == 2
    assert message in capsys.readouterr().err
