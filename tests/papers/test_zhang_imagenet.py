"""Zhang's experiments on ImageNet: settings, statements of made-up curves, and a run on a folder of the same layout."""

import dataclasses

import numpy as np
import pytest
import xarray as xr

from sdesim import claims, training
from sdesim.papers import EXPERIMENTS
from sdesim.papers.frame import networks as net
from sdesim.papers.zhang import imagenet
from sdesim.papers.zhang.chapter4 import flat
from sdesim.papers.zhang.imagenet.config import Config, Falls, InTime
from sdesim.plot import theme
from sdesim.training import photos

pytestmark = [pytest.mark.relaxed, pytest.mark.usefixtures("float32")]  # as users have it

NAMES = ["z-fig4.8", "z-fig4.9", "z-fig4.11", "z-fig4.8-async", "z-fig4.9-async", "z-fig4.15-async"]


def made_up(arms, seconds, falls, epochs=40, sims=3):
    """Test errors that fall from a guess to 30 %, as fast as it is told, of epochs that take as long for all."""
    rate = np.array([falls(arm) for arm in arms])[:, None, None]
    epoch = np.arange(epochs + 1)[None, :, None] * np.ones((1, 1, sims))
    error = 30 + 69.9 * np.exp(-0.1 * rate * epoch) + 1e-5 * np.random.default_rng(0).normal(size=(1, epochs + 1, sims))
    loss = error / 14.5
    path = loss.copy()
    averaged = [arm.method in ("SGD", "ASGD", "MVASGD") for arm in arms]
    path[averaged, 1] = 6.0  # an average is of the plain method's path
    found = dict(train_loss=loss, test_loss=loss, agents_train_loss=loss, agents_test_loss=path)
    found |= dict(test_accuracy=100 - error, agents_test_accuracy=100 - error, time=seconds * epoch + 0 * error)
    arrays = {name: (("arm", "epoch", "sim"), values) for name, values in found.items()}
    data = xr.Dataset(arrays, {"arm": [arm.label for arm in arms], "epoch": np.arange(epochs + 1)})
    return data.assign(diverged=(("arm", "sim"), np.full((len(arms), sims), -1)))


FASTER = {"EAMSGD": 3.3, "EASGD": 1.5, "DOWNPOUR": 1.4, "MSGD": 1.0, "SGD": 0.5, "ASGD": 0.2, "MVASGD": 0.4}
WRONG = {  # of the methods' speeds, and the statements that fail
    "as Zhang found": ({}, set()),
    "nobody is faster": (dict.fromkeys(FASTER, 1.0), {"eamsgd-speedup", "averages-differ"}),
    "one worker is": ({"MSGD": 4.0}, {"eamsgd-speedup", "all-outperform-msgd"}),
    "EASGD is": ({"EASGD": 4.0}, {"eamsgd-speedup", "eamsgd-fastest"}),
    "SGD is": ({"SGD": 2.0}, {"msgd-outperforms-sgd"}),
}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("name", NAMES)
def test_statements_hold_of_what_zhang_says_and_fail_of_others(name, wrong, monkeypatch):
    experiment, (changed, expected) = EXPERIMENTS[name], WRONG[wrong]
    config = experiment.preset("default")
    fast = FASTER | changed
    monkeypatch.setattr(
        net, "train", lambda config, arms, _: made_up(arms, getattr(config, "seconds", 1.0), lambda a: fast[a.method])
    )
    data = experiment.run(config, False)
    found = claims.judge(experiment.statements(config), experiment.ensemble(config, data))
    failed = {c.id for c in found if c.verdict != "holds"}
    assert failed == expected & {c.id for c in found}
    if wrong == "as Zhang found":
        with theme.looks():
            figure = experiment.plot(config, data)
        labels = {panel.get_xlabel() for panel in figure.axes} | {panel.get_ylabel() for panel in figure.axes}
        assert ("virtual time (s)" in labels) == name.endswith("-async")
        assert "ImageNet" in figure.get_suptitle()


def test_settings_are_zhangs():
    """Table 4.3 and 4.4, the rates that fall twice, and the average that begins where they first do."""
    z = InTime()
    rates = [arm.eta for arms in imagenet.of_workers(z, 1).values() for arm in arms]
    assert rates == [0.1, 0.001, 0.01, 0.0005] and z.arms("DOWNPOUR", 4)[0].eta == 0.02
    assert [arm.period for arm in flat(imagenet.of_workers(z, 0))] == [10, 10, 1, 1]
    np.testing.assert_allclose([1024 * z.job(p) for p in (1, 4, 8)], [1268, 1347, 1300])
    np.testing.assert_allclose([1024 * z.exchange(p, 1) for p in (4, 8)], [173, 284])
    np.testing.assert_allclose([102.4 * z.exchange(p, 10) for p in (4, 8)], [7, 11])
    small = dataclasses.replace(Config(), epochs=4)
    falls = small.settings([])["schedule"]
    state = falls.start(np.ones((1, 1), np.float32))
    seen = []
    for _ in range(4):
        seen.append(float(state.eta[0, 0]))
        state = falls.after_epoch(state, np.nan)
    np.testing.assert_allclose([*seen, float(state.eta[0, 0])], [1, 1, 0.2, 0.1, 0.1], rtol=1e-6)
    assert isinstance(falls, Falls)
    average = small.algorithm(small.arms("ASGD")[0], 10)
    weights = [float(average.weight(np.int32(n))) for n in (0, 18, 19, 20, 21)]  # from the 20th iteration on
    np.testing.assert_allclose(weights, [0, 0, 0, 1 / 2, 2 / 3], rtol=1e-6)
    made = small.algorithm(small.arms("EASGD", 4)[0], 10)
    assert float(made.rule.k) * 0.1 == pytest.approx(0.9 / 4)


def test_without_a_folder_it_says_what_is_wanted(tmp_path):
    with pytest.raises(ValueError, match=r"^data_folder=None: must be .* `--data-folder DIR`: DIR/train/CLASS/"):
        EXPERIMENTS["z-fig4.8"].run(Config(), False)
    with pytest.raises(FileNotFoundError, match="train is not there"):
        dataclasses.replace(Config(), data_folder=str(tmp_path)).samples()
    photos.made_up(tmp_path, training.synthetic(12, 4, classes=2, size=16))
    mine = dataclasses.replace(Config(), data_folder=str(tmp_path))
    with pytest.raises(ValueError, match=r"^images=None: must be 12, as the folder has no 1281167 images"):
        mine.samples()
    with pytest.raises(ValueError, match=r"^classes=1000: must be 2, as the folder has"):
        dataclasses.replace(mine, images=12).samples()
    found = dataclasses.replace(mine, images=12, classes=2, side=16, crop=12).samples()
    assert isinstance(found.train_x, training.Lazy) and found.train_x.shape == (12, 16, 16, 3)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_smoke_claims_hold(name, tmp_path):
    """On photographs that are written, and read while training; for the first name in a folder of the user's."""
    experiment = EXPERIMENTS[name]
    config = experiment.preset("smoke")
    if name == NAMES[0]:
        photos.made_up(tmp_path, training.synthetic(config.images, 24, classes=3, size=104))
        config = dataclasses.replace(config, data="imagenet", data_folder=str(tmp_path))
    data = experiment.run(config, False)
    found = claims.judge(experiment.statements(config), experiment.ensemble(config, data), smoke=True)
    assert {c.id: c.verdict for c in found if c.counted} == {c.id: "holds" for c in found if c.counted}
    assert {"learns", "one-start"} <= {c.id for c in found}
