"""The figures: smoke-size claims with a pinned seed, and what the configuration decides."""

import dataclasses
import re
from typing import Any

import matplotlib.colors
import matplotlib.layout_engine
import numpy as np
import pytest
import xarray as xr

from sdesim import claims
from sdesim.claims import at_most
from sdesim.papers import EXPERIMENTS
from sdesim.papers.boffi_slotine import one_dimensional
from sdesim.papers.frame import measured
from sdesim.papers.frame.experiment import PRESETS, regenerate
from sdesim.papers.frame.gallery import write_gallery
from sdesim.plot import theme
from sdesim.statistics import kernel_density

SIMULATED = [name for name, e in EXPERIMENTS.items() if not e.trains]  # those that train have tests of their own
ONE_DIMENSIONAL = ("bs-fig1", "bs-fig1-easgd", "bs-fig2", "bs-fig3")  # six panels over one loss


@pytest.mark.parametrize("name", SIMULATED)
def test_smoke_claims_hold_at_the_pinned_seed(name, smoke):
    experiment, config, data = smoke(name)
    assert config.seed == 0
    found = claims.judge(experiment.statements(config), experiment.ensemble(config, data), smoke=True)
    assert len(found) >= 3
    assert {c.id: c.verdict for c in found if c.counted} == {c.id: "holds" for c in found if c.counted}
    assert len({c.id for c in found}) == len(found)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("name", SIMULATED)
def test_no_statement_skips_what_is_not_finite(name, value, smoke, leaks):
    assert leaks(*smoke(name), value) == set()


@pytest.mark.parametrize("name", SIMULATED)
def test_every_axis_says_what_it_shows(name, smoke):
    experiment, config, data = smoke(name)
    with theme.looks():
        figure = experiment.plot(config, data)
    assert experiment.says.endswith(".")
    assert figure.get_suptitle()
    panels = [a for a in figure.axes if a.get_label() != "<colorbar>"]
    for a in panels:
        assert any(b.get_xlabel() for b in a.get_shared_x_axes().get_siblings(a)), a.get_title("left")
        assert any(b.get_ylabel() for b in a.get_shared_y_axes().get_siblings(a)), a.get_title("left")


@pytest.mark.parametrize("name", ONE_DIMENSIONAL)
def test_claims_can_fail(name, smoke):
    """The panels of other gains must not satisfy the statements: they tell panels apart."""
    experiment, config, data = smoke(name)
    dimension = one_dimensional.K
    moved = {n: v.copy(data=np.roll(v.values, 3, axis=0)) for n, v in data.items() if dimension in v.dims}
    found = claims.judge(experiment.statements(config), experiment.ensemble(config, data.assign(moved)), smoke=True)
    assert len(claims.failed(found)) >= len(found) / 3


NEAR_START = {
    "bs-fig1": ("1b-agents-drawn", "1e-agents-near-start", "1f-agents-near-start"),
    "bs-fig3": ("3-degrades-agents",),
    "bs-fig6": ("6f-agents-near-origin",),
}


@pytest.mark.parametrize("name", NEAR_START)
def test_agents_near_their_start_tell_coupling_from_none(name, smoke):
    """The quorum rests there without any coupling too, so that statements about it have one about agents at their side.

    Those of EASGD are the same functions as those of Figure 1.
    """
    experiment, config, _ = smoke(name)
    none = [1e-9 * i for i in range(len(config.k))]
    changes: dict[str, Any] = {"k": tuple(none)}
    if name == "bs-fig3":
        changes["k_degraded"] = 1e-8
    if name == "bs-fig6":
        changes["panels"] = tuple(none[config.k.index(k)] for k in config.panels)
    uncoupled = dataclasses.replace(config, **changes)
    asked = [s for s in experiment.statements(uncoupled) if re.search("near|drawn|degrades|unreliable", s.id)]
    data = experiment.run(uncoupled, False)
    found = {c.id: c.verdict for c in claims.judge(asked, experiment.ensemble(uncoupled, data), smoke=True)}
    telling = {id for id, verdict in found.items() if verdict != "holds"}
    assert telling == set(NEAR_START[name]) < set(found)


@pytest.mark.parametrize("name", ONE_DIMENSIONAL)
def test_picture_shows_what_it_must(name, smoke):
    experiment, config, data = smoke(name)
    with theme.looks():
        figure = experiment.plot(config, data)
    assert len(figure.axes) == 6
    for panel, k in zip(figure.axes, config.k, strict=True):
        assert f"k = {k:g}" in panel.get_title("left")
        colors = {line.get_label(): matplotlib.colors.to_hex(line.get_color()) for line in panel.lines}
        assert colors["loss (scaled)"] == theme.LOSS
        assert colors["smoothed loss (scaled)"] == theme.SMOOTHED
    assert figure.axes[3].get_xlabel() == "$x$"
    assert figure.axes[0].get_ylabel()


def test_presets_and_constants():
    for name, experiment in EXPERIMENTS.items():
        assert tuple(p for p in experiment.presets if p != "small" or not experiment.trains) == PRESETS
        small, normal, paper = (experiment.preset(p) for p in PRESETS)
        assert small.seed == normal.seed == paper.seed == 0
        if name not in ONE_DIMENSIONAL:
            continue
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


def test_regenerate_writes_everything_with_provenance(tmp_path, float32):
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
        for name in ("sdesim_version", "jax_version", "device", "commit", "written", "settings", "preset", "python"):
            assert data.attrs[name]
    again = regenerate(experiment, config, "smoke", tmp_path / "again")
    for suffix in ("png", "pdf", "claims.json"):  # the same data give the same files
        assert done.files[suffix].read_bytes() == again.files[suffix].read_bytes()


def test_density_integrates_to_one_whatever_the_way():
    grid = np.linspace(-6, 6, 2001)
    rng = np.random.default_rng(0)
    for size in (50, 5_000, 50_000):  # direct, direct, binned
        values = rng.normal(size=size)
        found = kernel_density(values, grid, 0.2)
        assert np.trapezoid(found, grid) == pytest.approx(1, abs=1e-3)
        exact = np.exp(-0.5 * grid**2 / 1.04) / np.sqrt(2 * np.pi * 1.04)  # the law convolved with the kernel
        assert np.abs(found - exact).max() < 4 * 0.4 / np.sqrt(size * 0.2)
    assert np.trapezoid(kernel_density(np.ones(10), grid, 0.1), grid) == pytest.approx(1, abs=1e-3)


def test_a_gallery_shows_every_figure_with_its_claims(tmp_path, float32, monkeypatch):
    experiment = EXPERIMENTS["bs-fig1"]
    config = dataclasses.replace(experiment.preset("smoke"), sims=4, steps=20)
    engine, placed = matplotlib.layout_engine.ConstrainedLayoutEngine, []
    execute = engine.execute
    monkeypatch.setattr(engine, "execute", lambda self, figure: placed.append(figure) or execute(self, figure))
    done = regenerate(experiment, config, "smoke", tmp_path)
    assert len(placed) == 1  # of two files: what takes as long as to draw one is done once
    page = write_gallery(EXPERIMENTS, tmp_path).read_text(encoding="utf-8")
    assert "## bs-fig1\n" in page and "bs-fig2" not in page
    assert "](bs-fig1.png)" in page and experiment.says in page
    assert page.count("\n| ") == 1 + len(done.claims)
    assert all(c.verdict in page for c in done.claims)


def test_statements_over_a_grid_know_right_from_wrong():
    rng = np.random.default_rng(0)
    p = np.array([2.0, 8, 32, 128])
    noise = rng.normal(size=(4, 400))
    data = xr.Dataset({"m": (("p", "sim"), (1 + 0.5 * noise) / p[:, None])}, {"p": p})
    runs = measured.Runs(data)
    of, law = (lambda d: d["m"]), (lambda d: 1 / d["p"])
    verdict = lambda s: claims.judge([s], runs)[0].verdict
    assert verdict(measured.equal("a", "", of, law)) == "holds"
    assert verdict(measured.equal("a", "", of, lambda d: 1.2 / d["p"])) == "fails"
    assert verdict(measured.below("a", "", of, law)) == "holds"  # a bound that is reached holds
    assert verdict(measured.below("a", "", of, lambda d: 0.8 / d["p"])) == "fails"
    one_wrong = lambda d: xr.where(d["p"] == 8, 0.8, 2) / d["p"]
    assert verdict(measured.below("a", "", of, one_wrong)) == "fails"
    assert verdict(measured.ratio("a", "", of, lambda d: 2 / d["p"], at_most(0.7))) == "holds"
    for predicted in (-1.0, law):
        assert verdict(measured.exponent("a", "", of, "p", predicted, 0.1)) == "holds"
    for predicted in (-1.2, lambda d: 1 / d["p"] ** 1.3):
        assert verdict(measured.exponent("a", "", of, "p", predicted, 0.1)) == "fails"
    fixed = xr.Dataset({"m": (("p", "sim"), np.ones((4, 400)) / p[:, None])}, {"p": p})  # nothing random
    for factor, expected in ((1, "holds"), (1.01, "fails")):
        statement = measured.equal("a", "", of, lambda d, factor=factor: factor / d["p"])
        assert claims.judge([statement], measured.Runs(fixed))[0].verdict == expected
