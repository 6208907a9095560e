"""Which wrong model breaks which claim of a figure, at which seeds and sizes its claims hold, and the file of it.

NAME.breaks.json lies beside NAME.claims.json, with a hash of the figure's own sources: of others it is stale.
"""

import ast
import contextlib
import dataclasses
import json
import math
import pathlib
import time
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from sdesim import source
from sdesim.claims import Claim, Verdict, failed
from sdesim.ensembles.setup import instead
from sdesim.papers.frame import formulas, mutations
from sdesim.papers.frame.experiment import Experiment, Kept, judged
from sdesim.papers.frame.mutations import Mutation
from sdesim.results.files import write_text

PAPERS = "papers"
Say = Callable[[str], Any]


def sources(module: str) -> list[str]:
    """The files of a figure and of what it shares with other figures of the papers, but for the frame of all.

    A picture decides no claim, and is none of them.

    Args:
        module: that has its `EXPERIMENT`, dotted.

    Returns:
        Paths relative to sdesim, sorted.
    """
    found, due = set(), [module.removeprefix("sdesim.")]
    while due:
        name = due.pop()
        if name.count(".") < 2 or name.startswith(f"{PAPERS}.frame."):
            continue
        for file in source.modules(name):
            if file not in found and not file.endswith("/picture.py"):
                found.add(file)
                tree = ast.parse((source.package() / file).read_text(encoding="utf-8"))
                due += [_module(n) for n in _imported(tree) if n.startswith(f"sdesim.{PAPERS}.")]
    return sorted(found)


def _imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _module(name: str) -> str:
    """Of `module.name` or of a module its name within sdesim."""
    here = source.package().joinpath(*name.split(".")[1:])
    name = name if here.is_dir() or here.with_suffix(".py").is_file() else name.rpartition(".")[0]
    return name.removeprefix("sdesim.")


def hash_of(module: str) -> str:
    """A hash of a figure's own sources.

    Args:
        module: that has its `EXPERIMENT`, dotted.
    """
    return source.hash_of(sources(module))[:16]


# -- a figure under wrong models ---------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Broken:
    """What became of a figure's counted claims under wrong models.

    Attributes:
        preset: the size at which they were tried.
        settings: those numbers of the configuration that are not the preset's.
        right: what was found of them without any, of those that hold.
        untried: the verdict of those that do not, of which nothing can be learned.
        wrong: what was found under each, by the name of what is wrong.
        says: what is wrong, by name.
        refused: the wrong models that the figure does not run or judge, and why.
        misjudged: those in which formulas alone are wrong, and no run.
    """

    preset: str
    settings: dict[str, Any]
    right: list[Claim]
    untried: dict[str, Verdict]
    wrong: dict[str, list[Claim]]
    says: dict[str, str]
    refused: dict[str, str]
    misjudged: frozenset[str]

    @property
    def predictions(self) -> list[str]:
        """The claims on predictions alone: the same to the last digit under every wrong run, not so of a formula."""
        is_run = lambda name: name not in self.misjudged
        values = {name: {c.id: c.value for c in found} for name, found in self.wrong.items()}
        differ = lambda c, runs: any(v.get(c.id) != c.value for n, v in values.items() if is_run(n) == runs)
        return [c.id for c in self.right if any(map(is_run, values)) and not differ(c, True) and differ(c, False)]

    def breaks(self) -> dict[str, dict[str, float]]:
        """Of each claim what breaks it, and the value that it then has."""
        return {
            c.id: {name: w.value for name, found in self.wrong.items() for w in failed(found) if w.id == c.id}
            for c in self.right
        }


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """A wrong model may diverge, or be too stiff: nobody need be told."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def under_wrong_models(
    experiment: Experiment,
    *,
    preset: str = "smoke",
    besides: Collection[str] | None = None,
    only: tuple[str, ...] = (),
    kept: Kept | None = None,
    say: Say = lambda text: None,
) -> Broken:
    """Judge a figure under every mutation that applies, of its own run or of what a file keeps.

    A formula of theory is wrong in the judgment alone, unless the run asks for it too. Of a figure that trains, and of
    what a file keeps, no mutation is tried that needs another run.

    Args:
        experiment: the figure.
        preset: the size of its own run, by name.
        besides: claims that were tried at a smaller size. The others alone are tried then, and as a larger run is
            dear, until each of them is broken by something.
        only: names of what is tried alone; all by default.
        kept: what is judged; by default what the preset gives, which is run.
        say: is told how far it is.

    Returns:
        What was found.
    """
    ran: list[tuple[Any, Any]] = []
    asked: dict[str, set[str]] = {"run": set(), "judgment": set()}
    rerun = kept is None and not experiment.trains

    def noted(phase: str) -> Callable[[str, Any], Any]:
        return lambda name, value: (asked[phase].add(name), value)[1]

    def note(model: Any, stepper: Any):
        ran.append((model, stepper))
        return model, stepper

    with _quiet():
        if kept is None:
            config = experiment.preset(preset)
            with instead(note), formulas.changed(noted("run")):
                kept = Kept(config, preset, experiment.run(config, False))
        with formulas.changed(noted("judgment")):
            found = judged(experiment, kept.config, kept.data, kept.preset)
    counted = [c for c in found if c.counted and c.id not in (besides or ())]
    right = [c for c in counted if c.verdict == "holds"]
    wrong, says, refused, misjudged = {}, {}, {}, set()
    left = {c.id for c in right}

    def attempt(name: str, text: str, make: Callable[[], list[Claim]]) -> None:
        if (only and name not in only) or (besides is not None and rerun and not left):
            return
        say(f"{name}: {text}")
        with _quiet():
            try:
                wrong[name], says[name] = make(), text
                left.difference_update(c.id for c in failed(wrong[name]))
            except Exception as error:  # of what a figure never has to bear, anything may come
                refused[name] = " ".join(f"{type(error).__name__}: {error}".split())[:200]

    for name, mutation in mutations.tried(experiment.mutations).items():
        if (rerun or not mutation.runs) and mutation.concerns(ran, kept.data):
            misjudged |= {name} if mutation.misjudges else set()
            attempt(name, mutation.says, lambda m=mutation: mutated(experiment, m, kept))
    for formula in sorted(asked["run"] | asked["judgment"]):
        if formula in asked["run"] and not rerun:
            continue
        for words, factor in formulas.FACTORS.items():
            again = formula in asked["run"]
            of = formulas.wrong(formula, factor)
            make = lambda of=of, again=again: _misjudged(experiment, kept, of, again)
            misjudged.add(f"{formula} {words}")
            attempt(f"{formula} {words}", f"theory's {formula} times {factor:g}", make)
    untried: dict[str, Verdict] = {c.id: c.verdict for c in counted if c.verdict != "holds"}
    usual = dataclasses.asdict(experiment.preset(kept.preset))
    settings = {name: v for name, v in dataclasses.asdict(kept.config).items() if v != usual[name]}
    return Broken(kept.preset, settings, right, untried, wrong, says, refused, frozenset(misjudged))


def mutated(experiment: Experiment, mutation: Mutation, kept: Kept) -> list[Claim]:
    """What is found of a figure's statements where something is wrong.

    Args:
        experiment: the figure.
        mutation: what is wrong.
        kept: the right configuration, its preset, and what it left, which is run anew where the run is wrong.
    """
    config, data = kept.config, kept.data
    if mutation.runs:
        with mutation.wrong():
            data = experiment.run(config if mutation.config is None else mutation.config(config), False)
    data = data if mutation.data is None else mutation.data(data)
    with mutation.misjudged():
        return judged(experiment, config, data, kept.preset)


def _misjudged(experiment: Experiment, kept: Kept, wrong: Callable[[str, Any], Any], again: bool) -> list[Claim]:
    with formulas.changed(wrong), instead(lambda model, stepper: (model, stepper)):
        data = experiment.run(kept.config, False) if again else kept.data
        return judged(experiment, kept.config, data, kept.preset)


def table(broken: Broken) -> str:
    """Claims and what is wrong, in aligned text: the value where the claim fails, a dot where it does not.

    Args:
        broken: what was found.
    """
    width = max(map(len, [*broken.wrong, ""]))
    values = [broken.breaks()[c.id] for c in broken.right]
    lines = [f"{'':{width}}  {' '.join(f'{i:>9}' for i in range(1, len(values) + 1))}"]
    for name in broken.wrong:
        cells = [f"{v[name]:9.3g}" if name in v else f"{'.':>9}" for v in values]
        lines.append(f"{name:{width}}  {' '.join(cells)}")
    lines.append("")
    lines += [f"{i:>3}  {c.id}: {c.statement}" for i, c in enumerate(broken.right, 1)]
    lines += [f"refused: {name}: {why}" for name, why in broken.refused.items()]
    lines += [f"not tried: {id} is {verdict} without any" for id, verdict in broken.untried.items()]
    left = [c.id for c, v in zip(broken.right, values, strict=True) if not v]
    lines.append(f"nothing breaks {', '.join(left)}" if left else "each of them is broken by something")
    return "\n".join(lines)


# -- at other seeds ----------------------------------------------------------------------------------------------------


def at_seeds(experiment: Experiment, preset: str, seeds: int, say: Say = lambda text: None) -> dict[str, int]:
    """At how many other seeds each counted claim holds.

    Args:
        experiment: the figure.
        preset: by name.
        seeds: how many: those from 1 on.
        say: is told how far it is.

    Returns:
        Numbers by claim.
    """
    held: dict[str, int] = {}
    for seed in range(1, seeds + 1):
        say(f"seed {seed}")
        config = dataclasses.replace(experiment.preset(preset), seed=seed)
        with _quiet():
            found = judged(experiment, config, experiment.run(config, False), preset)
        for claim in found:
            if claim.counted:
                held[claim.id] = held.get(claim.id, 0) + (claim.verdict == "holds")
    return held


def at_preset(experiment: Experiment, preset: str) -> tuple[list[Claim], float]:
    """What is found of a figure at one of its sizes, and how long it took.

    Args:
        experiment: the figure.
        preset: by name.

    Returns:
        The claims, and seconds.
    """
    began = time.perf_counter()
    config = experiment.preset(preset)
    with _quiet():
        found = judged(experiment, config, experiment.run(config, False), preset)
    return found, time.perf_counter() - began


# -- the record --------------------------------------------------------------------------------------------------------


def path_of(name: str, folder: pathlib.Path) -> pathlib.Path:
    """Where a figure's record lies.

    Args:
        name: of the figure.
        folder: of figures.
    """
    return folder / f"{name}.breaks.json"


def read(name: str, folder: pathlib.Path) -> dict[str, Any]:
    """A figure's record; empty where there is none.

    Args:
        name: of the figure.
        folder: of figures.
    """
    path = path_of(name, folder)
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def current(name: str, module: str, folder: pathlib.Path) -> dict[str, Any]:
    """A figure's record; empty where there is none of the sources as they are.

    Args:
        name: of the figure.
        module: that has its `EXPERIMENT`, dotted.
        folder: of figures.
    """
    kept = read(name, folder)
    return kept if kept.get("sources") == hash_of(module) else {}


def tries(kept: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What a record says of wrong models, at one size after the other, as `as_record` has each.

    Claims that could not be tried at the first were tried at the larger one.

    Args:
        kept: the record.
    """
    return [of for of in (kept, kept.get("larger", {})) if "breaks" in of]


def record(name: str, module: str, folder: pathlib.Path, new: Mapping[str, Any]) -> pathlib.Path:
    """Write what was found of a figure into its record, in which of the same sources the rest stays.

    Args:
        name: of the figure.
        module: that has its `EXPERIMENT`, dotted.
        folder: of figures.
        new: parts of the record: those of `as_record`, "larger", "seeds", "judged".

    Returns:
        The path of the record.
    """
    path = path_of(name, folder)
    whole = dict(sorted({**current(name, module, folder), **new, "sources": hash_of(module)}.items()))
    write_text(path, json.dumps(whole, indent=1, ensure_ascii=False) + "\n")
    return path


def as_record(broken: Broken) -> dict[str, Any]:
    """What a record keeps of wrong models, values with four digits; None for what is not finite.

    Args:
        broken: what was found.
    """
    breaks = {id: {name: _short(v) for name, v in of.items()} for id, of in broken.breaks().items()}
    return {
        "breaks": breaks,
        "predictions": broken.predictions,
        "preset": broken.preset,
        "refused": sorted(broken.refused),
        "settings": broken.settings,
        "tried": broken.says,
        "untried": broken.untried,
    }


def judged_record(found: Sequence[Claim], preset: str, seconds: float) -> dict[str, Any]:
    """What a record keeps of a figure at another size than that of its claims, values with four digits.

    Args:
        found: as `at_preset` gives it.
        preset: by name.
        seconds: that it took.
    """
    return {
        "preset": preset,
        "seconds": round(seconds, 1),
        "values": {c.id: _short(c.value) for c in found},
        "verdicts": {c.id: c.verdict for c in found},
    }


def _short(value: float) -> float | None:
    """With four digits; None for what is not finite."""
    return float(f"{value:.4g}") if math.isfinite(value) else None
