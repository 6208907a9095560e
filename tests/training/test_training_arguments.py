"""What the trainer and its algorithms take and refuse, and what they warn of."""

import sys
import warnings

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest

import sdesim
from sdesim import coupling, training
from sdesim.interop.as_optax import find_state
from sdesim.training import algorithms

pytestmark = [pytest.mark.relaxed, pytest.mark.usefixtures("float32")]  # as users have it


class Small(nn.Module):
    """A user's own network."""

    classes: int = 4

    @nn.compact
    def __call__(self, x, train: bool = False):
        return nn.Dense(self.classes)(x.reshape(x.shape[0], -1))


IMAGES = training.synthetic(400, 100, classes=4, size=8, noise=30.0)
DATA = training.split(IMAGES)
ALONE = training.split(IMAGES, validation=0.0)  # nothing to validate on
RUN = dict(eta=0.05, epochs=1, batch=16, evaluation_batch=20)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(agents=0), "agents=0"),
        (dict(epochs=-1), "epochs=-1"),
        (dict(batch=1000), "batch=1000: must be at most half of the 320 training images"),
        (dict(batch=161), "batch=161: must be at most half"),
        (dict(runs=[]), r"runs=\[\]"),
        (dict(runs=1.5), "runs=1.5: must be a number of runs from 1 to 1048576, or a list"),
        (dict(eta=-0.1), "eta=-0.1"),
        (dict(eta=[0.1, 0.2], agents=2), r"eta: must be a number, one a run of shape \(1,\), .* got shape \(2,\)"),
        (dict(precision="float16"), "precision='float16'"),
        (dict(crop=12), "crop=12: must be an integer from 1 to 8"),
        (dict(crop=0), "crop=0"),
        (dict(evaluation_batch=0), "evaluation_batch=0"),
        (dict(weight_decay=-1.0), "weight_decay=-1"),
    ],
)
def test_unfit_arguments_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        training.train(Small(), DATA, training.algorithm("sgd"), **{**RUN, **change})


def test_unfit_data_and_networks_are_refused():
    with pytest.raises(TypeError, match=r"^data=.*must come from"):
        training.train(Small(), IMAGES.train_x, training.algorithm("sgd"))
    with pytest.raises(TypeError, match="algorithm='sgd': must be"):
        training.train(Small(), DATA, "sgd")
    with pytest.raises(ValueError, match=r"labels up to 3, and gives shape \(2, 3\)"):
        training.train(Small(classes=3), DATA, training.algorithm("sgd"), **RUN)


def test_what_looks_at_validation_images_needs_some():
    for schedule in (training.Stall(), type("Own", (training.AbstractSchedule,), {})()):
        with pytest.raises(ValueError, match=f"schedule: {type(schedule).__name__} looks at validation losses"):
            training.train(Small(), ALONE, training.algorithm("sgd"), schedule=schedule, **RUN)
    with pytest.raises(ValueError, match="algorithm: its rule looks at validation losses"):
        training.train(Small(), ALONE, training.algorithm("sd-qsgd"), agents=2, **RUN)
    history = training.train(
        Small(), ALONE, training.algorithm("qsgd"), agents=2, **RUN
    ).history  # rates stay by default
    assert "validation_loss" not in history and float(history.eta.min()) == pytest.approx(0.05)


def test_numpy_numbers_will_do():
    history = training.train(
        Small(), DATA, training.algorithm("sgd"), **{**RUN, "runs": np.int64(2), "epochs": np.int64(0)}
    ).history
    assert history.sizes["run"] == 2


def test_unfit_algorithms_are_refused():
    with pytest.raises(ValueError, match="did you mean 'easgd'"):
        training.algorithm("eagsd")
    with pytest.raises(ValueError, match=r"average=1"):
        training.algorithm("qsgd", average=1.0)
    with pytest.raises(TypeError, match="rule='quorum'"):
        training.Algorithm("quorum")
    with pytest.raises(ValueError, match=r"shape \(2,\) must be one for all, \(runs,\) or \(runs, agents\), .* 3 runs"):
        algorithms.over_runs(training.Algorithm(coupling.Quorum(np.ones(2))), 3)
    for name, wrong in (("momentum", 1.0), ("momentum", -0.1), ("average", 1.5), ("pace", 0.0), ("clock", 0.0)):
        with pytest.raises(ValueError, match=name):
            training.Algorithm(coupling.Quorum(1.0), **{name: wrong})


@pytest.mark.parametrize(
    ("name", "number", "has"),
    [
        ("downpour", dict(k=3.0), "easgd"),
        ("sgd", dict(k=3.0), "qsgd"),
        ("msgd", dict(period=5), "easgd"),
        ("mdownpour", dict(period=2), "downpour"),
        ("easgd", dict(average=0.5), "mvasgd"),
        ("easgd", dict(fanout=(2, 2)), "tree"),
        ("qsgd", dict(relaxation=3.0), "sd-qsgd"),
        ("filter", dict(width=1.0), "saturating-filter"),
    ],
)
def test_numbers_that_an_algorithm_has_not_are_refused(name, number, has):
    (label,) = number
    with pytest.raises(ValueError, match=rf"{label}=.*: {name} has none; those that have: .*{has}"):
        training.algorithm(name, **number)
    training.algorithm(has, **number)


def test_an_unstable_coupling_warns(monkeypatch):
    """alpha = 0.9 / p belongs to the learning rate that the algorithm was made for."""
    easgd = training.algorithm("easgd")(4, 0.05, 20)
    with pytest.raises(
        ValueError, match=r"algorithm: was made for eta=0.05, and the training has 0.12; give the training"
    ):
        training.train(Small(), DATA, easgd, agents=4, **{**RUN, "eta": 0.12})
    own = training.Algorithm(easgd.rule, 0.9)
    with pytest.warns(
        sdesim.StabilityWarning, match="Elastic with 4 agents multiplies its fastest mode by 1.7"
    ) as caught:
        training.train(Small(), DATA, own, agents=4, **{**RUN, "eta": 0.12, "epochs": 0, "runs": 3})
    assert len(caught) == 1 and caught[0].filename == __file__
    # Of those as they are made, none warns before it would start.
    started = []
    monkeypatch.setattr(training.programs, "start", lambda: started.append(True) or sys.exit())
    with warnings.catch_warnings():
        warnings.simplefilter("error", sdesim.StabilityWarning)
        for name in training.NAMES:
            with pytest.raises(SystemExit):
                training.train(Small(), DATA, training.algorithm(name), agents=4, **{**RUN, "epochs": 0})
    assert len(started) == len(training.NAMES)


def test_a_convolution_that_would_be_slow_warns():
    class Convolutional(nn.Module):
        own: bool

        @nn.compact
        def __call__(self, x, train: bool = False):
            layer = training.networks.Convolution(2, (3, 3)) if self.own else nn.Conv(2, (3, 3))
            return nn.Dense(4)(layer(x).reshape(x.shape[0], -1))

    with pytest.warns(UserWarning, match="network: has convolutions of XLA's"):
        training.train(Convolutional(own=False), DATA, training.algorithm("sgd"), **{**RUN, "epochs": 0})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        training.train(Convolutional(own=True), DATA, training.algorithm("sgd"), **{**RUN, "epochs": 0})


# -- what algorithms are -----------------------------------------------------------------------------------------------


def test_the_quorum_of_one_agent_is_averaged_too():
    """So that more agents are compared with one by what is tested of each."""
    assert float(training.algorithm("qsgd")(1, 0.05, 20).average) == float(
        training.algorithm("qsgd")(8, 0.05, 20).average
    )
    assert float(training.algorithm("qsgd", average=0.5)(4, 0.05, 20).average) == 0.5


def test_a_spike_lasts_as_many_batches_at_any_learning_rate():
    """T_r and T are in batches (BS 60-61), whatever the schedule has made of the rate."""
    agents, batches = 4, 30
    made = training.algorithm("sd-qsgd", relaxation=5.0)(agents, 0.05, batches)
    params = {"w": jnp.zeros((agents, 3))}
    shares = {}
    for fall in (1.0, 20.0):
        optimizer = made.optimizer().init(params)
        optimizer = made.coupling().renew(params, optimizer, jnp.array([3.0, 1.0, 2.0, 4.0]))
        found = []
        for _ in range(batches + 1):
            state = find_state(optimizer)
            found.append(np.asarray(made.rule.gains(state.shared, state.t, agents)))
            _, optimizer = made.optimizer().update(params, optimizer, params, eta=jnp.full(agents, 0.05 / fall))
        shares[fall] = np.stack(found) / np.sum(found, axis=1, keepdims=True)
    np.testing.assert_array_equal(shares[1.0], shares[20.0])
    assert shares[1.0][0, 1] == 1.0 and shares[1.0][5, 1] > 0.5
    np.testing.assert_allclose(shares[1.0][batches], 0.25)  # over: at T the rule is QSGD again


def test_what_is_tested_of_spiking_agents_is_their_mean():
    """BS 6 averages the quorum; the point that a spike pulls to is the best agent."""
    made = training.algorithm("sd-qsgd")(2, 0.05, 20)
    params = {"w": jnp.array([[0.0], [1.0]])}
    optimizer = made.coupling().renew(params, made.optimizer().init(params), jnp.array([2.0, 1.0]))
    assert float(made.coupling().center(params, optimizer)["w"][0]) == 1.0
    assert float(made.center(params, optimizer)["w"][0]) == 0.5
