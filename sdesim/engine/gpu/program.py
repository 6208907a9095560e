"""The step function as a program: what of it runs before the kernel, and what in it.

Whatever depends on the model's numbers alone is computed once for a run, and what depends on them and on the number of
the step (learning rates, keys of the generator) into a table for a launch. There, any function of JAX will do.
"""

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal
from jax.interpreters import partial_eval as pe
from jaxtyping import Array, PyTree

from sdesim.engine.gpu.cells import Unsupported
from sdesim.engine.vectorize import INLINED, unproven
from sdesim.tracing import bind

SHARED, CLOCK, OWN, STATE = 1, 2, 4, 8  # what a variable depends on, as bits
_STRUCTURAL = frozenset(("broadcast_in_dim", "iota"))


class Step(NamedTuple):
    """One step, cut into what runs outside the kernel and what runs in it.

    Attributes:
        jaxpr: the whole, flat.
        consts: its constants.
        needs: of each variable, what it depends on.
        inner: the equations that run in the kernel.
        shared: the variables that those read and that are the same for all lanes.
        clock: those that are the same for all lanes at one step.
        own: those that are a lane's own at every step.
    """

    jaxpr: Any
    consts: list
    needs: dict
    inner: list
    shared: list
    clock: list
    own: list

    def outside(self, shared: Sequence[Array], own: Sequence[Array]) -> "Outside":
        """The program's part before the kernel.

        Args:
            shared: the inputs that all lanes share.
            own: the lanes' own, (..., lanes).

        Returns:
            The values that the kernel reads.
        """
        inputs = {n: [v for v in self.jaxpr.invars if self.needs[v] == n] for n in (SHARED, CLOCK, OWN)}
        common = dict(zip(self.jaxpr.constvars, self.consts, strict=True))
        common.update(zip(inputs[SHARED], shared, strict=True))
        self._run(common, (SHARED,))

        def of_lane(values: Sequence[Array]):
            env = {**common, **dict(zip(inputs[OWN], values, strict=True))}
            self._run(env, (OWN, OWN | SHARED))
            return [env[v] for v in self.own]

        def of_step(number: Array):
            env = {**common, inputs[CLOCK][0]: number}
            self._run(env, (CLOCK, CLOCK | SHARED))
            return [env[v] for v in self.clock]

        lanes = jax.vmap(of_lane, in_axes=-1, out_axes=-1)(list(own)) if self.own else []
        return Outside([common[v] for v in self.shared], lanes, jax.vmap(of_step, out_axes=-1))

    def _run(self, env: dict, needs: tuple[int, ...]) -> None:
        """Evaluate into `env` the outer equations that depend on these things."""
        inner = set(map(id, self.inner))
        for eqn in self.jaxpr.eqns:
            if id(eqn) not in inner and self.needs[eqn.outvars[0]] in needs:
                values = [v.val if isinstance(v, Literal) else env[v] for v in eqn.invars]
                env.update(zip(eqn.outvars, bind(eqn.primitive, values, eqn.params), strict=True))


class Outside(NamedTuple):
    """What is computed before the kernel.

    Attributes:
        shared: values of `Step.shared`.
        own: values of `Step.own`, with lanes on the last axis.
        clock: the function from the numbers of steps to the values of `Step.clock`, with steps on the last axis.
    """

    shared: list[Array]
    own: list[Array]
    clock: Callable[[Array], list[Array]]


def inlined(jaxpr: Jaxpr, consts: Sequence[Any], *args: Any) -> list:
    """Evaluate a program with its calls inlined.

    Args:
        jaxpr: the program.
        consts: its constants.
        *args: its inputs.

    Returns:
        Its outputs.
    """
    env = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*consts, *args), strict=True))
    read = lambda v: v.val if isinstance(v, Literal) else env[v]
    for eqn in jaxpr.eqns:
        inner = next((eqn.params[k] for k in ("jaxpr", "call_jaxpr", "fun_jaxpr") if k in eqn.params), None)
        if eqn.primitive.name in INLINED and inner is not None:
            inner = inner if isinstance(inner, ClosedJaxpr) else ClosedJaxpr(inner, ())
            out = inlined(inner.jaxpr, inner.consts, *map(read, eqn.invars))
        else:
            out = bind(eqn.primitive, list(map(read, eqn.invars)), eqn.params)
        env.update(zip(eqn.outvars, out, strict=True))
    return list(map(read, jaxpr.outvars))


def flattened(fn: Callable[..., PyTree], *args: PyTree) -> ClosedJaxpr:
    """The program of a function, with its calls inlined.

    Args:
        fn: the function.
        *args: its arguments, or their shapes.

    Returns:
        The program, of the arguments' leaves.
    """
    closed = jax.make_jaxpr(fn)(*args)
    return jax.make_jaxpr(lambda *a: inlined(closed.jaxpr, closed.consts, *a))(*jax.tree.leaves(args))


def trace(fn: Callable[..., PyTree], shared: PyTree, own: PyTree, state: PyTree) -> Step:
    """The program of fn(shared, own, state, number of the step), for arguments of the shapes of one lane.

    Args:
        fn: the function.
        shared: shapes of what all lanes share.
        own: of what is a lane's own at every step.
        state: of what changes from step to step.

    Returns:
        The program, cut.

    Raises:
        Unsupported: if it has an effect.
    """
    arguments = (shared, own, state, jax.ShapeDtypeStruct((), np.int32))
    flat = flattened(fn, *arguments)
    if flat.effects:
        raise Unsupported(unproven(flat.jaxpr))
    jaxpr, _ = pe.dce_jaxpr(flat.jaxpr, [True] * len(flat.jaxpr.outvars), instantiate=True)
    sizes = [len(jax.tree.leaves(part)) for part in arguments]
    bits = itertools.chain.from_iterable([n] * size for n, size in zip((SHARED, OWN, STATE, CLOCK), sizes, strict=True))
    needs: dict[Any, int] = dict(zip(jaxpr.invars, bits, strict=True))
    needs.update({v: SHARED for v in jaxpr.constvars})
    inner = []
    for eqn in jaxpr.eqns:
        of = functools.reduce(int.__or__, (needs[v] for v in eqn.invars if not isinstance(v, Literal)), 0)
        # Arrays over agents that are one number repeated stay inside, where they are still that one number.
        if of == 0 or of & STATE or (of & CLOCK and of & OWN) or eqn.primitive.name in _STRUCTURAL:
            of |= STATE
            inner.append(eqn)
        needs.update((v, of) for v in eqn.outvars)
    read = [v for eqn in inner for v in eqn.invars if not isinstance(v, Literal)]
    read += [v for v in jaxpr.outvars if not isinstance(v, Literal)]
    of = {v: needs[v] for v in dict.fromkeys(read)}
    shared_vars = [v for v, n in of.items() if n == SHARED]
    clock = [v for v, n in of.items() if n & CLOCK and not n & STATE]
    mine = [v for v, n in of.items() if n & OWN and not n & STATE]
    return Step(jaxpr, list(flat.consts), needs, inner, shared_vars, clock, mine)
