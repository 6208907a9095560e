"""The benchmark of a GPU, tried where there is none: what it asks, in which order, and what it says and writes."""

import dataclasses
import os

import pytest

from sdesim import cli
from sdesim.bench import gpu, interleaved, worker
from sdesim.bench.interleaved import Row
from sdesim.bench.workloads import WORKLOADS
from sdesim.cli import bench

pytestmark = pytest.mark.usefixtures("float32")
DEVICE = {"platform": "gpu", "kind": "NVIDIA H100 80GB HBM3", "units": 132}


class Here:
    """What a process of the benchmark answers, by this one; what takes long is made up."""

    def __init__(self, variant, workload, platform):
        assert platform == "cuda"
        self.worker = worker.Worker(variant.name, workload)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def start(self):
        pass

    def ask(self, do, **arguments):
        made_up = {
            "bandwidth": {"rate": 3.3e12},
            "peak": {"mb": 7.0},
            "agree": {"ulps": 1.5, "paths": ["GPU kernel", "GPU scan"]},
            "figure": {"first": 5.0, "seconds": [0.2, 0.1, 0.3], "claims": "15 of 16 hold; 1a-no-consensus fails"},
        }
        really = do == "agree" and self.worker.workload.noise == "uniform"
        return made_up[do] if do in made_up and not really else getattr(self.worker, do)(**arguments)


@pytest.fixture
def tried(monkeypatch):
    """What was measured, with how often and how precise products were; a run of 40 agents in place of 250."""
    asked = []

    def measure(workload, variants, rounds, say, platform):
        asked.append((workload.name, rounds, os.environ.get("JAX_DEFAULT_MATMUL_PRECISION")))
        rates = dict(min=1.0, median=2.0, max=3.0, unit=workload.unit, compile_s=1.0, peak_mb=5.0)
        ratios = dict(ratio_to_naive=2.0, ratio_to_cpp=None)
        return [Row(workload=workload.name, variant=v.name, **rates, **ratios) for v in variants]

    few = {name: dataclasses.replace(w, agents=40) for name, w in WORKLOADS.items()}
    monkeypatch.setattr(gpu, "WORKLOADS", few)
    monkeypatch.setattr(gpu, "AGREE", (16, 3))
    monkeypatch.setattr(gpu, "measure", measure)
    monkeypatch.setattr(gpu, "Worker", Here)
    monkeypatch.setattr(gpu, "_clock", lambda: 1.98e9)
    monkeypatch.delenv("JAX_DEFAULT_MATMUL_PRECISION", raising=False)
    monkeypatch.setattr(interleaved, "device", lambda workload: DEVICE)
    return asked


def test_it_is_right_first_and_then_fast_and_goes_into_the_record(tried, tmp_path, capsys, monkeypatch):
    record = tmp_path / "record.md"
    assert cli.main(["bench", "--gpu", "--record", str(record)]) == 0
    said = capsys.readouterr().out
    assert said.count(" agree: ") == 3 and "DO NOT AGREE" not in said
    assert "claims of bs-fig1 at paper size: 15 of 16 hold; 1a-no-consensus fails" in said
    assert "bandwidth floor: 4.12e+05 million agent-steps/s" in said and "instruction floor, w1-gaussian" in said
    names = [name for name, *_ in tried]
    assert names == [w.name for _, w in gpu.workloads()] + [w.name for w, *_ in gpu.others()]
    assert [precision for name, _, precision in tried if name == "cnn"] == [None, "tensorfloat32", "bfloat16"]
    assert "JAX_DEFAULT_MATMUL_PRECISION" not in os.environ
    rows = [line for line in record.read_text().splitlines() if "H100" in line]
    kinds = {line.split(" | ")[3] for line in rows}
    assert kinds == {w.name for _, w in gpu.workloads()} | {name for _, name, _ in gpu.others()} | {
        "bs-fig1 at paper size on a GPU"
    }
    monkeypatch.setattr(gpu, "ULPS", -1)
    wrong = gpu._agreement(gpu.WORKLOADS["w1-uniform"], print)
    assert "DO NOT AGREE" in wrong and "blocks of" in wrong


def test_it_is_refused_without_a_gpu_and_beside_what_it_is_not_of(tried, monkeypatch, capsys):
    monkeypatch.setattr(interleaved, "device", lambda workload: {"platform": "cpu", "kind": "cpu", "units": 0})
    assert cli.main(["bench", "--gpu"]) == 2
    assert "JAX sees no GPU here and computes on cpu" in capsys.readouterr().err
    assert not tried
    with pytest.raises(ValueError, match="gpu=True: measures what a GPU is for; leave quick, steps out"):
        bench.Options(gpu=True, quick=True, steps=3).check()


@pytest.mark.slow
def test_a_figure_says_what_was_found_of_its_claims():
    found = worker.Worker("sdesim", WORKLOADS["w1-uniform"]).figure("bs-fig1", "smoke")
    assert found["claims"] == "16 of 16 hold" and len(found["seconds"]) == 3
