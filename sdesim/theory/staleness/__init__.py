"""Asynchronous workers and delays on quadratic losses: what theory says exactly.

- Workers of AsyncSGD and EASGD that are memoryless, or regular and in turn: means, second moments, limits.
- `delay_root`, `delay_variance`, `gamma_delay_limit`: delay equations in closed form.
- `step_radius`, `step_limit`: iterations whose gradients are some steps old.
- `characteristic_roots`: of delays of any law, all of them counted; `stability_limit`, `best_gain`, `best_workers`.
- `delay_law` and the functions beside it: laws of delays by what is known of them.
"""

from sdesim.theory.staleness.characteristic import (
    Roots,
    best_gain,
    best_workers,
    characteristic_roots,
    most_workers,
    stability_limit,
)
from sdesim.theory.staleness.delays import (
    delay_root,
    delay_variance,
    gamma_delay_limit,
    newton,
    step_limit,
    step_radius,
)
from sdesim.theory.staleness.laws import (
    DelayLaw,
    delay_law,
    gamma_delay,
    mixed_delay,
    quantile_delay,
    sampled_delay,
    threshold_delay,
    uniform_delay,
    workers_delay,
)
from sdesim.theory.staleness.workers import (
    easgd_moments,
    easgd_stationary,
    geometric_staleness,
    mean_path,
    mean_rate,
    mean_square_limit,
    moment_path,
    regular_limit,
    regular_path,
    regular_radius,
    regular_rate,
    saturation,
    sgd_moments,
    sgd_stationary,
    square_rate,
    unequal_means,
)

__all__ = [
    "DelayLaw",
    "Roots",
    "best_gain",
    "best_workers",
    "characteristic_roots",
    "delay_law",
    "delay_root",
    "delay_variance",
    "easgd_moments",
    "easgd_stationary",
    "gamma_delay",
    "gamma_delay_limit",
    "geometric_staleness",
    "mean_path",
    "mean_rate",
    "mean_square_limit",
    "mixed_delay",
    "moment_path",
    "most_workers",
    "newton",
    "quantile_delay",
    "regular_limit",
    "regular_path",
    "regular_radius",
    "regular_rate",
    "sampled_delay",
    "saturation",
    "sgd_moments",
    "sgd_stationary",
    "square_rate",
    "stability_limit",
    "step_limit",
    "step_radius",
    "threshold_delay",
    "unequal_means",
    "uniform_delay",
    "workers_delay",
]
