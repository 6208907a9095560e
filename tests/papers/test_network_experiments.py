"""The experiments on networks: smoke-size claims with a pinned seed, what is kept of a training."""

import dataclasses

import flax.linen as nn
import jax
import numpy as np
import pytest
import xarray as xr

from sdesim import claims, training
from sdesim.cli import main
from sdesim.ensembles.grids import stored_in
from sdesim.papers import EXPERIMENTS
from sdesim.papers.boffi_slotine import fig7 as bs_fig7
from sdesim.papers.boffi_slotine import fig8 as bs_fig8
from sdesim.papers.boffi_slotine import fig10 as bs_fig10
from sdesim.papers.boffi_slotine import fig11 as bs_fig11
from sdesim.papers.boffi_slotine import fig12 as bs_fig12
from sdesim.papers.boffi_slotine import table1 as bs_table1
from sdesim.papers.frame import breaks, cache
from sdesim.papers.frame import networks as net
from sdesim.papers.frame.experiment import PRESETS, Kept, kept_in, regenerate
from sdesim.papers.frame.gallery import write_gallery
from sdesim.papers.frame.measured import Runs
from sdesim.papers.frame.networks import picture, run
from sdesim.papers.zhang import chapter4 as zhang
from sdesim.plot import theme
from sdesim.results.schema import provenance
from sdesim.results.stores.folder import Store

pytestmark = [pytest.mark.relaxed, pytest.mark.usefixtures("float32")]  # as users have it

QUICK = ("bs-fig7", "bs-table1")
NAMES = ("bs-fig7", "bs-fig8", "bs-fig9", "bs-fig10", "bs-fig11", "bs-fig12", "bs-table1")
TRAINED = [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in NAMES]


def judged(experiment, config, data, smoke=True):
    return claims.judge(experiment.statements(config), experiment.ensemble(config, data), smoke=smoke)


# -- every experiment --------------------------------------------------------------------------------------------------


def right(claim):
    """Whether the value is where the statement wants it: two runs decide little, but at a pinned seed they are that."""
    return claim.value >= claim.threshold if claim.op == ">=" else claim.value <= claim.threshold


@pytest.mark.parametrize("name", TRAINED)
def test_smoke_claims_hold_at_the_pinned_seed(name, smoke):
    experiment, config, data = smoke(name)
    assert config.seed == 0
    found = judged(experiment, config, data)
    counted = {c.id: right(c) for c in found if c.counted}
    assert len(counted) >= 3
    assert all(counted.values()), counted
    assert not claims.failed(found)
    exact = {c.id: c.verdict for c in found if c.counted and not c.stderr}
    assert set(exact.values()) == {"holds"}
    assert len({c.id for c in found}) == len(found)


@pytest.mark.parametrize("name", TRAINED)
def test_every_claim_can_fail(name, smoke):
    """Each fails of what some wrong training would have left: decidedly, of two runs, what is exact."""
    experiment, config, data = smoke(name)
    under = {wrong: breaks.mutated(experiment, m, Kept(config, "smoke", data)) for wrong, m in net.MUTATIONS.items()}
    failed = {c.id for found in under.values() for c in found if c.counted and not right(c)}
    assert failed == {c.id for c in judged(experiment, config, data) if c.counted}


@pytest.mark.parametrize("name", TRAINED)
def test_every_axis_says_what_it_shows(name, smoke):
    experiment, config, data = smoke(name)
    with theme.looks():
        figure = experiment.plot(config, data)
    assert experiment.says.endswith(".")
    said = figure.get_suptitle()  # no one takes it for the paper's size
    assert "240 images of synthetic, channels 4, 8, 8, batches of 32, 2 epochs, 2 runs" in said
    for panel in figure.axes:
        assert any(a.get_xlabel() for a in panel.get_shared_x_axes().get_siblings(panel))
        assert panel.get_ylabel()


def test_they_train_and_have_all_sizes():
    """What holds at the larger sizes without training: arms of their own labels, statements of their own names."""
    for name in NAMES:
        experiment = EXPERIMENTS[name]
        assert experiment.trains and set(experiment.presets) == {*PRESETS, "small"}
        for preset, config in experiment.presets.items():
            assert config.data == ("synthetic" if preset == "smoke" else "cifar10")
            found = experiment.statements(config)
            assert len({s.id for s in found}) == len(found)
            assert len([s for s in found if s.counted]) >= 5 or preset == "smoke"
            assert {s.measured_on for s in found} == {config.size}


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


PARTS = (("train", "loss"), ("test", "loss"), ("test", "accuracy"))
TINY = Tiny(data="synthetic", images=100, epochs=3, batch=20, sims=2, eta=0.01)
ARMS = [net.Arm("a", "easgd", 2, 1.0), net.Arm("b", "easgd", 2, 4.0), net.Arm("c", "msgd", first=2)]


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
        patch.setattr(run, "tell", stop)
        with pytest.raises(KeyboardInterrupt):
            net.train(TINY, ARMS, True)
    assert set(told) == {1, 2, 3}
    assert len(list(folder.iterdir())) == 1  # the second program was not begun
    told.clear()
    monkeypatch.setattr(run, "tell", lambda progress, name: told.append((name, progress.epoch)))
    found = net.train(TINY, ARMS, True)
    assert {e for n, e in told if n.startswith("easgd")} == {3}
    assert {e for n, e in told if n.startswith("msgd")} == {1, 2, 3}
    told.clear()
    xr.testing.assert_identical(net.train(TINY, ARMS, True), found)
    assert not told  # nothing is trained twice
    longer = net.train(dataclasses.replace(TINY, epochs=4), ARMS, True)
    assert {e for _, e in told} == {4}
    xr.testing.assert_identical(longer.isel(epoch=slice(0, 4)), found)
    xr.testing.assert_identical(net.train(TINY, ARMS, False), found)  # a shorter one than is there
    kept("another")
    xr.testing.assert_identical(net.train(TINY, ARMS, False), found)


def test_a_store_has_the_figure(kept, tmp_path):
    """Each arm a task of its own, of the bits that it has beside others; another number under its name is another."""
    kept()
    config, folder = dataclasses.replace(TINY, epochs=1), tmp_path / "stores"
    with stored_in(folder):
        stored = net.train(config, ARMS[:2], False)
    xr.testing.assert_identical(stored, net.train(config, ARMS[:2], False))
    (store,) = folder.iterdir()
    assert len(Store(store).done()) == 2
    identity = lambda arms: {key: said.hash for key, said in run.Comparison(config, arms).programs().items()}
    one, other = identity(ARMS[:2]), identity([dataclasses.replace(ARMS[0], k=2.0), ARMS[1]])
    assert [one[key] == other[key] for key in one] == [False, True]


@pytest.mark.slow  # three processes that compile
def test_table_1_from_a_store_that_two_processes_share_is_the_table(smoke, tmp_path):
    experiment, config, data = smoke("bs-table1")
    options = ["--preset", "smoke", "--store", str(tmp_path / "stores"), "--processes", "2", "--out", str(tmp_path)]
    assert main(["figure", "bs-table1", *options]) == 0
    (store,) = (tmp_path / "stores").iterdir()
    assert len(Store(store).done()) == 12
    found = kept_in(experiment, tmp_path / "bs-table1.nc")
    assert found.config == config
    for name, values in data.data_vars.items():
        np.testing.assert_array_equal(found.data[name].values, values.values, err_msg=str(name))


def test_another_number_is_another_training(kept):
    folder = kept()
    config = dataclasses.replace(TINY, epochs=1)
    for changed in (config, dataclasses.replace(config, eta=0.02), dataclasses.replace(config, seed=1)):
        net.train(changed, ARMS[:1], False)
    net.train(config, [dataclasses.replace(ARMS[0], k=2.0)], False)
    assert len(list(folder.iterdir())) == 4
    net.train(config, [dataclasses.replace(ARMS[0], label="another", style=":")], False)
    assert len(list(folder.iterdir())) == 4


def test_all_that_decides_a_training_is_in_its_name(kept, monkeypatch):
    """Versions, device and precision, and the source of a schedule that an experiment brings."""
    data, algorithm = TINY.split(training.load("synthetic", None, 100)), TINY.algorithm(ARMS[0], 4)
    name = lambda **settings: run._hash(Dense(), data, algorithm, settings)
    names = [name(), name(schedule=zhang.Decay((0.1,), 4)), name(schedule=zhang.Decay((0.2,), 4))]
    with jax.enable_x64(True):
        names.append(name())
    for what in ("jax_version", "device"):
        with monkeypatch.context() as patch:
            patch.setattr(cache, "provenance", lambda what=what: {**provenance(), what: "another"})
            names.append(name())
    with monkeypatch.context() as patch:
        patch.setattr(cache, "provenance", lambda: {**provenance(), "written": "later", "commit": "another"})
        assert name() == names[0]
        patch.setattr(run, "_source", lambda kind: "return state" if kind is zhang.Decay else "")
        names.append(name(schedule=zhang.Decay((0.1,), 4)))
        patch.setattr(run, "_CODE", "edited")
        names.append(name())
    assert len(set(names)) == len(names) == 8
    assert "rsqrt" in run._source(zhang.Decay) and run._source(type(None)) == ""


def test_without_a_cache_nothing_is_written(monkeypatch, tmp_path):
    monkeypatch.setenv("SDESIM_CACHE", "")
    monkeypatch.chdir(tmp_path)
    net.train(dataclasses.replace(TINY, epochs=1), ARMS[2:], False)
    assert not list(tmp_path.iterdir())


def test_what_diverges_stays_in_the_data(kept):
    """Also where all runs of a program do, whose training ends early."""
    kept()
    arms = [ARMS[0], net.Arm("away", "msgd", eta=1e38)]
    found = net.train(TINY, arms, False)
    assert found.sizes["epoch"] == TINY.epochs + 1
    assert (found["diverged"].sel(arm="away") >= 0).all() and (found["diverged"].sel(arm="a") == -1).all()
    away, stays = found.sel(arm="away"), found.sel(arm="a")
    for name in (f"{who}{part}_{what}" for who in ("", "agents_") for part, what in PARTS):
        assert np.isnan(away[name].isel(epoch=slice(1, None))).all(), name
        assert np.isfinite(away[name].isel(epoch=0)).all() and np.isfinite(stays[name]).all()
    assert np.isnan(net.best(found, "test_accuracy", "away")).all()  # and not its start, which is a number
    assert np.isnan(net.last(found, "test_accuracy", "away")).all()
    assert claims.judge([net.learns("l", arms)], Runs(found))[0].verdict == "fails"
    with theme.looks():
        figure = picture.plot(arms, found, picture.heading("Tiny", TINY.size, found))
    assert figure.get_suptitle().endswith("3 epochs, 2 runs), 2 of 4 runs diverged")
    assert "diverged" not in picture.heading("Tiny", TINY.size, found.sel(arm=["a"]))


def test_one_agent_that_diverges_takes_the_mean_of_the_agents_with_it():
    dims = ("epoch", "run", "model")
    loss, accuracy = np.ones((1, 2, 3)), np.full((1, 2, 3), 0.1)
    loss[0, 1, 0] = np.inf
    history = {f"{part}_{what}": (dims, loss if what == "loss" else accuracy) for part, what in PARTS}
    history |= dict(
        spread=(dims[:2], loss[..., 0]), eta=((*dims[:2], "agent"), loss[..., :2]), diverged=("run", [-1, 4])
    )
    found = run._one_arm(xr.Dataset(history))
    np.testing.assert_array_equal(np.isnan(found["agents_test_accuracy"]), [[False, True]])
    np.testing.assert_array_equal(np.isnan(found["agents_train_loss"]), [[False, True]])
    np.testing.assert_allclose(found["test_accuracy"], 10.0)  # of the center, which is a number


def test_paths_that_differ_by_rounding_alone_are_told_from_others(kept):
    """QSGD of one agent is SGD with momentum, by another program; EASGD of one agent is not."""
    kept()
    arms = [net.Arm(name, name, k=4.0 if name != "msgd" else None) for name in ("msgd", "qsgd", "easgd")]
    runs = Runs(net.train(dataclasses.replace(TINY, epochs=1), arms, False))
    verdict = lambda name: claims.judge([net.differs("d", "", name, "msgd", TINY)], runs)[0].verdict
    assert (verdict("qsgd"), verdict("easgd")) == ("fails", "holds")
    assert net.differs("d", "", "easgd", "msgd", TINY).counted
    assert not net.differs("d", "", "easgd", "msgd", net.Config()).counted


def test_arms_that_differ_in_numbers_are_one_program():
    few = dataclasses.replace(TINY, stacked=10, sims=2)  # five arms of one agent
    arms = [net.Arm(str(i), name) for i, name in enumerate(["easgd", "easgd-wm"] * 3 + ["msgd"] * 2)]
    assert run._programs(few, arms) == [[0, 1, 2], [3, 4, 5], [6, 7]]  # equal in size, not five and one
    table = bs_table1.arms(bs_table1.Config())
    assert len(table) == 4 * 6 * 3
    assert [len(p) for p in run._programs(bs_table1.Config(), table)] == [16, 16, 16, 12, 12]
    crowd = [net.Arm("a", "easgd", 64), net.Arm("b", "easgd", 64)]
    assert run._programs(TINY, crowd) == [[0], [1]]
    with pytest.raises(ValueError, match="labels of their own"):
        net.train(TINY, [ARMS[0], ARMS[0]], False)


def test_runs_of_one_number_start_alike(kept):
    kept()
    arms = [net.Arm(str(i), name, first=first) for i, (name, first) in enumerate([("msgd", 0), ("sgd", 0), ("sgd", 2)])]
    first = net.train(dataclasses.replace(TINY, epochs=1), arms, False)["test_loss"].isel(epoch=0).values
    np.testing.assert_allclose(first[0], first[1], rtol=1e-5)
    assert np.abs(first[0] - first[2]).min() > 1e-4
    assert np.ptp(first[0]) > 1e-4


def test_an_experiment_writes_all_its_files(kept, tmp_path):
    kept()
    made = net.experiment("tiny", "Tiny", "It learns.", {}, lambda config: ARMS, lambda config: [net.learns("l", ARMS)])
    done = regenerate(made, TINY, "smoke", tmp_path / "out")
    assert {p.name for p in (tmp_path / "out").iterdir()} == {f"tiny.{s}" for s in ("nc", "claims.json", "png", "pdf")}
    with xr.open_dataset(done.files["nc"]) as data:
        assert data["test_accuracy"].dims == ("arm", "epoch", "sim")
        assert data.attrs["preset"] == "smoke"
    size = "100 images of synthetic, batches of 20, 3 epochs, 2 runs"
    assert {c.measured_on for c in done.claims} == {size}
    page = write_gallery({"tiny": made}, tmp_path / "out").read_text()
    assert f"Tiny.\n\nHere: {size}.\n\nIt learns." in page


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
    rule = config.algorithm(net.Arm("", "easgd", 64, config.alpha / config.eta), 1).rule
    assert rule.amplification(config.eta, 64, "jacobi") > 1 > rule.amplification(config.eta, 16, "jacobi")
