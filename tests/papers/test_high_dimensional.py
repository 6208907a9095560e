"""Figures 4-6 of Boffi and Slotine: the run against plain NumPy, the statistics against hand-made points."""

import dataclasses
import re

import matplotlib.colors
import numpy as np
import pytest
import xarray as xr
from places import ROOT

from sdesim import claims
from sdesim.papers import EXPERIMENTS
from sdesim.papers.boffi_slotine import high_dimensional as high
from sdesim.papers.boffi_slotine.high_dimensional import Config, Loss
from sdesim.papers.frame import cache
from sdesim.papers.frame.measured import Runs
from sdesim.plot import theme

FIGURES = ("bs-fig4", "bs-fig5", "bs-fig6")
SMALL = Config(agents=8, dims=4, sims=3, steps=40, every=20)
MINIMA = Loss().minima()


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory):
    """A cache of this module's own."""
    path = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SDESIM_CACHE", str(path))
        yield path / "runs"


@pytest.fixture
def three(smoke):
    """The smoke run with what each figure takes of it."""
    return high.PRESETS["smoke"], {name: smoke(name)[2] for name in FIGURES}


# -- the run -----------------------------------------------------------------------------------------------------------


def plain(config, k, sims, seed):
    """The iteration in NumPy with its own noise: loss of the quorum per dimension, (sims,), and final agents."""
    loss, rng = config.loss, np.random.default_rng(seed)
    shape = (sims, config.agents, config.dims)
    pairs = loss.a / (config.dims - 1)

    def value(x):
        c = np.cos(loss.w * x)
        both = sum(c[..., i] * c[..., j] for i in range(config.dims) for j in range(i))
        return loss.scale * ((x**4 - loss.well * x**2 + loss.tilt * x).sum(-1) - pairs * both)

    def gradient(x):
        c, s = np.cos(loss.w * x), np.sin(loss.w * x)
        others = c.sum(-1, keepdims=True) - c
        return loss.scale * (4 * x**3 - 2 * loss.well * x + loss.tilt + pairs * loss.w * s * others)

    x, v = rng.uniform(-config.init_half_width, config.init_half_width, shape), np.zeros(shape)
    for _ in range(config.steps):
        noise = rng.uniform(-config.noise_half_width, config.noise_half_width, shape)
        v = config.momentum * v - config.eta * (gradient(x + config.momentum * v) + noise)
        x = x + v + config.eta * k * (x.mean(1, keepdims=True) - x)
    return value(x.mean(1)) / config.dims, x


def test_the_run_is_the_iteration_of_the_paper():
    config = Config(agents=12, dims=6, sims=200, steps=80, every=80)
    data = high.run(config)
    for letter, k in zip("abcdef", config.panels, strict=True):
        loss, x = plain(config, k, 200, seed=1)
        mine = high.panel(Runs(data), "agents", letter)
        pairs = {
            "loss of the quorum": (data["quorum_loss"].sel(k=k).values[:, -1], loss),
            "spread": (mine.std(axis=1).mean(axis=1), x.std(axis=1).mean(axis=1)),
            "square": ((mine**2).mean(axis=(1, 2)), (x**2).mean(axis=(1, 2))),
            "quorum's square": ((mine.mean(1) ** 2).mean(1), (x.mean(1) ** 2).mean(1)),
        }
        for name, (a, b) in pairs.items():
            z = (a.mean() - b.mean()) / np.sqrt((a.var() + b.var()) / 200)
            assert abs(z) < 4, (k, name, z)


def test_records_fit_together():
    data = high.run(SMALL)
    assert data["step"].values.tolist() == [0, 20, 40]
    assert data["quorum_loss"].dims == ("k", "sim", "step")
    assert data["agents"].dims == ("panel", "sim", "agent", "dim")
    assert data["panel"].values.tolist() == list(SMALL.panels)
    np.testing.assert_allclose(data["agents"].mean("agent"), data["quorum"], atol=1e-6)
    loss = SMALL.loss.objective().loss
    for k in SMALL.panels:
        for sim in range(3):
            expected = float(loss(data["quorum"].sel(panel=k)[sim].values)) / SMALL.dims
            assert float(data["quorum_loss"].sel(k=k)[sim, -1]) == pytest.approx(expected, abs=1e-5)


def test_one_run_feeds_three_figures_and_later_processes(folder, monkeypatch):
    made, original = [], high.sweep
    monkeypatch.setattr(high, "sweep", lambda *args, **options: made.append(1) or original(*args, **options))
    config = dataclasses.replace(SMALL, seed=11)

    def found(name):
        experiment = EXPERIMENTS[name]
        data = experiment.run(config, False)
        return data, claims.judge(experiment.statements(config), experiment.ensemble(config, data))

    first = {name: found(name) for name in FIGURES}
    assert len(made) == 1
    cache.forget()  # as in another process
    for name in reversed(FIGURES):
        data, judged = found(name)
        assert data.identical(first[name][0])
        assert repr(judged) == repr(first[name][1])  # as printed: what is not a number equals itself here
    assert len(made) == 1
    high.run(dataclasses.replace(config, section=0.5, smoothing=0.2, shown=2))  # of the pictures alone
    assert len(made) == 1
    high.run(dataclasses.replace(config, seed=12))
    high.run(dataclasses.replace(config, loss=Loss(a=5.0)))
    high.run(dataclasses.replace(config, panels=config.k[:6]))
    assert len(made) == 4
    assert len(list(folder.iterdir())) >= 4


# -- statistics --------------------------------------------------------------------------------------------------------


def points(*pairs):
    """One simulation with these planar points, as agents of two dimensions: (1, points, 2)."""
    return np.array([pairs], float)


def test_shares_of_points_placed_by_hand():
    left, right = MINIMA
    z = points((left, left), (left + 0.39, right), (left + 0.41, right), (0.3, -0.3), (-0.5, -0.95), (right, -0.89))
    np.testing.assert_allclose(high.clusters(z, MINIMA)[:, 0], np.array([1, 1, 0, 0]) / 6)
    assert high.in_clusters(z, MINIMA) == pytest.approx(2 / 6)
    assert high.smallest_cluster(z, MINIMA) == 0
    assert high.near_origin(z) == pytest.approx(1 / 6)
    assert high.bottom_left(z) == pytest.approx(2 / 6)
    assert high.stragglers(z) == pytest.approx(3 / 6)
    assert high.distance_in_wells(z) == pytest.approx(np.mean(np.abs(z)[np.abs(z) > 0.9]))


def test_planes_pair_neighbors_and_pool_them():
    z = np.arange(8.0).reshape(2, 4)
    first, second = high.planes(z)
    assert first.tolist() == [[0, 2], [4, 6]] and second.tolist() == [[1, 3], [5, 7]]
    left, right = MINIMA
    q = np.array([[left, right, right, right], [0.0, 0.0, left, left]])  # (sims, dims): no axis of agents
    assert high.in_clusters(q, MINIMA).tolist() == [1.0, 0.5]
    assert high.clusters(q, MINIMA).T.tolist() == [[0, 0.5, 0, 0.5], [0.5, 0, 0, 0]]


def test_unevenness_of_known_densities():
    rng = np.random.default_rng(0)
    flat = rng.uniform(-1.8, 1.8, (10, 4000, 2))
    assert 1 < high.unevenness(flat) < 1.2
    heavy = flat.copy()
    heavy[:5] = np.abs(heavy[:5])  # half the mass moves into one quadrant: 5/8 against 1/8
    assert high.unevenness(heavy) == pytest.approx(5, rel=0.15)


def test_a_simulation_that_diverged_makes_no_statement_hold():
    z = np.zeros((3, 5, 4))
    z[1, 2, 3] = np.nan
    for share in (high.near_origin, high.bottom_left, high.stragglers, lambda a: high.in_clusters(a, MINIMA)):
        assert np.isnan(share(z)).tolist() == [False, True, False]
    assert np.isnan(high.unevenness(z)) and np.isnan(high.distance_in_wells(z))
    wild = dataclasses.replace(
        SMALL, k=tuple(1e4 * (i + 1) for i in range(11)), panels=tuple(1e4 * i for i in range(1, 7))
    )
    for _ in range(2):  # from the run, and from what is kept of it
        with pytest.warns(UserWarning, match="diverged"):
            data = high.run(wild)
    for name in FIGURES:
        found = claims.judge(EXPERIMENTS[name].statements(wild), Runs(data))
        assert {c.verdict for c in found if c.counted} == {"fails"}


@pytest.mark.parametrize("name", FIGURES)
def test_claims_can_fail(name, three):
    """The gains and panels in another order must not satisfy the statements: they tell gains apart."""
    config, data = three
    experiment = EXPERIMENTS[name]
    judged = lambda d: claims.judge(experiment.statements(config), Runs(d), smoke=True)
    for shift in (2, 3):
        wrong = {n: v.copy(data=np.roll(v.values, shift, axis=0)) for n, v in data[name].items() if n != "diverged"}
        found = judged(data[name].assign(wrong))
        assert len(claims.failed(found)) >= len(found) / 3
    assert claims.failed(judged(data[name])) == []


def test_every_default_statement_can_fail():
    """Points of one kind for all panels, and one curve for all gains: each statement fails for some."""
    config = high.PRESETS["default"]
    left, right = MINIMA
    rng = np.random.default_rng(0)
    shape = (6, 20, 12, 8)
    signs = rng.choice([left, right], shape)
    kinds = {
        "origin": np.zeros(shape),
        "one well": np.full(shape, left),
        "other well": np.full(shape, right),
        "four clusters": signs,
        "outer": 1.35 * signs,
        "half": rng.choice([left, right, 0.0, 0.0], shape),
    }
    ids, failed = set(), set()
    for name in ("bs-fig5", "bs-fig6"):
        statements = EXPERIMENTS[name].statements(config)
        for kind in kinds.values():
            z = kind + 1e-6 * rng.normal(size=shape)
            data = xr.Dataset(
                {"agents": (("panel", "sim", "agent", "dim"), z), "quorum": (("panel", "sim", "dim"), z[:, :, 0])}
            )
            found = claims.judge(statements, Runs(data))
            ids |= {c.id for c in found}
            failed |= {c.id for c in found if c.verdict == "fails"}
    for curve in (np.zeros(11), np.linspace(0, 1, 11), -np.linspace(0, 1, 11)):
        loss = curve[:, None, None] + 1e-6 * rng.normal(size=(11, 20, 2))
        found = claims.judge(
            EXPERIMENTS["bs-fig4"].statements(config), Runs(xr.Dataset({"quorum_loss": (("k", "sim", "step"), loss)}))
        )
        ids |= {c.id for c in found}
        failed |= {c.id for c in found if c.verdict == "fails"}
    assert failed == ids and len(ids) > 35


# -- configuration and pictures ----------------------------------------------------------------------------------------


def test_constants():
    config = Config()
    assert pytest.approx((-1.439, 1.389), abs=5e-4) == MINIMA
    assert config.rest == MINIMA[0] and Config(loss=Loss(tilt=-0.4)).rest == pytest.approx(-MINIMA[0])
    assert config.half_width == pytest.approx(0.72)
    assert (dataclasses.replace(config, section=0.0).rest, dataclasses.replace(config, smoothing=0.1).half_width) == (
        0,
        0.1,
    )
    small, normal, paper = (high.PRESETS[p] for p in ("smoke", "default", "paper"))
    assert dataclasses.replace(small, sims=normal.sims, dims=normal.dims, steps=normal.steps) == normal
    assert dataclasses.replace(paper, sims=normal.sims) == normal and paper.sims == 10 * normal.sims


def test_the_models_page_states_the_chosen_constants():
    page = ROOT / "docs" / "models.md"
    config, stated = Config(), {}
    for names, values in re.findall(r"^\| (`[a-z_`, ]+`) \| ([-0-9., ]+) \|", page.read_text(encoding="utf-8"), re.M):
        numbers = [float(v) for v in values.split(",")]
        fields = re.findall(r"`(\w+)`", names)
        stated.update(zip(fields, numbers, strict=True) if len(fields) > 1 else {fields[0]: numbers}.items())
    drawn = {"section": [round(config.rest, 3)], "smoothing": [round(config.half_width, 3)]}
    for name in ("k", "panels"):
        assert stated[name] == list(getattr(config, name))
    assert {name: stated[name] for name in drawn} == drawn
    for name in ("dims", "agents", "steps", "eta", "momentum", "noise_half_width", "init_half_width"):
        assert stated[name] == getattr(config, name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": (1.0, 2.0)}, "must be 11 ascending gains"),
        ({"k": tuple(float(i) for i in range(10, -1, -1))}, "must be 11 ascending gains"),
        ({"panels": (0.0, 15.0)}, "must be 6 of the gains"),
        ({"panels": (0.0, 15.0, 50.0, 70.0, 90.0, 121.0)}, "must be 6 of the gains"),
        ({"sims": 1}, "sims=1: must be at least 2"),
        ({"dims": 5}, "dims=5: must be even"),
        ({"every": 3}, "every=3: must divide steps=2000"),
        ({"shown": 61}, "shown=61: must be at most agents=60"),
        ({"agents": 0}, "agents=0"),
        ({"momentum": 1.0}, "momentum=1.0"),
        ({"eta": float("nan")}, "eta=nan"),
        ({"loss": Loss(well=0.1)}, "two minima in each coordinate"),
    ],
)
def test_unfit_configurations_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Config(**change)


@pytest.mark.parametrize("smoothed", [False, True])
def test_the_section_is_that_of_the_loss(smoothed, float32):
    """Also in single precision, where a plain evaluation would be off by the size of a contour's step."""
    config = dataclasses.replace(Config(), smoothing=0.3)
    grid, values = high.section(config, points=45, smoothed=smoothed)
    loss, h, rng = config.loss, 0.3, np.random.default_rng(0)

    def direct(a, b):
        x = np.full(config.dims, config.rest)
        x[:2] = a, b
        wells, c = x**4 - loss.well * x**2 + loss.tilt * x, np.cos(loss.w * x)
        if smoothed:  # each coordinate averaged over (-h, h), by Gauss-Legendre
            nodes, weights = np.polynomial.legendre.leggauss(20)
            at = x[:, None] + h * nodes
            wells = (at**4 - loss.well * at**2 + loss.tilt * at) @ weights / 2
            c = np.cos(loss.w * at) @ weights / 2
        return loss.scale * (wells.sum() - loss.a / (config.dims - 1) * (c.sum() ** 2 - (c**2).sum()) / 2)

    places = rng.integers(0, 45, (20, 2))
    found = np.array([values[j, i] for i, j in places])
    expected = np.array([direct(grid[i], grid[j]) for i, j in places])
    np.testing.assert_allclose(np.diff(found), np.diff(expected), atol=1e-9)
    assert values.min() == 0


def test_pictures_show_what_they_must(three):
    config, data = three
    with theme.looks():
        four, five, six = (EXPERIMENTS[n].plot(config, data[n]) for n in FIGURES)
    a, b, c = _lettered(four)
    assert len(c.lines) == 11
    assert [t.get_text() for t in four.legends[0].get_texts()] == [f"$k = {k:g}$" for k in config.k]
    for line, k in zip(c.lines, config.k, strict=True):
        mean = data["bs-fig4"]["quorum_loss"].sel(k=k).mean("sim")
        np.testing.assert_allclose(line.get_ydata(), mean, rtol=1e-6)
    assert "smoothed" in b.get_title("left") and "smoothed" not in a.get_title("left")
    planes = config.sims * config.dims // 2
    for figure, count, color in ((five, planes * config.shown, "black"), (six, planes, theme.QUORUM)):
        panels = _lettered(figure)
        assert len(panels) == 6
        for panel, k in zip(panels, config.panels, strict=True):
            assert panel.get_title("left").endswith(f"$k = {k:g}$")
            (points,) = panel.lines
            assert len(points.get_xdata()) == count and points.get_alpha() < 1
            assert matplotlib.colors.same_color(points.get_color(), color)


def _lettered(figure):
    """The panels in the order of their letters."""
    return sorted((a for a in figure.axes if a.get_title("left")), key=lambda a: a.get_title("left"))
