"""The runs of async-race: every protocol in every regime, at all learning rates that are tried."""

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

from sdesim import coupling, noise, objectives, observe
from sdesim.asynchrony import (
    ADMM,
    EASGD,
    AbstractCompute,
    AbstractProtocol,
    Asynchronous,
    AsyncSGD,
    Bytes,
    DelayAdaptive,
    Deterministic,
    Downpour,
    Exponential,
    Gamma,
    Gossip,
    Gradients,
    KAsyncSGD,
    Link,
    MomentumDownpour,
    Pareto,
    PartialBarrier,
    PowerLaw,
    Rennala,
    Ringmaster,
)
from sdesim.dynamics import Dynamics, Nesterov
from sdesim.ensembles.grids import sweep
from sdesim.papers.asynchrony.race.claims import typical
from sdesim.papers.asynchrony.race.config import PROTOCOLS, Config
from sdesim.papers.frame import measured
from sdesim.results.datasets import dimension

MAKERS: dict[str, Callable[[Config], AbstractProtocol]] = {
    "synchronous": lambda c: KAsyncSGD(c.workers),
    "K-async": lambda c: KAsyncSGD(c.half),
    "Rennala": lambda c: Rennala(c.workers),
    "AsyncSGD": lambda c: AsyncSGD(),
    "power law": lambda c: AsyncSGD(PowerLaw(c.exponent)),
    "delay-adaptive": lambda c: AsyncSGD(DelayAdaptive(c.workers, c.workers)),
    "Ringmaster": lambda c: Ringmaster(c.workers),
    "DOWNPOUR": lambda c: Downpour(c.period),
    "MDOWNPOUR": lambda c: MomentumDownpour(c.delta),
    "EASGD": lambda c: EASGD(c.period),
    "EAMSGD": lambda c: EASGD(c.period),
    "gossip": lambda c: Gossip(),
    "partial barrier": lambda c: PartialBarrier(c.half),
    "ADMM": lambda c: ADMM(c.rho),
}
"""Each protocol of `PROTOCOLS`."""

RULES = {name: coupling.Elastic for name in ("EASGD", "EAMSGD", "partial barrier")} | {"gossip": coupling.Quorum}
"""The rules of those that exchange by one."""


def law(config: Config, regime: str) -> AbstractCompute:
    """The law of compute times of a regime.

    Args:
        config: constants of the experiment.
        regime: a name of `REGIMES`.
    """
    if regime == "one slow":
        means = np.ones(config.workers)
        means[-1] = config.slow
        return Gamma(shape=config.shape, mean=means)
    if regime == "slow messages":
        return Gamma(shape=config.shape)
    return {"equal": Deterministic(), "exponential": Exponential(), "heavy tail": Pareto(config.tail)}[regime]


def linked(protocol: AbstractProtocol, compute: AbstractCompute, megabytes: float, bandwidth: float) -> Asynchronous:
    """Workers whose messages take time.

    Where they wait for each other, what a message takes there and back is a part of the time of the job.

    Args:
        protocol: what workers do.
        compute: how long a job takes.
        megabytes: size of a message, in MB.
        bandwidth: of a worker's link, in MB/s.
    """
    if protocol.barrier is not None:
        return Asynchronous(protocol, compute=Link(2 * megabytes, bandwidth, latency=compute))
    link = Link(megabytes, bandwidth)
    return Asynchronous(protocol, compute=compute, uplink=link, downlink=link)


def stepper(config: Config, protocol: str, regime: str) -> Asynchronous:
    """A protocol in a regime.

    Args:
        config: constants of the experiment.
        protocol: a name of `PROTOCOLS`.
        regime: of `REGIMES`.
    """
    made, compute = MAKERS[protocol](config), law(config, regime)
    if regime == "slow messages":
        return linked(made, compute, config.megabytes, config.bandwidth)
    return Asynchronous(made, compute=compute)


def _swept(config: Config, protocol: str, regime: str, progress: bool) -> xr.Dataset:
    """What is observed at each rate and gain that is tried, as points of one dimension."""
    rule = RULES.get(protocol)
    rates = [PROTOCOLS[protocol] * rate for rate in config.rates]
    grid: dict[str, Any] = {"eta": rates} | ({} if rule is None else {"coupling.k": list(config.gains)})
    model = Dynamics(
        objectives.Quadratic(config.curvature),
        coupling.Uncoupled() if rule is None else rule(1.0),
        noise.Gaussian(config.sigma),
        eta=rates[0],
        momentum=Nesterov(config.delta) if protocol == "EAMSGD" else None,
    )
    data = sweep(
        model,
        grid,
        stepper=stepper(config, protocol, regime),
        agents=config.workers,
        sims=config.sims,
        at=config.moments,
        seed=config.seed,
        init=1.0,
        observe=[observe.Center(), Gradients(), Bytes(up=config.megabytes, down=config.megabytes)],
        keep_agents=False,
        progress=progress,
    )
    names = {"center_series": "center", "gradients": "gradients", "bytes": "megabytes"}
    kept = data[list(names)].rename(names).drop_attrs()
    return kept.stack(point=[*map(dimension, grid)], create_index=False)


def fastest(config: Config, loss: xr.DataArray) -> int:
    """The point at which the loss settles first below four fifths of the level, of those that go on to half of that.

    Where the loss stays near the level, noise says when it is below.

    Args:
        config: constants of the experiment.
        loss: (time, point, sim).

    Returns:
        Its index; that of the least loss at the end where no loss settles.
    """
    found, level = typical(loss), 0.8 * config.level  # with a fifth to spare
    late = found.isel(time=slice(-(found.sizes["time"] // 4), None)).mean("time", skipna=False)
    times = np.array([measured.settled(loss["time"], found.isel(point=i), level) for i in range(late.size)])
    times[~(late.values <= level / 2)] = np.nan
    if np.isfinite(times).any():
        return int(np.nanargmin(times))
    return int(np.nanargmin(late)) if np.isfinite(late).any() else 0


def raced(config: Config, protocol: str, regime: str, progress: bool = False) -> xr.Dataset:
    """A protocol in a regime at what is fastest there of all that was tried.

    Args:
        config: constants of the experiment.
        protocol: a name of `PROTOCOLS`.
        regime: of `REGIMES`.
        progress: whether to say how far it is.

    Returns:
        What `run` has of it, (time, sim) each.
    """
    data = _swept(config, protocol, regime, progress)
    loss = (data["center"].squeeze("dim", drop=True).astype(float)) ** 2
    best = fastest(config, loss)
    # nobody's state has a say in who arrives when: all points have the same counts
    counts = data.isel(point=0)
    used, discarded = (counts["gradients"].isel({counts["gradients"].dims[-1]: i}) for i in range(2))
    way = next(str(d) for d in counts["megabytes"].dims if str(d).endswith("way"))
    found = {
        "loss": loss.isel(point=best).astype(np.float32),
        "eta": data["eta"].isel(point=best),
        "used": used.astype(np.float32),
        "discarded": discarded.astype(np.float32),
        "megabytes": counts["megabytes"].sum(way).astype(np.float32),
    }
    bare = lambda value: value.drop_vars([name for name in value.coords if name != "time"])
    return xr.Dataset({name: bare(value) for name, value in found.items()})


def run(config: Config, progress: bool = False) -> xr.Dataset:
    """All protocols in all regimes, on the same clocks and with the same gradient noise.

    Args:
        config: constants of the experiment.
        progress: whether to say how far it is.

    Returns:
        `loss`, that of the center as a share of that at the start, at the best of the rates that were tried, and
        `used`, `discarded` and `megabytes` so far, (protocol, regime, time, sim) each; `eta`, that best rate,
        (protocol, regime).
    """
    regimes = lambda protocol: [raced(config, protocol, regime, progress) for regime in config.regimes]
    arms = [measured.along("regime", config.regimes, regimes(protocol)) for protocol in config.protocols]
    return measured.along("protocol", config.protocols, arms).transpose(..., "time", "sim")
