"""What y-poisson counts: arrivals in windows, and the staleness of the jobs that begin within a time."""

import math

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from tqdm import tqdm

from sdesim.asynchrony import AbstractCompute, Deterministic, Exponential, Gamma, LogNormal, Timetable, timetable
from sdesim.asynchrony.clocks import Start
from sdesim.papers.yu.poisson.config import LAWS, Config

PHASE = 1 / 3  # of a window or of a staggered worker's turn: where windows begin that are not of random phase


def law(config: Config, name: str) -> AbstractCompute:
    """A law of compute times of mean 1.

    Args:
        config: constants of the experiment.
        name: of `LAWS`.
    """
    made = {
        "exponential": Exponential,
        "gamma": lambda: Gamma(config.shape),
        "log-normal": lambda: LogNormal(config.sigma),
        "equal": Deterministic,
    }
    return made[name]()


def _table(config: Config, compute: AbstractCompute, workers: int, start: Start, sims: int) -> Timetable:
    """Arrivals until all jobs have ended that began within the time, and windows that begin within the first m too."""
    rare = 0.1 / (sims * workers * config.time)  # the longest job, but for one run in ten
    longest = float(compute.quantiles(np.array([(1 - rare) * 2.0**32]).astype(np.uint32))[0])
    more = 1.5 + max(longest, math.log(1 / rare))  # beyond the time, the same for most laws: fewer programs
    while True:
        arrivals = math.ceil(workers * (config.time + more))
        table = timetable(compute, workers=workers, arrivals=arrivals, sims=sims, seed=config.seed, start=start)
        last = np.zeros((sims, workers))
        began = table.began
        assert began is not None
        np.maximum.at(last, (np.arange(sims)[:, None], table.worker), began)
        if last.min() > config.time + 1:
            return table
        more *= 2


def _counts(table: Timetable, begin: float, window: float, time: float) -> NDArray:
    """Arrivals in disjoint windows, (sims, windows)."""
    edges = begin + window * np.arange(round(time / window) + 1)
    return np.diff(np.array([np.searchsorted(row, edges) for row in table.time]), axis=1)


def _dispersion(counts: NDArray, mean: float) -> NDArray:
    """Variance over mean of each simulation, without bias since the mean is known."""
    return ((counts - mean) ** 2).mean(axis=1) / mean


def run(config: Config, progress: bool) -> xr.Dataset:
    """Timetables of all laws and numbers of workers, and what is counted of them.

    Args:
        config: constants of the experiment.
        progress: whether to say how far it is.

    Returns:
        Averages over the windows or the jobs of each simulation.
    """
    sims, numbers, c = config.sims, config.workers, config.near
    shape = (len(LAWS), len(numbers))
    near, staleness, square = (np.empty((*shape, sims)) for _ in range(3))
    share = np.empty((*shape, config.most + 1, sims))
    below = np.empty((*shape, len(config.levels), sims))
    fixed = np.empty((*shape, len(config.fixed), sims))
    cells = [(i, name, j, p) for i, name in enumerate(LAWS) for j, p in enumerate(numbers)]
    for i, name, j, p in tqdm(cells, disable=not progress):
        table = _table(config, law(config, name), p, "stationary", sims)
        counts = _counts(table, 0.0, c / p, config.time)
        near[i, j] = _dispersion(counts, c)
        share[i, j] = [(counts == n).mean(axis=1) for n in range(config.most + 1)]
        for k, w in enumerate(config.fixed):
            fixed[i, j, k] = _dispersion(_counts(table, 0.0, w, config.time), w * p)
        # A job that began at an arrival within the time; there are p time of them on average, known beforehand.
        assert table.began is not None
        seen, jobs = table.staleness(), (table.job > 0) & (table.began <= config.time)
        average = lambda values, jobs=jobs, p=p: np.where(jobs, values, 0).sum(axis=1) / (p * config.time)
        staleness[i, j] = average(seen - (p - 1)) + (p - 1)
        square[i, j] = average((seen - (p - 1.0)) ** 2) / (p - 1)
        below[i, j] = [average(seen <= level * p) for level in config.levels]
    # equal times that are not of random phase
    step: dict[str, Start] = {"in turn": "staggered", "together": "together"}
    tables = [[_table(config, Deterministic(), p, start, 1) for p in numbers] for start in step.values()]
    whole = [
        [
            _dispersion(_counts(t, PHASE * min(c, 1) / p, c / p, config.time), c)[0]
            for t, p in zip(row, numbers, strict=True)
        ]
        for row in tables
    ]
    return xr.Dataset(
        {
            "near": (("law", "workers", "sim"), near),
            "share": (("law", "workers", "count", "sim"), share),
            "fixed": (("law", "workers", "window", "sim"), fixed),
            "staleness": (("law", "workers", "sim"), staleness),
            "square": (("law", "workers", "sim"), square),
            "below": (("law", "workers", "level", "sim"), below),
            "in_step": (("start", "workers"), np.array(whole)),
        },
        {
            "law": list(LAWS),
            "workers": list(numbers),
            "count": np.arange(config.most + 1),
            "window": list(config.fixed),
            "level": list(config.levels),
            "start": list(step),
        },
    )
