"""What a call of `simulate` does again, counted: a second one looks at nothing that cannot have changed."""

import collections

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sdesim
from sdesim import noise, objectives
from sdesim.ensembles import setup, warnings

pytestmark = pytest.mark.usefixtures("float32")
LOOKS = ("make_plan", "warn_of_stiffness", "check_memory", "check_rates", "today", "choose")


@pytest.fixture
def looks(monkeypatch):
    """How often each look at a run was taken, and how often equinox was asked to look at all arguments of a program."""
    counts = collections.Counter()
    monkeypatch.setattr(setup, "_KNOWN", {})
    monkeypatch.setattr(warnings, "_TICKS", {})

    def counted(name, fn):
        def call(*args, **kwargs):
            counts[name] += 1
            return fn(*args, **kwargs)

        return call

    for name in LOOKS:
        monkeypatch.setattr(setup, name, counted(name, getattr(setup, name)))
    wrapper = type(eqx.filter_jit(lambda: None))
    monkeypatch.setattr(wrapper, "__call__", counted("filter_jit", wrapper.__call__))
    return counts


def run(k=1.0, loss=None, sims=3, init=2.0, **options):
    loss = objectives.OscillatingDoubleWell() if loss is None else loss
    model = sdesim.Dynamics(loss, sdesim.Quorum(k), noise.Uniform(1.0), eta=0.1)
    return sdesim.simulate(model, agents=4, sims=sims, steps=3, init=sdesim.init.Uniform(-init, init), **options)


@pytest.mark.parametrize("sims", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_a_call_that_was_made_before_is_not_looked_at_again(looks, sims):
    first = run(sims=sims)
    assert all(looks[name] for name in LOOKS)
    looks.clear()
    again, other = run(sims=sims), run(sims=sims, seed=1)
    assert not looks
    np.testing.assert_array_equal(again.agents, first.agents)
    assert np.abs(np.asarray(other.agents - first.agents)).min() > 0
    assert again.run["path"] == first.run["path"] and again.sizes == first.sizes


def test_another_number_is_looked_at(looks):
    run()
    for changed in (dict(k=2.0), dict(init=1.0), dict(memory="1GB"), dict(sims=2)):
        looks.clear()
        run(**changed)
        assert all(looks[name] for name in LOOKS), changed
    here = setup._key((1,), 0, ())
    assert here == setup._key((1,), 0, ()) != setup._key((1.0,), 0, ())
    with jax.enable_x64(True):
        assert setup._key((1,), 0, ()) != here
    seen = []  # within transformations nothing is known, not even of a run whose seed alone is mapped
    jax.jit(lambda x: seen.append(setup._key((1,), 0, ())) or x)(3)
    jax.vmap(lambda seed: seen.append(setup._key((1,), seed, ())) or seed)(jnp.arange(2))
    assert seen == [None, None]


def test_what_is_wrong_is_said_each_time(looks):
    for _ in range(2):
        with pytest.warns(warnings.StabilityWarning, match="unstable"):
            run(k=100.0)
        with pytest.raises(MemoryError):
            run(memory=1)


def test_a_users_function_is_traced_at_each_call(looks):
    scale = 1.0

    def loss(x):
        return scale * jnp.sum(x**2)

    first = run(loss=loss)
    scale = 2.0
    looks.clear()
    second = run(loss=loss)
    assert looks["today"] == 1 and np.abs(np.asarray(second.agents - first.agents)).max() > 1e-3


def test_a_wrong_model_in_its_place_is_looked_at(looks):
    right = run()
    looks.clear()
    with setup.instead(lambda model, stepper: (eqx.tree_at(lambda m: m.eta, model, model.eta * 2), stepper)):
        wrong = run()
    assert looks["today"] == 1 and np.abs(np.asarray(wrong.agents - right.agents)).max() > 1e-3
    np.testing.assert_array_equal(run().agents, right.agents)
