"""Times to the level, and what is said of them. Times are in seconds. At each statement stands what breaks it."""

import numpy as np
import xarray as xr

from sdesim.claims import Statement, at_least, at_most
from sdesim.papers.asynchrony.race.claims import race_time, until
from sdesim.papers.frame import measured
from sdesim.papers.modern import outer
from sdesim.papers.modern.outer.claims import exact_path
from sdesim.papers.modern.race.config import Config

EXACT = ("Local SGD", "DiLoCo")
"""Those of which theory says the mean loss where jobs take equally long."""


def exact_loss(config: Config, data: xr.Dataset, protocol: str) -> xr.DataArray:
    """The mean loss where jobs take equally long, by the exact map of a round.

    The server then has everyone's message at once, at the end of each period.

    Args:
        config: constants of the experiment.
        data: of the runs.
        protocol: of `EXACT`.

    Returns:
        As a share of that at the start, (time,).
    """
    of = data.sel(protocol=protocol, regime="equal")
    done = np.floor(data["time"].values / config.period).astype(int)
    total = np.zeros(done.size)
    for h in config.curvatures:
        one = outer.Config(
            curvatures=(h,),
            eta=float(of["eta"]),
            period=config.period,
            agents=config.workers,
            rounds=max(1, int(done.max())),
        )
        lr, momentum = (1.0, 0.0) if protocol == "Local SGD" else (float(of["lr"]), float(of["momentum"]))
        total += h * exact_path(one, lr, momentum, config.sigma)[done]
    return xr.DataArray(total / sum(config.curvatures), {"time": data["time"]}, ("time",))


def statements(config: Config) -> list[Statement]:
    time = lambda runs, protocol, regime: race_time(config.race, runs.data, protocol, regime)
    ratio = lambda one, other, regime: lambda runs: time(runs, one, regime) / time(runs, other, regime)
    sent = lambda runs, protocol: until(config.race, runs.data, protocol, "stragglers", "megabytes")
    losses = lambda d: d["loss"].sel(protocol=list(EXACT), regime="equal").astype(float)
    exact = lambda d: xr.concat([exact_loss(config, d, name) for name in EXACT], "protocol")
    return [
        # fails of another noise, of another learning rate and of another period
        measured.equal(
            "rounds-exact",
            "where jobs take equally long the mean losses of Local SGD and of DiLoCo are those of the exact map of a "
            "round at every moment of the race",
            losses,
            exact,
        ),
        # fails where stragglers' jobs take as long as all
        Statement(
            "stragglers-waiting",
            f"with stragglers, of a Pareto law of index {config.tail:g}, who waits for all at each step takes longer "
            "than who waits for nobody (seconds of the synchronous iteration over AsyncSGD's)",
            ratio("synchronous", "AsyncSGD", "stragglers"),
            at_least(1.3, smoke=1.2),
        ),
        # fails where stragglers' jobs take as long as all
        Statement(
            "stragglers-quorum",
            f"DiLoCo, whose server waits for {config.quorum} of {config.workers} and whose workers do not, is sooner "
            "there than Local SGD, which waits for all after each period (Local SGD over DiLoCo)",
            ratio("Local SGD", "DiLoCo", "stragglers"),
            at_least(1.25, smoke=1.15),
        ),
        # fails where stragglers' jobs take as long as all
        Statement(
            "stragglers-ringmaster",
            f"Ringmaster's threshold of {config.workers} discards what stragglers bring, and is not sooner for it "
            "(AsyncSGD over Ringmaster)",
            ratio("AsyncSGD", "Ringmaster", "stragglers"),
            at_most(0.95, smoke=0.97),
        ),
        # fails where messages take no time
        Statement(
            "messages-rare",
            "where messages take as long as jobs, who sends rarely is sooner there than who sends after each job "
            "(AsyncSGD over DiLoCo)",
            ratio("AsyncSGD", "DiLoCo", "slow messages"),
            at_least(1.3, smoke=1.2),
        ),
        # fails where messages take no time
        Statement(
            "messages-free",
            "where they take none AsyncSGD is nearly as soon there (the same, with stragglers alone)",
            ratio("AsyncSGD", "DiLoCo", "stragglers"),
            at_most(1.2),
        ),
        # fails of a period of 1
        Statement(
            "bytes",
            "and DiLoCo sends fewer bytes until then (of AsyncSGD's, with stragglers)",
            lambda runs: sent(runs, "DiLoCo") / sent(runs, "AsyncSGD"),
            at_most(2 / config.period, smoke=2 / config.period),
        ),
    ]
