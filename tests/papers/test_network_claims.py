"""Claims of the experiments on networks, of made-up curves: they hold as the paper says, and fail the other way."""

import importlib

import numpy as np
import pytest
import xarray as xr

from sdesim import claims
from sdesim.cli import claims as cli
from sdesim.cli import main
from sdesim.papers import EXPERIMENTS
from sdesim.papers.boffi_slotine import fig7 as bs_fig7
from sdesim.papers.boffi_slotine import table1 as bs_table1
from sdesim.papers.frame import breaks
from sdesim.papers.frame import networks as net
from sdesim.papers.frame.experiment import Kept
from sdesim.papers.frame.measured import Runs


def judged(experiment, config, data):
    return claims.judge(experiment.statements(config), experiment.ensemble(config, data))


# -- Figures 7 to 12 ---------------------------------------------------------------------------------------------------


def made_up(arms, of):
    """Curves over 30 epochs of three runs. of: from an arm to its last test accuracy in percent and what else it has:
    the agents' accuracy (the same), last training loss (0.5), last test loss over the least (1.2), last spread (1)."""
    rng = np.random.default_rng(0)
    epoch, run = np.arange(31)[:, None], np.arange(3)
    rise = 1 - np.exp(-epoch / 3)
    found = []
    for arm in arms:
        its = of(arm)
        its = {"agents": its["accuracy"], "loss": 0.5, "overfit": 1.2, "spread": 1.0, **its}
        noise = lambda size: size * rng.normal(size=(31, 3)) * (epoch > 0)
        test_loss = np.interp(epoch, [0, 15, 30], [2.3, 1.0, its["overfit"]]) + 0.1 * run * (epoch == 0)
        values = {
            "test_accuracy": 10 + (its["accuracy"] - 10) * rise + noise(0.01),
            "agents_test_accuracy": 10 + (its["agents"] - 10) * rise + noise(0.01),
            "train_loss": 2.3 + (its["loss"] - 2.3) * rise + noise(1e-3),
            "agents_train_loss": 2.3 + (its["loss"] - 2.3) * rise + noise(1e-3),
            "test_loss": test_loss + noise(1e-3),
            "agents_test_loss": test_loss + noise(1e-3),
            "spread": (0 if arm.same_start else 100) * (1 - rise) + its["spread"] * rise * (1 + noise(1e-3)),
        }
        found.append(xr.Dataset({name: (("epoch", "sim"), v) for name, v in values.items()}))
    return xr.concat(found, xr.Variable("arm", [arm.label for arm in arms]))


def gains(by_gain):
    """Of Figure 7's arms, whose order is that of their gains."""
    order = [bs_fig7.label(a) for a in bs_fig7.Config().alpha]
    return lambda arm: by_gain(order.index(arm.label))


def coupled(arm):
    """The number of agents, as what doubles it adds."""
    return float(np.log2(arm.agents))


def fig7(i):
    # the weakest gain's center is no average; of the others the accuracy falls with the gain
    return dict(accuracy=83.0 - i if i else 15.0, agents=75.0, spread=0.3**i)


def fig8(arm):
    return dict(accuracy=70 + coupled(arm) + 0.3 * arm.label.startswith("SD"))


def fig9(arm):
    if arm.algorithm == "easgd":
        return dict(accuracy=72 + coupled(arm), loss=0.6, spread=2.0)
    return dict(accuracy=70 + coupled(arm), loss=0.4, spread=1.0)


def fig10(arm):
    return dict(accuracy={"easgd-wm": 76.0, "easgd": 75.0, "msgd": 74.0}[arm.algorithm])


def fig11(arm):
    if arm.algorithm == "easgd":
        return dict(accuracy=72 + coupled(arm) if arm.agents < 50 else 10.0, overfit=1.1, spread=0.5)
    return dict(accuracy=70 + coupled(arm), overfit=1.5, spread=1.0)


def fig12(arm):
    return dict(accuracy=70 + coupled(arm) * (0.5 if arm.same_start else 2.0), spread=1.0 if arm.same_start else 2.0)


AS_SAID = {
    "bs-fig7": gains(fig7),
    "bs-fig8": fig8,
    "bs-fig9": fig9,
    "bs-fig10": fig10,
    "bs-fig11": fig11,
    "bs-fig12": fig12,
}
"""Curves as the paper says."""


def as_said(name):
    """A figure, its default configuration, and data as the paper says."""
    experiment = EXPERIMENTS[name]
    config = experiment.preset("default")
    arms = importlib.import_module(f"sdesim.papers.boffi_slotine.{name.removeprefix('bs-')}").arms(config)
    return experiment, config, made_up(arms, AS_SAID[name])


@pytest.mark.parametrize("name", AS_SAID)
def test_counted_claims_hold_of_what_the_paper_says_and_fail_of_wrong_trainings(name):
    """Each of one at least: at the size where all are asked."""
    experiment, config, data = as_said(name)
    found = {c.id: c.verdict for c in judged(experiment, config, data) if c.counted}
    assert found == dict.fromkeys(found, "holds")
    under = breaks.under_wrong_models(experiment, kept=Kept(config, "default", data)).breaks()
    assert {id for id, wrong in under.items() if wrong} == set(found)


def test_a_figure_is_tried_from_its_file(tmp_path, monkeypatch, capsys):
    """At the size of the file, with nothing run; what does not hold there is not tried, and that is said."""
    _, config, data = as_said("bs-fig12")
    worse = data["test_accuracy"].where(data["arm"] != "own starts, 4 agents", 20.0)
    kept = Kept(config, "default", data.assign(test_accuracy=worse))
    monkeypatch.setattr(cli, "kept_in", lambda experiment, path: kept)
    assert main(["claims", "bs-fig12", "--break", "--from", "bs-fig12.nc", "--record", "--folder", str(tmp_path)]) == 0
    assert "not tried: 12-one-start-is-worse-4 is fails without any" in capsys.readouterr().out
    found = breaks.read("bs-fig12", tmp_path)
    assert found["preset"] == "default" and found["untried"] == {"12-one-start-is-worse-4": "fails"}
    assert "12-one-start-is-worse-8" in found["breaks"] and set(found["tried"]) == set(net.MUTATIONS)


def test_wrong_trainings_are_what_they_say():
    rng, dims = np.random.default_rng(0), ("arm", "epoch", "sim")
    names = ("train_loss", "test_loss", "test_accuracy", "spread")
    names += ("agents_train_loss", "agents_test_loss", "agents_test_accuracy")
    right = xr.Dataset({name: (dims, rng.uniform(1, 2, size=(5, 3, 2))) for name in names}, {"arm": list("abcde")})
    right = right.assign_coords(epoch=range(3), sim=range(2))
    wrong = {name: mutation.data(right) for name, mutation in net.MUTATIONS.items()}
    loss = lambda name: wrong[name]["test_loss"].values
    own = right["test_loss"].values
    np.testing.assert_array_equal(loss("arms alike"), np.broadcast_to(own[:1], own.shape))
    np.testing.assert_array_equal(loss("arms reversed"), own[::-1])
    np.testing.assert_array_equal(loss("arms swapped"), own[[1, 0, 3, 2, 4]])
    np.testing.assert_array_equal(loss("nothing learned"), np.broadcast_to(own[:, :1], own.shape))
    np.testing.assert_array_equal(loss("one epoch"), own[:, [0, 1, 1]])
    for name, stays in (("half learn", [1, 3]), ("other half learn", [0, 2, 4]), ("one learns", [1, 2, 3, 4])):
        assert [i for i in range(5) if (loss(name)[i] == own[i, :1]).all()] == stays
        assert all((loss(name)[i] == own[i]).all() for i in set(range(5)) - set(stays))
    np.testing.assert_array_equal(loss("agents tested"), right["agents_test_loss"])
    np.testing.assert_array_equal(wrong["tested in training"]["agents_train_loss"], right["agents_test_loss"])
    np.testing.assert_array_equal(wrong["distances kept"]["spread"][:, 2], right["spread"][:, 0])
    np.testing.assert_array_equal(wrong["distances inverted"]["spread"], 1 / right["spread"])
    np.testing.assert_array_equal(loss("runs unpaired")[[0, 2, 3, 4]], own[[0, 2, 3, 4]])
    np.testing.assert_array_equal(loss("runs unpaired")[1], own[1, :, ::-1])
    np.testing.assert_array_equal(loss("runs alike"), np.broadcast_to(own[..., :1], own.shape))
    for name, mutation in net.MUTATIONS.items():
        assert mutation.concerns([], right) and not mutation.concerns([], xr.ones_like(right)) and not mutation.runs
        xr.testing.assert_identical(wrong[name].coords.to_dataset(), right.coords.to_dataset())


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("name", AS_SAID)
def test_no_claim_holds_of_a_run_that_is_not_finite(name, value):
    """In any of its curves, from the start on."""
    experiment, config, data = as_said(name)
    lost = {n: v.where(v["sim"] != 1, value) for n, v in data.assign_coords(sim=np.arange(3)).items()}
    found = judged(experiment, config, data.assign(lost).drop_vars("sim"))
    assert {c.id for c in found if c.counted and c.verdict == "holds"} == set()


def test_what_diverges_is_no_better_than_a_guess_where_that_is_the_statement():
    """EASGD of too many agents, whose runs end so."""
    experiment, config, data = as_said("bs-fig11")
    gone = data.where((data["arm"] != "EASGD, 64 agents") | (data["epoch"] == 0))
    found = {c.id: c for c in judged(experiment, config, gone)}["11-too-many-64"]
    assert found.verdict == "holds" and found.value == pytest.approx(76 - (100 - net.GUESS_ERROR), abs=0.5)


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


def table_of(config, errors, rng):
    """Data of a table with these least errors, (block, algorithm, column), which some epoch after the start has."""
    arms, values = bs_table1.arms(config), np.asarray(errors).reshape(-1)
    shape = (len(arms), config.epochs + 1, config.sims)
    noise = 2e-4 * rng.normal(size=shape)
    accuracy = 100 * (1 - values[:, None, None] - noise - 0.05 * (np.arange(config.epochs + 1) != 2)[:, None])
    start = np.tile(rng.normal(size=(len(config.momenta), config.sims)), (len(arms) // len(config.momenta), 1))
    dims = ("arm", "epoch", "sim")
    found = {
        "test_accuracy": (dims, accuracy),
        "agents_test_accuracy": (dims, np.where(np.arange(shape[1])[:, None] > 0, accuracy, 10.0)),
        "test_loss": (dims, np.full(shape, 1.0)),
        "agents_test_loss": (dims, np.broadcast_to(start[:, None], shape)),
    }
    return xr.Dataset(found, {"arm": [arm.label for arm in arms]})


def test_claims_of_the_papers_own_numbers():
    """They hold but in the one cell, and fail where the methods are exchanged."""
    config = bs_table1.Config(epochs=3)
    errors = bs_table1.paper()["error"].values.copy()
    errors[:, 0] = errors[:, 0].mean(
        axis=1, keepdims=True
    )  # without the noise of the paper's runs: made_up has its own
    data = table_of(config, errors, np.random.default_rng(0))
    found = {c.id: c for c in judged(EXPERIMENTS["bs-table1"], config, data)}
    exception = found.pop("1-least-error-2-5")
    assert not exception.counted
    assert {c.id: c.verdict for c in found.values()} == dict.fromkeys(found, "holds")
    moved = data.assign(test_accuracy=data["test_accuracy"].roll(arm=6))
    failed = {c.id for c in claims.failed(judged(EXPERIMENTS["bs-table1"], config, moved))}
    assert {"1-headline", "1-constant", "1-least-error-1-1", "1-least-error-4-6"} <= failed


def test_a_count_is_no_surer_than_what_it_counts():
    """Of three runs in which two cells are won by less than the runs differ, the headline is undecided, either way."""
    config = bs_table1.Config(epochs=3, rates=(0.05, 0.1), momenta=(0.5, 0.9))
    rng = np.random.default_rng(0)
    for ahead in (1e-4, -1e-4):
        errors = np.full((2, 3, 2), 0.3)
        errors[:, 0] = 0.2
        errors[0, 0] = 0.3 - ahead
        (found,) = (
            c for c in judged(EXPERIMENTS["bs-table1"], config, table_of(config, errors, rng)) if "head" in c.id
        )
        assert found.verdict == "undecided" and abs(found.value) < 1e-3 and found.stderr > 0


def test_the_table_is_the_least_mean_over_runs():
    config = bs_table1.Config(rates=(0.1,), momenta=(0.5,), epochs=2, sims=2)
    loss = np.full((3, 3, 2), 3.0)
    loss[:, 0] = 0.1  # before training: not in the table
    loss[0, 1:] = [[1.0, 2.0], [2.0, 1.2]]  # least mean 1.5; the mean of the runs' own least is 1.1
    loss[1, 1:] = np.nan  # diverged
    accuracy = 100 * (1 - loss / 4)
    accuracy[1] = 10.0
    dims = ("arm", "epoch", "sim")
    data = xr.Dataset(
        {"test_loss": (dims, loss), "test_accuracy": (dims, accuracy)},
        {"arm": [arm.label for arm in bs_table1.arms(config)]},
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
    data = table_of(config, bs_table1.paper()["error"].values, np.random.default_rng(1))
    statement = next(s for s in bs_table1.statements(config) if s.id == "1-least-error-1-1")
    value, error = claims.measure(statement.statistic, Runs(data))
    assert value == pytest.approx(0.304 - 0.267, abs=1e-3)
    assert 1e-5 < error < 1e-3
