"""The runs of m-outer, and models that are wrong in it."""

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array

from sdesim import noise, objectives, observe
from sdesim.coupling import Outer
from sdesim.dynamics import Dynamics
from sdesim.ensembles.grids import sweep
from sdesim.papers.frame.mutations import Mutation
from sdesim.papers.modern.outer.config import Config
from sdesim.steppers import AbstractStepper, Iteration


def run(config: Config, progress: bool = False) -> xr.Dataset:
    """Sweep the outer learning rate, its momentum and the noise.

    Args:
        config: constants of the experiment.
        progress: whether to say how far it is.

    Returns:
        `square` (lr, momentum, sigma, round, sim), the squared distance of the center after each round.
    """
    model = Dynamics(objectives.Quadratic(np.array(config.curvatures)), Outer(1.0), noise.Gaussian(1.0), eta=config.eta)
    data = sweep(
        model,
        {
            "coupling.lr": list(config.lrs),
            "coupling.momentum": list(config.momenta),
            "noise.sigma": list(config.sigmas),
        },
        stepper=Iteration(config.period, pace=1.0, order="gauss-seidel"),
        agents=config.agents,
        sims=config.sims,
        steps=config.rounds * config.period,
        every=config.period,
        dims=len(config.curvatures),
        seed=config.seed,
        init=1.0,
        observe=observe.Center(),
        keep_agents=False,
        progress=progress,
    )
    names = {"coupling_lr": "lr", "coupling_momentum": "momentum", "noise_sigma": "sigma", "step": "round"}
    square = (data["center_series"].astype(float) ** 2).sum("dim", skipna=False).drop_attrs().rename(names)
    square = square.assign_coords(round=np.arange(config.rounds + 1))
    return xr.Dataset({"square": square.transpose("lr", "momentum", "sigma", "round", "sim")})


def _outer(name: str, wrong: Callable[[Array], Array]) -> Callable[[Dynamics, AbstractStepper], tuple]:
    """Another number of the outer optimizer."""

    def change(model: Dynamics, stepper: AbstractStepper):
        if isinstance(model.coupling, Outer):
            where = lambda m: getattr(m.coupling, name)
            model = eqx.tree_at(where, model, wrong(where(model)))
        return model, stepper

    return change


def _shorter(model: Dynamics, stepper: AbstractStepper):
    if isinstance(stepper, Iteration) and not callable(stepper.period):
        period = stepper.period
        stepper = eqx.tree_at(lambda s: s.period, stepper, jnp.asarray(period // 2, period.dtype))
    return model, stepper


MUTATIONS = {
    "outer rate x 1.1": Mutation("the outer learning rate is a tenth too large", _outer("lr", lambda a: 1.1 * a)),
    "outer rate 0.7": Mutation("the outer learning rate is 0.7 whatever is asked", _outer("lr", lambda a: 0 * a + 0.7)),
    "outer momentum off": Mutation("the outer optimizer has no momentum", _outer("momentum", lambda a: 0 * a)),
    "rounds half": Mutation("workers exchange after half a period", _shorter),
}
