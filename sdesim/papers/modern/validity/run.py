"""The refinements of m-validity, by `analysis.validity`, and models that are wrong in it."""

from collections.abc import Callable, Sequence
from typing import Any

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


class _OneDraw(noise.Svag):
    """Of one gradient a step, which is SGD at a smaller learning rate."""

    def variates(self, words: Sequence[Words], dtype: DTypeLike, batch: Array):
        first = self.law.variates(words[: self.law.word_pairs], dtype, batch)
        return first / jnp.sqrt(self.level).astype(dtype)


class _OneLaw(noise.Svag):
    """Of the law of one gradient, at the level's variance."""

    def variates(self, words: Sequence[Words], dtype: DTypeLike, batch: Array):
        return self.law.variates(words[: self.law.word_pairs], dtype, batch)


def _in_place(name: str, wrong: Any) -> dict[str, Callable[[Any], Any]]:
    return {name: lambda right: wrong}


MUTATIONS = {
    "one gradient a step": Mutation(
        "finer levels are SGD at a smaller rate, of one gradient a step",
        names=_in_place("analysis.svag.Svag", _OneDraw),
    ),
    "noise of one draw": Mutation(
        "gradients at finer levels have the law of one, and the level's variance",
        names=_in_place("analysis.svag.Svag", _OneLaw),
    ),
    "rare gradients Gaussian": Mutation(
        "the noise of rare gradients is Gaussian",
        names=_in_place("papers.modern.validity.run.Rare", lambda share: noise.Gaussian(1.0)),
    ),
}
