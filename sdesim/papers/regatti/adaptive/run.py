"""The runs of r-adaptive: all kinds of learning rate on the same timetables, with the same samples drawn."""

import warnings

import numpy as np
import xarray as xr
from jaxtyping import Array

from sdesim import objectives, observe
from sdesim.asynchrony import Asynchronous, AsyncSGD, DelayAdaptive, PowerLaw
from sdesim.dynamics import Dynamics
from sdesim.ensembles.grids import sweep
from sdesim.ensembles.warnings import DivergenceWarning
from sdesim.fields import Part
from sdesim.papers.regatti.adaptive.config import ADAPTIVE, KINDS, Config
from sdesim.papers.regatti.samples import Regression

NEVER = 1e9  # a limit that no staleness meets


class Both(Part):
    """The product of both kinds, so that one program serves all.

    Attributes:
        power: the power law.
        adaptive: the kind with a limit.
    """

    power: PowerLaw
    adaptive: DelayAdaptive

    def __call__(self, staleness: Array) -> Array:
        """The factor of the learning rate.

        Args:
            staleness: an integer scalar.

        Returns:
            A scalar from 0 to 1.
        """
        return self.power(staleness) * self.adaptive(staleness)


def stepper(workers: int, exponent: float, limit: float) -> Asynchronous:
    """AsyncSGD of memoryless workers that have worked for long.

    Args:
        workers: p.
        exponent: of the power law.
        limit: of learning rate times staleness over the learning rate, 1 / (4 eta L).
    """
    return Asynchronous(AsyncSGD(Both(PowerLaw(exponent), DelayAdaptive(workers, limit))), start="stationary")


def _losses(config: Config, servers: xr.DataArray) -> xr.Dataset:
    """Excess of the unseen loss, and its gap to that of the samples, in the mean over sets.

    Args:
        config: constants of the experiment.
        servers: (samples, set, eta, sim, step, dim).
    """
    excess = (servers**2).sum("dim") / 2
    end, sets = servers.isel(step=-1), config.samples()
    seen = np.zeros(end.shape[:-1])
    for i, n in enumerate(config.counts):
        for j, rows in enumerate(sets[:, :n]):
            miss = end.values[i, j] @ rows[:, :-1].T - rows[:, -1]
            seen[i, j] = np.mean(miss**2, -1) / 2
    gap = excess.isel(step=-1) + 0.5 - xr.DataArray(seen, dims=end.dims[:-1])
    return xr.Dataset({"excess": excess.mean("set", skipna=False), "gap": gap.mean("set", skipna=False)})


def _swept(config: Config, stepping: Asynchronous, workers: int, etas: tuple[float, ...], progress: bool) -> xr.Dataset:
    """Losses over samples and learning rates, of one number of workers and one kind of rate."""
    most = config.counts[-1]
    rows = config.samples().reshape(-1, config.dims + 1)
    with warnings.catch_warnings():  # rates that diverge are among what is looked at
        warnings.simplefilter("ignore", DivergenceWarning)
        data = sweep(
            Dynamics(objectives.Quadratic(1.0), noise=Regression(rows, most), eta=config.eta),
            {"noise.count": config.counts, "noise.first": [most * i for i in range(config.sets)], "eta": etas},
            agents=workers,
            stepper=stepping,
            sims=config.sims,
            steps=config.arrivals,
            dims=config.dims,
            seed=config.seed,
            init=1.0,
            observe=observe.Center(),
            every=config.every,
            keep_agents=False,
            progress=progress,
        )
    seen = data["center_series"].drop_attrs().astype(float)
    seen = seen.rename({"noise_count": "samples", "noise_first": "set"})
    return _losses(config, seen.transpose("samples", "set", "eta", "sim", "step", "dim"))


def run(config: Config, progress: bool = False) -> xr.Dataset:
    """All kinds at all learning rates.

    Args:
        config: constants of the experiment.
        progress: whether to say how far it is.

    Returns:
        (kind, workers, samples, eta, sim) each, in the mean over sets of samples: `excess`, of the unseen loss over its
        least, also with the axis "step" of arrivals; `gap`, of the unseen loss over that of the samples, at the end.
        What has overflowed is infinite.
    """
    names, found = [*KINDS, ADAPTIVE], []
    for p in config.workers:
        if p == 1:  # never stale: all kinds are one
            kinds = [_swept(config, stepper(1, 0.0, NEVER), 1, config.etas, progress)] * len(names)
        else:
            kinds = [_swept(config, stepper(p, c, NEVER), p, config.etas, progress) for c in KINDS.values()]
            # the unseen loss has smoothness 1
            each = [_swept(config, stepper(p, 0.0, 1 / (4 * eta)), p, (eta,), progress) for eta in config.etas]
            kinds.append(xr.concat(each, "eta"))
        found.append(xr.concat(kinds, xr.IndexVariable("kind", names)))
    data = xr.concat(found, xr.IndexVariable("workers", list(config.workers)))
    data = data.where(np.isfinite(data), np.inf)
    return data.transpose("kind", "workers", "samples", "eta", ..., "sim")
