"""The runs of m-disagreement, and models that are wrong in it."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import xarray as xr

from sdesim import noise, objectives, observe
from sdesim.coupling import Mixing
from sdesim.dynamics import Dynamics
from sdesim.ensembles.grids import sweep
from sdesim.papers.frame.mutations import Mutation
from sdesim.papers.modern.disagreement.config import POWERS, Config
from sdesim.papers.modern.local.run import Valley
from sdesim.schedules import Fading, PerStep
from sdesim.steppers import AbstractStepper, Iteration


def _swept(
    config: Config, objective: objectives.AbstractObjective, sigma: np.ndarray, of: dict, **run: Any
) -> xr.Dataset:
    """Agents on the ring through the schedule, by each rule."""
    model = Dynamics(objective, Mixing(config.weight, config.matrix()), noise.Gaussian(sigma), PerStep(config.rates()))
    data = sweep(
        model,
        {**of, "stepper.pace.power": list(POWERS.values())},
        stepper=Iteration(pace=Fading(config.falls[0])),
        agents=config.agents,
        sims=config.sims,
        steps=config.rates().size,
        every=config.every,
        seed=config.seed,
        keep_agents=False,
        **run,
    )
    named = data.drop_attrs().rename({"stepper_pace_power": "rule"})
    return named.assign_coords(rule=list(POWERS))


def run(config: Config, progress: bool = False) -> xr.Dataset:
    """D-PSGD through the schedule, by each rule, on quadratics and in a valley of minima.

    Args:
        config: constants of the experiment.
        progress: whether to say how far it is.

    Returns:
        `disagreement` (curvature, rule, step, sim), the mean over agents of the squared distance from their mean along
        a direction of a curvature, and `u` (rule, step, sim), of the mean of agents that begin at the bottom of the
        valley.
    """
    of = {"objective.curvature": list(config.curvatures)}
    quadratic = _swept(
        config, objectives.Quadratic(1.0), np.array([config.sigma]), of, observe=observe.Spread(), progress=progress
    )
    spread = quadratic["spread_series"].rename({"objective_curvature": "curvature"}).astype(float)
    begin = np.array([config.start, 0.0])
    valley = _swept(
        config, Valley(), np.array([0.0, config.sigma]), {}, init=begin, observe=observe.Quorum(), progress=progress
    )
    u = valley["quorum_series"].isel(dim=0).astype(float)
    return xr.Dataset({"disagreement": spread / config.agents, "u": u}).drop_attrs()


def _ring(model: Dynamics, stepper: AbstractStepper):
    """The same agents, everyone of whom mixes with everyone."""
    rule = model.coupling
    if isinstance(rule, Mixing):
        model = eqx.tree_at(lambda m: m.coupling.matrix, model, jnp.full_like(rule.matrix, 1 / rule.matrix.shape[-1]))
    return model, stepper


def _fades(power: float):
    """Whatever the rule, weights fall as this power of the learning rate."""

    def change(model: Dynamics, stepper: AbstractStepper):
        if isinstance(stepper, Iteration) and isinstance(stepper.pace, Fading):
            stepper = eqx.tree_at(lambda s: s.pace.power, stepper, jnp.full_like(stepper.pace.power, power))
        return model, stepper

    return change


MUTATIONS = {
    "weights stay": Mutation("the weight of exchanges never falls", _fades(0.0)),
    "weights fall": Mutation("it always falls as the square of the learning rate", _fades(2.0)),
    "complete graph": Mutation("everyone mixes with everyone", _ring),
}
