"""m-transformer: its arms are what they say, and its statements can fail."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import xarray as xr

from sdesim import claims
from sdesim.papers import EXPERIMENTS
from sdesim.papers.frame import networks as net
from sdesim.papers.frame.experiment import PRESETS
from sdesim.papers.modern import transformer
from sdesim.training import samples
from sdesim.training import step as steps

pytestmark = [pytest.mark.relaxed, pytest.mark.usefixtures("float32")]  # as users have it

EXPERIMENT = EXPERIMENTS["m-transformer"]
CONFIG = EXPERIMENT.presets["small"]


def judged(config, data, smoke=False):
    return claims.judge(EXPERIMENT.statements(config), EXPERIMENT.ensemble(config, data), smoke=smoke)


def made_up(losses, config=CONFIG):
    """Best test losses by arm, of runs that differ a little: data as the statements read them."""
    labels = [arm.label for arm in transformer.arms(config)]
    apart = 1e-3 * np.random.default_rng(0).normal(size=(len(labels), 1, config.sims))
    end = np.array([losses[label] for label in labels])[:, None, None] + apart
    start = np.full((len(labels), 1, config.sims), 4.127)
    values = np.concatenate([start, end], axis=1)
    names = ("train_loss", "test_loss", "agents_test_loss", "agents_train_loss")
    variables = {name: (("arm", "epoch", "sim"), values) for name in names}
    return xr.Dataset(variables, {"arm": labels})


AS_SAID = {
    transformer.ALONE: 2.2,
    transformer.PARALLEL: 2.0,
    "DiLoCo, every 8": 2.01,
    "DiLoCo, every 32": 2.03,
    "averaging, every 8": 2.05,
    "averaging, every 32": 2.08,
}


def test_what_is_as_said_holds_and_each_statement_can_fail():
    found = judged(CONFIG, made_up(AS_SAID))
    assert {c.verdict for c in found} == {"holds"} and len(found) == 8
    worse = {label: 4.13 - (loss - 2.0) for label, loss in AS_SAID.items()}  # nothing learned, and the order reversed
    shifted = made_up(worse)
    shifted["agents_test_loss"][1, 0] += 0.1
    failed = {c.id for c in judged(CONFIG, shifted) if c.verdict == "fails"}
    late = judged(CONFIG, made_up({**AS_SAID, "DiLoCo, every 8": 2.2, "DiLoCo, every 32": 2.3}))
    assert failed | {c.id for c in late if c.verdict == "fails"} == {c.id for c in found}


def test_data_parallel_steps_by_the_mean_gradient():
    """AdamW does not see the scale of a gradient: the sum over agents is a batch p times as large, to its epsilon."""
    arm = next(arm for arm in transformer.arms(CONFIG) if arm.label == transformer.PARALLEL)
    algorithm, rates = CONFIG.algorithm(arm, 100), jnp.full(arm.agents, CONFIG.eta)
    params = {"w": jnp.broadcast_to(jnp.linspace(-1, 1, 5), (arm.agents, 5))}
    targets = jax.random.normal(jax.random.key(0), (arm.agents, 5))
    state = algorithm.optimizer(rates).init(params)
    plain, optimizer = params["w"][0], optax.adamw(CONFIG.eta, weight_decay=CONFIG.weight_decay)
    own = optimizer.init(plain)
    for _ in range(4):
        slopes = lambda at: (jax.tree.map(lambda a: a - targets, at), None)
        params, state, _ = steps.agents_step(algorithm, slopes, params, state, rates)
        updates, own = optimizer.update(plain - targets.mean(axis=0), own, plain)
        plain = plain + updates
    np.testing.assert_allclose(params["w"], jnp.broadcast_to(plain, (arm.agents, 5)), rtol=1e-5)
    assert float(jnp.abs(plain - jnp.linspace(-1, 1, 5)).max()) > 3 * CONFIG.eta


def test_all_sizes():
    assert EXPERIMENT.trains and set(EXPERIMENT.presets) == {*PRESETS, "small"}
    for config in EXPERIMENT.presets.values():
        arms = transformer.arms(config)
        assert len({arm.label for arm in arms}) == len(arms) == 2 + 2 * len(config.periods)
        for arm in arms:
            assert config.algorithm(arm, 100).inner is not None
    text = (samples.BUNDLED / "genesis-exodus.txt").read_text()
    shares = [text.count(character) / len(text) for character in set(text)]
    assert transformer.unigram() == pytest.approx(-sum(s * math.log(s) for s in shares), abs=0.01)  # of nine tenths
    with pytest.raises(ValueError, match=r"data='cifar10'"):
        transformer.Config(data="cifar10")
    with pytest.raises(ValueError, match=r"channels=.*must be alike"):
        transformer.Config(channels=(16, 32))


@pytest.mark.slow
def test_smoke_claims_hold_at_the_pinned_seed(smoke):
    _, config, data = smoke("m-transformer")
    found = judged(config, data, smoke=True)
    assert {c.id: c.verdict for c in found if c.counted} == {
        "transformer-same-start": "holds",
        "transformer-learns": "holds",
    }
    same = data["agents_test_loss"].isel(epoch=0)
    assert net.at_start(data, "spread", transformer.PARALLEL).max() < 1e-9 and float(same.std()) < 0.1
    assert float(data["spread"].sel(arm=transformer.PARALLEL).max()) < 1e-6 < float(data["spread"].max())
