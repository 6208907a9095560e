"""`sdesim figure NAME` with a store: what it will take, workers that draw nothing, and what is not done twice."""

import pathlib

import pytest

from sdesim.cli import main

FIGURE = """
import dataclasses
import matplotlib.pyplot as plt
import numpy as np
import sdesim
from sdesim.claims import Statement, at_least
from sdesim.papers.frame.experiment import Experiment

@dataclasses.dataclass(frozen=True)
class Config:
    seed: int = 0
    sims: int = 20
    beside: bool = False

def swept(config, ks):
    model = sdesim.Dynamics(lambda x: (x**2).sum(), sdesim.Quorum(1.0), sdesim.noise.Uniform(1.0), eta=0.05)
    observe = sdesim.observe.Spread()
    run = dict(agents=2, steps=30, every=10, init=1.0, observe=observe, seed=config.seed)
    data = sdesim.sweep(model, {"coupling.k": ks, "agents": [2, 3]}, sims=config.sims, **{**run, "agents": None})
    if config.beside:
        sdesim.simulate(model, **run)
    return data

def run(config, progress):
    first = swept(config, [0.0, 1.0])
    widest = int(np.argmax(first["spread_series_mean"].values[:, 0, -1]))
    return swept(config, [2.0 + widest, 5.0])[["spread"]]

EXPERIMENT = Experiment(
    name="two-sweeps", title="Two sweeps", says="The second hangs on the first.",
    presets={"smoke": Config(), "default": Config(sims=40), "paper": Config(sims=80)},
    run=run, plot=lambda config, data: plt.figure(), ensemble=lambda config, data: data,
    statements=lambda config: [Statement("some", "They spread.", lambda d: float(d["spread"].mean()), at_least(0.0))],
)
"""


@pytest.fixture
def figure(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pathlib.Path("two.py").write_text(FIGURE)
    return ["figure", "two.py", "--preset", "smoke"]


def test_what_a_figure_will_take(figure, capsys):
    """Nothing of it is run, kept or written: not even where the second sweep hangs on the first."""
    assert main([*figure, "--dry-run"]) == 0
    first, second, whole = capsys.readouterr().out.splitlines()
    assert first.startswith("4 points, 80 simulations in 2 tasks: about")
    assert second.startswith("4 points, 80 simulations in 2 tasks: about")
    assert whole.startswith("in all: 8 points, 160 simulations in 4 tasks: about")
    assert main([*figure, "--dry-run", "--beside"]) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("and a run that no store would keep")
    assert [p.name for p in pathlib.Path().iterdir() if p.name != "__pycache__"] == ["two.py"]


def test_workers_draw_nothing_and_what_they_did_is_not_done_again(figure, capsys):
    assert main([*figure, "--worker"]) == 2
    assert "--store: must be the folder" in capsys.readouterr().err
    assert main([*figure, "--store", "kept", "--worker"]) == 0
    assert capsys.readouterr().out == ""
    assert not pathlib.Path("figures").exists()
    files = sorted(pathlib.Path("kept").glob("*/tasks/*/*.nc"))
    before = [(p, p.stat().st_ino) for p in files]
    assert len(before) == 4
    assert main([*figure, "--store", "kept"]) == 0
    assert [(p, p.stat().st_ino) for p in files] == before
    assert pathlib.Path("figures/two-sweeps.png").exists()
