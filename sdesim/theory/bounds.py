"""Bounds for coupled stochastic-gradient agents: Boffi and Slotine's results (BS 3 and 5) as functions.

They are statements about the SDE, dt -> 0, after transients: at dt = eta a simulation can exceed them. Where a bound of
the Euler-Maruyama chain is known it stands beside, with the suffix `_discrete`.

Arguments, the same everywhere:

    agents            p >= 1
    dims              d >= 1
    eta               learning rate > 0, in time
    batch             minibatch size b > 0
    noise_trace       C >= trace of the covariance of one sample's gradient noise, at every point, in length^2/time^2
    k, k1, k2         gains >= 0, in 1/time
    mu                friction > 0, in 1/time
    concavity         sup of lambda_max(-Hessian of f), in 1/time; negative where f is strongly convex
    strong_convexity  lambda > 0, least eigenvalue of the Hessian of f everywhere, in 1/time
    smoothness        L >= lambda, greatest eigenvalue of the Hessian of f everywhere, in 1/time
    third             Q >= 0, bound of the spectral norm of the Hessian of each component of the gradient of f, in
                      1/(length time)

With momentum time is that of the SDE of `sdesim.Friction`: curvatures are then in 1/time^2, the noise acts on
velocities, and the metrics take time to be measured in a unit of the user's choice.

They may be numbers, arrays that broadcast, or labeled arrays (xarray), whose labels the result keeps; results are
float64. Where `agents` is an argument too, an eta or batch that is a plain vector is one an agent, (agents,): BS 3.4's
model of a common drift and noise sqrt(eta_i / b_i), in which all of the results hold with the mean of eta_i / b_i.

Every function raises ValueError, naming the argument, its value and what would be right, where an argument is out of
its range or an assumption of the result is broken. `sdesim.theory.curvature` finds the constants of a loss.
"""

from sdesim.theory.averages import average_covariance
from sdesim.theory.convergence import (
    easgd_distance,
    easgd_rate,
    easgd_stability_limit,
    momentum_distance,
    momentum_metric,
    qsgd_distance,
    qsgd_distance_discrete,
    qsgd_distance_discrete_terms,
    qsgd_distance_scheduled,
    qsgd_distance_terms,
    sgd_distance,
)
from sdesim.theory.linear import easgd_covariance, ou_covariance, ou_covariance_discrete
from sdesim.theory.synchronization import (
    disturbance,
    disturbance_discrete,
    momentum_spread,
    momentum_synchronization_level,
    momentum_synchronization_rate,
    quorum_noise_covariance,
    state_dependent_rate,
    synchronization_level,
    synchronization_level_discrete,
    synchronization_rate,
)

__all__ = [
    "average_covariance",
    "disturbance",
    "disturbance_discrete",
    "easgd_covariance",
    "easgd_distance",
    "easgd_rate",
    "easgd_stability_limit",
    "momentum_distance",
    "momentum_metric",
    "momentum_spread",
    "momentum_synchronization_level",
    "momentum_synchronization_rate",
    "ou_covariance",
    "ou_covariance_discrete",
    "qsgd_distance",
    "qsgd_distance_discrete",
    "qsgd_distance_discrete_terms",
    "qsgd_distance_scheduled",
    "qsgd_distance_terms",
    "quorum_noise_covariance",
    "sgd_distance",
    "state_dependent_rate",
    "synchronization_level",
    "synchronization_level_discrete",
    "synchronization_rate",
]
