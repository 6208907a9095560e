"""Networks of both Flax styles: modules of linen, and of nnx as they are or as functions of rngs."""

import warnings

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import sdesim
from sdesim import training
from sdesim.training import kinds, modules

pytestmark = [pytest.mark.relaxed, pytest.mark.usefixtures("float32")]  # as users have it

DATA = training.split(training.synthetic(80, 20, classes=4, size=4))
RUN = dict(agents=2, eta=0.02, epochs=1, batch=16)


class Linen(nn.Module):
    """Without an argument that says whether it trains."""

    @nn.compact
    def __call__(self, x):
        return nn.Dense(4)(x.reshape(x.shape[0], -1))


class New(nnx.Module):
    """The same in the other style."""

    def __init__(self, rngs: nnx.Rngs):
        self.dense = nnx.Linear(48, 4, rngs=rngs)

    def __call__(self, x):
        return self.dense(x.reshape(x.shape[0], -1))


class Dropped(nnx.Module):
    """With what is random, a list of layers, and a parameter of its own."""

    def __init__(self, *, rngs: nnx.Rngs):
        self.layers = nnx.List([nnx.Linear(48, 8, rngs=rngs), nnx.Linear(8, 4, rngs=rngs)])
        self.dropout = nnx.Dropout(0.5, rngs=rngs)
        self.scale = nnx.Param(jnp.ones(4))

    def __call__(self, x):
        x = self.dropout(nnx.relu(self.layers[0](x.reshape(x.shape[0], -1))))
        return self.layers[1](x) * self.scale


def taught(history, name="validation_loss"):
    return history[name].values[-1]


def train(network, **options):
    return training.train(network, DATA, training.Algorithm(sdesim.Quorum(1.0), 0.5), **{**RUN, **options}).history


def test_both_styles_take_the_same_steps():
    """From the same values, on the same batches: the same histories to the bit."""
    drawn = Linen().init(jax.random.key(0), jnp.zeros((1, 4, 4, 3)))["params"]["Dense_0"]

    class Started(nn.Module):
        @nn.compact
        def __call__(self, x):
            law = lambda name: lambda key, shape, dtype=jnp.float32: drawn[name]
            return nn.Dense(4, kernel_init=law("kernel"), bias_init=law("bias"))(x.reshape(x.shape[0], -1))

    other = New(nnx.Rngs(1))
    other.dense.kernel.set_value(drawn["kernel"])
    other.dense.bias.set_value(drawn["bias"])
    one, two = train(Started()), train(other, same_start=True)
    for name in ("train_loss", "test_accuracy", "batch_loss", "spread", "gradient_noise"):
        np.testing.assert_array_equal(one[name], two[name], err_msg=name)
    assert one["layer"].values.tolist() == ["Dense_0"] and two["layer"].values.tolist() == ["dense"]
    assert float(abs(taught(one, "spread")).min()) > 0


def test_functions_of_rngs_draw_a_start_for_each_agent():
    for network in (New, lambda rngs: New(rngs)):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            apart = train(network, runs=2, epochs=0)
            together = train(network, runs=2, epochs=0, same_start=True)
        losses = apart["train_loss"].values[0, :, :2]
        assert len(set(losses.ravel().tolist())) == 4
        assert together["spread"].values.max() < 1e-9 < 1 < apart["spread"].values.min()


def test_a_module_that_is_made_is_one_start_for_all_and_says_so():
    module = New(nnx.Rngs(0))
    before = np.asarray(module.dense.kernel.get_value())
    with pytest.warns(
        UserWarning, match=r"^network: all agents and runs start at the values of this nnx module"
    ) as said:
        history = train(module, runs=2)
    assert said[0].filename == __file__
    assert history["spread"].values[0].max() < 1e-9
    np.testing.assert_array_equal(module.dense.kernel.get_value(), before)  # the user's own stays as it was
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train(module, agents=1, epochs=0)
        train(module, epochs=0, same_start=True)


def test_dropout_of_nnx():
    """Random in training, by agent and step; nothing in evaluation. A training goes on to the same numbers."""
    taken = modules.taken(Dropped)
    params = taken.recipe(jax.random.key(0), None)
    assert {k: sorted(v) if isinstance(v, dict) else v.shape for k, v in params.items()} == {
        "layers": ["0/bias", "0/kernel", "1/bias", "1/kernel"],
        "scale": (4,),
    }
    x = jnp.ones((2, 4, 4, 3))
    said = lambda train, key: np.asarray(modules.logits(taken.network, params, x, train, jax.random.key(key)))
    np.testing.assert_array_equal(said(False, 0), said(False, 1))
    np.testing.assert_array_equal(said(True, 0), said(True, 0))
    assert (said(True, 0) != said(True, 1)).any() and (said(True, 0) != said(False, 0)).any()
    assert modules.taken(lambda rngs: Dropped(rngs=rngs)).network == taken.network  # and is compiled once


def test_a_training_of_nnx_goes_on(tmp_path):
    whole = train(Dropped, epochs=2)
    train(Dropped, folder=tmp_path)
    resumed = train(Dropped, epochs=2, folder=tmp_path, resume=True)
    for name in set(whole.data_vars) - {"seconds"}:
        np.testing.assert_array_equal(whole[name], resumed[name], err_msg=name)
    with pytest.raises(FileExistsError, match="holds a training with other arguments"):
        train(New, epochs=2, folder=tmp_path, resume=True)


def modes(name):
    """A linen module that learns whether it trains by an argument of this name."""

    def call(self, x, **given):
        assert given.keys() == {name}
        training = given[name] != (name == "deterministic")
        return nn.Dense(4)(nn.Dropout(0.5, deterministic=not training)(x.reshape(x.shape[0], -1)))

    space = {"call": call, "nn": nn}
    exec(f"def __call__(self, x, {name}): return call(self, x, {name}={name})", space)
    return type("Mode", (nn.Module,), {"__call__": nn.compact(space["__call__"])})()


@pytest.mark.parametrize("name", ["train", "training", "deterministic"])
def test_how_modules_learn_whether_they_train(name):
    network = modes(name)
    params = network.init(jax.random.key(0), jnp.ones((1, 48)), **{name: name == "deterministic"})["params"]
    x, key = jnp.ones((2, 4, 4, 3)), jax.random.key(3)
    assert (modules.logits(network, params, x, True, key) != modules.logits(network, params, x, False)).any()


def test_lists_of_layers():
    """`nn.Sequential` keeps a list, which has no hash."""
    network = nn.Sequential([lambda x: x.reshape(x.shape[0], -1), nn.Dense(4)])
    assert modules.looked_at(modules.taken(network), kinds.Form((4, 4, 3), "float32", "images")).logits == (2, 4)


class Statistics(nn.Module):
    @nn.compact
    def __call__(self, x, train: bool = False):
        return nn.Dense(4)(nn.BatchNorm(use_running_average=not train)(x.reshape(x.shape[0], -1)))


class NewStatistics(nnx.Module):
    def __init__(self, rngs):
        self.norm, self.dense = nnx.BatchNorm(48, rngs=rngs), nnx.Linear(48, 4, rngs=rngs)

    def __call__(self, x):
        return self.dense(self.norm(x.reshape(x.shape[0], -1)))


class Nothing(nn.Module):
    def __call__(self, x):
        return x.reshape(x.shape[0], -1)


class Unhashable(nn.Module):
    weights: jax.Array

    def __call__(self, x):
        return x


@pytest.mark.parametrize(
    ("network", "kind", "message"),
    [
        (Statistics(), ValueError, "Statistics keeps batch_stats beside its parameters"),
        (NewStatistics, ValueError, "NewStatistics keeps BatchStat beside its parameters"),
        (NewStatistics(nnx.Rngs(0)), ValueError, "NewStatistics keeps BatchStat beside its parameters"),
        (Nothing(), ValueError, "Nothing must have parameters that are real numbers, and has none"),
        (Unhashable(jnp.ones(2)), TypeError, "Unhashable has fields that cannot be hashed"),
        (Linen, TypeError, r"the class Linen: must be .*, such as Linen\(\)"),
        (int, TypeError, "the class int: must be a module of flax.linen, one of flax.nnx, or a function of rngs"),
        (lambda rngs: 3.0, TypeError, "must be a module of flax.linen, one of flax.nnx"),
        (lambda a, b: New(a), ValueError, "fails as a function of rngs: TypeError: "),
        (
            training.ThreeLayer(),
            ValueError,
            r"ThreeLayer cannot be evaluated on images of shape \(2, 4, 4, 3\): ValueError: ",
        ),
    ],
)
def test_what_cannot_be_trained_is_refused_in_one_sentence(network, kind, message):
    with pytest.raises(kind, match=rf"^network(:|=).*{message}") as error:
        train(network)
    assert "\n" not in str(error.value) and len(str(error.value)) < 400
