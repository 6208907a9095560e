"""Experiments of the papers, one file a figure: configuration, run, picture and claims."""

from sdesim.experiments import bs_fig1, bs_fig1_easgd, bs_fig2, bs_fig3
from sdesim.experiments.base import Experiment

EXPERIMENTS: dict[str, Experiment] = {
    e.name: e for e in (bs_fig1.EXPERIMENT, bs_fig1_easgd.EXPERIMENT, bs_fig2.EXPERIMENT, bs_fig3.EXPERIMENT)
}
"""Every experiment by the name that the command line knows it by."""

__all__ = ["EXPERIMENTS", "Experiment"]
