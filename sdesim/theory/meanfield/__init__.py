"""The limit of infinitely many agents in one dimension, where every agent feels the deterministic mean of its own law.

- `evolve`: the iteration itself, by the exact transfer operator of the law on a grid; `evolve_momentum` over (x, v).
- `fokker_planck`: the SDE, by finite volumes. `relaxation_rates`: how its stationary laws are approached or left.
- `SelfConsistency`: stationary laws as roots of R(m) = m, their stability, effective loss and critical lines.
- `quorum_moments`, `linear_noise`, `iteration_noise`: how the mean of p agents fluctuates about the limit.

They take the `Dynamics` or the objective that `simulate` samples, and sample nothing.
"""

from sdesim.theory.meanfield.finite_volumes import fokker_planck, fokker_planck_matrix, relaxation_rates
from sdesim.theory.meanfield.fluctuations import QuorumMoments, iteration_noise, linear_noise, quorum_moments
from sdesim.theory.meanfield.iteration import Evolution, evolve
from sdesim.theory.meanfield.momentum import PhaseEvolution, evolve_momentum
from sdesim.theory.meanfield.parts import Grid, temperature
from sdesim.theory.meanfield.stationary import Branch, SelfConsistency

__all__ = [
    "Branch",
    "Evolution",
    "Grid",
    "PhaseEvolution",
    "QuorumMoments",
    "SelfConsistency",
    "evolve",
    "evolve_momentum",
    "fokker_planck",
    "fokker_planck_matrix",
    "iteration_noise",
    "linear_noise",
    "quorum_moments",
    "relaxation_rates",
    "temperature",
]
