"""What a run needs of memory, against what XLA says that it takes, and what control groups allow."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sdesim
from sdesim import memory
from sdesim.ensembles.work import work_of

POINTS = np.random.default_rng(0).normal(size=(3000, 4))
LOSSES = {
    "products with data": lambda x: jnp.mean(jnp.logaddexp(0.0, -(POINTS @ x) * POINTS[:, 0])),
    "pairs of data": lambda x: jnp.sum(jnp.exp(-((POINTS[:200, None] - POINTS[None, :200]) ** 2 @ x**2))),
    "sorted": lambda x: jnp.sum(jnp.sort(POINTS @ x)[:1000] ** 2),
    "a loop": lambda x: jax.lax.scan(lambda c, p: (c + jnp.tanh(p @ x), c), 0.0, POINTS)[0] ** 2,
    "elementwise": lambda x: jnp.sum(x**4 - jnp.cos(5 * x)),
}


@pytest.mark.parametrize("name", LOSSES)
def test_the_work_of_a_step_is_what_xla_takes_or_a_little_more(name, float32, compiled_here):
    """Gradients of 16 lanes by jax.vmap: what is allocated, and at most five times that (and some kilobytes).

    Most of the loop, of whose records jax 0.12 keeps a fifth of what is estimated.
    """
    gradient = jax.grad(lambda x: LOSSES[name](x).astype(jnp.float32))
    x = jnp.ones(4, jnp.float32)
    own, shared = work_of(gradient, x)
    compiled = jax.jit(jax.vmap(gradient)).lower(jnp.ones((16, 4), jnp.float32)).compile()
    taken = compiled.memory_analysis().temp_size_in_bytes
    assert 0.8 * taken - 20_000 <= 16 * own + shared <= 5 * taken + 20_000


def test_a_loss_that_takes_more_than_there_is_is_refused(float32):
    data = jnp.ones((20_000, 2))
    model = sdesim.Dynamics(lambda x: jnp.mean(jnp.logaddexp(0.0, -(data @ x) * data[:, 0])))
    sizes = dict(agents=50, dims=2, steps=2)
    with pytest.raises(MemoryError, match=r"^memory='50MB': 64 simulations of .* for the work of a step.* less work"):
        sdesim.simulate(model, sims=64, memory="50MB", **sizes)
    with pytest.raises(MemoryError, match=r"sims=1 would fit"):
        sdesim.simulate(model, sims=64, memory="12MB", **sizes)


@pytest.mark.parametrize(
    ("line", "folder", "limit", "use", "cached"),
    [
        ("0::/job/step", "", "memory.max", "memory.current", "inactive_file"),
        ("4:cpu,memory:/job/step", "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ],
    ids=["version 2", "version 1"],
)
def test_control_groups_limit_what_is_free(tmp_path, line, folder, limit, use, cached):
    """The group of a process and those that hold it; what is cached of files can be had back."""
    (tmp_path / "proc").write_text(f"1:name=systemd:/job\n{line}\n")
    for path, most, used, kept in (("", "max", 900, 0), ("job", 1000, 700, 50), ("job/step", 800, 100, 0)):
        group = tmp_path / "fs" / folder / path
        group.mkdir(parents=True, exist_ok=True)
        (group / limit).write_text(f"{most}\n")
        (group / use).write_text(f"{used}\n")
        (group / "memory.stat").write_text(f"anon 5\n{cached} {kept}\n")
    left = list(memory._left_in_groups(str(tmp_path / "proc"), str(tmp_path / "fs")))
    assert left == [700, 350]
    assert list(memory._left_in_groups(str(tmp_path / "none"), str(tmp_path))) == []
