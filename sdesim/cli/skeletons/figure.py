"""The figure skeleton: how coupling brings agents together. Made by `sdesim figure skeleton.py`."""

import dataclasses

import jax.numpy as jnp
import matplotlib.pyplot as plt

import sdesim
from sdesim.claims import Statement, at_least
from sdesim.papers import Experiment
from sdesim.papers.frame.measured import Runs, plot_measured


@dataclasses.dataclass(frozen=True)
class Config:
    """What can be changed; each field is an option of the command line."""

    k: tuple[float, ...] = (0.0, 2.0, 8.0)
    """Gains, in 1/time."""
    sims: int = 200
    """Simulations of each."""
    seed: int = 0
    """Seed of all random numbers."""


def loss(x):
    """A double well."""
    return jnp.sum((x**2 - 1) ** 2)


def run(config, progress=False):
    """Labeled data, one entry a gain and simulation."""
    model = sdesim.Dynamics(loss, sdesim.Quorum(0.0), sdesim.noise.Uniform(2.0), eta=0.02)
    return sdesim.sweep(
        model,
        {"coupling.k": config.k},
        agents=20,
        sims=config.sims,
        steps=200,
        init=sdesim.init.Uniform(-2, 2),
        seed=config.seed,
        progress=progress,
    )


def plot(config, data):
    """The picture, of the data alone."""
    figure, axes = plt.subplots(figsize=(5, 3), layout="constrained")
    plot_measured(axes, data["spread"], "coupling_k", "spread", "black")
    axes.set(xlabel="gain $k$ (1/time)", ylabel="spread (length²)", yscale="log")
    return figure


def closer(runs):
    """In which simulations the strongest coupling left less than half of the spread that none left."""
    spread = runs.data["spread"]
    return (spread.isel(coupling_k=-1) < spread.isel(coupling_k=0) / 2).values


def statements(config):
    """What is said of the data: a sentence, a statistic, the condition that it must meet."""
    said = "Coupling brings the agents together (share of simulations with less than half the spread)"
    return [Statement("together", said, closer, at_least(0.95, smoke=0.6))]


EXPERIMENT = Experiment(
    name="skeleton",
    title="Agents come together as their coupling grows",
    says="A strong enough coupling leaves the agents at one point.",
    presets={"smoke": Config(sims=16), "default": Config(), "paper": Config(sims=2000)},
    run=run,
    plot=plot,
    ensemble=lambda config, data: Runs(data),
    statements=statements,
)
