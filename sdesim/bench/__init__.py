"""The benchmark: sdesim against other ways to run the same iteration, measured side by side. See docs/benchmarks.md."""

from sdesim.bench.interleaved import Row, measure
from sdesim.bench.peers import VARIANTS, Variant
from sdesim.bench.races import RACERS
from sdesim.bench.trainers import TRAINERS
from sdesim.bench.workloads import RACES, TRAININGS, WORKLOADS, TrainingWorkload, WorkersWorkload, Workload

__all__ = [
    "RACERS",
    "RACES",
    "TRAINERS",
    "TRAININGS",
    "VARIANTS",
    "WORKLOADS",
    "Row",
    "TrainingWorkload",
    "Variant",
    "WorkersWorkload",
    "Workload",
    "measure",
]
