"""`sdesim claims`: all that was found, what breaks it, and at which seeds it holds."""

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro

from sdesim import claims
from sdesim.claims import Verdict
from sdesim.cli.overview import parse_options
from sdesim.fields import check_choice, check_count
from sdesim.papers import EXPERIMENTS, MODULES
from sdesim.papers.frame import breaks, registry
from sdesim.papers.frame.experiment import kept_in
from sdesim.results.files import check_writable, write_text

PAPERS = {name: module.split(".")[2] for name, module in MODULES.items()}
"""The folder of its paper of each figure."""


@dataclasses.dataclass(frozen=True)
class Options:
    """Print every claim about the figures with its verdict and what breaks it; or try to break those of some figures.

    The claims are those that `sdesim figure` wrote into --folder. Without names, those of all figures there.
    """

    figures: tyro.conf.Positional[tuple[str, ...]] = ()
    """Figures by name; all by default."""
    paper: str | None = None
    """Claims of one paper alone: asynchrony, boffi_slotine, modern, regatti, yu or zhang."""
    verdict: Verdict | None = None
    """Claims of one verdict alone."""
    folder: Path = Path("figures")
    """Folder of NAME.claims.json and NAME.breaks.json."""
    json: Path | None = None
    """File to write the claims to."""
    page: Path | None = None
    """File to write them to as a page in Markdown."""
    break_: Annotated[bool, tyro.conf.arg(name="break"), tyro.conf.FlagCreatePairsOff] = False
    """Run the named figures under every wrong model that applies, and print which claims fail.

    At another --preset than smoke only until each of those claims is broken that the record in --folder has not tried.
    """
    from_: Annotated[Path | None, tyro.conf.arg(name="from")] = None
    """NAME.nc of the one named figure, that --break is to try all on that needs no run: at its size, in no time."""
    seeds: int | None = None
    """Run the named figures at so many other seeds, and print at how many each claim holds."""
    judge: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Run the named figures once at another preset than that of the claims in --folder, and print the verdicts."""
    preset: str = "smoke"
    """Preset of --break, --seeds and --judge."""
    record: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Write what --break, --seeds or --judge found into NAME.breaks.json in --folder."""

    @property
    def runs(self) -> bool:
        """Whether figures are run."""
        return self.break_ or self.judge or self.seeds is not None

    def check(self) -> None:
        """Refuse values that mean nothing here.

        Raises:
            ValueError: naming the option, its value and what would be right.
        """
        for name in self.figures:
            check_choice("figures", name, EXPERIMENTS)
        if self.paper is not None:
            check_choice("paper", self.paper, sorted(set(PAPERS.values())))
        if self.seeds is not None:
            check_count("seeds", self.seeds)
        if self.runs:
            for name in self.figures:
                EXPERIMENTS[name].preset(self.preset)
        if self.runs and not self.figures:
            raise ValueError("figures: name those that --break, --seeds and --judge are to run")
        if self.from_ is not None and (not self.break_ or len(self.figures) != 1):
            raise ValueError(f"--from {self.from_}: is the file of one figure for --break; give both, and one name")
        if self.record and not self.runs:
            raise ValueError("--record: writes what --break, --seeds or --judge found; give one of them")
        if self.runs and self.record:
            check_writable(self.folder)
        for name in ("json", "page"):
            path = getattr(self, name)
            if path is not None and (path.is_dir() or not path.parent.is_dir()):
                raise ValueError(f"{name}={str(path)!r}: must be a file in a folder that exists")


def parse(arguments: Sequence[str]) -> Options:
    """Options from the command line; tyro ends the process on a mistake, with what would be right.

    Args:
        arguments: after `sdesim claims`.

    Returns:
        The options, checked.

    Raises:
        ValueError: for options that do not go together.
    """
    options = parse_options(Options, "claims", arguments)
    options.check()
    return options


def run(options: Options) -> int:
    """Do what the options say.

    Args:
        options: of the command line, checked.

    Returns:
        The exit status: 1 if a counted claim of a figure that --break ran is broken by nothing.

    Raises:
        FileNotFoundError: if there are no claims in the folder.
    """
    if options.runs:
        return max([_tried(name, options) for name in options.figures])
    chosen = {name: paper for name, paper in PAPERS.items() if not options.figures or name in options.figures}
    found = registry.entries(chosen, options.folder)
    if not found:
        raise FileNotFoundError(
            f"folder={str(options.folder)!r}: holds no claims of these figures; `sdesim figure NAME --out "
            f"{options.folder}` writes some, and the source of sdesim has them in figures/"
        )
    found = [e for e in found if options.paper in (None, e.paper) and options.verdict in (None, e.verdict)]
    print(registry.as_text(found))
    if options.json is not None:
        write_text(options.json, json.dumps(registry.as_json(found), indent=1, ensure_ascii=False) + "\n")
    if options.page is not None:
        write_text(options.page, registry.page(found))
    return 0


def _tried_before(name: str, preset: str, options: Options) -> list[str] | None:
    """The claims of a figure that were tried at smoke size, where another is due; None where all are to be tried.

    Raises:
        ValueError: if a larger run is asked for and there is no record of the small one.
    """
    if preset == "smoke":
        return None
    kept = breaks.current(name, MODULES[name], options.folder)
    if kept.get("preset") == "smoke":
        return list(kept["breaks"])
    if options.from_ is not None:
        return None
    raise ValueError(
        f"preset={preset!r}: {breaks.path_of(name, options.folder)} does not say which claims of {name} were tried at "
        f"smoke size; run `sdesim claims {name} --break --record` first"
    )


def _tried(name: str, options: Options) -> int:
    """Run a figure under wrong models, at other seeds, and at another size."""
    experiment, new, status = EXPERIMENTS[name], {}, 0
    say = lambda text: print(f"{name}: {text}", file=sys.stderr, flush=True)
    if options.break_:
        kept = None if options.from_ is None else kept_in(experiment, options.from_)
        preset = options.preset if kept is None else kept.preset
        besides = _tried_before(name, preset, options)
        broken = breaks.under_wrong_models(experiment, preset=preset, besides=besides, kept=kept, say=say)
        print(f"{name}\n{breaks.table(broken)}\n", flush=True)
        new |= breaks.as_record(broken) if besides is None else {"larger": breaks.as_record(broken)}
        status = int(not all(broken.breaks().values()))
    if options.seeds is not None:
        held = breaks.at_seeds(experiment, options.preset, options.seeds, say)
        print(f"{name} [{options.preset} preset]: of {options.seeds} other seeds claims hold at")
        print("\n".join(f"{count:>4}  {id}" for id, count in held.items()), flush=True)
        new["seeds"] = {"preset": options.preset, "count": options.seeds, "held": held}
    if options.judge:
        found, seconds = breaks.at_preset(experiment, options.preset)
        print(f"{name} [{options.preset} preset], {seconds:.1f} s\n{claims.table(found)}", flush=True)
        new["judged"] = breaks.judged_record(found, options.preset, seconds)
    if options.record:
        print(f"wrote {breaks.record(name, MODULES[name], options.folder, new)}")
    return status
