"""Products and sums in one instruction, for a backend that rounds them apart.

Triton's code says of each product and each sum that it rounds, and NVIDIA's assembler then keeps them apart: twice the
instructions of what is mostly polynomials. Mosaic leaves the choice to the assembler.
"""

import collections
from collections.abc import Callable
from typing import Any

import numpy as np
from jax import lax
from jax.extend.core import Literal
from jaxtyping import Array

from sdesim.engine.gpu.program import flattened
from sdesim.tracing import bind

MultiplyAdd = Callable[[Array, Array, Array], Array]


def contracted(fn: Callable[..., Any], multiply_add: MultiplyAdd) -> Callable[..., list[Array]]:
    """A function in which each sum of a product of blocks is one operation, rounded once.

    Args:
        fn: of arrays, to a tuple of arrays.
        multiply_add: multiply_add(a, b, c) is a b + c, of blocks of float32.

    Returns:
        The function, to a list of arrays.
    """

    def run(*args: Any):
        flat = flattened(fn, *args)
        jaxpr = flat.jaxpr
        uses = collections.Counter(v for eqn in jaxpr.eqns for v in eqn.invars if not isinstance(v, Literal))
        env = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*flat.consts, *args), strict=True))
        read = lambda v: v.val if isinstance(v, Literal) else env[v]
        factors: dict[Any, tuple[Array, Array]] = {}  # by variable, of those that are products
        for eqn in jaxpr.eqns:
            name, values, (out, *_) = eqn.primitive.name, list(map(read, eqn.invars)), eqn.outvars
            block = out.aval.dtype == np.float32 and out.aval.ndim > 1
            products = [v for v in eqn.invars if not isinstance(v, Literal) and v in factors]
            itself = name == "sub" and eqn.invars[0] is eqn.invars[1]  # zero, and not what a product is rounded by
            if block and name in ("add", "sub") and products and not itself:
                product = min(products, key=uses.__getitem__)  # of two the one that nobody else needs
                first = product is eqn.invars[0]
                wide = lambda v, like=out.aval: v if np.ndim(v) else lax.broadcast(v, like.shape)
                a, b, c = map(wide, (*factors[product], values[1 if first else 0]))
                if name == "sub":
                    a, c = (a, lax.neg(c)) if first else (lax.neg(a), c)
                env[out] = multiply_add(a, b, c)
                continue
            env.update(zip(eqn.outvars, bind(eqn.primitive, values, eqn.params), strict=True))
            if block and name == "mul":
                factors[out] = (values[0], values[1])
        return list(map(read, jaxpr.outvars))

    return run
