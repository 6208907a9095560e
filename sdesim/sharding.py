"""One ensemble over several devices, and over the processes of several machines (`jax.distributed`).

Simulations are shared out without a word between devices: each runs its own, block by block as anywhere else, so that
their bits are those of one device. Agents of one simulation can be shared out, too, where they do not fit: the state of
the whole run is one sharded array, and XLA adds up what the coupling's mean needs, once a step. Sums then have another
order, and numbers are the same to rounding.
"""

import concurrent.futures
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array

from sdesim import random, run
from sdesim.dynamics import Dynamics
from sdesim.engine.plan import Plan
from sdesim.ensembles.points import of_sims
from sdesim.ensembles.setup import check_sizes, default_dims, initial_lanes
from sdesim.fields import byte_count, check_count, shown
from sdesim.memory import available_memory

SIMS, AGENTS = "sims", "agents"


class Ensemble(NamedTuple):
    """The end of a run over several devices: arrays of JAX, each part on the device that computed it.

    Attributes:
        agents: final positions, (sims, agents, dims).
        quorum: their mean over agents, (sims, dims).
        center: the signal that the coupling pulls towards, (sims, dims).
        spread: sum over agents of their final squared distances from their mean, (sims,).
        quorum_loss: final loss at the mean of the agents, (sims,).
        observed: what `observe` recorded, by name, simulation axis first.
    """

    agents: Array
    quorum: Array
    center: Array
    spread: Array
    quorum_loss: Array
    observed: dict[str, Array]

    @classmethod
    def of(cls, result: Any) -> "Ensemble":
        """The part of a result that is here.

        Args:
            result: of `sdesim.simulate`.
        """
        fields = (result.agents, result.quorum, result.center, result.spread, result.quorum_loss)
        return cls(*fields, result.observed)


def mesh(agents: int = 1) -> Mesh:
    """All devices of all processes, as `simulate` shares a run out to them.

    Args:
        agents: over how many devices the agents of a simulation are shared out; the others share the simulations.

    Returns:
        A mesh with axes "sims" and "agents".

    Raises:
        ValueError: if the devices cannot be shared out so.
    """
    devices = jax.devices()
    agents = check_count("agents", agents, most=len(devices))
    if len(devices) % agents:
        raise ValueError(f"agents={agents}: must divide the {len(devices)} devices that there are")
    return Mesh(np.asarray(devices).reshape(-1, agents), (SIMS, AGENTS))


def simulate(model: Dynamics, mesh: Mesh, *, agents: int, sims: int, **arguments: Any) -> Ensemble:
    """Simulate an ensemble over the devices of a mesh; each process makes the same call.

    Args:
        model: the dynamics.
        mesh: from `mesh`, or any other with axes "sims" and "agents".
        agents: of a simulation, a multiple of the devices that share them.
        sims: how many simulations, a multiple of the devices that share them.
        **arguments: as for `sdesim.simulate`: steps, dims, seed, init, dt, observe and the others; `init` and
            `increments` of all simulations, where these are arrays.

    Returns:
        Final states and what was observed, each part where it was computed: the bits of `sdesim.simulate(...,
        exact=True)` where the mesh has one device for all agents, else the same to rounding.

    Raises:
        ValueError: for sizes that cannot be shared out evenly, and as `sdesim.simulate`.
        TypeError: for what is no mesh, and as `sdesim.simulate`.
    """
    if not isinstance(mesh, Mesh) or set(mesh.axis_names) != {SIMS, AGENTS}:
        raise TypeError(f"mesh={shown(mesh)}: must be one of sdesim.sharding.mesh, with axes {SIMS!r} and {AGENTS!r}")
    sizes = check_sizes({"agents": agents, "sims": sims})
    for name, size in sizes.items():
        if size % mesh.shape[name]:
            raise ValueError(f"{name}={size}: must be a multiple of the {mesh.shape[name]} devices that share them")
    run_over = _over_agents if mesh.shape[AGENTS] > 1 else _over_sims
    return run_over(model, mesh, sizes, arguments)


def _over_sims(model: Dynamics, over: Mesh, sizes: dict[str, int], arguments: dict[str, Any]) -> Ensemble:
    """Every device runs its simulations, by the program of any run."""
    sims, first = sizes[SIMS], arguments.get("first_sim") or 0
    sharding = NamedSharding(over, PartitionSpec(SIMS))
    shares = [(device, at[0]) for device, at in sharding.addressable_devices_indices_map((sims,)).items() if at]
    every = {"sims": sims, "first_sim": first, "init": None, "velocity": None, "increments": None, **arguments}

    def share(device: Any, at: slice) -> Ensemble:
        begin, end, _ = at.indices(sims)
        mine = {**every, **of_sims(every, begin, end - begin), "first_sim": first + begin, "exact": True}
        mine = {name: value for name, value in mine.items() if value is not None}
        with jax.default_device(device):
            return Ensemble.of(run.simulate(model, **{**mine, "agents": sizes[AGENTS]}))

    if jax.default_backend() == "cpu":  # whose devices are the same cores, and whose compiler bears one thread
        parts = [share(*one) for one in shares]
    else:
        with concurrent.futures.ThreadPoolExecutor(len(shares)) as pool:
            parts = list(pool.map(lambda one: share(*one), shares))

    def whole(*leaves: Any) -> Array:
        placed = [jax.device_put(leaf, device) for leaf, (device, _) in zip(leaves, shares, strict=True)]
        return jax.make_array_from_single_device_arrays((sims, *leaves[0].shape[1:]), sharding, placed)

    return jax.tree.map(whole, *parts)


def _over_agents(model: Dynamics, over: Mesh, sizes: dict[str, int], arguments: dict[str, Any]) -> Ensemble:
    """One program of all devices, whose state is cut along agents, too."""
    place = lambda *axes: NamedSharding(over, PartitionSpec(*axes))
    every, first = sizes[SIMS], arguments.get("first_sim") or 0
    memory = arguments.get("memory")
    each = available_memory() if memory is None else byte_count("memory", memory)  # of a device
    dims = arguments.get("dims")
    dims = default_dims(model, arguments.get("init")) if dims is None else check_sizes({"dims": dims})["dims"]
    plan = Plan(sizes[AGENTS], dims, None, None)
    seed = random.seed_words(arguments.get("seed", 0), arguments.get("random"))

    def begin(name: str) -> Array | None:
        """Of one kind of state, all simulations, cut before anything is computed with it."""
        if (given := arguments.get(name)) is None and name == "velocity":
            return None
        velocity = True if name == "velocity" else None
        of = lambda: initial_lanes(model, 0.0 if given is None else given, plan, numbers, seed, velocity)
        return jax.jit(lambda: jnp.moveaxis(of(), -1, 0), out_shardings=place(SIMS, AGENTS))()

    numbers = random.sim_numbers(first, every)
    start = {name: begin(name) for name in ("init", "velocity")}
    same = {name: value for name, value in arguments.items() if name not in start}
    same |= {"sims": every, "agents": sizes[AGENTS], "dims": dims}
    if each is not None:
        same["memory"] = each * over.size

    def whole(start: dict[str, Any]) -> Ensemble:
        return Ensemble.of(run.simulate(model, **same, **start))

    shardings: Any = dict.fromkeys(Ensemble._fields, place(SIMS)) | {"agents": place(SIMS, AGENTS)}
    return jax.jit(whole, out_shardings=Ensemble(**shardings))(start)
