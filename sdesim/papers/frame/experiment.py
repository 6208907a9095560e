"""What an experiment is, and how one is regenerated: data, picture and claims, all of them or none."""

import dataclasses
import json
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import xarray as xr
from matplotlib.figure import Figure

from sdesim import claims, plotting
from sdesim.claims import Claim, Statement
from sdesim.fields import check_choice
from sdesim.results.datasets import describe, write_dataset
from sdesim.results.files import check_writable
from sdesim.results.recipe import Call, Code

PRESETS = ("smoke", "default", "paper")


@dataclasses.dataclass(frozen=True)
class Experiment:
    """One figure of a paper.

    says: what the paper says of it, or what is asked, in a sentence or two, for the gallery.
    presets: configurations, frozen dataclasses with a `seed`: "smoke" (seconds, for tests), "default" (the calibrated
        size), "paper" (the size of the paper).
    run: (configuration, progress) to labelled data. plot: (configuration, data) to a figure.
    trains: it trains networks, which takes hours without a GPU; `sdesim figure all` leaves it out.
    ensemble: (configuration, data) to what the statements' statistics look at.
    """

    name: str
    title: str
    says: str
    presets: dict[str, Any]
    run: Callable[[Any, bool], xr.Dataset]
    plot: Callable[[Any, xr.Dataset], Figure]
    ensemble: Callable[[Any, xr.Dataset], Any]
    statements: Callable[[Any], Sequence[Statement]]
    trains: bool = False

    def preset(self, name: str) -> Any:
        """A configuration by the name of its preset."""
        check_choice("preset", name, self.presets)
        return self.presets[name]


@dataclasses.dataclass(frozen=True)
class Regenerated:
    """What `regenerate` wrote: paths by suffix, and the claims. seconds: of computing."""

    files: dict[str, pathlib.Path]
    claims: list[Claim]
    seconds: float


def regenerate(
    experiment: Experiment,
    config: Any,
    preset: str,
    out,
    *,
    progress: bool = False,
    tell: Callable[[list[Claim]], Any] = lambda found: None,
) -> Regenerated:
    """Run an experiment and write NAME.nc, NAME.claims.json, NAME.png and NAME.pdf into the folder `out`.

    tell: is told the claims before anything is written: a full disk does not take what was found with it.

    Raises:
        ValueError: for an unwritable folder or an unfit configuration, before anything is computed.
        WriteError: if a file cannot be written, an OSError.
    """
    folder = check_writable(out)
    began = time.perf_counter()
    data = experiment.run(config, progress)
    found = claims.judge(experiment.statements(config), experiment.ensemble(config, data), smoke=preset == "smoke")
    seconds = time.perf_counter() - began
    tell(found)
    call = Call(
        "sdesim.papers.frame.experiment.regenerate",
        {
            "experiment": Code(f"sdesim.papers.EXPERIMENTS[{experiment.name!r}]"),
            "config": config,
            "preset": preset,
            "out": str(out),
        },
    )
    more = {
        "experiment": experiment.name,
        "preset": preset,
        "seed": str(config.seed),
        "claims": json.dumps([dataclasses.asdict(c) for c in found]),
        "seconds": round(seconds, 3),
    }
    describe(data, "figure", dataclasses.asdict(config), call, **more)
    files = {suffix: folder / f"{experiment.name}.{suffix}" for suffix in ("nc", "claims.json", "png", "pdf")}
    with plotting.looks():
        figure = experiment.plot(config, data)
        for suffix in ("png", "pdf"):
            plotting.save(figure, files[suffix])
    write_dataset(data, files["nc"])
    claims.write(found, files["claims.json"])
    return Regenerated(files, found, seconds)
