"""`sdesim train` and `sdesim data`: the trainer and its data on the command line."""

import contextlib
import dataclasses
import json
import math
import sys
import time
import tomllib
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
import xarray as xr

from sdesim import training
from sdesim._version import __version__
from sdesim.asynchrony import Asynchronous
from sdesim.cli import workers
from sdesim.cli.overview import parse_options
from sdesim.cli.usage import check_given
from sdesim.fields import check_choice, check_count, one_number, shown
from sdesim.plot import theme
from sdesim.plot.lines import mean_over_runs
from sdesim.results.datasets import read_dataset
from sdesim.results.files import WriteError, write_text
from sdesim.training import photos
from sdesim.training.asked import BY_DATA, SCHEDULES

Data = Literal["cifar10", "synthetic", "imagenet", "text", "tabular"]
AGENTS = 4  # of a run with a coupling
OPTIONS = "training.toml"
_ALGORITHMS = f"{', '.join(training.NAMES[:-1])} or {training.NAMES[-1]}."
_OPTIMIZERS = (
    "Each agent's own optimizer, of optax, in place of a step with the algorithm's momentum: "
    f"{', '.join(training.OPTIMIZERS[:-1])} or {training.OPTIMIZERS[-1]}."
)
_NAMED = f"{_ALGORITHMS} easgd by default, or what goes with the protocol."
_PROTOCOLS = (
    "Agents as workers in virtual time, who meet by this protocol: "
    f"{', '.join([*workers.PROTOCOLS][:-1])} or {[*workers.PROTOCOLS][-1]}; all in step by default."
)
_COMPUTE = f"Law of the times of workers' jobs: {', '.join([*workers.LAWS][:-1])} or {[*workers.LAWS][-1]}."
_POPULATION = f"Agents p of a run; by default {AGENTS}, or 1 of an algorithm without coupling."


def _shown(metavar: str, text: str | None = None) -> Any:
    """How the help shows an option that is None unless it is given: what that means stands in its text."""
    return tyro.conf.arg(metavar=metavar, help=text, help_behavior_hint="")


@dataclasses.dataclass(frozen=True)
class Options:
    """Train coupled agents on images, text or rows, measure them each epoch, and draw a summary."""

    algorithm: Annotated[str | None, _shown("NAME", _NAMED)] = None
    agents: Annotated[int | None, _shown("INT", _POPULATION)] = None
    k: Annotated[float | None, _shown("FLOAT")] = None
    """Coupling gain, in 1/time: eta * k is the weight of the pull in one step. By default the algorithm's own."""
    optimizer: Annotated[str | None, _shown("NAME", _OPTIMIZERS)] = None
    optimizer_numbers: Annotated[tuple[str, ...] | None, _shown("NAME=NUMBER [NAME=NUMBER ...]")] = None
    """Numbers of the optimizer by their names in optax, such as b2=0.95 weight_decay=0.1."""
    eta: Annotated[float | None, _shown("FLOAT")] = None
    """Learning rate; 0.05 by default, and to be given beside an optimizer."""
    momentum: Annotated[float | None, _shown("FLOAT")] = None
    """Momentum delta, of the algorithms that have one; 0.9 by default, and 0 beside an optimizer."""
    period: Annotated[int | None, _shown("INT")] = None
    """Steps between two communications, tau, of the algorithms and protocols that have one; 1 by default."""
    late: Annotated[int | None, _shown("INT")] = None
    """By how many steps a communication is late, while agents go on; less than the period. 0 by default."""
    average: Annotated[float | None, _shown("FLOAT")] = None
    """Weight of the past, below 1, in the moving average that is tested. By default the algorithm's own."""
    magnification: Annotated[float | None, _shown("FLOAT")] = None
    """M of sd-qsgd: how much stronger the best agent pulls at its spike; the number of agents by default."""
    relaxation: Annotated[float | None, _shown("FLOAT")] = None
    """T_r of sd-qsgd, in batches: how long the spike lasts. By default the algorithm's own."""
    fanout: Annotated[tuple[int, ...] | None, _shown("INT [INT ...]")] = None
    """Children of a node at each level of the tree, leaves first; by default all agents under one root."""
    width: Annotated[float | None, _shown("FLOAT")] = None
    """Distance at which saturating-filter saturates, in units of parameters. By default the algorithm's own."""
    lr: Annotated[float | None, _shown("FLOAT")] = None
    """Outer learning rate of diloco, slowmo and lookahead. By default the algorithm's own."""
    outer_momentum: Annotated[float | None, _shown("FLOAT")] = None
    """Momentum of the outer optimizer of diloco and slowmo. By default the algorithm's own."""
    alpha: Annotated[float | None, _shown("FLOAT")] = None
    """Growth coefficient of local-sgd's periods, at least (alpha / eta)^2 steps (QSR); none by default."""
    until: Annotated[int | None, _shown("INT")] = None
    """The step from which on local-sgd steps alone for a period (post-local SGD); from the start by default."""
    protocol: Annotated[str | None, _shown("NAME", _PROTOCOLS)] = None
    protocol_numbers: Annotated[tuple[str, ...] | None, _shown("NAME=NUMBER [NAME=NUMBER ...]")] = None
    """Numbers of the protocol by their names, such as threshold=4; of the tree up=1 down=10, or leaves=1 above=10."""
    compute: Annotated[str, tyro.conf.arg(metavar="NAME", help=_COMPUTE)] = "exponential"
    compute_numbers: Annotated[tuple[str, ...] | None, _shown("NAME=NUMBER [NAME=NUMBER ...]")] = None
    """Numbers of that law, such as shape=4 mean=0.03; its mean is 1 second by default."""
    bandwidth: Annotated[float | None, _shown("FLOAT")] = None
    """Bytes a second of workers' messages, which are as large as the network; no time by default."""
    latency: Annotated[float | None, _shown("FLOAT")] = None
    """Seconds that each message takes beside; none by default."""
    epochs: int = 10
    """Passes through the training set."""
    batch: int = 128
    """Images a step and agent."""
    runs: int = 1
    """Independent runs, trained side by side."""
    seed: int = 0
    """Seed of all random numbers."""
    same_start: bool = False
    """All agents of a run start at one point."""
    network: Annotated[str | None, _shown("NAME")] = None
    """three-layer (BS 6.1), seven-layer (Z 4.1; add --crop 28), eleven-layer (Z 4.1; add --crop 221) or low-rank (Z
    6.1.2) of images, transformer of text, perceptron of rows; by default three-layer, or the only one."""
    data: Data = "cifar10"
    """cifar10 (see `sdesim data cifar10`), synthetic images, imagenet (photographs of --data-folder), text (Genesis and
    Exodus, by characters), or tabular (progression of diabetes from ten measurements)."""
    data_folder: Annotated[Path | None, _shown("DIR")] = None
    """Folder that holds CIFAR-10 in one of its authors' layouts, the cache by default; or train/CLASS/*.JPEG and val
    likewise."""
    deal: Annotated[float | None, _shown("ALPHA")] = None
    """Deal each class to the agents by a Dirichlet law of this concentration; by default all have all samples."""
    images: Annotated[int | None, _shown("INT")] = None
    """Use this many training and a fifth as many test samples alone; all by default, 2000 of synthetic images."""
    lazy: bool = False
    """Decode photographs while training, again in each epoch, also where all would fit into memory."""
    schedule: Literal["stall", "constant"] = "stall"
    """stall: divide an agent's rate by 5, 2, 2 when its validation loss stalls (BS 6.1)."""
    weight_decay: float = 0.0
    """lambda of lambda / 2 |x|^2."""
    crop: Annotated[int | None, _shown("INT")] = None
    """Side of random crops, with flips; whole images by default."""
    precision: str = "float32"
    """float32, tf32 or bfloat16."""
    memory: Annotated[str | None, _shown("BYTES")] = None
    """Memory that may be used, such as 4GB; what is free by default."""
    out: Annotated[Path | None, _shown("DIR")] = None
    """Folder for history.nc, summary.png, training.toml and checkpoints; runs/ALGORITHM by default."""
    resume: bool = False
    """Go on with the training in that folder."""
    tensorboard: bool = False
    """Write event files for TensorBoard to that folder too."""

    @property
    def name(self) -> str:
        """Of the algorithm: as given, or what goes with the protocol.

        Raises:
            ValueError: for an unknown protocol.
        """
        if self.algorithm is not None or self.protocol is None:
            return self.algorithm or "easgd"
        check_choice("protocol", self.protocol, workers.PROTOCOLS)
        return workers.PROTOCOLS[self.protocol][1]

    @property
    def population(self) -> int:
        """Agents of a run: as given, or what the algorithm makes sense with.

        Raises:
            ValueError: for an unknown algorithm.
        """
        if self.agents is not None:
            return self.agents
        if training.algorithm(self.name).couples or self.protocol is not None:
            return math.prod(self.fanout) if self.fanout and self.name == "tree" else AGENTS
        return 1

    @property
    def stepper(self) -> Asynchronous | None:
        """Workers in virtual time, if a protocol is given.

        Raises:
            ValueError: for what is given beside no protocol, or does not fit it.
        """
        if self.protocol is not None:
            numbers = self.protocol_numbers, self.period, self.compute, self.compute_numbers
            return workers.stepper(self.protocol, *numbers, self.bandwidth, self.latency)
        for name in ("protocol_numbers", "compute_numbers", "bandwidth", "latency"):
            if (value := getattr(self, name)) is not None:
                raise ValueError(f"{name}={shown(value)}: needs a --protocol, by which workers take their time")
        return None


OWN = (
    *("k", "momentum", "period", "late", "average", "magnification", "relaxation", "fanout", "width"),
    *("lr", "outer_momentum", "alpha", "until"),
)
"""Options that are handed on only if they are given: what stands in their place is the algorithm's to say."""


def parse(arguments: Sequence[str]) -> Options:
    """Options from the command line; tyro ends the process on a mistake, with what would be right.

    Args:
        arguments: after `sdesim train`; the first may be a file of options, over which the others go.

    Returns:
        The options.

    Raises:
        FileNotFoundError: for a file that is not there.
        ValueError: for one that is no TOML, or has what is no option.
    """
    file, rest = [], list(arguments)
    if rest and rest[0].endswith(".toml"):
        file, rest = options_in(rest[0]), rest[1:]
    about = f"{Options.__doc__} FILE.toml as the first argument has options by their names; those after it go over it."
    return parse_options(Options, "train [FILE.toml]", [*file, *rest], about)


def options_in(path: str) -> list[str]:
    """The options of a file, as the command line has them.

    Args:
        path: of the file: TOML, of options by their names.

    Returns:
        Arguments.

    Raises:
        FileNotFoundError: if it is not there.
        ValueError: if it is no TOML, or has what is no option.
    """
    try:
        said = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: there is no such file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: is no TOML: {error}") from error
    names, found = [field.name for field in dataclasses.fields(Options)], []
    for name, value in said.items():
        try:
            check_choice("option", name.replace("-", "_"), names)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
        option = name.replace("_", "-")
        if isinstance(value, bool):
            found.append(f"--{option}" if value else f"--no-{option}")
        else:
            found += [f"--{option}", *map(str, value if isinstance(value, list) else [value])]
    return found


def as_file(options: Options) -> str:
    """Options as a file, from which `sdesim train` makes the training again.

    Args:
        options: of the training.

    Returns:
        TOML, without what is left to the algorithm or the network to choose, and without whether to resume.
    """
    lines = [f"# Made by sdesim {__version__}; `sdesim train THIS_FILE --out ELSEWHERE` makes it again."]
    for field in dataclasses.fields(Options):
        value = getattr(options, field.name)
        if value is not None and field.name != "resume":
            plain = str(value) if isinstance(value, Path) else value
            lines.append(f"{field.name.replace('_', '-')} = {json.dumps(plain, ensure_ascii=False)}")
    return "\n".join(lines) + "\n"


def run(options: Options) -> xr.Dataset:
    """Train as the options say, tell how it goes, and write the summary picture.

    Args:
        options: of the command line.

    Returns:
        The history, as `sdesim.training.train`.

    Raises:
        ValueError: as `sdesim.training.train` and `sdesim.training.cifar10`.
        FileNotFoundError: likewise.
        FileExistsError: likewise.
        WriteError: if the last epochs could not be written.
    """
    name = BY_DATA.get(options.data, "three-layer") if options.network is None else options.network
    check_choice("network", name, training.NETWORKS)
    check_count("batch", options.batch)
    images = training.load(options.data, options.data_folder, options.images, options.lazy)
    data = training.split(images, options.seed)
    network: Any = training.NETWORKS[name](images.outputs)
    given: dict[str, Any] = {n: value for n in OWN if (value := getattr(options, n)) is not None}
    if options.protocol is not None:
        given.pop("period", None)  # the protocol's
    algorithm = training.algorithm(options.name, **given)
    out = Path("runs") / options.name if options.out is None else options.out

    def keep_options(run: training.Training) -> None:  # once the folder is this training's
        with contextlib.suppress(OSError):  # of a full disk, which ends no training
            write_text(out / OPTIONS, as_file(options))

    callbacks = [keep_options, *([training.TensorBoard(out)] if options.tensorboard else [])]
    passed = ("eta", "epochs", "batch", "runs", "seed", "same_start", "weight_decay", "crop", "precision", "memory")
    began = time.perf_counter()
    with _in_words_of_the_command_line():
        trained = training.train(
            network,
            data,
            algorithm,
            agents=options.population,
            optimizer=_optimizer(options),
            stepper=options.stepper,
            deal=_deal(options),
            resume=options.resume,
            **{name: getattr(options, name) for name in passed},
            schedule=SCHEDULES[options.schedule](),
            folder=out,
            progress=True,
            callbacks=callbacks,
        )
    history = trained.history
    print(f"{_title(options)}: {history.sizes['epoch'] - 1} epochs, {time.perf_counter() - began:.0f} s now")
    print(table(history))
    for run_number, step in enumerate(history["diverged"].values):
        if step >= 0:
            print(f"sdesim: warning: run {run_number} diverged at step {step}; it is kept and marked", file=sys.stderr)
    with theme.looks():
        theme.save(training.summary(history, _title(options)), out / "summary.png")
    _check_kept(history, out)
    print(f"wrote {out / 'history.nc'}, {out / 'summary.png'}")
    return history


def _deal(options: Options) -> training.Dirichlet | None:
    """Who trains on which samples."""
    return None if options.deal is None else training.Dirichlet(one_number("deal", options.deal, zero=False))


def _optimizer(options: Options) -> Any:
    """Each agent's optimizer with its numbers, or None.

    Raises:
        ValueError: for numbers of no optimizer, and for what is no number.
    """
    if options.optimizer is None:
        if options.optimizer_numbers:
            raise ValueError(f"optimizer_numbers={options.optimizer_numbers}: need an --optimizer whose they are")
        return None
    numbers = workers.numbers_of("optimizer_numbers", options.optimizer_numbers)
    return training.optimizer(options.optimizer, **numbers)


def _check_kept(history: xr.Dataset, out: Path) -> None:
    """Say so if the disk did not take the last epochs; a training goes on without, and here it ends.

    Raises:
        WriteError: with what is there, and what to do.
    """
    path = out / "history.nc"
    kept = read_dataset(path).sizes["epoch"] if path.exists() else 0
    if kept < history.sizes["epoch"]:
        raise WriteError(
            f"out={str(out)!r}: history.nc could not be written to its end ({kept} of {history.sizes['epoch']} "
            "measurements are there); make room, and train what is missing with --resume"
        )


@contextlib.contextmanager
def _in_words_of_the_command_line() -> Iterator[None]:
    """Warnings as lines, at once and not after hours of training; a refused folder by options, not arguments."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_: print(f"sdesim: warning: {message}", file=sys.stderr)
        try:
            yield
        except (FileExistsError, ValueError) as error:
            said = str(error).replace("folder=", "--out ").replace("resume=True", "--resume")
            raise ValueError(said) from error


def table(history: xr.Dataset) -> str:
    """Losses and accuracies after the last epoch, means over the runs whose loss is finite still.

    Args:
        history: of a training.

    Returns:
        Lines of text.
    """
    last = mean_over_runs(history).isel(epoch=-1)
    lines = []
    for name in ("train", "validation", "test"):
        loss, rows = last[f"{name}_loss"], f"{name}_r2" in last
        score = last[f"{name}_r2"] if rows else 100 * last[f"{name}_accuracy"]
        says = (lambda value: f"R2 {float(value):.4f}") if rows else (lambda value: f"accuracy {float(value):.2f} %")
        lines.append(
            f"{name:>10}  center: loss {float(loss[-1]):.5g}, {says(score[-1])}"
            f"   agents: loss {float(loss[:-1].mean()):.5g}, {says(score[:-1].mean())}"
        )
    if (kept := int(last["runs"])) < (whole := history.sizes["run"]):
        lines.append(f"{'':>10}  means over {kept} of {whole} runs: the loss of the others is not finite")
    return "\n".join(lines)


def _title(options: Options) -> str:
    many = f"{options.population} agents" if options.population > 1 else "one agent"
    samples = {"text": "windows", "tabular": "rows"}.get(options.data, "images")
    few = "" if options.images is None else f"{options.images} {samples} of "
    by = "" if options.protocol is None else f", workers by {options.protocol}"
    return f"{options.name} on {few}{options.data}, {many}{by}"


@dataclasses.dataclass(frozen=True)
class Photographs:
    """Count the photographs of a folder in ImageNet's layout, and measure how fast they are decoded beside a step."""

    folder: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Folder with train/CLASS/*.JPEG and val/CLASS/*.JPEG."""
    images: int = 256
    """Photographs to decode for that."""
    side: int = photos.SIDE
    """Pixels to which the lesser side is scaled."""
    crop: int = 221
    """Pixels a side of what the network sees."""
    agents: int = AGENTS
    """Agents of a step."""
    batch: int = 32
    """Images a step and agent."""


def look(arguments: Sequence[str]) -> str:
    """`sdesim data imagenet --folder DIR`: what a folder has, and whether decoding keeps up with steps.

    Args:
        arguments: after `sdesim data imagenet`.

    Returns:
        Lines of text.

    Raises:
        ValueError: as `sdesim.training.imagenet`, and for a bad number.
        FileNotFoundError: as `sdesim.training.imagenet`.
    """
    asked = parse_options(Photographs, "data imagenet", arguments)
    whole = training.imagenet(asked.folder, side=asked.side, lazy=True)
    classes, photographs = whole.outputs, whole.train_x
    assert isinstance(photographs, training.Lazy)
    some = photographs[: check_count("images", asked.images, least=2)]
    one, all_cores = (_images_a_second(some, threads) for threads in (1, some.threads))
    x, y = some.read(), whole.train_y[: len(some)]
    small = training.split(training.Images(x, y, x[:0], y[:0]), validation=0.0)
    options = dict(agents=asked.agents, batch=asked.batch, crop=asked.crop, schedule=training.Constant())
    run = training.Training(
        training.ElevenLayer(classes), small, training.algorithm("easgd"), train_images=1, evaluation_batch=1, **options
    )
    run.step()  # compiled
    began = time.perf_counter()
    run.step(2)
    taken = 2 * run.images_a_step / (time.perf_counter() - began)
    enough = (
        "decoding keeps up" if all_cores > taken else f"steps would wait for images: {taken / one:.0f} cores would do"
    )
    return (
        f"{asked.folder}: {classes} classes, {len(whole.train_y)} images to train on, {len(whole.test_y)} to test on\n"
        f"decoded: {one:.0f} images/s by one thread, {all_cores:.0f} by {some.threads}\n"
        f"a step of the eleven-layer network, {asked.agents} agents, batches of {asked.batch}: {taken:.0f} images/s; "
        f"{enough}"
    )


def _images_a_second(images: training.Lazy, threads: int) -> float:
    some, began = training.Lazy(images.source, threads=threads)[: len(images)], time.perf_counter()
    some.read()
    return len(some) / (time.perf_counter() - began)


@dataclasses.dataclass(frozen=True)
class Fetch:
    """Fetch CIFAR-10 unless it is there, and verify it."""

    folder: Annotated[Path | None, _shown("DIR")] = None
    """Folder to fetch into; by default the cache: $SDESIM_CACHE, or ~/.cache/sdesim."""


def fetch(arguments: Sequence[str]) -> Path:
    """`sdesim data cifar10 [--folder DIR]`: fetch it unless it is there, verify it, and say where it is.

    `sdesim data imagenet --folder DIR` looks at a folder of the user's.

    Args:
        arguments: after `sdesim data`.

    Returns:
        The folder.

    Raises:
        ValueError: for another data set, or none; and as `sdesim.training.fetch_cifar10`.
        ConnectionError: as `sdesim.training.fetch_cifar10`.
    """
    if not arguments:
        raise ValueError("data: name the data set: `sdesim data cifar10`")
    name, *rest = arguments
    if name in ("-h", "--help"):
        rest = [name]
    else:
        check_choice("data", name, ("cifar10", "imagenet"))  # of which the second is `look`
    options = parse_options(Fetch, "data cifar10", rest)
    return training.fetch_cifar10(options.folder, progress=sys.stderr.isatty())


def main(command: str, arguments: Sequence[str]) -> int:
    """`sdesim train` or `sdesim data`.

    Args:
        command: "train" or "data".
        arguments: after it.

    Returns:
        The exit status.
    """
    if command == "data" and arguments[:1] in (["imagenet"], ("imagenet",)):
        print(look(arguments[1:]))
    elif command == "data":
        print(f"CIFAR-10 is in {fetch(arguments)}, all six parts as published")
    else:
        options = parse(arguments)
        check_given(options)
        run(options)
    return 0
