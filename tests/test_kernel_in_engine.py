"""The engine with the GPU kernel in place of its own loop: interpreted here, on a CPU."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sdesim
from sdesim import engine


def test_the_engine_runs_it_between_records(monkeypatch):
    """Chunks, records, epochs and divergence are the engine's with the kernel too: here interpreted, on a CPU."""
    with jax.enable_x64(False):
        loss = lambda x: 0.2 * x**4 - x**2 + 0.3 * jnp.sin(4 * x)
        model = sdesim.Dynamics(loss, sdesim.Quorum(2.0), sdesim.noise.Uniform(2.0), 0.02, sdesim.Nesterov(0.5))
        sizes = dict(agents=6, sims=5, steps=12, init=sdesim.init.Uniform(-1, 1), every=4)
        run = lambda: sdesim.simulate(model, observe=[sdesim.observe.Spread(), sdesim.observe.Moments()], **sizes)
        plain = run()
        monkeypatch.setattr(engine, "_kernel_for", lambda *_: "interpret")
        kernel_run = run()
    assert np.abs(np.asarray(kernel_run.agents) - np.asarray(plain.agents)).max() < 1e-5
    for name in plain.observed:
        np.testing.assert_allclose(kernel_run.observed[name], plain.observed[name], rtol=1e-3, atol=1e-5)


def test_a_kernel_that_fails_is_replaced_and_said_so(monkeypatch):
    def fails(*_, **__):
        raise RuntimeError("no such instruction")

    with jax.enable_x64(False):
        model = sdesim.Dynamics(lambda x: 0.5 * x * x, sdesim.Quorum(2.0), sdesim.noise.Uniform(2.0), 0.02)
        run = lambda: sdesim.simulate(model, agents=6, sims=5, steps=12)
        plain = run()
        monkeypatch.setattr(engine, "_kernel_for", lambda *_: "interpret")
        monkeypatch.setattr("sdesim.kernel.advance", fails)
        with pytest.warns(engine.EngineWarning, match="goes on as a scan: RuntimeError: no such instruction"):
            kernel_run = run()
    np.testing.assert_array_equal(kernel_run.agents, plain.agents)
