"""What is said of the prediction, and of how many agents approach it."""

import functools

import numpy as np
import xarray as xr

from sdesim import statistics
from sdesim.claims import Statement, at_least, at_most
from sdesim.papers.boffi_slotine import one_dimensional as one
from sdesim.papers.boffi_slotine.meanfield.config import BINS, Config, P
from sdesim.papers.frame import measured


def kolmogorov(data: xr.Dataset, gain: int) -> float:
    """Largest difference between the distribution functions of all simulated agents and of the prediction.

    Args:
        data: measurements, as `run` gives them.
        gain: its number among the gains.
    """
    found = data["shares"].values[gain].mean(axis=0).cumsum()
    law = data["predicted_masses"].values[gain].cumsum()
    ends = np.arange(1, BINS + 1) * (law.size // BINS) - 1
    return statistics.greatest(abs(found - law[ends]))


def relative_noise(data: xr.Dataset) -> xr.DataArray:
    """p (mean - predicted)^2 of each simulation over its predicted average, (p, k, sim).

    Args:
        data: measurements, as `run` gives them.
    """
    return data["mean_error"] ** 2 * data[P] / data["predicted_noise"]


def _predicted_mean(gain: int):
    return lambda runs: float(runs.data["predicted_mean"].values[gain, -1])


def _predicted_mass(data: xr.Dataset, gain: int, radius: float) -> float:
    """The mass of the predicted law within `radius` of zero."""
    near = abs(data["cell"].values) < radius
    return float(data["predicted_masses"].values[gain, near].sum())


def _change(data: xr.Dataset) -> float:
    """Largest change of a final mean between the cells of the prediction and cells twice as wide."""
    fine, coarse = (data[name].isel(iteration=-1) for name in ("predicted_mean", "predicted_coarse_mean"))
    return statistics.greatest(abs(fine - coarse))


def _variance(data: xr.Dataset) -> xr.DataArray:
    """Variance of one agent after `population_steps`, by gain."""
    law = data["predicted_early_masses"]
    mean = (law * law["cell"]).sum("cell", skipna=False)
    return (law * (law["cell"] - mean) ** 2).sum("cell", skipna=False)


def statements(config: Config) -> list[Statement]:
    marks = one.landmarks(config)
    largest = {P: int(np.argmax(config.populations))}
    quorum = lambda d: d["quorum_series"].isel(step=-1)
    rms = lambda error2: statistics.grid_mean(
        error2 / statistics.grid_mean(error2.isel({P: 0})), one.K
    )  # of all gains, each in its own unit
    found = [
        Statement(
            f"density-{'abcdef'[i]}",
            f"k = {k:g}: all simulated agents follow the predicted law (largest difference of distribution functions)",
            functools.partial(lambda runs, i: kolmogorov(runs.data, i), i=i),
            at_most(0.008, smoke=0.05),
        )
        for i, k in enumerate(config.k)
    ]
    found += [
        measured.equal(
            "mean",
            "the mean of the agents ends where it is predicted to, for all gains",
            quorum,
            lambda d: d["predicted_mean"].isel(iteration=-1),
        ),
        measured.exponent(
            "mean-error",
            "the square error of the mean falls as 1 / p, all gains together",
            lambda d: rms(d["mean_error"] ** 2),
            P,
            -1.0,
            0.1,
        ),
        measured.exponent(
            "law-error",
            "the square error of the distribution function falls as 1 / p, all gains together",
            lambda d: rms(d["law_error2"]),
            P,
            -1.0,
            0.1,
        ),
        measured.equal(
            "noise",
            "linear noise theory gives its factor, p Var of the mean, at the largest p for all gains",
            lambda d: relative_noise(d).isel(largest),
            lambda d: 1.0,
        ),
        Statement(
            "noise-independent",
            "coupled agents' mean is noisier than that of independent ones (largest p Var over the variance of one)",
            lambda runs: (statistics.greatest(runs.data["predicted_noise"] / _variance(runs.data)), 0.0),
            at_least(3.0, smoke=3.0),
        ),
        Statement(
            "cells",
            "the prediction does not depend on its cells (largest change of a mean when cells are twice as wide)",
            lambda runs: (_change(runs.data), 0.0),
            at_most(1e-3, smoke=3e-3),
        ),
        Statement(
            "mass",
            "mass is conserved (largest deviation from 1)",
            lambda runs: (statistics.greatest(abs(runs.data["predicted_masses"].sum("cell", skipna=False) - 1)), 0.0),
            at_most(1e-6, smoke=1e-6),
        ),
    ]
    for i in (2, 3):
        found.append(
            Statement(
                f"limit-{'abcdef'[i]}",
                f"k = {config.k[i]:g}: infinitely many agents find the deepest smoothed minimum (distance of mean)",
                functools.partial(lambda runs, m: (abs(m(runs) - marks.right), 0.0), m=_predicted_mean(i)),
                at_most(0.4, smoke=0.4),
            )
        )
    for i in (0, 4, 5):
        found.append(
            Statement(
                f"limit-{'abcdef'[i]}",
                f"k = {config.k[i]:g}: the mean of infinitely many agents stays near its start (distance)",
                functools.partial(lambda runs, m: (abs(m(runs)), 0.0), m=_predicted_mean(i)),
                at_most(0.25, smoke=0.25),
            )
        )
    for i in (4, 5):
        found.append(
            Statement(
                f"limit-agents-{'abcdef'[i]}",
                f"k = {config.k[i]:g}: and so do most of them (mass within 0.8, two steps' noise)",
                functools.partial(lambda runs, i: (_predicted_mass(runs.data, i, 0.8), 0.0), i=i),
                at_least(0.8, smoke=0.8),
            )
        )
    return found
