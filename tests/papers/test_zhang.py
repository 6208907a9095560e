"""Zhang's experiments: settings, claims that hold where they should and fail where not, and smoke runs."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from sdesim import claims, training
from sdesim.papers import EXPERIMENTS
from sdesim.papers.frame import measured
from sdesim.papers.frame.networks import run
from sdesim.papers.zhang import chapter4 as zhang
from sdesim.papers.zhang import fig4_1_to_4_4, fig4_5_to_4_7, fig4_10, fig4_12, fig4_13
from sdesim.plot import theme

pytestmark = [pytest.mark.relaxed, pytest.mark.usefixtures("float32")]  # as users have it

QUICK = "z-fig4.10"  # the one of a single program
FIGURES = {name: e for name, e in EXPERIMENTS.items() if name.startswith("z-fig4.")}
CONFIG = zhang.Config(epochs=100)
SIZES = {
    **{f"z-fig4.{i}": f"p = 2, elastic tau = {t}" for i, t in ((1, 1), (2, 2), (3, 4), (4, 8))},
    **{f"z-fig4.{i}": f"p = {p}, elastic tau = 2" for i, p in ((5, 2), (6, 3), (7, 4), (12, 4))},
    **{"z-fig4.10": "one worker", "z-fig4.13": "p = 4, elastic tau = 1, 10"},
}
"""What the pictures say of the smoke preset."""

# -- smoke runs --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [n if n == QUICK else pytest.param(n, marks=pytest.mark.slow) for n in SIZES])
def test_smoke_claims_hold_and_axes_are_labeled(name):
    experiment = FIGURES[name]
    config = experiment.preset("smoke")
    data = experiment.run(config, False)
    found = claims.judge(experiment.statements(config), experiment.ensemble(config, data), smoke=True)
    assert len([c for c in found if c.counted]) >= 3
    assert {c.id: c.verdict for c in found} == {c.id: "holds" for c in found}
    with theme.looks():
        figure = experiment.plot(config, data)
    assert [panel.get_xlabel() for panel in figure.axes] == ["iterations of each worker"] * 3
    assert all(panel.get_ylabel() for panel in figure.axes)
    said = figure.get_suptitle()  # of this run, not of Zhang's
    assert "240 images of synthetic" in said and "6 epochs" in said
    assert f"; {SIZES[name]})" in said
    assert {c.measured_on for c in found} == {said.split("\n(")[1].removesuffix(")")}
    curve = figure.axes[0].lines[0]
    np.testing.assert_array_equal(curve.get_xdata(), np.arange(7) * 20)  # 240 images in batches of 12
    # One arm that started elsewhere is noticed.
    first = data.arm.values[0]
    moved = data.assign(test_loss=data.test_loss + 0.01 * (data.arm == first))
    judged = claims.judge(experiment.statements(config), experiment.ensemble(config, moved), smoke=True)
    assert {c.id for c in claims.failed(judged)} == {"one-start"}


# -- claims on made-up curves ------------------------------------------------------------------------------------------


def made_up(config, floors):
    """Curves over 100 epochs of every arm: its test error falls from 90 to its floor, the training loss with it.

    floors: of an arm, (floor in percent, epochs over which it falls by 1 / e, distance between workers).
    """
    arms, epoch = list(floors), np.arange(101)
    falls = np.stack([floor + (90 - floor) * np.exp(-epoch / scale) for floor, scale, _ in floors.values()])
    error = falls[..., None] + 0.02 * np.random.default_rng(0).normal(size=(len(arms), 101, 3))
    error[:, 0] = 90
    loss, path = error / 40, error / 40
    averaged = [arm.method.removeprefix("MV").removeprefix("A") in ("SGD", "DOWNPOUR") for arm in arms]
    path[averaged, 1] = 2.0  # an average is of the plain method's path
    spread = np.stack([np.full((101, 3), distance) for *_, distance in floors.values()])
    found = dict(train_loss=loss, test_loss=loss, agents_train_loss=loss, agents_test_loss=path)
    found |= dict(test_accuracy=100 - error, agents_test_accuracy=100 - error, spread=spread)
    arrays = {name: (("arm", "epoch", "sim"), values) for name, values in found.items()}
    return measured.Runs(xr.Dataset(arrays, {"arm": [arm.label for arm in arms], "epoch": epoch}))


def judged(name, runs):
    return {c.id: c.verdict for c in claims.judge(FIGURES[name].statements(CONFIG), runs)}


def by_method(methods, floors):
    """The floors of every arm: that of its method at the first of its rates, and more at the others."""
    found = {}
    for name, arms in methods.items():
        floor, speed = floors[name]
        for i, arm in enumerate(arms):
            found[arm] = (floor + i, speed, 0.0 if name == "MDOWNPOUR" else 1.0)
    return found


ALONE = {"SGD": (24, 20), "ASGD": (23, 5), "MVASGD": (23, 10), "MSGD": (22, 20)}
SHORT = {
    **{"EASGD": (21, 10), "EAMSGD": (18, 3), "DOWNPOUR": (21, 10), "ADOWNPOUR": (22, 9), "MVADOWNPOUR": (22, 9)},
    **{"MDOWNPOUR": (22, 9), **ALONE},
}
UNSTABLE = {**SHORT, "DOWNPOUR": (60, 10), "ADOWNPOUR": (50, 10), "MVADOWNPOUR": (40, 10)}


@pytest.mark.parametrize(("name", "period", "floors"), [("z-fig4.1", 1, SHORT), ("z-fig4.3", 16, UNSTABLE)])
def test_claims_of_communication_periods(name, period, floors):
    methods = fig4_1_to_4_4.methods(CONFIG, period)
    curves = by_method(methods, floors)
    found = judged(name, made_up(CONFIG, curves))
    assert set(found.values()) == {"holds"} and len(found) >= 6
    exchanged = {**floors, "EAMSGD": floors["EASGD"], "EASGD": floors["EAMSGD"]}
    wrong = judged(name, made_up(CONFIG, by_method(methods, exchanged)))
    assert wrong["eamsgd-best"] == wrong["eamsgd-faster"] == "fails"
    other, which = (SHORT, "downpour-unstable") if period > 4 else (UNSTABLE, "downpour-works")
    assert judged(name, made_up(CONFIG, by_method(methods, other)))[which] == "fails"


def test_the_longest_period_is_compared_with_the_shortest():
    shortest = {n: zhang.tried(CONFIG, n, 4, 1) for n in ("EASGD", "EAMSGD")}
    for floor, verdict in ((25, "holds"), (15, "fails")):
        longest = by_method(fig4_1_to_4_4.methods(CONFIG, 64), UNSTABLE)
        curves = {**longest, **by_method(shortest, dict.fromkeys(shortest, (floor, 10)))}
        found = judged("z-fig4.4", made_up(CONFIG, curves))
        assert found["longer-is-better-easgd"] == found["longer-is-better-eamsgd"] == verdict


def test_claims_of_numbers_of_workers():
    methods = fig4_5_to_4_7.methods(CONFIG, 16)
    fewer = {n: zhang.tried(CONFIG, n, 8, 10) for n in ("EASGD", "EAMSGD")}
    floors = by_method(methods, {n: SHORT[n] for n in methods})
    for floor, verdict in ((25, "holds"), (15, "fails")):
        found = judged("z-fig4.7", made_up(CONFIG, {**floors, **by_method(fewer, dict.fromkeys(fewer, (floor, 10)))}))
        assert found.pop("more-workers-easgd") == found.pop("more-workers-eamsgd") == verdict
        assert set(found.values()) == {"holds"}
    slow = by_method(methods, {**{n: SHORT[n] for n in methods}, "EAMSGD": (18, 15)})
    found = judged("z-fig4.7", made_up(CONFIG, {**slow, **by_method(fewer, dict.fromkeys(fewer, (25, 10)))}))
    assert found["eamsgd-best"] == "holds" and found["eamsgd-speedup"] == "fails"


@pytest.mark.parametrize(
    ("factor", "expected"),
    [
        (1.0, [-7.0, 0.0, 0.0]),  # of all four epochs its best is the third: 43, 50 and 50
        (1.5, [-7.0, 0.0, 0.0]),  # until the third
        (2.0, [-13.5, -10.0, -10.0]),  # until half way from the second to the third
        (3.0, [-20.0, -20.0, -20.0]),
    ],
)
def test_how_far_ahead_a_method_is_has_an_error_though_it_never_gets_there(factor, expected):
    """The best of the others is at 50 in its fourth epoch; between epochs a curve is a line."""
    methods = fig4_10.methods(CONFIG)
    arms = {name: methods[name][:1] for name in ("SGD", "MSGD", "ASGD")}
    curves = {  # a run a column; each run's own best is not the mean's
        "SGD": [[10, 10, 10], [30, 30, 30], [40, 52, 40], [50, 50, 50]],
        "MSGD": [[10, 10, 10], [30, 30, 30], [43, 50, 50], [45, 35, 46]],
        "ASGD": [[10, 10, 10], [45, 45, 45], [45, 45, 45], [45, 45, 45]],
    }
    runs = made_up(CONFIG, by_method(arms, ALONE)).data.isel(epoch=slice(4))
    accuracy = xr.zeros_like(runs.test_accuracy)
    for name, (arm,) in arms.items():
        accuracy.loc[dict(arm=arm.label)] = curves[name]
    runs = measured.Runs(runs.assign(test_accuracy=accuracy))
    statistic = zhang.ahead(arms, "MSGD", factor)
    np.testing.assert_allclose(statistic(runs), expected, atol=1e-5)
    (found,) = claims.judge([claims.Statement("faster", "it is faster", statistic, claims.at_least(0.0))], runs)
    assert found.verdict == ("fails" if factor == 3 else "undecided") and (found.stderr > 0 or factor == 3)


def test_nobody_is_ahead_where_nobody_learns():
    methods = fig4_10.methods(CONFIG)
    runs = made_up(CONFIG, by_method(methods, dict.fromkeys(methods, (95, 10))))  # all get worse
    statement = claims.Statement("faster", "it is faster", zhang.ahead(methods, "MSGD", 2.0), claims.at_least(0.0))
    assert [c.verdict for c in claims.judge([statement], runs)] == ["fails"]


def test_claims_of_one_worker():
    methods = fig4_10.methods(CONFIG)
    assert set(judged("z-fig4.10", made_up(CONFIG, by_method(methods, ALONE))).values()) == {"holds"}
    other = judged("z-fig4.10", made_up(CONFIG, by_method(methods, {**ALONE, "ASGD": (15, 25)})))
    assert {n for n, v in other.items() if v == "fails"} == {
        *("asgd-near-msgd", "asgd-faster-at-first", "msgd-outperforms-asgd")
    }


def test_claims_of_learning_rates():
    """Higher rates: worse for EASGD, better for EAMSGD, whose best training is then made to be at the least rate."""
    methods = fig4_12.methods(CONFIG)
    floors = {arm: (20 + 40 * arm.eta, 10, arm.eta) for arm in methods["EASGD"]}
    floors |= {arm: (20 - 100 * arm.eta, 10, arm.eta) for arm in methods["EAMSGD"]}
    runs = made_up(CONFIG, floors)
    floor = xr.DataArray([f for f, *_ in floors.values()], dims="arm")
    other = runs.data["train_loss"] - 2 * floor / 40  # the better the test, the worse the training
    found = judged("z-fig4.12", measured.Runs(runs.data.assign(train_loss=other)))
    assert set(found.values()) == {"holds"} and len(found) == 8
    wrong = judged("z-fig4.12", runs)
    assert wrong["best-training-worst-test-easgd"] == wrong["best-training-worst-test-eamsgd"] == "fails"
    back = {
        arm: (20 - 40 * arm.eta if arm.method == "EASGD" else 20 + 100 * arm.eta, 10, 1 - arm.eta) for arm in floors
    }
    wrong = judged("z-fig4.12", made_up(CONFIG, back))
    for which in ("easgd-higher-is-worse", "eamsgd-higher-is-better", "fluctuations-easgd", "fluctuations-eamsgd"):
        assert wrong[which] == "fails"
    few = dataclasses.replace(CONFIG, epochs=20)
    assert {s.id for s in FIGURES["z-fig4.12"].statements(few) if not s.counted} == {
        *("easgd-higher-is-worse", "best-training-worst-test-easgd", "best-training-worst-test-eamsgd")
    }
    with pytest.raises(ValueError, match="two learning rates or more"):
        FIGURES["z-fig4.12"].statements(dataclasses.replace(CONFIG, easgd=(0.1,)))


def test_claims_of_long_periods():
    methods = fig4_13.methods(CONFIG)
    floors = {arm: (20 + np.log10(arm.period) / 3, 10, arm.period) for arm in methods["EASGD"]}
    floors |= {arm: (18 if arm.period < 100 else 50, 10, arm.period) for arm in methods["EAMSGD"]}
    floors |= {arm: (20, 10, 1.0) for arm in methods["EAMSGD, decaying"]}
    found = judged("z-fig4.13", made_up(CONFIG, floors))
    assert set(found.values()) == {"holds"}
    alike = {arm: (50 if arm.method == "EASGD" and arm.period > 10 else 18, 10, 1 / arm.period) for arm in floors}
    wrong = judged("z-fig4.13", made_up(CONFIG, alike))
    assert {n for n, v in wrong.items() if v != "fails"} == {"learns", "one-start", "decay-brings-together"}


def test_what_diverged_counts_as_a_guess_from_then_on():
    methods = fig4_10.methods(CONFIG)
    runs = made_up(CONFIG, by_method(methods, ALONE))
    best = methods["MSGD"][0]
    there = (runs.data.arm == best.label) & (runs.data.epoch > 50)
    data = runs.data.assign(test_accuracy=runs.data.test_accuracy.where(~there))
    errors = zhang.errors(data, best)
    np.testing.assert_array_equal(errors[51:], 90.0)
    np.testing.assert_array_equal(errors[:51], zhang.errors(runs.data, best)[:51])
    assert zhang.chosen(runs.data, methods["MSGD"]) is best  # at the rate that is best to the end
    assert zhang.chosen(data, methods["MSGD"]) is methods["MSGD"][1]
    np.testing.assert_array_equal(zhang.smallest(data, [best]), errors[:51].min(axis=0))
    assert (zhang.during(data, [best]) > zhang.during(runs.data, [best]) + 30).all()


def test_titles_name_no_numbers_of_a_preset():
    for experiment in FIGURES.values():
        assert not re.search(r"\d", experiment.title.removeprefix("Zhang, Fig. ").split(": ", 1)[1])


def test_every_period_of_the_small_preset_has_exchanges():
    config = FIGURES["z-fig4.13"].preset("small")
    assert config.iterations * config.epochs / config.long_periods[-1] >= 10


# -- settings ----------------------------------------------------------------------------------------------------------


def test_settings_are_zhangs():
    config = zhang.Config()
    assert config.batch == 128 and config.momentum == 0.99 and config.weight_decay == 1e-4
    images = training.synthetic(50, 10)
    data = config.split(images)
    assert len(data.train_y) == 50 and not len(data.validation_y)
    assert (data.mean == 0).all() and (data.std == 255).all()
    arm = zhang.tried(config, "EAMSGD", 4, 16)[1]
    assert (arm.eta, arm.agents, arm.period, arm.same_start) == (0.005, 4, 16, True)
    made = config.algorithm(arm, 390)
    assert arm.eta * float(made.rule.k) == pytest.approx(0.9 / 4)
    assert (float(made.momentum), float(made.average), made.period) == (pytest.approx(0.99), 0.0, 16)
    assert config.settings([arm])["crop"] == 28
    network = config.network(10)
    params = network.init(jax.random.key(0), jnp.zeros((2, 28, 28, 3)))["params"]
    assert sorted(p["kernel"].shape for p in params.values()) == sorted(
        [(5, 5, 3, 64), (5, 5, 64, 128), (3, 3, 128, 64), (256, 256), (256, 10)]
    )
    assert all((p["bias"] == 0).all() for p in params.values())


def test_methods_of_one_kind_are_one_program_and_shared_by_figures():
    config = zhang.Config(stacked=10**6)
    count = lambda arms: len(run._programs(config, arms))
    assert count(zhang.flat(fig4_10.methods(config))) == 1
    assert count(zhang.flat(fig4_1_to_4_4.methods(config, 1))) == 4  # elastic, pushing, MDOWNPOUR and alone
    assert count(zhang.flat(fig4_13.methods(config))) == 4  # one a period
    one, other = (fig4_1_to_4_4.methods(config, t) for t in (1, 64))
    assert one["SGD"] == other["SGD"] and one["EASGD"] != other["EASGD"] and "MDOWNPOUR" not in other
    in_step = {name for name in FIGURES if not name.endswith("-async")}
    of_imagenet = {"z-fig4.8", "z-fig4.9", "z-fig4.11"}  # which have tests of their own
    assert in_step - of_imagenet == set(SIZES) and all(e.trains for e in FIGURES.values())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(agents=(4, 8)), "agents=.4, 8.: must be 3 numbers in growing order"),
        (dict(periods=(1, 4, 4, 16)), "periods=.*growing order"),
        (dict(long_periods=(10,)), "long_periods=.*two or more"),
        (dict(period=0), "period=0"),
        (dict(easgd=()), "easgd=.*one learning rate or more"),
        (dict(msgd=(0.1, 0.1)), "msgd=.*each once"),
        (dict(sgd=(-0.1,)), "sgd=-0.1"),
        (dict(momentum=1.0), "momentum=1.0"),
        (dict(dropout=1.0), "dropout=1.0"),
        (dict(moving=0.0), "moving=0.0"),
        (dict(beta=-1.0), "beta=-1.0"),
        (dict(decay=0.0), "decay=0.0"),
    ],
)
def test_unfit_configurations_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        zhang.Config(**change)
