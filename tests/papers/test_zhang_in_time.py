"""Zhang's networks by the clock: times of Table 4.4, and statements and pictures of made-up curves."""

import dataclasses

import numpy as np
import pytest
import xarray as xr

from sdesim import asynchrony, claims
from sdesim.papers import EXPERIMENTS
from sdesim.papers.frame import measured
from sdesim.papers.frame import networks as net
from sdesim.papers.zhang import fig4_1_to_4_4, fig6_3_to_6_12
from sdesim.papers.zhang.chapter4 import MethodArm, flat, tried
from sdesim.papers.zhang.in_time import by_the_clock, config, levels, trees
from sdesim.plot import theme

pytestmark = [pytest.mark.relaxed, pytest.mark.usefixtures("float32")]  # as users have it

CHAPTER_4 = [f"z-fig4.{i}-async" for i in (1, 2, 3, 4, 5, 6, 7, 10, 12, 13, 14)]
CHAPTER_6 = [f"z-fig6.{i}" for i in range(3, 13)]


def made_up(arms, seconds, falls=lambda arm: 1.0, epochs=6, sims=3):
    """Of each arm a test error that falls from 90 by virtual time alone, as fast as it is told; workers differ in time.

    An epoch of an arm takes `seconds` times (1 + its place / 100).
    """
    place = np.arange(len(arms))[:, None, None]
    time = seconds * np.arange(epochs + 1)[None, :, None] * (1 + place / 100) * np.ones(sims)
    rate = np.array([falls(arm) for arm in arms])[:, None, None]
    error = 90 * np.exp(-0.3 * rate * time / seconds) + 0.01 * np.random.default_rng(0).normal(size=time.shape)
    error[:, 0] = 90
    found = {n: error / 40 for n in ("train_loss", "test_loss", "agents_train_loss", "agents_test_loss")}
    found |= dict(test_accuracy=100 - error, agents_test_accuracy=100 - error, time=time, spread=1 + 0 * time)
    arrays = {name: (("arm", "epoch", "sim"), values) for name, values in found.items()}
    data = xr.Dataset(arrays, {"arm": [arm.label for arm in arms], "epoch": np.arange(epochs + 1)})
    return data.assign(diverged=(("arm", "sim"), np.full((len(arms), sims), -1)))


def test_times_are_those_of_table_4_4():
    """Computation and loading of 400 batches, and what 400 or 40 exchanges take, of one worker and of 4, 8 and 16."""
    z = config.presets()["paper"]
    np.testing.assert_allclose([400 * z.job(p) for p in (1, 4, 8, 16)], [13, 13, 13, 13])
    np.testing.assert_allclose([400 * z.exchange(p, 1) for p in (4, 8, 16)], [3, 5, 9])
    np.testing.assert_allclose([40 * z.exchange(p, 10) for p in (4, 8, 16)], [1, 1, 1])
    (arm, *_) = tried(z, "EASGD", 8, 10)
    made = z.stepper(arm)
    every_tenth = {way: dataclasses.replace(getattr(made, way), period=10) for way in ("uplink", "downlink")}
    table = asynchrony.timetable(made.compute, workers=8, arrivals=8 * 400, **every_tenth)
    assert table.time[0, -1] == pytest.approx(14, rel=0.02)


def test_measurements_at_equal_times_lie_on_straight_lines():
    data = made_up([MethodArm("a", "sgd"), MethodArm("b", "sgd")], 2.0)
    found = by_the_clock(data, 2.0)
    expected = np.interp(np.arange(7), 1.01 * np.arange(7), data["test_loss"].sel(arm="b", sim=1))
    np.testing.assert_allclose(found["test_loss"].sel(arm="b", sim=1), expected)
    np.testing.assert_allclose(found["test_loss"].sel(arm="a"), data["test_loss"].sel(arm="a"))
    assert found["test_loss"].dims == ("arm", "epoch", "sim") and "time" not in found
    gone = data.copy(deep=True)
    gone["test_loss"][1, 3:, 1] = np.nan
    late = by_the_clock(gone, 2.0)["test_loss"].sel(arm="b", sim=1)
    np.testing.assert_array_equal(np.isnan(late), np.arange(7) * 2.0 > 2.02 * 2)


@pytest.mark.parametrize("name", [*CHAPTER_4, *CHAPTER_6])
def test_pictures_and_statements_are_of_virtual_time(name, monkeypatch):
    """Of curves that hang on time alone no method is the better, however long its epochs are."""
    experiment = EXPERIMENTS[name]
    smoke = experiment.preset("smoke")
    monkeypatch.setattr(net, "train", lambda config, arms, progress: made_up(arms, config.seconds))
    data = experiment.run(smoke, False)
    runs = experiment.ensemble(smoke, data)
    found = {c.id: c for c in claims.judge(experiment.statements(smoke), runs)}
    for id in ("eamsgd-best", "eamsgd-faster", "first-trains-faster", "second-tests-better"):
        if id in found:
            assert abs(found[id].value) < 3.0  # points that straight lines between few moments are off
    assert not any("iteration" in c.statement for c in found.values())
    assert "one-point" not in found
    if "second-tests-better" in found:  # the best of runs that diverge is their start, which is no performance
        gone = data.where(data["epoch"] < 2).assign(diverged=data["diverged"])
        lost = {c.id: c for c in claims.judge(experiment.statements(smoke), experiment.ensemble(smoke, gone))}
        assert lost["second-tests-better"].verdict == "fails"
    with theme.looks():
        figure = experiment.plot(smoke, data)
    labels = {panel.get_xlabel() for panel in figure.axes} | {panel.get_ylabel() for panel in figure.axes}
    assert "virtual time (s)" in labels


def test_who_is_faster_is_told():
    smoke = config.presets()["smoke"]
    methods = fig4_1_to_4_4.methods(smoke, 1)
    fast = lambda arm: 3.0 if arm.method == "EAMSGD" else 1.0
    data = by_the_clock(made_up(flat(methods), smoke.seconds, fast), smoke.seconds)
    said = fig4_1_to_4_4.statements(smoke, 1)
    found = {c.id: c.verdict for c in claims.judge(said, measured.Runs(data))}
    assert found["eamsgd-best"] == found["eamsgd-faster"] == "holds"
    line = xr.Dataset({"test_accuracy": (("arm", "epoch", "sim"), [[[10.0], [20.0], [40.0]]])}, {"arm": ["a"]})
    arm = [MethodArm("a", "sgd")]
    assert levels.time_to(line, arm, 70.0, 2.0) == pytest.approx(3.0)
    assert levels.time_to(line, arm, 50.0, 2.0) == np.inf


def test_the_first_at_a_level_is_ahead_by_times():
    """Errors 90, 80, 60 and 90, 75, 70: at 70 the times are 3 and 4, at 75 2.5 and 2, and at 65 the second, which never
    gets there, is taken to be there when another epoch had been trained, at 6, beside 3.5; 50 is nobody's, 95 all's."""
    accuracy = [[[10.0], [20.0], [40.0]], [[10.0], [25.0], [30.0]]]
    data = xr.Dataset({"test_accuracy": (("arm", "epoch", "sim"), accuracy)}, {"arm": ["a", "b"]})
    a, b = [MethodArm("a", "sgd")], [MethodArm("b", "sgd")]
    at = dataclasses.replace(config.presets()["smoke"], levels=(95.0, 75.0, 70.0, 65.0, 50.0))
    first = [levels.time_to(data, a, level, 2.0) for level in (75, 70, 65)]
    second = [levels.time_to(data, b, level, 2.0) for level in (75, 70)] + [6.0]
    assert first == pytest.approx([2.5, 3.0, 3.5]) and second == pytest.approx([2.0, 4.0, 6.0])
    assert levels.behind(data, a, {"b": b}, at) == pytest.approx(np.divide(first, second))
    assert levels.behind(data, b, {"a": a}, at) == pytest.approx(np.divide(second, first))
    assert np.isnan(levels.slowest(levels.behind(data, a, {"b": b}, dataclasses.replace(at, levels=(50.0,)))))


def test_trees_have_zhangs_numbers():
    z = trees.presets(False)["paper"]
    first, second = fig6_3_to_6_12.both(z, 2)
    assert z.leaves == 256 and (first.eta, first.momentum, second.agents) == (pytest.approx(5e-4), 0.99, 256)
    made = z.algorithm(first, 100)
    assert float(made.rule.k) * first.eta == pytest.approx(0.9 / 17)
    slow = fig6_3_to_6_12.both(trees.presets(True)["paper"], None)
    schemes = [z.protocol(arm).scheme for arm in slow]
    assert [type(s) for s in schemes] == [asynchrony.ByLevel, asynchrony.UpDown]
    assert [int(n) for n in (*schemes[0].periods(0), *schemes[0].periods(1))] == [10, 10, 100, 100]
    assert [int(n) for n in schemes[1].periods(1)] == [8, 80]
