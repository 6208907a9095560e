"""`Training`: taken on step by step it is what it is in one go; looked on by callbacks, kept, and gone on with."""

import dataclasses
import functools
import inspect
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sdesim
from sdesim import coupling, training
from sdesim.results import datasets
from sdesim.training import programs

pytestmark = [pytest.mark.relaxed, pytest.mark.usefixtures("float32")]  # as users have it


class Small(nn.Module):
    @nn.compact
    def __call__(self, x, train: bool = False):
        x = nn.Dropout(0.2, deterministic=not train)(nn.tanh(nn.Dense(8)(x.reshape(x.shape[0], -1))))
        return nn.Dense(4)(x)


DATA = training.split(training.synthetic(80, 20, classes=4, size=4))  # four steps an epoch
# A rule that jumps at each epoch, a schedule with a memory.
RULE = training.algorithm("sd-qsgd", relaxation=2.0)
RUN = dict(agents=2, runs=2, eta=0.05, batch=16, schedule=training.Stall(patience=1, tolerance=10.0))


def made(**changed) -> training.Training:
    return training.Training(Small(), DATA, RULE, **{**RUN, **changed})


@functools.cache
def whole(epochs=4):
    return training.train(Small(), DATA, RULE, epochs=epochs, **RUN).history


def assert_same(found, expected):
    assert set(found) == set(expected)
    for name in set(expected) - {"seconds"}:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


def test_help_shows_all_that_train_takes():
    """Each keyword of `Training` once, with its default and what `Training` says of it."""
    taken, of = (inspect.signature(fn).parameters for fn in (training.train, training.Training))
    assert list(taken)[:3] == list(of)[:3] == ["network", "data", "algorithm"]
    said, there = inspect.getdoc(training.train), inspect.getdoc(training.Training)
    assert "**" not in said and "Returns:" in said
    for name in list(of)[3:]:
        assert taken[name] == of[name]
        line = next(line for line in there.splitlines() if line.startswith(f"    {name}: "))
        assert said.count(line) == 1
    with pytest.raises(TypeError, match="unexpected keyword argument 'epoch'"):
        training.train(Small(), DATA, RULE, epoch=3)


# -- taking it on ------------------------------------------------------------------------------------------------------


def test_step_by_step_is_in_one_go():
    one = made()
    assert (one.epochs_done, one.steps_done, one.steps_an_epoch) == (0, 0, 4)
    one.epoch()
    assert one.history.sizes["epoch"] == 2 and one.latest["training loss"] > 0
    one.eta = one.eta  # nothing changes
    one.step()
    one.step(2)
    assert (one.epochs_done, one.steps_done) == (1, 7)
    before = jax.tree.leaves(one.models)
    one.epoch()  # what is left of it
    assert (one.epochs_done, one.steps_done) == (2, 8)
    assert before[0].shape[:2] == (2, 3) and np.isfinite(before[0]).all()  # and is not given up to the next step
    one.step(5)
    history = one.run(4)
    assert_same(history, whole())
    assert_same(one.run(3), whole())  # which are done
    assert float(whole().eta.min()) < 0.05 and int(history.attrs["settings"].count('"epochs": 4')) == 1


def test_models_are_what_is_tested():
    one = made(schedule=training.Constant())
    one.run(1)
    images = (jnp.asarray(DATA.test_x, jnp.float32) - DATA.mean) / DATA.std
    logits = jax.vmap(jax.vmap(lambda p: Small().apply({"params": p}, images)))(one.models)
    right = (np.argmax(logits, axis=-1) == DATA.test_y).mean(axis=-1)
    np.testing.assert_allclose(right, one.history.test_accuracy[-1], atol=1e-6)


class Falls(training.Constant):
    """The rate of two agents from epoch 2 on."""

    def after_epoch(self, state, loss):
        return state._replace(eta=jnp.full_like(state.eta, 0.01))


class Rates(NamedTuple):
    eta: Any
    epochs: Any


@dataclasses.dataclass(frozen=True)
class Inverse(training.AbstractSchedule):
    """A user's own, with a state of its own: eta / (1 + epochs)."""

    looks_at_losses = False

    def start(self, eta):
        return Rates(eta, jnp.zeros((), jnp.int32))

    def after_epoch(self, state, loss):
        return Rates(state.eta * (1 + state.epochs) / (2 + state.epochs), state.epochs + 1)


def test_a_schedule_of_ones_own(tmp_path):
    one, other = made(schedule=Inverse()), made(schedule=Inverse())
    one.run(2, [training.Keep(tmp_path)])
    other.resume(tmp_path)
    assert_same(one.run(3), other.run(3))
    np.testing.assert_allclose(one.history["eta"][1:, 0, 0], [0.05, 0.05 / 2, 0.05 / 3], rtol=1e-6)
    with pytest.raises(TypeError, match=r"^schedule=.*: must be None, or such as"):
        made(schedule=lambda epoch: 0.1)


def test_a_callback_that_copies_the_state_needs_memory_for_it(monkeypatch):
    planned = []
    monkeypatch.setattr(training.loop, "size_of", lambda tree: planned.append(tree) or 0)
    for copies in (False, True):
        made().run(1, [type("Own", (training.Callback,), {"copies_state": copies})()])
        assert bool(planned) is copies


def test_a_learning_rate_that_is_set():
    one = made(schedule=training.Constant())
    with pytest.raises(ValueError, match=r"^eta=0.01: must be given to Training, as it has not begun"):
        one.eta = 0.01
    one.epoch()
    for wrong, said in ((-1.0, "^eta=-1.0: must be finite"), (np.ones(3), "^eta: must be a number, one a run")):
        with pytest.raises(ValueError, match=said):
            one.eta = wrong
    one.eta = 0.01
    one.step()
    with pytest.raises(
        ValueError, match=r"^eta: must wait for the end of the epoch, as 1 of 4 steps of epoch 2 are done"
    ):
        one.eta = 0.02
    history = one.run(3)
    assert_same(history, made(schedule=Falls()).run(3))
    assert history.eta.values[:, 0, 0].tolist() == np.float32([0.05, 0.05, 0.01, 0.01]).tolist()
    assert history.attrs["made_by"].endswith("\n# with eta = 0.01 from the end of epoch 1 on")


def test_a_rate_that_amplifies_warns_when_it_is_set():
    one = training.Training(Small(), DATA, training.Algorithm(coupling.Quorum(10.0)), agents=2, eta=0.05, batch=16)
    one.run(0)
    with pytest.warns(sdesim.StabilityWarning):
        one.eta = 1.0


# -- callbacks ---------------------------------------------------------------------------------------------------------


def test_a_function_looks_on_and_stops():
    seen = []

    def enough(one):
        seen.append((one.epochs_done, one.latest["validation loss"]))
        if one.epochs_done == 2:
            one.stop()

    one = made()
    history = one.run(4, [enough])
    assert [epoch for epoch, _ in seen] == [0, 1, 2] and history.sizes["epoch"] == 3
    losses = whole().validation_loss.isel(model=slice(0, 2)).mean(("run", "model"))[:3]
    np.testing.assert_allclose([loss for _, loss in seen], losses, rtol=1e-6)
    assert_same(one.run(4), whole())  # another run goes on
    with pytest.raises(TypeError, match=r"^callbacks: must be a list of functions of the training, .* and one is 3"):
        one.run(5, [enough, 3])
    with pytest.raises(TypeError, match=r"^callbacks=the function enough: must be a list"):
        one.run(5, enough)


def test_a_callback_is_called_around_steps_and_epochs(monkeypatch):
    monkeypatch.setattr(training.loop, "CHUNK_SECONDS", 0.0)  # a step a chunk
    told = []

    class Watch(training.Callback):
        def around(self, one):
            told.append("in")
            return super().around(one)

        def after_steps(self, one, steps, seconds):
            told.append(steps)
            assert seconds > 0 and one.steps_done == sum(t for t in told if isinstance(t, int))
            if one.steps_done > 4:
                one.stop()  # within an epoch

        def after_epoch(self, one):
            told.append(f"epoch {one.epochs_done}")

    one = made()
    one.run(4, [Watch()])
    assert told == ["in", "epoch 0", 1, 1, 1, 1, "epoch 1", 1] and (one.epochs_done, one.steps_done) == (1, 5)
    assert_same(one.run(4), whole())


@pytest.mark.parametrize("error", [KeyError, KeyboardInterrupt])
def test_what_a_callback_raises_loses_nothing(error, tmp_path):
    def fails(one):
        if one.epochs_done == 2:
            raise error("of the user's")

    with pytest.raises(error, match="of the user's"):
        training.train(Small(), DATA, RULE, epochs=4, folder=tmp_path, callbacks=[fails], **RUN)
    assert datasets.read_dataset(tmp_path / "history.nc").sizes["epoch"] == 3
    assert_same(training.train(Small(), DATA, RULE, epochs=4, folder=tmp_path, resume=True, **RUN).history, whole())
    one = made()
    with pytest.raises(error):
        one.run(4, [fails])
    assert_same(one.run(4), whole())


def test_an_interruption_within_an_epoch(monkeypatch):
    """Between chunks nothing is lost. Within one the state may be, and that is said: nothing is silently another."""
    monkeypatch.setattr(training.loop, "CHUNK_SECONDS", 0.0)  # a step a chunk
    one = made()

    class Interrupts(training.Callback):
        def after_steps(self, one, steps, seconds):
            if one.steps_done == 6:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        one.run(4, [Interrupts()])
    assert (one.epochs_done, one.steps_done) == (1, 6)
    assert_same(one.run(4), whole())
    take = programs.take_steps

    def interrupted(*args):
        take(*args)
        raise KeyboardInterrupt

    monkeypatch.setattr(programs, "take_steps", interrupted)
    monkeypatch.setattr(training.loop, "work_of", lambda *_: 0)
    with pytest.raises(KeyboardInterrupt):
        one.run(5)
    with pytest.raises(RuntimeError, match="interrupted within a step, and its state is gone; make it anew, or resume"):
        one.step()


# -- kept --------------------------------------------------------------------------------------------------------------


def test_save_and_resume(tmp_path):
    one = made()
    one.run(2)
    one.save(tmp_path)
    one.save(tmp_path)  # which has it already
    other = made()
    other.resume(tmp_path)
    assert (other.epochs_done, other.steps_done) == (2, 8)
    assert_same(other.history, whole(2))
    assert_same(other.run(4), whole())
    other.save(tmp_path)
    assert [p.name for p in tmp_path.glob("checkpoint-*")] == ["checkpoint-4"]
    with pytest.raises(
        FileExistsError, match="keeps epoch 4 of this training, which is at 2; resume it before it begins"
    ):
        one.save(tmp_path)
    with pytest.raises(FileExistsError, match="other arguments"):
        made(seed=1).save(tmp_path)
    with pytest.raises(FileExistsError, match="other arguments"):
        made(seed=1).resume(tmp_path)
    with pytest.raises(ValueError, match=r"^folder=.*: must be resumed by a training that has not begun"):
        other.resume(tmp_path)
    one.step()
    with pytest.raises(ValueError, match=r"^folder: must wait for the end of the epoch"):
        one.save(tmp_path / "new")
    fresh = made()
    fresh.resume(tmp_path / "nothing")
    assert fresh.epochs_done == 0


def test_a_rate_that_was_set_goes_on_from_the_folder(tmp_path):
    one = made()
    one.epoch()
    one.eta = 0.01
    keep = training.Keep(tmp_path)
    one.run(2, [keep])
    expected = one.run(3, [keep])  # the same folder, which is its own
    one, other = made(), made()
    other.resume(tmp_path)
    assert_same(other.history, expected)
    assert other.history.attrs["made_by"] == expected.attrs["made_by"]
    assert_same(other.run(4), other.run(4, [training.Keep(tmp_path, resume=True)]))
    assert datasets.read_dataset(tmp_path / "history.nc").sizes["epoch"] == 5
    with pytest.raises(FileExistsError, match="holds a training already; resume=True goes on with it"):
        one.run(4, [training.Keep(tmp_path)])


# -- what is given once ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (dict(agents=4), r"^agents=4: must be given to the training alone, as train\(..., agents=...\)"),
        (dict(eta=0.1), r"^eta=0.1: must be given to the training alone, as train\(..., eta=...\)"),
        (dict(batches=9), "^batches=9: must be given to the training alone, by its batch and its images"),
        (dict(fanout=(2, 5000)), r"^fanout=\(2, 5000\): has 10000 leaves, and must have at most 4096"),
    ],
)
def test_agents_rate_and_batches_are_the_trainings(given, said):
    with pytest.raises((TypeError, ValueError), match=said):
        training.algorithm("tree", **given)


def test_gains_follow_from_the_training():
    """As the papers say: 0.9 / p a step of the elastic family, whatever the agents and the rate."""
    for agents, eta in ((2, 0.05), (5, 0.2)):
        one = training.Training(Small(), DATA, training.algorithm("easgd"), agents=agents, eta=eta, batch=16)
        said = one.run(0).attrs
        assert f"algorithm=sdesim.training.algorithm('easgd'), eta={eta}" in said["made_by"]
        np.testing.assert_allclose(one._setup.algorithm.rule.k * eta, 0.9 / agents, rtol=1e-6)
        assert one.models["Dense_0"]["bias"].shape == (1, agents + 1, 8)


# -- functions of today ------------------------------------------------------------------------------------------------

SCALE = {"network": 1.0, "rule": 1.0}


class Scaled(nn.Module):
    @nn.compact
    def __call__(self, x):
        return SCALE["network"] * nn.Dense(4)(x.reshape(x.shape[0], -1))


class Pulls(coupling.Quorum):
    def pull(self, *args):
        return jax.tree.map(lambda pull: SCALE["rule"] * pull, super().pull(*args))


@pytest.mark.parametrize("of", SCALE)
def test_a_training_sees_what_functions_read_today(of, monkeypatch):
    """A value that a network or a rule reads, and that changed: as a process that has never seen the other."""
    go = lambda network, rule: (
        training.train(network, DATA, training.Algorithm(rule(3.0), 0.5), agents=2, batch=16, epochs=1).history
    )
    before = go(Scaled(), Pulls)
    monkeypatch.setitem(SCALE, of, 0.25)
    today = go(Scaled(), Pulls)
    assert (today.test_loss[-1] != before.test_loss[-1]).all()

    class Fresh(nn.Module):
        @nn.compact
        def __call__(self, x):
            return SCALE["network"] * nn.Dense(4)(x.reshape(x.shape[0], -1))

    class Fresher(coupling.Quorum):
        def pull(self, *args):
            return jax.tree.map(lambda pull: SCALE["rule"] * pull, super().pull(*args))

    assert_same(today, go(Fresh(), Fresher))
    monkeypatch.setitem(SCALE, of, 1.0)
    assert_same(go(Scaled(), Pulls), before)


@pytest.mark.parametrize("network", [Small(), training.ThreeLayer(classes=4, channels=(2, 2, 2))])
def test_code_is_equal_where_nothing_changed(network):
    data = training.split(training.synthetic(80, 20, classes=4))
    of = lambda **changed: programs.code_of(training.Training(network, data, RULE, **{**RUN, **changed})._setup)
    assert of() == of(eta=0.02, seed=3) and hash(of()) == hash(of())
    assert of() != of(batch=8)
