"""`sdesim bench`: measure, print, write."""

import dataclasses
import pathlib
import sys
from collections.abc import Callable, Sequence

from sdesim import source
from sdesim.bench import against, interleaved, native, report
from sdesim.bench import gpu as gpus
from sdesim.bench.peers import VARIANTS, Variant
from sdesim.bench.races import RACERS, variants_of
from sdesim.bench.trainers import TRAINERS
from sdesim.bench.workloads import (
    RACES,
    TRAININGS,
    WORKLOADS,
    AnyWorkload,
    Workload,
    over_cores,
    scaling,
)
from sdesim.cli.overview import parse_options
from sdesim.cli.usage import UsageError
from sdesim.cores import cores
from sdesim.fields import check_choice, check_count
from sdesim.results.files import check_writable

KNOWN: dict[str, AnyWorkload] = {**WORKLOADS, **TRAININGS, **RACES}


@dataclasses.dataclass(frozen=True)
class Options:
    """Measure sdesim on one core against every other way to run the same iteration that is installed."""

    quick: bool = False
    """Fewer steps, rounds and variants, no scaling: under a minute."""
    json: pathlib.Path | None = None
    """File to write all rows to."""
    out: pathlib.Path | None = None
    """Folder to write the picture bench.png to."""
    record: pathlib.Path | None = None
    """Append the rows that matter to this record; without a file, to docs/benchmarks.md of the source."""
    workloads: tuple[str, ...] = ()
    """Workloads, by name; all by default."""
    variants: tuple[str, ...] = ()
    """Variants, by name; all that are installed by default."""
    gpu: bool = False
    """Measure on the GPU alone, and whether it is right: some minutes. Refused where JAX sees none."""
    against: str | None = None
    """Compare with sdesim at this commit alone, in place of other ways; needs a checkout."""
    rounds: int | None = None
    """Interleaved rounds; 7 by default, 3 with --quick, 15 with --against."""
    steps: int | None = None
    """Steps of every workload, in place of its own."""
    scaling: bool = True
    """Measure how sdesim's speed depends on the sizes."""

    def check(self) -> None:
        """Refuse values that mean nothing here.

        Raises:
            ValueError: naming the option, its value and what would be right.
        """
        for name in self.workloads:
            check_choice("workloads", name, KNOWN)
        for name in self.variants:
            check_choice("variants", name, {**VARIANTS, **TRAINERS, **RACERS})
        for name in ("rounds", "steps"):
            if getattr(self, name) is not None:
                check_count(name, getattr(self, name))
        others = {"out": self.out, "record": self.record, "variants": self.variants or None}
        if self.against is not None and (given := [name for name, value in others.items() if value is not None]):
            raise ValueError(
                f"against={self.against!r}: compares sdesim with itself alone; leave {', '.join(given)} out"
            )
        alone = {"quick": self.quick, "workloads": self.workloads, "variants": self.variants, "steps": self.steps}
        alone["against"] = self.against
        if self.gpu and (given := [name for name, value in alone.items() if value]):
            raise ValueError(f"gpu=True: measures what a GPU is for; leave {', '.join(given)} out")
        if self.out is not None:
            check_writable(self.out)
        for name in ("json", "record"):
            path = getattr(self, name)
            if path is not None and (path.is_dir() or not path.parent.is_dir()):
                raise ValueError(f"{name}={str(path)!r}: must be a file in a folder that exists")


def parse(arguments: Sequence[str]) -> Options:
    """Options of the command line.

    Args:
        arguments: after `sdesim bench`.

    Returns:
        The options, checked.

    Raises:
        ValueError: for a bad value, and for --record without a file where sdesim is not run from its source.
    """
    arguments = list(arguments)
    for i, argument in enumerate(arguments):
        bare = i + 1 == len(arguments) or arguments[i + 1].startswith("-")
        if bare and argument in ("--workloads", "--variants"):
            raise ValueError(f"{argument}: needs at least one name")
        if bare and argument == "--record":
            if (root := source.checkout()) is None:
                raise ValueError("--record: sdesim does not run from its source here; give a file")
            arguments[i] = f"--record={root / 'docs' / 'benchmarks.md'}"
    options = parse_options(Options, "bench", arguments)
    options.check()
    return options


def run(options: Options) -> report.Report:
    """Measure what the options ask for, print it and write it.

    Args:
        options: that were checked.

    Returns:
        What was measured; nothing where sdesim was compared with another commit of itself.
    """
    say = lambda line: print(f"sdesim: {line}", file=sys.stderr, flush=True)
    result = report.Report()
    if options.against is not None:
        return _against(options, options.against, say)
    rounds = options.rounds or (3 if options.quick or options.gpu else 7)
    chosen = _chosen(options)
    if options.gpu:
        return _on_a_gpu(options, interleaved.device(chosen[0]), rounds, say)
    for workload in chosen:
        variants = _variants(workload, options, say if workload is chosen[0] else None)
        say(f"{workload.name}: {', '.join(v.name for v in variants)}")
        result.workloads[workload.name] = workload
        result.variants.update({(workload.name, v.name): v for v in variants})
        result.rows.extend(interleaved.measure(workload, variants, rounds, say))
    device = {"platform": "", "kind": ""}
    try:
        device = interleaved.device(chosen[0])
        simulated = [w for w in chosen if isinstance(w, Workload)]
        if simulated and native.compiler() is not None:
            rate = interleaved.generator_rate(simulated[0], options.quick)
            # Both words of a pair are used in every workload: one word an agent's coordinate and step.
            result.ceilings.update({w.name: (rate, "the random words alone, one core") for w in simulated})
    except interleaved.WorkerError as error:
        say(f"the ceiling is left out: {error}")
    if options.scaling and not options.quick:
        say("scaling")
        series = {**scaling(), "cores": over_cores(len(cores()))}
        for size, points in series.items():
            result.series[size] = points
            for value, workload in points:
                variant = dataclasses.replace(VARIANTS["sdesim"], cores=value if size == "cores" else 1)
                result.rows.extend(interleaved.measure(workload, [variant], min(rounds, 3), say))
    if device["platform"] == "gpu":
        return _on_a_gpu(options, device, rounds, say, result)
    _write(result, options, "")
    return result


def _on_a_gpu(
    options: Options, device: dict, rounds: int, say: Callable[[str], None], result: report.Report | None = None
) -> report.Report:
    """Measure on the GPU, beside what was measured without it, print it and write it."""
    if device["platform"] != "gpu":
        what = f"{device['platform']} ({device['kind']})"
        raise UsageError(f"gpu=True: JAX sees no GPU here and computes on {what}; install jax[cuda12], or leave it out")
    result = report.Report() if result is None else result
    say(f"on the GPU, {device['kind']}")
    rows, ceilings, notes = gpus.run(device, rounds, say)
    result.rows.extend(rows)
    result.ceilings.update(ceilings)
    result.notes.extend(notes)
    result.workloads.update({w.name: w for _, w in gpus.workloads()} | {name: w for w, name, _ in gpus.others()})
    _write(result, options, device["kind"])
    return result


def _chosen(options: Options) -> list[AnyWorkload]:
    # A quick run trains once, with the agents that say how coupled training compares.
    usual = [name for name in KNOWN if not (options.quick and name == "cnn-one")]
    chosen = [KNOWN[name] for name in options.workloads or usual]
    if options.steps is not None:
        chosen = [dataclasses.replace(workload, steps=options.steps) for workload in chosen]
    return chosen


def _against(options: Options, commit: str, say: Callable[[str], None]) -> report.Report:
    """Compare with another commit, print it and write it; the report is empty."""
    found = against.measure(commit, _chosen(options), options.rounds or (3 if options.quick else 15), say)
    print(f"{report.hardware('')}\n{report.versions()}\n")
    print("\n".join(report.aligned(*against.rows(found))))
    if options.json is not None:
        report.write_json(found, options.json, options)
        print(f"\nwrote {options.json}")
    return report.Report()


def _variants(workload: AnyWorkload, options: Options, say: Callable[[str], None] | None) -> list[Variant]:
    """The variants that a workload is measured with; `say` is told once of those that are not installed."""
    known = variants_of(workload)
    wanted = [known[name] for name in options.variants or known if name in known]
    here = [v for v in wanted if v.installed()]
    if say is not None and len(here) < len(wanted):
        say(f"not installed, so not measured: {', '.join(v.name for v in wanted if v not in here)}")
    if options.quick:
        here = [dataclasses.replace(v, share=v.quick or v.share) for v in here if v.quick or options.variants]
    if not isinstance(workload, Workload):
        return here
    if options.quick and not options.variants and workload.name != "w1-uniform":
        # One workload says what more cores give and how NumPy does; diffrax compiles W2 slowly.
        here = [v for v in here if v.cores is not None and v.name != "numpy" and not (v.gaussian and workload.dims > 1)]
    return [v for v in here if v.fits(workload)]


def _write(result: report.Report, options: Options, gpu: str) -> None:
    print(f"{report.hardware(gpu)}\n{report.versions()}\n")
    print(report.table(result))
    written = []
    if options.json is not None:
        report.write_json(result.rows, options.json, options)
        written.append(str(options.json))
    if options.out is not None and result.rows:
        report.picture(result, options.out / "bench.png")
        written.append(str(options.out / "bench.png"))
    if options.record is not None:
        count = report.record(result, options.record, gpu)
        written.append(f"{count} rows to {options.record}")
    if written:
        print(f"\nwrote {', '.join(written)}")
