"""What a sweep is, so that a store takes no results of another one: by what its program does, and by its numbers.

Functions are known by what was traced of them, with the bytes of all that they close over, and never by their names or
by where they lie. Versions of JAX trace the same function to different programs; so these are told apart beforehand.
"""

import hashlib
import importlib.metadata
import json
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from sdesim import random
from sdesim.contents import digest, program
from sdesim.dynamics import Dynamics
from sdesim.engine import ROUNDING
from sdesim.engine.plan import view_of
from sdesim.ensembles.points import FINALS, LAWS, STEPPER, Sweep, of_sims, stiffest
from sdesim.ensembles.setup import Setup
from sdesim.fields import form, numeric_fields, shown
from sdesim.init import AbstractInit, Point
from sdesim.observe import AbstractAccumulator, AbstractSeries
from sdesim.random import Seed, Stream
from sdesim.steppers import AbstractStepper

GENERATOR = "Threefry-2x32-{} of (seed; stream, step) and (agent, coordinate, simulation)"
_LONG = 16  # numbers of an array that are said one by one


def size_key(here: Mapping[str, Any]) -> str:
    """A choice of sizes as text.

    Args:
        here: what is swept and is no traced number of the model, by name.
    """
    return json.dumps({name: np.asarray(value).tolist() for name, value in here.items()}, sort_keys=True)


def identity(sweep: Sweep) -> dict[str, Any]:
    """All that the numbers of a sweep depend on, but for its grid, its simulations and what it is computed by.

    Args:
        sweep: what is asked for.

    Returns:
        By name, as JSON holds it.
    """
    run = {**sweep.given, **sweep.run}
    apart = ("sims", "exact", "random", *LAWS, "increments", "observe")
    said: dict[str, Any] = {name: value for name, value in run.items() if name not in apart}
    parts = {"": sweep.model, STEPPER: sweep.stepper}
    for name in (*LAWS, "increments"):
        given = run[name]
        if isinstance(given, AbstractInit):
            parts[f"{name}."] = given
        else:
            said[name] = short(given)
    numbers = {prefix + name: v for prefix, part in parts.items() for name, v in numeric_fields(part).items()}
    said |= {name: short(value) for name, value in numbers.items() if name not in sweep.names}
    watched = sweep.run["observe"]
    several = watched if isinstance(watched, list | tuple) else (watched,)
    said["observe"] = [getattr(o, "name", shown(o)) for o in several]
    said["numbers of observe"] = _short_all(several)
    said["design"] = sweep.design is not None
    rule = sweep.rule
    said["rule"] = None if rule is None else f"{rule}, from {rule.least} to {rule.most} simulations"
    said |= {"grid": sweep.names, "keep_agents": sweep.keep_agents, **numerics(run["random"])}
    return json.loads(json.dumps(said, default=short))


def numerics(generator: random.Generator = random.DEFAULT) -> dict[str, Any]:
    """How numbers are drawn and rounded, beside versions and devices.

    Args:
        generator: of the random words.

    Returns:
        By name.
    """
    settings: Any = jax.config
    double = jnp.result_type(float) == jnp.float64
    drawn = GENERATOR.format(random.ROUNDS[generator])
    return {"generator": drawn, "x64": double, "products": settings.jax_default_matmul_precision}


def versions() -> dict[str, str]:
    """What decides how programs are rounded, beside themselves."""
    packages = {name: importlib.metadata.version(name) for name in ("jax", "jaxlib")}
    return {**packages, "device": jax.devices()[0].platform, "rounding": ROUNDING}


def programs(sweep: Sweep) -> dict[str, Setup]:
    """The run at each choice of sizes, checked, of one simulation.

    Args:
        sweep: what is asked for.

    Returns:
        By `size_key`.

    Raises:
        ValueError: as `sdesim.sweep`.
        TypeError: likewise.
    """
    found = {}
    for here in sweep.choices():
        model, stepper, run = sweep.at(here)
        one = {**run, **of_sims(run, 0, 1)}
        found[size_key(here)] = Setup.of(stiffest(model, sweep.numbers), stepper, **one)
    return found


def hashes(setups: Mapping[str, Setup]) -> dict[str, str]:
    """Of each choice of sizes a hash of what is done to one simulation: its start, a step, and what is looked at.

    Args:
        setups: from `programs`.

    Returns:
        SHA-256 in hexadecimal digits, by `size_key`.
    """
    traced: dict[Any, str] = {}  # of choices that differ in traced numbers alone the program is traced once
    found = {}
    for key, setup in setups.items():
        law = setup.init if isinstance(setup.init, AbstractInit) else Point(0.0)
        stepper = setup.stepper.bare(setup.feed)
        parts = (setup.model, stepper, setup.observables, law)
        like = (form(parts), setup.plan, setup.increments is None, setup.velocity is None)
        if like not in traced:
            traced[like] = _program_of(setup, parts)
        said = [traced[like], str((setup.plan.every, setup.plan.epoch, setup.plan.fast))]
        if setup.feed is not None:  # what is drawn on the host is known by its code alone
            said.append(digest(setup.stepper))
        found[key] = hashlib.sha256("\n".join(said).encode()).hexdigest()
    return found


def _program_of(setup: Setup, parts: tuple) -> str:
    """A hash of what is traced. parts: the model, the stepper, the observables and the law of the start."""
    plan = setup.plan
    numbers, static = eqx.partition(parts, eqx.is_array)

    def simulation(numbers: Any, seed: Seed, sim: Array, n: Array, dw: Array | None):
        model, stepper, observables, law = eqx.combine(numbers, static)
        return _simulated(setup, model, stepper, observables, law, seed, sim, n, dw)

    number = jax.ShapeDtypeStruct((), jnp.int32)
    dtype = jnp.result_type(float)
    dw = None if setup.increments is None else jax.ShapeDtypeStruct((plan.agents, plan.dims), dtype)
    return program(jax.make_jaxpr(simulation)(numbers, setup.seed, jax.ShapeDtypeStruct((), jnp.uint32), number, dw))


def _simulated(
    setup: Setup,
    model: Dynamics,
    stepper: AbstractStepper,
    observables: Any,
    law: AbstractInit,
    seed: Seed,
    sim: Array,
    n: Array,
    dw: Array | None,
) -> Any:
    plan, dtype = setup.plan, jnp.result_type(float)
    key = random.step_key(seed, Stream.POSITION, 0)
    x = law.draw(random.words(key, sim, plan.agents, plan.dims), dtype)
    x = jnp.broadcast_to(x, (plan.agents, plan.dims))
    v = None if setup.velocity is None else jnp.zeros_like(x)
    state = stepper.init(model, x, v)
    if plan.epoch is not None:
        state = stepper.renew(model, state)
    given = {} if dw is None else {"dw": dw}
    new = stepper.step(model, state, n, seed=seed, sim=sim, **given)
    view = view_of(plan, stepper, model, new, n)
    seen: list[Any] = [o.value(view) for o in FINALS]
    for o in observables:
        if isinstance(o, AbstractSeries):
            seen.append(o.value(view))
        elif isinstance(o, AbstractAccumulator):
            seen.append(o.finish(o.update(o.init(view), view)))
    return new, seen


def difference(theirs: Mapping[str, Any], mine: Mapping[str, Any]) -> list[str]:
    """In what two sweeps differ.

    Args:
        theirs: of the store.
        mine: of what is asked for.

    Returns:
        A phrase for each difference.
    """
    names = [name for name in {**theirs, **mine} if theirs.get(name) != mine.get(name)]
    return [f"{name} is {shown(theirs.get(name))} there and {shown(mine.get(name))} here" for name in names]


def short(value: Any) -> Any:
    """A value as JSON holds it: numbers one by one, where they are few; else a hash of their bytes, or of what it is.

    Args:
        value: anything.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, tuple | list) and np.size(value) <= _LONG:
        return np.asarray(value).tolist()
    if not isinstance(value, np.ndarray | np.generic | jax.Array | tuple | list):
        return digest(value)
    plain = np.asarray(value)
    return plain.tolist() if plain.size <= _LONG else f"{plain.dtype}{list(plain.shape)} {digest(plain)[:16]}"


def _short_all(tree: Any) -> list:
    return [short(leaf) for leaf in jax.tree.leaves(eqx.filter(tree, eqx.is_array))]
