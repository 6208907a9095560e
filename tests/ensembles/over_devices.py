"""An ensemble over all devices of all processes, for tests: `over_devices.py OUT AGENTS [ADDRESS PROCESSES NUMBER]`."""

import sys

import jax
import jax.numpy as jnp
import numpy as np

out, agents, *process = sys.argv[1:]
if process:
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(process[0], int(process[1]), int(process[2]))

from jax.experimental.multihost_utils import process_allgather  # noqa: E402

import sdesim  # noqa: E402
from sdesim import sharding  # noqa: E402


def quartic(x):
    return jnp.sum(0.25 * x**4 - 0.5 * x**2)


MODEL = sdesim.Dynamics(quartic, sdesim.Quorum(1.0), sdesim.noise.Uniform(1.0), eta=0.05)
RUN = dict(agents=8, sims=32, steps=40, seed=3, init=sdesim.init.Uniform(-1, 1), observe=sdesim.observe.Spread())

mesh = sharding.mesh(agents=int(agents))
assert mesh.size == jax.device_count() > 1
found = sharding.simulate(MODEL, mesh, **RUN)
here = {shard.data.shape for shard in found.agents.addressable_shards}
assert here == {(32 // mesh.shape["sims"], 8 // mesh.shape["agents"], 1)}, here
whole = process_allgather(found, tiled=True)
if jax.process_index() == 0:
    np.savez(out, agents=whole.agents, quorum=whole.quorum, spread=whole.observed["spread"], loss=whole.quorum_loss)
