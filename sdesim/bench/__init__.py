"""The benchmark: sdesim against other ways to run the same iteration, measured side by side. See docs/benchmarks.md."""

from sdesim.bench.interleaved import Row, measure
from sdesim.bench.peers import VARIANTS, Variant
from sdesim.bench.workloads import WORKLOADS, Workload

__all__ = ["VARIANTS", "WORKLOADS", "Row", "Variant", "Workload", "measure"]
