"""The figures: smoke-size claims with a pinned seed, and what the configuration decides."""

import dataclasses

import matplotlib.colors
import numpy as np
import pytest
import xarray as xr

from sdesim import claims, plotting
from sdesim.experiments import EXPERIMENTS, one_dimensional
from sdesim.experiments.base import PRESETS, regenerate


@pytest.fixture(scope="module")
def smoke():
    """Every experiment at smoke size, run once."""
    cache = {}

    def run(name):
        if name not in cache:
            experiment = EXPERIMENTS[name]
            config = experiment.preset("smoke")
            cache[name] = experiment, config, experiment.run(config, False)
        return cache[name]

    return run


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_smoke_claims_hold_at_the_pinned_seed(name, smoke):
    experiment, config, data = smoke(name)
    assert config.seed == 0
    found = claims.judge(experiment.statements(config), experiment.ensemble(config, data), smoke=True)
    assert len(found) >= 9
    assert {c.id: c.verdict for c in found if c.counted} == {c.id: "holds" for c in found if c.counted}
    assert len({c.id for c in found}) == len(found)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_claims_can_fail(name, smoke):
    """The panels of other gains must not satisfy the statements: they tell panels apart."""
    experiment, config, data = smoke(name)
    dimension = one_dimensional.K
    moved = {n: v.copy(data=np.roll(v.values, 3, axis=0)) for n, v in data.items() if dimension in v.dims}
    found = claims.judge(experiment.statements(config), experiment.ensemble(config, data.assign(moved)), smoke=True)
    assert len(claims.failed(found)) >= len(found) / 3


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_picture_shows_what_it_must(name, smoke):
    experiment, config, data = smoke(name)
    with plotting.looks():
        figure = experiment.plot(config, data)
    assert len(figure.axes) == 6
    for panel, k in zip(figure.axes, config.k, strict=True):
        assert f"k = {k:g}" in panel.get_title("left")
        colors = {line.get_label(): matplotlib.colors.to_hex(line.get_color()) for line in panel.lines}
        assert colors["loss (scaled)"] == plotting.LOSS
        assert colors["smoothed loss (scaled)"] == plotting.SMOOTHED
    assert figure.axes[3].get_xlabel() == "$x$"
    assert figure.axes[0].get_ylabel()


def test_presets_and_constants():
    for experiment in EXPERIMENTS.values():
        assert tuple(experiment.presets) == PRESETS
        small, normal, paper = (experiment.preset(p) for p in PRESETS)
        assert paper.sims == 10 * normal.sims
        # nothing but the number of simulations differs
        assert dataclasses.replace(small, sims=normal.sims) == normal == dataclasses.replace(paper, sims=normal.sims)
    with pytest.raises(ValueError, match="did you mean 'smoke'"):
        EXPERIMENTS["bs-fig1"].preset("smok")


def test_landmarks_follow_from_the_constants():
    marks = one_dimensional.landmarks(one_dimensional.Config())
    assert marks.deepest == pytest.approx(1.851, abs=1e-3)
    assert marks.near_start == pytest.approx(-0.091, abs=1e-3)
    assert (marks.left, marks.origin, marks.right) == pytest.approx((-1.672, -0.009, 1.700), abs=1e-3)
    mirrored = one_dimensional.Config(loss=one_dimensional.Loss(tilt=-0.75, a2=-4.0))
    assert one_dimensional.landmarks(mirrored).deepest == pytest.approx(-1.851, abs=1e-3)
    with pytest.raises(ValueError, match="must have two minima"):
        one_dimensional.landmarks(one_dimensional.Config(smoothing=4.0))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": (1.0, 2.0)}, "six gains"),
        ({"sims": 1}, "sims=1: must be at least 2"),
        ({"agents": 0}, "agents=0"),
        ({"eta": -0.1}, "eta=-0.1"),
        ({"eta": float("nan")}, "eta=nan"),
    ],
)
def test_unfit_configurations_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        one_dimensional.Config(**change)


def test_regenerate_writes_everything_with_provenance(tmp_path):
    experiment = EXPERIMENTS["bs-fig1"]
    config = dataclasses.replace(experiment.preset("smoke"), sims=4, steps=20, seed=2**40)
    done = regenerate(experiment, config, "smoke", tmp_path / "new")
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == [
        "bs-fig1.claims.json",
        "bs-fig1.nc",
        "bs-fig1.pdf",
        "bs-fig1.png",
    ]
    with xr.open_dataset(done.files["nc"]) as data:
        assert data["agents"].dims == (one_dimensional.K, "sim", "agent")
        assert data.attrs["seed"] == str(2**40)
        for name in ("sdesim_version", "jax_version", "device", "commit", "written", "config", "preset", "python"):
            assert data.attrs[name]
    again = regenerate(experiment, config, "smoke", tmp_path / "again")
    for suffix in ("png", "pdf", "claims.json"):  # the same data give the same files
        assert done.files[suffix].read_bytes() == again.files[suffix].read_bytes()


def test_density_integrates_to_one_whatever_the_way():
    grid = np.linspace(-6, 6, 2001)
    rng = np.random.default_rng(0)
    for size in (50, 5_000, 50_000):  # direct, direct, binned
        values = rng.normal(size=size)
        found = plotting.density(values, grid, 0.2)
        assert np.trapezoid(found, grid) == pytest.approx(1, abs=1e-3)
        exact = np.exp(-0.5 * grid**2 / 1.04) / np.sqrt(2 * np.pi * 1.04)  # the law convolved with the kernel
        assert np.abs(found - exact).max() < 4 * 0.4 / np.sqrt(size * 0.2)
    assert np.trapezoid(plotting.density(np.ones(10), grid, 0.1), grid) == pytest.approx(1, abs=1e-3)
