"""bs-fig1-easgd: Figure 1 with EASGD in place of QSGD, its center variable in place of the quorum.

Command: sdesim figure bs-fig1-easgd. The paper's text speaks of QSGD alone; the same statements are asked of EASGD.
With elastic symmetry the center's rate k * agents would exceed the stability limit at these gains, so the center moves
by `center_rate` [C] a unit of time.
"""

import dataclasses

import xarray as xr
from matplotlib.figure import Figure

from sdesim.coupling import Elastic
from sdesim.papers.boffi_slotine import fig1 as bs_fig1
from sdesim.papers.boffi_slotine import one_dimensional as one
from sdesim.papers.frame.experiment import Experiment


@dataclasses.dataclass(frozen=True)
class Config(one.Config):
    """Constants [C] of Figure 1, and the rate of EASGD's center."""

    center_rate: float = 1.0
    """Rate of the center variable, in 1/time: beta = eta * center_rate in one iteration."""


PRESETS = {"smoke": Config(sims=16), "default": Config(), "paper": Config(sims=2000)}


def run(config: Config, progress: bool = False) -> xr.Dataset:
    dynamics = one.model(config, Elastic(config.k[0], config.center_rate))
    return one.final_points(config, dynamics, config.k, progress)


def plot(config: Config, data: xr.Dataset) -> Figure:
    return one.plot(config, data, "EASGD, final points, as in Fig. 1 of Boffi & Slotine", "center", "center variable")


def statements(config: Config):
    renamed = (dataclasses.replace(s, id=f"easgd-{s.id}") for s in bs_fig1.statements(config, "center"))
    return [dataclasses.replace(s, statement=s.statement.replace("the quorum", "the center")) for s in renamed]


EXPERIMENT = Experiment(
    "bs-fig1-easgd",
    "Fig. 1 of Boffi & Slotine with EASGD and its center variable",
    "What is said of the quorum in Figure 1, asked of the center variable of EASGD.",
    PRESETS,
    run,
    plot,
    lambda config, data: one.panels(data, "center"),
    statements,
    mutations=bs_fig1.MUTATIONS,
)
