"""The choice of the program that computes a run: made once, with its reasons, and recorded."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sdesim
from sdesim import noise, observe
from sdesim.engine import gpu, path

pytestmark = pytest.mark.usefixtures("float32")


def bowl(x):
    return 0.5 * jnp.sum(x**2)


def printing(x):
    jax.debug.callback(lambda v: None, x)
    return bowl(x)


def chain(x):
    return jnp.sum((x[1:] - x[:-1]) ** 2)


def norm(x):
    return jnp.sum(x**2) ** 2


def taken(loss=bowl, law=lambda: noise.Uniform(1.0), agents=4, sims=40, steps=3, **options):
    model = sdesim.Dynamics(loss, sdesim.Quorum(1.0), law(), eta=0.1)
    return sdesim.simulate(model, agents=agents, sims=sims, steps=steps, **options).run["path"]


BLOCKS, WHOLE, PAIRS = "blocks of 128 lanes", "one program of all lanes", ", agents in pairs"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (dict(), BLOCKS + PAIRS),
        (dict(sims=4), WHOLE + PAIRS + ": fewer than 16 lanes"),
        (dict(sims=3), "blocks of 4 lanes" + PAIRS + ": fewer than 16 lanes"),
        (dict(sims=9, agents=5), "blocks of 16 lanes: fewer than 16 lanes; no pairs of 5 agents"),
        (dict(sims=3, exact=True), BLOCKS + PAIRS),
        (dict(sims=3, first_sim=7), BLOCKS + PAIRS),
        (dict(agents=5), BLOCKS + ": no pairs of 5 agents"),
        (dict(dims=2), "blocks of 64 lanes" + PAIRS),
        (dict(dims=2, loss=chain), "blocks of 64 lanes: no pairs of coordinates that depend on each other"),
        (dict(dims=2, loss=norm), "blocks of 64 lanes: no pairs of coordinates that depend on each other"),
        (dict(fast=False), BLOCKS + ": no pairs with fast=False"),
        (dict(law=lambda: noise.GammaMultiplicative(2.0)), BLOCKS + ": no pairs of variates drawn by rejection"),
        (dict(law=noise.Silent), BLOCKS + ": no pairs without random words"),
        (dict(observe=observe.FirstNonFinite()), BLOCKS + ": no pairs with a look at every step (first_non_finite)"),
        (dict(observe=observe.Spread()), BLOCKS + PAIRS),
        (dict(increments=np.ones((3, 40, 4, 1), np.float32)), BLOCKS + ": no pairs with the caller's increments"),
        (dict(loss=printing), BLOCKS + PAIRS + ": the program calls debug_callback, an effect"),
    ],
    ids=lambda v: ",".join(v) if isinstance(v, dict) else "",
)
def test_on_a_cpu(options, expected):
    assert taken(**options) == expected


def test_in_float64_no_two_agents_make_a_complex_number():
    with jax.enable_x64(True):
        assert taken() == BLOCKS + ": no pairs in float64"


def test_within_a_jit():
    seen = []

    def end(k):
        model = sdesim.Dynamics(bowl, sdesim.Quorum(k), noise.Uniform(1.0), eta=0.1)
        result = sdesim.simulate(model, agents=4, sims=40, steps=3)
        seen.append(result.run["path"])
        return result.quorum

    jax.jit(end)(1.0)
    assert seen == ["one program of all lanes, within the caller's" + PAIRS]


def test_on_a_gpu_the_kernel_or_why_not(monkeypatch):
    def choose(**options):
        model = sdesim.Dynamics(bowl, sdesim.Quorum(1.0), noise.Uniform(1.0), eta=0.1)
        plan = sdesim.engine.plan.Plan(4, 1, None, None)
        still = jax.tree.map(lambda _: None, model)
        how: dict = dict(exact=False, increments=False, arrays=(), dtype=jnp.float32) | options
        return path.choose(plan, sdesim.EulerMaruyama(), model, still, (), 40, **how)

    monkeypatch.setattr(path, "_KERNELS", {})
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(gpu, "refusal", lambda *a: "too wide" if a[-1] == "mosaic" else None)
    found = choose()
    assert found.kernel == "triton" and str(found) == "GPU kernel (triton): too wide"
    path._warn_once.cache_clear()
    with pytest.warns(path.EngineWarning, match="goes on as a scan: the registers burned"):
        lost = found.without_kernel("the registers burned")
    assert str(lost) == "GPU scan, agents in pairs: the registers burned"
    assert str(choose()) == str(lost)  # for good
    with pytest.warns(path.EngineWarning, match="cannot take this run"):
        monkeypatch.setattr(gpu, "refusal", lambda *a: "increments of the caller" if a[-3] else None)
        assert str(choose(increments=True)) == "GPU scan: increments of the caller"


def test_progress_and_a_sweep_say_it(capfd):
    model = sdesim.Dynamics(bowl, sdesim.Quorum(1.0), noise.Uniform(1.0), eta=0.1)
    data = sdesim.sweep(model, {"coupling.k": [0, 1]}, agents=4, sims=20, steps=3)
    assert data.attrs["path"] == BLOCKS + PAIRS
    labels = []
    with pytest.MonkeyPatch.context() as patch:
        bar = sdesim.engine.run.bar
        patch.setattr(
            sdesim.engine.run, "bar", lambda total, label, shown: labels.append(label) or bar(total, label, False)
        )
        sdesim.simulate(model, agents=4, sims=20, steps=3, progress=True)
    assert labels == [f"simulate ({BLOCKS}{PAIRS})"]
