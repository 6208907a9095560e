"""The refinements of m-validity, by `analysis.validity`, and models that are wrong in it."""

from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
import xarray as xr
from jax.typing import DTypeLike
from jaxtyping import Array

from sdesim import analysis, noise, objectives
from sdesim.dynamics import Dynamics
from sdesim.fields import number
from sdesim.papers.frame.measured import along
from sdesim.papers.frame.mutations import Mutation
from sdesim.papers.modern.validity.config import Config
from sdesim.progress import each
from sdesim.random import Words
from sdesim.results.result import Result
from sdesim.steppers import AbstractStepper

LAWS = ("rare", "growing")


class Rare(noise.AbstractAdditive):
    """Noise of few samples: variates are -1 or 1 over the root of their share, and else 0.

    Attributes:
        share: of the samples that have all of the noise, from 0 to 1, without unit.
    """

    share: Array = eqx.field(converter=number)

    @property
    def amplitude(self):
        return jnp.ones_like(self.share)

    def variates(self, words: Sequence[Words], dtype: DTypeLike, batch: Array):
        u = noise.random.centered(words[0].own, dtype)
        return jnp.where(abs(u) < self.share, jnp.sign(u), jnp.zeros_like(u)) / jnp.sqrt(self.share).astype(dtype)


class Root(eqx.Module):
    """The standard deviation of noise that grows with the distance.

    Attributes:
        growth: c, in 1/time.
    """

    growth: Array = eqx.field(converter=number)

    def __call__(self, x: Array) -> Array:
        """At a point.

        Args:
            x: (dims,).
        """
        return jnp.sqrt(1 + (self.growth * x) ** 2)


def _square(result: Result):
    return result.agents[:, 0, 0] ** 2


def run(config: Config, progress: bool = False) -> xr.Dataset:
    """Refine SGD under both laws at each learning rate.

    Args:
        config: constants of the experiment.
        progress: whether to say how far it is.

    Returns:
        `square` (law, eta, way, level, sim), x^2 at the end.
    """
    laws = {"rare": Rare(config.rare), "growing": noise.Diffusion(Root(config.growth))}

    def refined(law: str, eta: float) -> xr.DataArray:
        model = Dynamics(objectives.Quadratic(1.0), noise=laws[law])
        found = analysis.validity(
            model,
            _square,
            eta,
            tolerance=1.0,
            steps=config.steps(eta),
            levels=config.levels,
            sims=config.sims,
            seed=config.seed,
        )
        return found.table["value"]

    etas = list(each(list(config.etas), "m-validity", progress))
    of = [along("eta", config.etas, [refined(law, eta) for eta in etas]) for law in LAWS]
    return xr.Dataset({"square": along("law", LAWS, of)})


def _instead(law: noise.AbstractNoise, model: Dynamics, batch: Array) -> Dynamics:
    return eqx.tree_at(lambda m: (m.noise, m.batch), model, (law, batch))


def _one_draw(model: Dynamics, stepper: AbstractStepper) -> tuple[Dynamics, AbstractStepper]:
    """Steps that are l times shorter, of one gradient each."""
    law = model.noise
    return (_instead(law.law, model, model.batch * law.level) if isinstance(law, noise.Svag) else model), stepper


def _same_law(model: Dynamics, stepper: AbstractStepper) -> tuple[Dynamics, AbstractStepper]:
    law = model.noise
    return (_instead(law.law, model, model.batch) if isinstance(law, noise.Svag) else model), stepper


def _gaussian(model: Dynamics, stepper: AbstractStepper) -> tuple[Dynamics, AbstractStepper]:
    law = model.noise
    rare = isinstance(law.law if isinstance(law, noise.Svag) else law, Rare)
    return (_instead(noise.Gaussian(1.0), model, model.batch) if rare else model), stepper


MUTATIONS = {
    "one gradient a step": Mutation("finer levels are SGD at a smaller rate, of one gradient a step", _one_draw),
    "noise of one draw": Mutation("gradients at finer levels have the law of one, and the level's variance", _same_law),
    "rare gradients Gaussian": Mutation("the noise of rare gradients is Gaussian", _gaussian),
}
