"""The catalogue that two commits are compared on: programs to lower, and runs to make, by name.

Run by `commits.py` in the environment of each commit, so it and the tests' `catalogue` use what both have: names at
the top of the package, and in `coupling`, `noise`, `init`, `observe` and `schedules`.

    python programs.py lower OUT          the text of every step's program, not compiled: OUT/NAME.mlir
    python programs.py run OUT NAME...    those runs: OUT/NAME.npz
"""

import contextlib
import itertools
import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np

import sdesim
from sdesim import coupling, init, noise, observe, schedules

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import catalogue
from catalogue import loss

AGENTS, DIMS = 4, 2


def known(made: dict) -> dict:
    """Those that this commit has: an older one lacks what came later, and the newer one is compared without it."""
    found = {}
    for name, make in made.items():
        with contextlib.suppress(AttributeError):
            found[name] = make()
    return found


RULES, LAWS, MOMENTA = (known(made) for made in (catalogue.rules(AGENTS), catalogue.laws(DIMS), catalogue.MOMENTA))


def arguments(rule: str) -> dict:
    return dict(agents=AGENTS, dims=DIMS, sims=3, steps=20, **({"epoch": 5} if rule == "spiking" else {}))


def models():
    """(name, model, arguments of a run) of all rules, laws and momenta."""
    for rule, law, momentum in itertools.product(RULES, LAWS, MOMENTA):
        model = sdesim.Dynamics(loss, RULES[rule], LAWS[law], 0.05, MOMENTA[momentum])
        yield f"{rule}+{law}+{momentum}", model, arguments(rule)


def steps():
    """Runs of every model: as an SDE at the matched step and resolved, and as an iteration, in both orders."""
    for i, (name, model, run) in enumerate(models()):
        kinds = {
            "em": lambda model, **a: sdesim.simulate(model, **a),
            "sgd": lambda model, **a: sdesim.iterate(model, **a, period=2),
        }
        if model.noise.iteration_only() is None:
            kinds["dt"] = lambda model, **a: sdesim.simulate(model, **a, dt=0.01)
        order = ("jacobi", "gauss-seidel")[i % 2]
        for kind, call in kinds.items():
            yield f"{kind}+{name}", lambda model=model, run=run, call=call, order=order: call(model, **run, order=order)


def runs():
    """What a run may be beside its model: sizes, observables, parts, continuations, sweeps."""
    model = sdesim.Dynamics(loss, coupling.Quorum(2.0), noise.Gaussian(0.5), 0.05)
    one = sdesim.Dynamics(lambda x: jnp.sum(jnp.sin(x) ** 2), coupling.Quorum(1.0), noise.Uniform(1.0), 0.1)
    elastic = sdesim.Dynamics(loss, coupling.Elastic(0.5, 1.0), noise.Uniform(1.0), 0.05, sdesim.Nesterov(0.5))
    watch = [
        *(observe.Quorum(), observe.Center(), observe.Spread(), observe.MeanLoss(), observe.Snapshot(2)),
        *(observe.Moments(after=10), observe.Histogram(-2, 2, bins=8), observe.Occupancy([[0.0, 0.0]], 0.5)),
        observe.FirstPassage([0.0, 0.0], 0.5),
    ]
    sized = lambda m, **more: lambda: sdesim.simulate(m, **{**dict(agents=4, dims=2, sims=40, steps=50), **more})

    def continued():
        first = sdesim.simulate(model, agents=4, dims=2, sims=20, steps=25, observe=observe.Spread(), every=5)
        return sdesim.simulate(model, init=first, steps=25)

    swept = lambda m, grid, **more: (
        lambda: sdesim.sweep(
            m, grid, **{**dict(agents=4, dims=2, sims=10, steps=30, init=init.Normal(0.0, 1.0)), **more}
        )
    )
    yield from {
        "pairs": sized(one, dims=1, agents=6),
        "odd": sized(one, dims=1, agents=5),
        "slow-sines": sized(one, dims=1, agents=6, fast=False),
        "one-lane": sized(model, sims=1),
        "one-lane-exact": sized(model, sims=1, exact=True),
        "many-lanes": sized(model, sims=700, steps=10),
        "observed": sized(model, observe=watch, every=5),
        "uniform-start": sized(elastic, init=init.Uniform(-1, 1), velocity=0.5),
        "schedule": sized(sdesim.Dynamics(loss, coupling.Quorum(1.0), noise.Gaussian(0.5), schedules.Halving(0.1, 10))),
        "rates": sized(sdesim.Dynamics(loss, coupling.Quorum(1.0), noise.Gaussian(0.5), np.linspace(0.01, 0.1, 4))),
        "weak-order-2": sized(sdesim.Dynamics(loss, coupling.Quorum(1.0), noise.Gaussian(0.5), weak_order=2)),
        "velocity-coupling": sized(
            sdesim.Dynamics(loss, momentum=sdesim.Friction(1.0), velocity_coupling=coupling.Quorum(1.0))
        ),
        "diverges": sized(sdesim.Dynamics(lambda x: -jnp.sum(x**4), coupling.Quorum(1.0), noise.Gaussian(0.5), 0.3)),
        "given-increments": sized(model, steps=6, increments=np.ones((6, 40, 4, 2), np.float32) / 8),
        "continued": continued,
        "sweep-gain": swept(model, {"coupling.k": [0.0, 1.0, 2.0, 3.0]}),
        "sweep-eta": swept(model, {"eta": [0.0, 0.01, 0.1]}),
        "sweep-two": swept(model, {"coupling.k": [0.0, 1.0], "noise.sigma": [0.1, 0.2, 0.3]}),
        "sweep-sizes": swept(model, {"agents": [2, 3], "steps": [5, 10]}, agents=None, steps=None),
        "sweep-dt": swept(model, {"coupling.k": [0.0, 1.0]}, dt=0.01),
        "sweep-order": swept(elastic, {"coupling.center_rate": [0.5, 1.0]}, order="gauss-seidel"),
        "sweep-observed": swept(model, {"coupling.k": [1.0, 2.0]}, observe=watch[:6], every=5),
        "sweep-part": swept(model, {"coupling.k": [1.0, 2.0]}, first_sim=10),
        "sweep-pairs": swept(one, {"coupling.k": [1.0, 2.0]}, dims=1, agents=6, keep_agents=False),
        "sweep-each": swept(model, {"coupling.k": [[0.0, 1, 2, 3], [3.0, 2, 1, 0]]}),
    }.items()


def lower(name: str, call, folder: pathlib.Path) -> None:
    """The program of a run within a user's jit, where it is traced whole and nothing is computed."""
    values = lambda: [a for a in jax.tree.leaves(call()) if isinstance(a, jax.Array)]
    (folder / f"{name}.mlir").write_text(jax.jit(values).lower().as_text())


def run(name: str, call, folder: pathlib.Path) -> None:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = call()
    if hasattr(found, "to_xarray"):
        found = found.to_xarray()
    np.savez(folder / f"{name}.npz", **{str(n): np.asarray(v.values) for n, v in found.variables.items()})


def main() -> None:
    what, out, *names = sys.argv[1:]
    folder = pathlib.Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    if what == "lower":
        for name, call in steps():
            lower(name, call, folder)
        return
    known = {**dict(steps()), **dict(runs())}
    for name in names or [name for name, _ in runs()]:
        run(name, known[name], folder)


if __name__ == "__main__":
    main()
