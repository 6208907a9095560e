"""The runs of m-local, and models that are wrong in it."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array

from sdesim import noise, observe
from sdesim.coupling import Quorum
from sdesim.dynamics import Dynamics
from sdesim.objectives import AbstractObjective
from sdesim.papers.frame.mutations import Mutation
from sdesim.papers.modern.local.config import Config
from sdesim.progress import each
from sdesim.run import simulate
from sdesim.steppers import AbstractStepper, Iteration


class Valley(AbstractObjective):
    """(1 + u^2) w^2 / 2 of a point (u, w): minima at w = 0, with Hessians of trace 1 + u^2."""

    @property
    def dims(self):
        return 2

    def loss(self, x: Array):
        return 0.5 * (1 + x[0] ** 2) * x[1] ** 2


class Straight(Valley):
    """5 w^2 / 2: a valley whose minima are all alike."""

    def loss(self, x: Array):
        return 2.5 * x[1] ** 2


class Of(eqx.Module):
    """A number of each iteration.

    Attributes:
        numbers: (iterations,).
    """

    numbers: Array

    def __call__(self, n: Array) -> Array:
        """Of one.

        Args:
            n: its number.
        """
        return self.numbers[jnp.minimum(n, len(self.numbers) - 1)]


def run(config: Config, progress: bool = False) -> xr.Dataset:
    """Local SGD at each learning rate and period, and on the schedule with the constant period and with QSR's.

    Args:
        config: constants of the experiment.
        progress: whether to say how far it is.

    Returns:
        `u` (eta, period, record, sim), of the mean of the agents, and `fallen` (rule, record, sim), of those of the
        schedule: "parallel", "constant" and "QSR".
    """
    sigma = np.array([0.0, config.sigma])

    def of(eta: Any, period: Any, steps: int) -> np.ndarray:
        model = Dynamics(Valley(), Quorum(1.0), noise.Gaussian(sigma), eta)
        found = simulate(
            model,
            stepper=Iteration(period, pace=1.0, order="gauss-seidel"),
            agents=config.agents,
            sims=config.sims,
            steps=steps,
            every=steps // config.records,
            seed=config.seed,
            init=np.array([config.start, 0.0]),
            observe=observe.Quorum(),
        )
        return np.asarray(found.observed["quorum"], float)[:, : config.records + 1, 0].T

    points = [(eta, period) for eta in config.etas for period in config.periods]
    grid = [of(eta, period, round(config.time / eta)) for eta, period in each(points, "m-local", progress)]
    rates, qsr = config.rates(), Of(jnp.asarray(config.qsr(), jnp.int32))
    rules = {"parallel": 1, "constant": config.constant, "QSR": qsr}
    fallen = [of(Of(jnp.asarray(rates)), period, len(rates)) for period in rules.values()]
    shape = (len(config.etas), len(config.periods), config.records + 1, config.sims)
    return xr.Dataset(
        {
            "u": (("eta", "period", "record", "sim"), np.reshape(grid, shape)),
            "fallen": (("rule", "record", "sim"), np.array(fallen)),
        },
        {"eta": list(config.etas), "period": list(config.periods), "rule": list(rules)},
    )


def _straight(model: Dynamics, stepper: AbstractStepper):
    if isinstance(model.objective, Valley):
        model = eqx.tree_at(lambda m: m.objective, model, Straight())
    return model, stepper


def _always(model: Dynamics, stepper: AbstractStepper):
    if isinstance(stepper, Iteration):
        stepper = Iteration(1, pace=stepper.pace, order=stepper.order)
    return model, stepper


MUTATIONS = {
    "valley straight": Mutation("all minima of the valley are alike", _straight),
    "period 1": Mutation("agents exchange at every iteration", _always),
}
