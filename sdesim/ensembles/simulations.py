"""Simulations of a model as a store's tasks compute them: in blocks of the width that the store was made with.

The numbers of a simulation depend on nothing but itself, so that a task finds what the whole sweep would have found, to
the bit.
"""

import dataclasses
import functools
import math
import pathlib
import warnings
from collections.abc import Mapping
from typing import Any

import xarray as xr

from sdesim.engine.blocks import Blocks
from sdesim.engine.plan import Plan
from sdesim.ensembles.estimates import estimate
from sdesim.ensembles.identity import hashes, identity, programs, size_key
from sdesim.ensembles.points import Sweep, run_points, tail_bytes
from sdesim.ensembles.setup import Setup
from sdesim.ensembles.sweeps import AbstractSweep, Estimate, Program
from sdesim.ensembles.warnings import StabilityWarning
from sdesim.results.recipe import Call

WORK = 2e8  # agent-steps times dimensions of a task: about a second or two of a core
BYTES = 2**26  # that the values of a task may take
LANES = 2**16  # of a task, at the most


class Simulations(AbstractSweep):
    """A sweep of simulations.

    Args:
        sweep: what is asked for.
    """

    parts = "the loss, the rule, the noise, an observable or a schedule"

    def __init__(self, sweep: Sweep):
        self.sweep = sweep
        self.grid, self.rule, self.design = sweep.grid, sweep.rule, sweep.design
        self.sims, self.first_sim = sweep.run["sims"], sweep.run["first_sim"]

    @property
    def settings(self) -> dict[str, Any]:
        return self.sweep.settings

    @property
    def call(self) -> Call:
        return self.sweep.call

    @property
    def apart(self) -> list[str]:
        return list(self.sweep.sizes)

    def identity(self) -> dict[str, Any]:
        return identity(self.sweep)

    @functools.cached_property
    def setups(self) -> dict[str, Setup]:
        """The run at each choice of sizes, checked, by `size_key`."""
        if getattr(self.sweep.stepper, "timetable", None) is not None:
            why = "a task is some simulations, each of which would take the rows of the first"
            raise ValueError(f"timetable: must be left out with store=, since {why}; give laws, such as compute=")
        return programs(self.sweep)

    def programs(self) -> dict[str, Program]:
        width = lambda plan: Blocks.of(1, plan.rows, plan.dims).width
        return {key: Program(said, key, width(self.setups[key].plan)) for key, said in hashes(self.setups).items()}

    def lanes(self) -> int:
        """Whole blocks of about a second or two of work."""
        setup = next(iter(self.setups.values()))
        plan = setup.plan
        width = Blocks.of(1, plan.rows, plan.dims).width
        per_lane = max(1, plan.rows * plan.dims * max(1, setup.steps))
        most = min(WORK / per_lane, BYTES / tail_bytes(self.sweep, setup), LANES)
        return width * max(1, math.floor(most / width))

    def width(self, here: Mapping[str, Any]) -> int:
        plan = self.setups[size_key(here)].plan if size_key(here) in self.setups else None
        if plan is None:  # a choice that somebody else asked for
            _, stepper, run = self.sweep.at(here)
            plan = Plan(run["agents"], run["dims"], None, None, lockstep=stepper.lockstep)
        return Blocks.of(1, plan.rows, plan.dims).width

    def run(
        self,
        at: Mapping[str, list],
        points: int,
        sims: tuple[int, int],
        *,
        width: int | None,
        memory: int | str | None,
        folder: pathlib.Path,
    ) -> xr.Dataset:
        here = self.here({name: values[0] for name, values in at.items()})
        columns, first, count = self.sweep.columns_of(at), sims[0], sims[1] - sims[0]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", StabilityWarning)  # said once, of all points
            return run_points(self._exact, here, columns, first=first, sims=count, width=width, memory=memory)

    def estimate(self, lanes: int | None = None) -> Estimate:
        return estimate(self.sweep, self.setups, self.lanes() if lanes is None else lanes)

    def __reduce__(self):
        return Simulations, (self.sweep,)  # without what is traced here

    @property
    def _exact(self) -> Sweep:
        """The sweep, each of whose simulations depends on nothing but itself."""
        return dataclasses.replace(self.sweep, run={**self.sweep.run, "exact": True})
