"""Data dealt to agents: shares of the Dirichlet law, orders of own samples, and what they do to agents that train."""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest

import sdesim
from sdesim import training
from sdesim.training import step as steps

pytestmark = [pytest.mark.relaxed, pytest.mark.usefixtures("float32")]  # as users have it

LABELS = np.repeat(np.arange(10), 200)


class Small(nn.Module):
    """A user's own network."""

    @nn.compact
    def __call__(self, x, train: bool = False):
        return nn.Dense(4)(nn.tanh(nn.Dense(12)(x.reshape(x.shape[0], -1))))


DATA = training.split(training.synthetic(400, 100, classes=4, size=8, noise=30.0))
RUN = dict(eta=0.05, epochs=2, batch=16, evaluation_batch=20, schedule=training.Constant(), agents=4)


def shares(alpha, agents=4, runs=200):
    """Of each class in each run, what agents have of it, (runs * classes, agents)."""
    found = [training.Dirichlet(alpha).owners(LABELS, agents, 3, run) for run in range(runs)]
    counts = [[np.bincount(owner[c == LABELS], minlength=agents) for c in range(10)] for owner in found]
    return np.reshape(counts, (-1, agents)) / 200


@pytest.mark.parametrize("alpha", [0.3, 5.0])
def test_shares_are_of_the_dirichlet_law(alpha, z_scores):
    """Mean 1/p, variance (1/p)(1 - 1/p) / (p alpha + 1); the rounding to samples adds 2e-6 to it."""
    found = shares(alpha)
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-12)
    assert np.abs(z_scores(found, 0.25)).max() < 4
    assert np.abs(z_scores((found - 0.25) ** 2, 0.25 * 0.75 / (4 * alpha + 1))).max() < 4


def test_every_agent_has_something_and_runs_differ():
    owners = [training.Dirichlet(1e-3).owners(LABELS, 60, 3, run) for run in range(3)]
    assert all(set(owner) == set(range(60)) for owner in owners)
    assert (owners[0] != owners[1]).any()
    np.testing.assert_array_equal(owners[2], training.Dirichlet(1e-3).owners(LABELS, 60, 3, 2))
    assert (owners[2] != training.Dirichlet(1e-3).owners(LABELS, 60, 4, 2)).any()


def test_agents_see_their_own_again_and_again():
    words, runs = sdesim.random.seed_words(7), jnp.arange(2, dtype=jnp.uint32)
    owners = np.stack([training.Dirichlet(0.3).owners(LABELS[::40], 3, 7, run) for run in range(2)])
    order = np.asarray(steps.shuffled(words, jnp.uint32(3), runs, 3, 50, jnp.asarray(owners)))
    for run in range(2):
        for agent in range(3):
            own = np.flatnonzero(owners[run] == agent)
            seen = order[run, agent]
            np.testing.assert_array_equal(np.sort(seen[: len(own)]), own)
            np.testing.assert_array_equal(seen, np.resize(seen[: len(own)], 50))
    alone = np.asarray(steps.shuffled(words, jnp.uint32(3), runs, 1, 50, jnp.zeros((2, 50), jnp.int32)))
    np.testing.assert_array_equal(alone, steps.shuffled(words, jnp.uint32(3), runs, 1, 50))


def test_agents_of_few_classes_forget_the_others_until_they_meet(tmp_path):
    """Alone each is right on its own classes; Local SGD of them is right on all. An interrupted training goes on."""
    deal = training.Dirichlet(0.01)
    alone = training.train(
        Small(), DATA, training.algorithm("msgd", momentum=0.5), deal=deal, **{**RUN, "epochs": 4}
    ).history
    local = training.algorithm("local-sgd", momentum=0.5, period=4)
    together = training.train(Small(), DATA, local, deal=deal, **{**RUN, "epochs": 4}, same_start=True).history
    last = dict(epoch=-1, run=0)
    assert float(alone.test_accuracy.isel(last)[:4].mean()) < 0.6
    assert float(together.test_accuracy.isel(last)[-1]) > 0.8
    training.train(Small(), DATA, local, deal=deal, folder=tmp_path, **RUN, same_start=True)
    on = training.train(
        Small(), DATA, local, deal=deal, folder=tmp_path, resume=True, **{**RUN, "epochs": 4}, same_start=True
    ).history
    np.testing.assert_array_equal(on["test_loss"], together["test_loss"])
    with pytest.raises(FileExistsError):
        training.train(Small(), DATA, local, folder=tmp_path, resume=True, **{**RUN, "epochs": 4}, same_start=True)


def test_what_cannot_be_dealt_is_refused():
    with pytest.raises(TypeError, match=r"^deal=0.3: must be None, or such as sdesim.training.Dirichlet"):
        training.train(Small(), DATA, training.algorithm("sgd"), deal=0.3, **RUN)
    with pytest.raises(ValueError, match=r"^alpha=0"):
        training.Dirichlet(0.0)
    with pytest.raises(ValueError, match=r"^agents=9: must be at most the 5 samples"):
        training.Dirichlet(1.0).owners(LABELS[:5], 9, 0, 0)
    with pytest.raises(ValueError, match=r"^deal=Dirichlet\(alpha=1.0\): must have one class for each sample"):
        training.Dirichlet(1.0).owners(np.zeros(5), 2, 0, 0)
