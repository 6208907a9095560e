"""Workers in virtual time: sdesim, and a program of events as one writes it with simpy."""

import random

import numpy as np

from sdesim.bench.peers import VARIANTS, Run, Variant
from sdesim.bench.trainers import TRAINERS
from sdesim.bench.workloads import AnyWorkload, TrainingWorkload, WorkersWorkload


def _sdesim(workload: WorkersWorkload) -> Run:
    import sdesim
    from sdesim.asynchrony import Asynchronous, AsyncSGD, Exponential

    w = workload
    model = sdesim.Dynamics(sdesim.objectives.Quadratic(1.0), sdesim.Uncoupled(), sdesim.noise.Gaussian(w.sigma), w.eta)
    stepper = Asynchronous(AsyncSGD(), compute=Exponential())
    return lambda seed: sdesim.simulate(
        model, agents=w.agents, sims=w.sims, steps=w.steps, seed=seed, init=w.start, stepper=stepper
    )


def _simpy(workload: WorkersWorkload) -> Run:
    """A process a worker, with Python's generator, one simulation after another."""
    import simpy  # pyright: ignore[reportMissingImports]

    w = workload

    def one(source: random.Random) -> float:
        env = simpy.Environment()
        center, arrivals, enough = w.start, 0, env.event()

        def worker():
            nonlocal center, arrivals
            while True:
                read = center
                yield env.timeout(source.expovariate(1.0))
                center -= w.eta * (read + source.gauss(0.0, w.sigma))
                arrivals += 1
                if arrivals == w.steps:
                    enough.succeed()

        for _ in range(w.agents):
            env.process(worker())
        env.run(until=enough)
        return center

    def run(seed: int):
        source = random.Random(seed)
        return np.array([one(source) for _ in range(w.sims)])

    return run


RACERS: dict[str, Variant] = {
    v.name: v
    for v in (
        Variant("naive", "simpy, one simulation after another", _simpy, ("simpy",), share=0.02, quick=0.005),
        Variant("sdesim", "sdesim", _sdesim),
        Variant("sdesim-all-cores", "sdesim on all cores", _sdesim, cores=None),
    )
}
"""Every variant of workers in virtual time, by name."""


def variants_of(workload: AnyWorkload) -> dict[str, Variant]:
    """The variants that can run a workload of this kind.

    Args:
        workload: any.

    Returns:
        By name.
    """
    if isinstance(workload, WorkersWorkload):
        return RACERS
    return TRAINERS if isinstance(workload, TrainingWorkload) else VARIANTS
