"""Whether a model's SDE describes its iteration at a learning rate."""

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from sdesim import random
from sdesim.analysis.arguments import step_length
from sdesim.claims import Verdict, verdict
from sdesim.coupling import Order
from sdesim.dynamics import Dynamics
from sdesim.ensembles.setup import default_dims
from sdesim.fields import check_count, check_flags, check_sign, shown
from sdesim.noise import AbstractAdditive, Svag
from sdesim.results.result import Result
from sdesim.run import simulate
from sdesim.statistics import Estimate, mean_of
from sdesim.steppers import AbstractStepper, EulerMaruyama, Iteration

Statistic = Callable[[Result], ArrayLike]

_BYTES = 1 << 27  # of the increments that are drawn at a time


@dataclasses.dataclass(frozen=True, eq=False)
class Validity:
    """What `validity` found.

    Attributes:
        eta: learning rate, in time.
        tolerance: by how much the statistic may move, in its unit.
        sgd: the statistic of the iteration, which is SVAG at level 1.
        limit: of the SDE, from the two finest levels: in the way that tells more.
        moved: sgd - limit, from the pairs of simulations with one noise where there are such.
        way: in which that was found, "svag" or "euler-maruyama".
        apart: how many standard errors the limits of the two ways are apart; NaN where there is one alone.
        table: over `way` and `level`: `mean`, `stderr`, and `value` of each simulation, over `sim` too.
    """

    eta: float
    tolerance: float
    sgd: Estimate
    limit: Estimate
    moved: Estimate
    way: str
    apart: float
    table: xr.Dataset

    @property
    def verdict(self) -> Verdict:
        """Whether the statistic moves by no more than the tolerance from SGD to its SDE.

        "holds" or "fails" by more than chance takes it once in 740, else "undecided"; what is not finite fails.
        """
        return verdict(abs(self.moved.value), self.moved.stderr, "<=", self.tolerance, self.moved.dof)

    def __repr__(self) -> str:
        """What was found, as a small table."""
        levels = self.table["level"].values
        rows = [
            f"the SDE at eta={self.eta:g}: {self.verdict}",
            f"  SGD {self.sgd}, SDE {self.limit}, moved by {self.moved} ({self.way}); tolerance {self.tolerance:g}",
            "  level".ljust(18) + "".join(f"{level:>22g}" for level in levels),
        ]
        for way in self.table["way"].values:
            of = self.table.sel(way=way)
            cells = [f"{Estimate(float(m), float(e))!s:>22}" for m, e in zip(of["mean"], of["stderr"], strict=True)]
            rows.append(f"  {way}".ljust(18) + "".join(cells))
        if not math.isnan(self.apart):
            rows.append(f"  limits of both ways: {self.apart:.1f} standard errors apart")
        return "\n".join(rows)


def validity(
    model: Dynamics,
    statistic: Statistic,
    eta: float,
    *,
    tolerance: float,
    steps: int,
    levels: Sequence[int] = (1, 4, 16, 64),
    agents: int = 1,
    sims: int = 1000,
    dims: int | None = None,
    seed: Any = 0,
    init: Any = None,
    velocity: Any = None,
    order: Order = "jacobi",
    observe: Any = (),
    every: int | None = None,
    increments: bool = True,
    memory: int | str | None = None,
    progress: bool = False,
) -> Validity:
    """Does the SDE describe SGD at this learning rate, in a statistic?

    Two ways lead from the iteration to its SDE. SVAG (2102.12470): at level l steps are l times shorter and gradients
    are combined of two (`noise.Svag`), so that level 1 is the iteration and the limit the SDE. And Euler-Maruyama with
    steps l times shorter: its Brownian paths are the same at all levels, and drive the iteration too, by quantiles,
    where the noise is additive or Gaussian; what moves is then told from pairs. In both the limit is extrapolated from
    the two finest levels, as what is left falls like 1 / l. The verdict is on the way with the lesser error.

    Args:
        model: the dynamics; its eta is replaced.
        statistic: of a `Result` to one number a simulation, (sims,), whose mean is meant. It is asked of every level.
        eta: learning rate, one number above 0, in time.
        tolerance: by how much the mean may move, greater than 0, in the statistic's unit.
        steps: iterations; at level l there are l times as many steps, in the same time.
        levels: whole numbers that grow, the first of them 1, at least three.
        agents: p of one simulation.
        sims: independent simulations, at least 2.
        dims: dimensions, as for `simulate`.
        seed: of all random numbers.
        init: as for `simulate`, but no result that is continued.
        velocity: initial displacements in one iteration, as for `simulate`.
        order: "jacobi" or "gauss-seidel", see `sdesim.steppers.base`.
        observe: observables of `sdesim.observe`, one or several.
        every: iterations between two records; at level l there are l times as many steps between them.
        increments: whether to go the second way too, beside SVAG.
        memory: bytes that a run may use, as for `simulate`.
        progress: whether to show bars.

    Returns:
        A `Validity`.

    Raises:
        TypeError: for an argument of another kind.
        ValueError: for a bad argument, a noise law that is no sum of its variates, or a statistic of another shape; and
            as `simulate`.
    """
    if not isinstance(model, Dynamics):
        raise TypeError(f"model={shown(model)}: must be a sdesim.Dynamics")
    if not callable(statistic):
        raise TypeError(f"statistic={shown(statistic)}: must be a function of a Result to one number a simulation")
    check_sign("eta", eta, zero=False)
    check_sign("tolerance", tolerance, zero=False)
    if np.ndim(eta) or np.ndim(tolerance):
        raise ValueError(f"eta={shown(eta)}, tolerance={shown(tolerance)}: must be one number each")
    check_flags(increments=increments, progress=progress)
    steps, sims, agents = check_count("steps", steps), check_count("sims", sims, least=2), check_count("agents", agents)
    at = [check_count("levels", level) for level in levels]
    if len(at) < 3 or at[0] != 1 or any(a >= b for a, b in itertools.pairwise(at)):
        raise ValueError(f"levels={shown(levels)}: must be at least three whole numbers that grow, the first of them 1")
    if any(at[-1] % level for level in at):
        raise ValueError(f"levels={shown(levels)}: must divide the last of them, for one path of all")
    if isinstance(init, Result):
        raise ValueError("init: must be where agents start, and not a result that is continued")
    model = dataclasses.replace(model, eta=eta)
    length, dims = step_length(model, None), default_dims(model, init) if dims is None else dims
    every = max(1, steps // 100) if every is None else check_count("every", every)
    own: dict[str, Any] = dict(agents=agents, dims=dims, seed=seed, memory=memory, progress=progress)
    if observe != ():
        own["observe"] = observe

    def at_level(level: int, dynamics: Dynamics, stepper: AbstractStepper, first: int, **more: Any) -> NDArray:
        timing = {"every": every * level} if observe != () else {}
        starts = {"init": _some(init, first, more["sims"]), "velocity": _some(velocity, first, more["sims"])}
        run = simulate(
            dynamics, steps=steps * level, stepper=stepper, first_sim=first, **timing, **starts, **own, **more
        )
        return _each(statistic, run, level)

    def fresh(level: int) -> NDArray:
        if level == 1:
            return at_level(1, model, Iteration(order=order), 0, sims=sims)
        dynamics = dataclasses.replace(model, noise=Svag(model.noise, level))
        return at_level(level, dynamics, EulerMaruyama(length / level, order=order), 0, sims=sims)

    found = {"svag": [fresh(level) for level in at]}
    sgd = {"svag": found["svag"][0]}
    if increments and model.noise.without_variance() is None and model.noise.word_pairs:
        dynamics = dataclasses.replace(model, noise=Svag(model.noise))  # which may run below the matched step
        paired, pairs, parts = _of_path(model), [], [[] for _ in at]
        for first, dw in _paths(
            random.seed_number(random.seed_words(seed)), sims, (steps, at[-1], agents, dims), length
        ):
            given = lambda level, dw=dw: {"increments": _summed(dw, level), "sims": dw.shape[2]}
            for level, part in zip(at, parts, strict=True):
                part.append(
                    at_level(level, dynamics, EulerMaruyama(length / level, order=order), first, **given(level))
                )
            if paired is not None:
                own_law = {**given(1), "increments": paired(_summed(dw, 1) / np.float32(math.sqrt(length)))}
                pairs.append(at_level(1, model, Iteration(order=order), first, **own_law))
        found["euler-maruyama"] = [np.concatenate(part) for part in parts]
        sgd["euler-maruyama"] = np.concatenate(pairs) if pairs else sgd["svag"]
    limits = {way: (at[-1] * v[-1] - at[-2] * v[-2]) / (at[-1] - at[-2]) for way, v in found.items()}
    moved = {way: mean_of(sgd[way] - limits[way]) for way in found}
    way = min(found, key=lambda way: moved[way].stderr if math.isfinite(moved[way].stderr) else math.inf)
    limit = {way: mean_of(values) for way, values in limits.items()}
    return Validity(
        float(eta), float(tolerance), mean_of(sgd[way]), limit[way], moved[way], way, _apart(limit), _table(found, at)
    )


def _some(start: Any, first: int, sims: int) -> Any:
    """Of states that are given for each simulation those of some."""
    return start[first : first + sims] if np.ndim(start) == 3 else start


def _of_path(model: Dynamics) -> Callable[[NDArray], NDArray] | None:
    """From the increments of a Brownian path in iterations to noise of the model's law, by quantiles; in unit variance.

    None for a law of which that is not known.
    """
    law = model.noise.distribution()
    if law is None:
        return None
    if law.dist.name == "norm":
        return lambda unit: unit
    if not isinstance(model.noise, AbstractAdditive):
        return None
    from scipy.special import ndtr

    return lambda unit: (law.ppf(ndtr(unit.astype(float))) / law.std()).astype(np.float32)


def _paths(seed: int, sims: int, shape: tuple[int, ...], length: float) -> Iterator[tuple[int, NDArray]]:
    """Brownian increments of the finest level, (steps, level, sims, agents, dims), of so many simulations at a time.

    Those of a simulation are its own, whatever others there are. Also gives the number of the first of them.
    """
    many = min(sims, max(1, _BYTES // (4 * math.prod(shape))))
    for first in range(0, sims, many):
        last = min(first + many, sims)
        each = [np.random.default_rng([seed, sim]).standard_normal(shape, np.float32) for sim in range(first, last)]
        yield first, np.stack(each, axis=2) * np.float32(math.sqrt(length / shape[1]))


def _summed(dw: NDArray, level: int) -> NDArray:
    """The increments of a level, (steps level, sims, agents, dims)."""
    steps, finest, *rest = dw.shape
    return dw.reshape(steps * level, finest // level, *rest).sum(axis=1)


def _each(statistic: Statistic, result: Result, level: int) -> NDArray:
    """The statistic of each simulation, (sims,)."""
    found = np.asarray(statistic(result), float)
    if found.shape != result.diverged.shape:
        raise ValueError(f"statistic: must give one number a simulation, {result.diverged.shape}, got {found.shape}")
    return found


def _apart(limits: dict[str, Estimate]) -> float:
    """Standard errors between the limits of two ways."""
    if len(limits) < 2:
        return math.nan
    one, other = limits.values()
    return abs(one.value - other.value) / math.hypot(one.stderr, other.stderr)


def _table(found: dict[str, list[NDArray]], levels: list[int]) -> xr.Dataset:
    estimates = {way: [mean_of(values) for values in of] for way, of in found.items()}
    variables: dict[str, Any] = {
        name: (("way", "level"), [[getattr(e, what) for e in of] for of in estimates.values()])
        for name, what in (("mean", "value"), ("stderr", "stderr"))
    }
    variables["value"] = ("way", "level", "sim"), list(found.values())
    return xr.Dataset(variables, {"way": list(estimates), "level": levels})
