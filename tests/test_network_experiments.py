"""The experiments on networks: smoke-size claims with a pinned seed, what is kept of a training, the paper's table."""

import dataclasses

import flax.linen as nn
import numpy as np
import pytest
import xarray as xr

from sdesim import claims, plotting
from sdesim.experiments import EXPERIMENTS, bs_fig7, bs_fig8, bs_fig10, bs_fig11, bs_fig12, bs_table1
from sdesim.experiments import networks as net
from sdesim.experiments.base import PRESETS, regenerate
from sdesim.experiments.measured import Runs

pytestmark = [pytest.mark.relaxed, pytest.mark.usefixtures("float32")]  # as users have it

QUICK = ("bs-fig7", "bs-fig12", "bs-table1")
NAMES = ("bs-fig7", "bs-fig8", "bs-fig9", "bs-fig10", "bs-fig11", "bs-fig12", "bs-table1")
TRAINED = [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in NAMES]


def judged(experiment, config, data, smoke=True):
    return claims.judge(experiment.statements(config), experiment.ensemble(config, data), smoke=smoke)


# -- every experiment --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TRAINED)
def test_smoke_claims_hold_at_the_pinned_seed(name, smoke):
    experiment, config, data = smoke(name)
    assert config.seed == 0
    found = judged(experiment, config, data)
    counted = {c.id: c.verdict for c in found if c.counted}
    assert len(counted) >= 3
    assert counted == dict.fromkeys(counted, "holds")
    assert len({c.id for c in found}) == len(found)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # distances that are made 0
@pytest.mark.parametrize("name", TRAINED)
def test_every_claim_can_fail(name, smoke):
    """Each fails of data that are wrong in one way or another."""
    experiment, config, data = smoke(name)
    moved = data.copy(deep=True)
    moved["agents_test_loss"][0] = np.roll(data["agents_test_loss"][0], 1, axis=-1)
    wrong = {
        "cells exchanged": data.isel(cell=slice(None, None, -1)).assign_coords(cell=data["cell"]),
        "time reversed": data.isel(epoch=slice(None, None, -1)).assign_coords(epoch=data["epoch"]),
        "one cell's runs exchanged": moved,
        "all alike": xr.ones_like(data),
    }
    failed = {c.id for d in wrong.values() for c in claims.failed(judged(experiment, config, d))}
    assert failed == {c.id for c in judged(experiment, config, data) if c.counted}


@pytest.mark.parametrize("name", TRAINED)
def test_every_axis_says_what_it_shows(name, smoke):
    experiment, config, data = smoke(name)
    with plotting.looks():
        figure = experiment.plot(config, data)
    assert experiment.says.endswith(".")
    said = figure.get_suptitle()  # no one takes it for the paper's size
    assert "240 images of synthetic, channels 4, 8, 8, batches of 32, 2 epochs, 2 runs" in said
    for panel in figure.axes:
        assert any(a.get_xlabel() for a in panel.get_shared_x_axes().get_siblings(panel))
        assert panel.get_ylabel()


def test_they_train_and_have_all_sizes():
    """What holds at the larger sizes without training: cells of their own labels, statements of their own names."""
    for name in NAMES:
        experiment = EXPERIMENTS[name]
        assert experiment.trains and set(experiment.presets) == {*PRESETS, "small"}
        for preset, config in experiment.presets.items():
            assert config.data == ("synthetic" if preset == "smoke" else "cifar10")
            found = experiment.statements(config)
            assert len({s.id for s in found}) == len(found)
            assert len([s for s in found if s.counted]) >= 5 or preset == "smoke"


# -- what is trained together, kept and gone on with -------------------------------------------------------------------


class Dense(nn.Module):
    """A network that compiles in no time."""

    @nn.compact
    def __call__(self, x, train: bool = False):
        return nn.Dense(10)(x[:, ::4, ::4].reshape(x.shape[0], -1))


@dataclasses.dataclass(frozen=True)
class Tiny(net.Config):
    """A training experiment of seconds."""

    def network(self, classes: int) -> nn.Module:
        return Dense()


TINY = Tiny(data="synthetic", images=100, epochs=3, batch=20, sims=2, eta=0.01)
CELLS = [net.Cell("a", "easgd", 2, 1.0), net.Cell("b", "easgd", 2, 4.0), net.Cell("c", "msgd", first=2)]


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """A cache of its own: kept(name) makes another."""

    def make(name="cache"):
        monkeypatch.setenv("SDESIM_CACHE", str(tmp_path / name))
        return tmp_path / name / "trained"

    return make


def test_an_interrupted_experiment_goes_on_where_it_was(kept, monkeypatch):
    folder, told = kept(), []

    def stop(progress, name):
        told.append(progress.epoch)
        if progress.epoch == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(net, "tell", stop)
        with pytest.raises(KeyboardInterrupt):
            net.train(TINY, CELLS, True)
    assert set(told) == {1, 2, 3}
    assert len(list(folder.iterdir())) == 1  # the second program was not begun
    told.clear()
    monkeypatch.setattr(net, "tell", lambda progress, name: told.append((name, progress.epoch)))
    found = net.train(TINY, CELLS, True)
    assert {e for n, e in told if n.startswith("easgd")} == {3}
    assert {e for n, e in told if n.startswith("msgd")} == {1, 2, 3}
    told.clear()
    xr.testing.assert_identical(net.train(TINY, CELLS, True), found)
    assert not told  # nothing is trained twice
    longer = net.train(dataclasses.replace(TINY, epochs=4), CELLS, True)
    assert {e for _, e in told} == {4}
    xr.testing.assert_identical(longer.isel(epoch=slice(0, 4)), found)
    xr.testing.assert_identical(net.train(TINY, CELLS, False), found)  # a shorter one than is there
    kept("another")
    xr.testing.assert_identical(net.train(TINY, CELLS, False), found)


def test_another_number_is_another_training(kept):
    folder = kept()
    config = dataclasses.replace(TINY, epochs=1)
    for changed in (config, dataclasses.replace(config, eta=0.02), dataclasses.replace(config, seed=1)):
        net.train(changed, CELLS[:1], False)
    net.train(config, [dataclasses.replace(CELLS[0], k=2.0)], False)
    assert len(list(folder.iterdir())) == 4
    net.train(config, [dataclasses.replace(CELLS[0], label="another", style=":")], False)
    assert len(list(folder.iterdir())) == 4


def test_without_a_cache_nothing_is_written(monkeypatch, tmp_path):
    monkeypatch.setenv("SDESIM_CACHE", "")
    monkeypatch.chdir(tmp_path)
    net.train(dataclasses.replace(TINY, epochs=1), CELLS[2:], False)
    assert not list(tmp_path.iterdir())


def test_what_diverges_stays_in_the_data(kept):
    """Also where all runs of a program do, whose training ends early."""
    kept()
    cells = [CELLS[0], net.Cell("away", "msgd", eta=1e38)]
    found = net.train(TINY, cells, False)
    assert found.sizes["epoch"] == TINY.epochs + 1
    assert (found["diverged"].sel(cell="away") >= 0).all() and (found["diverged"].sel(cell="a") == -1).all()
    assert np.isnan(found["test_loss"].sel(cell="away").isel(epoch=-1)).all()


def test_cells_that_differ_in_numbers_are_one_program():
    few = dataclasses.replace(TINY, stacked=10, sims=2)  # five cells of one agent
    cells = [net.Cell(str(i), name) for i, name in enumerate(["easgd", "easgd-wm"] * 3 + ["msgd"] * 2)]
    assert net._programs(few, cells) == [[0, 1, 2], [3, 4, 5], [6, 7]]  # equal in size, not five and one
    table = bs_table1.cells(bs_table1.Config())
    assert len(table) == 4 * 6 * 3
    assert [len(p) for p in net._programs(bs_table1.Config(), table)] == [16, 16, 16, 12, 12]
    crowd = [net.Cell("a", "easgd", 64), net.Cell("b", "easgd", 64)]
    assert net._programs(TINY, crowd) == [[0], [1]]
    with pytest.raises(ValueError, match="labels of their own"):
        net.train(TINY, [CELLS[0], CELLS[0]], False)


def test_runs_of_one_number_start_alike(kept):
    kept()
    cells = [
        net.Cell(str(i), name, first=first) for i, (name, first) in enumerate([("msgd", 0), ("sgd", 0), ("sgd", 2)])
    ]
    first = net.train(dataclasses.replace(TINY, epochs=1), cells, False)["test_loss"].isel(epoch=0).values
    np.testing.assert_allclose(first[0], first[1], rtol=1e-5)
    assert np.abs(first[0] - first[2]).min() > 1e-4
    assert np.ptp(first[0]) > 1e-4


def test_an_experiment_writes_all_its_files(kept, tmp_path):
    kept()
    made = net.experiment(
        "tiny", "Tiny", "It learns.", {}, lambda config: CELLS, lambda config: [net.learns("l", CELLS)]
    )
    done = regenerate(made, TINY, "smoke", tmp_path / "out")
    assert {p.name for p in (tmp_path / "out").iterdir()} == {f"tiny.{s}" for s in ("nc", "claims.json", "png", "pdf")}
    with xr.open_dataset(done.files["nc"]) as data:
        assert data["test_accuracy"].dims == ("cell", "epoch", "sim")
        assert data.attrs["preset"] == "smoke"


# -- configurations ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        (net.Config, dict(sims=1), "sims=1: must be at least 2"),
        (net.Config, dict(epochs=0), "epochs=0"),
        (net.Config, dict(data="mnist"), "data='mnist'"),
        (bs_fig7.Config, dict(alpha=(0.1, 0.2)), r"alpha=\(0.1, 0.2\): must be at least 3, each greater"),
        (bs_fig7.Config, dict(alpha=(0.1, 0.3, 0.2)), r"alpha=\(0.1, 0.3, 0.2\)"),
        (bs_fig7.Config, dict(agents=0), "agents=0"),
        (bs_fig8.Config, dict(agents=(4, 2)), r"agents=\(4, 2\): must be at least 1, each greater"),
        (bs_fig8.Config, dict(agents=(1,)), r"agents=\(1,\): the last must be at least 2"),
        (bs_fig10.Config, dict(rates=(0.0, 0.1)), "rates=0"),
        (bs_fig11.Config, dict(scale=0.0), "scale=0"),
        (bs_fig12.Config, dict(agents=(1, 4)), r"agents=\(1, 4\): the first must be at least 2"),
        (bs_table1.Config, dict(momenta=(0.5, 1.0)), r"momenta=\(0.5, 1.0\): must be below 1"),
    ],
)
def test_unfit_configurations_are_refused(kind, change, message):
    with pytest.raises(ValueError, match=message):
        kind(**change)


def test_the_center_of_too_many_agents_is_unstable():
    config = bs_fig11.PRESETS["default"]
    assert [config.stable(p) for p in config.agents] == [True, True, True, False]
    rule = config.algorithm(net.Cell("", "easgd", 64, config.alpha / config.eta), 1).rule
    assert rule.amplification(config.eta, 64, "jacobi") > 1 > rule.amplification(config.eta, 16, "jacobi")


# -- Table 1 -----------------------------------------------------------------------------------------------------------


def test_the_papers_table_is_read_rightly():
    paper = bs_table1.paper()
    assert dict(paper.sizes) == {"block": 4, "algorithm": 3, "column": 6}
    loss, error = paper["loss"], paper["error"]
    # a network that guesses has the loss log 10 and the error 0.9: what diverged shows how many runs were summed
    diverged = error == 0.9
    assert int(diverged.sum()) == 3
    np.testing.assert_allclose(loss.values[diverged.values], np.log(10), atol=0.002)
    without = loss.sel(algorithm="EASGD-WM")  # has no momentum
    assert float((without.max("column") / without.min("column")).max()) < 1.07
    assert float(without.min()) > 0.96 and float(without.max()) < 1.09
    assert error.sel(algorithm="EASGD-WM").isel(block=0).values.tolist() == [0.267, 0.266, 0.264, 0.269, 0.268, 0.270]
    assert float(error.sel(algorithm="MSGD").isel(block=1, column=1)) == 0.307
    behind = np.argwhere((bs_table1.lead(error) <= 0).values)
    assert behind.tolist() == [list(bs_table1.EXCEPTION)]


def made_up(config, errors, rng):
    """Data of a table with these least errors, (block, algorithm, column), which some epoch after the start has."""
    cells, values = bs_table1.cells(config), np.asarray(errors).reshape(-1)
    shape = (len(cells), config.epochs + 1, config.sims)
    noise = 2e-4 * rng.normal(size=shape)
    accuracy = 100 * (1 - values[:, None, None] - noise - 0.05 * (np.arange(config.epochs + 1) != 2)[:, None])
    start = np.tile(rng.normal(size=(len(config.momenta), config.sims)), (len(cells) // len(config.momenta), 1))
    dims = ("cell", "epoch", "sim")
    found = {
        "test_accuracy": (dims, accuracy),
        "agents_test_accuracy": (dims, np.where(np.arange(shape[1])[:, None] > 0, accuracy, 10.0)),
        "test_loss": (dims, np.full(shape, 1.0)),
        "agents_test_loss": (dims, np.broadcast_to(start[:, None], shape)),
    }
    return xr.Dataset(found, {"cell": [c.label for c in cells]})


def test_claims_of_the_papers_own_numbers():
    """They hold but in the one cell, and fail where the methods are exchanged."""
    config = bs_table1.Config(epochs=3)
    errors = bs_table1.paper()["error"].values.copy()
    errors[:, 0] = errors[:, 0].mean(
        axis=1, keepdims=True
    )  # without the noise of the paper's runs: made_up has its own
    data = made_up(config, errors, np.random.default_rng(0))
    found = {c.id: c for c in judged(EXPERIMENTS["bs-table1"], config, data, smoke=False)}
    exception = found.pop("1-least-error-2-5")
    assert not exception.counted
    assert {c.id: c.verdict for c in found.values()} == dict.fromkeys(found, "holds")
    moved = data.assign(test_accuracy=data["test_accuracy"].roll(cell=6))
    failed = {c.id for c in claims.failed(judged(EXPERIMENTS["bs-table1"], config, moved, smoke=False))}
    assert {"1-headline", "1-constant", "1-least-error-1-1", "1-least-error-4-6"} <= failed


def test_the_table_is_the_least_mean_over_runs():
    config = bs_table1.Config(rates=(0.1,), momenta=(0.5,), epochs=2, sims=2)
    loss = np.full((3, 3, 2), 3.0)
    loss[:, 0] = 0.1  # before training: not in the table
    loss[0, 1:] = [[1.0, 2.0], [2.0, 1.2]]  # least mean 1.5; the mean of the runs' own least is 1.1
    loss[1, 1:] = np.nan  # diverged
    accuracy = 100 * (1 - loss / 4)
    accuracy[1] = 10.0
    dims = ("cell", "epoch", "sim")
    data = xr.Dataset(
        {"test_loss": (dims, loss), "test_accuracy": (dims, accuracy)},
        {"cell": [c.label for c in bs_table1.cells(config)]},
    )
    table = bs_table1.table(config, data)
    np.testing.assert_allclose(table["loss"].values.ravel(), [1.5, np.log(10), 3.0])
    np.testing.assert_allclose(table["error"].values.ravel(), [0.375, 0.9, 0.75])
    np.testing.assert_allclose(table["loss_stderr"].values.ravel(), [0.5, 0, 0], atol=1e-12)
    assert bs_table1.lead(table["error"]).values == pytest.approx(0.375)


def test_constancy_tells_noise_from_a_trend():
    rng = np.random.default_rng(0)
    dims = ("block", "column", "sim")
    noise = [bs_table1.constancy(xr.DataArray(rng.normal(size=(4, 6, 3)), dims=dims)) for _ in range(200)]
    assert np.mean(np.array(noise) > 1) < 0.03  # four blocks of 0.1 % each
    trend = rng.normal(size=(4, 6, 3)) + 4.0 * np.arange(6)[:, None]
    assert bs_table1.constancy(xr.DataArray(trend, dims=dims)) > 1


def test_statements_look_at_the_runs_they_are_given():
    """The error of a mean is the jackknife's over runs."""
    config = bs_table1.Config(epochs=3)
    data = made_up(config, bs_table1.paper()["error"].values, np.random.default_rng(1))
    statement = next(s for s in bs_table1.statements(config) if s.id == "1-least-error-1-1")
    value, error = claims.measure(statement.statistic, Runs(data))
    assert value == pytest.approx(0.304 - 0.267, abs=1e-3)
    assert 1e-5 < error < 1e-3
