"""What is exact, what is bounded, and what is said of the runs of r-stability.

At each statement stands a wrong model of which it fails; the tests run them.
"""

import functools

import numpy as np
import xarray as xr

from sdesim import statistics
from sdesim.claims import Statement, at_least, at_most
from sdesim.papers.frame import measured
from sdesim.papers.regatti.stability.config import Config
from sdesim.theory import generalization, staleness

TWINS = {"equal": generalization.regular_twins, "exponential": generalization.memoryless_twins}
"""Of each law the theory."""


@functools.cache
def exact(config: Config) -> xr.Dataset:
    """The exact values of what is measured.

    Args:
        config: constants of the experiment.

    Returns:
        `shift`, `square` and `gap` as `run` has them, without simulations: (law, workers, samples, eta).
    """
    axes = dict(law=list(TWINS), workers=list(config.workers), samples=list(config.counts), eta=list(config.etas))
    last = lambda law, p, n, eta: [of[-1] for of in TWINS[law](p, eta, n, config.arrivals)]
    values = np.array(
        [[[[last(law, p, n, a) for a in config.etas] for n in config.counts] for p in config.workers] for law in TWINS]
    )
    shift = xr.DataArray(values[..., 0], axes, list(axes))
    # the runs descend to the mean of their samples, from which the gap is made
    gap = shift * shift["samples"] * xr.DataArray(config.means(), {"samples": list(config.counts)}, ("samples",))
    return xr.Dataset({"shift": shift, "square": shift.copy(data=values[..., 1]), "gap": gap})


def settled(config: Config) -> xr.DataArray:
    """Where a mean square can be measured: well within stability.

    Args:
        config: constants of the experiment.

    Returns:
        True or false, (law, workers, samples, eta).
    """
    shift = exact(config)["shift"]
    limits = lambda p: [staleness.regular_limit(p) * 0.95, np.sqrt(1.5 / p)]
    limit = xr.DataArray([limits(p) for p in config.workers], {"workers": list(config.workers)}, ("workers", "law"))
    return shift["eta"] * xr.ones_like(shift) < limit.assign_coords(law=list(TWINS))


def bound(config: Config, workers: int, samples: int, eta: float) -> float:
    """The bound on the mean squared distance of twins whose gradients are all p - 1 arrivals old, in units of Delta^2.

    Args:
        config: constants of the experiment.
        workers: p.
        samples: n.
        eta: learning rate.
    """
    seen = config.samples()[:samples]
    all_points = np.concatenate([config.samples(), np.zeros((1, config.dims))])
    mean = np.sqrt(np.mean(seen.mean(0) ** 2))
    raw = generalization.stability_bound(
        samples,
        np.full(config.arrivals, eta),
        workers - 1,
        smoothness=1.0,
        diameter=float(np.ptp(all_points, axis=0).max()),
        distance=float(mean),
        least_loss=float(seen.var(0).mean() / 2),
    )
    return raw / float(np.mean(config.replaced(samples) ** 2))


# -- what is said ------------------------------------------------------------------------------------------------------


def statements(config: Config) -> list[Statement]:
    most, least, crowd = config.counts[-1], config.counts[0], config.workers[-1]
    base = dict(samples=config.count, eta=config.eta)

    def at(runs: measured.Runs, name: str, law: str, p: int, **point: float) -> float:
        found = runs.data[name].sel({"law": law, "workers": p, **base, **point})
        return float(statistics.grid_mean(found))

    where = settled(config)

    def equal(id: str, sentence: str, name: str, law: str) -> Statement:
        of_law = lambda values: measured.asked(values.sel(law=law), where.sel(law=law))
        return measured.equal(id, sentence, lambda d: of_law(d[name]), lambda d: of_law(exact(config)[name]))

    gap = lambda d, p: d["gap"].sel({"law": "equal", "workers": p, "eta": config.eta})

    def looseness(runs: measured.Runs) -> float:
        """The least of bound over measurement."""
        found = statistics.grid_mean(runs.data["square"].sel(law="equal", eta=config.eta))
        return statistics.least(
            [
                bound(config, p, n, config.eta) / found.sel(workers=p, samples=n)
                for p in config.workers
                for n in config.counts
            ]
        )

    return [
        # fails of fresh gradients, of exponential times and of twins that draw samples of their own
        equal(
            "twins-equal",
            "the mean squared distance of twins, of workers that arrive in turn, is that of the kicked recursion at "
            "every n, p and learning rate",
            "square",
            "equal",
        ),
        # fails of fresh gradients, of equal times and of twins that draw samples of their own
        equal(
            "twins-exponential",
            "and of memoryless workers that of the linear law of kicked second moments",
            "square",
            "exponential",
        ),
        # fails of draws from few of the samples, and of runs that have not come to rest
        equal(
            "gap",
            "the gap of losses, unseen less seen, is the mean of the distance of twins times the samples' variance",
            "gap",
            "equal",
        ),
        # fails of samples that are not like the unseen ones
        Statement(
            "enough-samples",
            f"asynchronous SGD generalizes given enough samples: from n = {least} to {most} the gap of {crowd} workers "
            "falls as 1 / n (ratio of n times the gap)",
            lambda runs: (
                most
                * at(runs, "gap", "equal", crowd, samples=most)
                / (least * at(runs, "gap", "equal", crowd, samples=least))
            ),
            at_most(2.0, smoke=2.0),
        ),
        # fails of fresh gradients
        Statement(
            "staleness-hurts",
            f"staleness drives twins apart: of {crowd} workers that arrive in turn they are farther than of one (mean "
            "square, ratio)",
            lambda runs: at(runs, "square", "equal", crowd) / at(runs, "square", "equal", 1),
            at_least(2.0, smoke=1.4),
        ),
        # fails of equal times in place of exponential ones
        Statement(
            "law-decides",
            f"and not the mean staleness alone decides: of {crowd} memoryless workers, as stale in the mean, they are "
            "nearer (mean square, ratio)",
            lambda runs: at(runs, "square", "exponential", crowd) / at(runs, "square", "equal", crowd),
            at_most(0.75, smoke=0.95),
        ),
        # fails where the learning rate is not lowered
        Statement(
            "lower-rate",
            f"so that the learning rate should fall with asynchrony: {crowd} workers at a quarter of it are as near as "
            "one (mean square, ratio)",
            lambda runs: at(runs, "square", "equal", crowd, eta=config.eta / 4) / at(runs, "square", "equal", 1),
            at_most(1.0, smoke=1.0),
        ),
        # fails of runs that have not come to rest
        measured.equal(
            "gap-knows-no-delay",
            f"but the gap itself knows no delay once the mean has come to rest: of {crowd} workers it is that of one "
            "at every n",
            lambda d: gap(d, crowd) - gap(d, 1),
            lambda d: 0.0,
        ),
        # fails of twins that draw samples of their own
        Statement(
            "bound-is-loose",
            "the bound for convex losses holds, and is loose (least of bound over mean square)",
            looseness,
            at_least(1e5, smoke=1e5),
        ),
    ]
