"""How the cost of a run grows: numbers that its traced program computes and holds, and no seconds.

A step's program is traced at one size and at four times that size. What it computes is counted in numbers: those of
each result, times the length of the sums of a product, and of what is read or written at a place that alone. The
exponent is that of a power law through both.
"""

import math

import catalogue
import equinox as eqx
import jax
import jax.numpy as jnp
import pytest

import sdesim
from sdesim.asynchrony import Asynchronous, AsyncSGD
from sdesim.dynamics import Nesterov
from sdesim.engine import run
from sdesim.engine.loop import advance_lanes
from sdesim.engine.plan import Plan
from sdesim.engine.vectorize import inner_programs
from sdesim.random import seed_words

BASE = dict(agents=64, dims=4, lanes=32)
MOVES = {"broadcast_in_dim", "iota", "reshape", "squeeze", "expand_dims", "slice", "transpose", "copy", "concatenate"}


def counted(jaxpr):
    """Numbers that a program computes, its loops once, and the length of its longest array."""
    work, longest = 0, max((v.aval.size for v in jaxpr.invars if hasattr(v.aval, "size")), default=0)
    for eqn in jaxpr.eqns:
        inner = [counted(program) for program in inner_programs(eqn.params)]
        sizes = [v.aval.size for v in eqn.outvars if hasattr(v.aval, "size")]
        longest = max([longest, *sizes, *(most for _, most in inner)])
        name = eqn.primitive.name
        if inner:
            work += sum(n for n, _ in inner)
        elif name == "dot_general":
            (summed, _), _ = eqn.params["dimension_numbers"]
            work += sizes[0] * math.prod(eqn.invars[0].aval.shape[d] for d in summed)
        elif name.startswith("scatter"):
            work += eqn.invars[2].aval.size
        elif name == "dynamic_update_slice":
            work += eqn.invars[1].aval.size
        elif name.startswith("reduce_"):
            work += eqn.invars[0].aval.size
        elif name not in MOVES:
            work += sum(sizes)
    return work, longest


def loops(jaxpr, depth=0):
    """The bodies of a program's loops, each with how many are around it."""
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "while":
            yield depth, eqn.params["body_jaxpr"].jaxpr
        for inner in inner_programs(eqn.params):
            yield from loops(inner, depth + (eqn.primitive.name == "while"))


def steps_of(model, agents, dims, lanes, steps=None):
    """Counts of the compiled loop; steps: None for a number that is traced, as runs have it."""
    stepper, plan = sdesim.EulerMaruyama(), Plan(agents, dims, None, None, paired=agents % 2 == 0 and dims == 1)
    still = jax.tree.map(lambda _: None, model)
    state = jax.eval_shape(
        jax.vmap(lambda x: stepper.init(model, x), -1, -1), jnp.zeros((agents, dims, lanes), jnp.float32)
    )
    sims, count = jnp.arange(lanes, dtype=jnp.uint32), jnp.asarray(9, jnp.int32)

    def advance(state, count):
        given = count if steps is None else steps
        return advance_lanes(plan, stepper, model, still, (), state, sims, seed_words(0), (), (), None, 0, 0, 1, given)

    return counted(jax.make_jaxpr(advance)(state, count).jaxpr)


def model_of(rule=None, momentum=None):
    return sdesim.Dynamics(
        sdesim.objectives.CoupledDoubleWells(), rule or sdesim.Quorum(1.0), sdesim.noise.Uniform(1.0), 0.01, momentum
    )


def exponents(small, large):
    return [math.log(b / a, 4) for a, b in zip(small, large, strict=True)]


@pytest.mark.usefixtures("float32")
@pytest.mark.parametrize("size", ["agents", "dims", "lanes"])
def test_a_step_grows_in_proportion(size):
    """To agents, dimensions and simulations, and so does what it holds."""
    one, four = (steps_of(model_of(momentum=Nesterov(0.9)), **{**BASE, size: n * BASE[size]}) for n in (1, 4))
    work, longest = exponents(one, four)
    assert 0.9 < work < 1.02
    assert longest == 1


@pytest.mark.usefixtures("float32")
def test_more_steps_are_no_other_program():
    assert steps_of(model_of(), **BASE, steps=10) == steps_of(model_of(), **BASE, steps=10_000)


DENSE = {"mixing"}  # a product with a matrix of agents by agents


@pytest.mark.usefixtures("float32")
@pytest.mark.parametrize("name", ["elastic-rates", "filtered", "mixing", "outer", "tree"])
def test_no_rule_looks_at_pairs_of_agents_but_mixing(name):
    one, four = (steps_of(model_of(catalogue.rules(n)[name]()), n, 2, 16) for n in (32, 128))
    work, longest = exponents(one, four)
    most = 2 if name in DENSE else 1
    assert 0.9 < work < most + 0.02
    assert longest == most


@pytest.mark.usefixtures("float32")
def test_an_arrival_costs_the_same_however_many_workers_there_are(monkeypatch):
    """Of a run of workers in virtual time: the loop over arrivals alone, where one worker's row is read and written."""
    seen = []

    class Enough(Exception):
        pass

    def spy(*arguments):
        whole = eqx.filter_make_jaxpr(run._advance)(*arguments)[0].jaxpr
        _, arrival = max(loops(whole), key=lambda each: each[0])
        seen.append(counted(arrival)[0])
        raise Enough

    monkeypatch.setattr(run, "_compiled", lambda *_: spy)
    for workers in (64, 256):
        with pytest.raises(Enough):
            sdesim.simulate(
                model_of(sdesim.Uncoupled()),
                agents=workers,
                dims=2,
                sims=32,
                steps=20,
                stepper=Asynchronous(AsyncSGD()),
            )
    assert seen[0] == seen[1]


def test_a_map_of_moments_does_not_grow_with_agents_that_are_alike():
    model = sdesim.Dynamics(sdesim.objectives.Quadratic(1.0), sdesim.Quorum(1.0), sdesim.noise.Gaussian(1.0), 0.1)
    sizes = [sdesim.analysis.linearize(model, agents=p).mean().shape for p in (4, 4000)]
    assert sizes[0] == sizes[1]
