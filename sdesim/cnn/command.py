"""`sdesim train` and `sdesim data`: the trainer and its data on the command line."""

import dataclasses
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import tyro
import xarray as xr

from sdesim import plotting
from sdesim.fields import check_choice, check_count

Data = Literal["cifar10", "synthetic"]


@dataclasses.dataclass(frozen=True)
class Options:
    """Train coupled agents on images, measure them each epoch, and draw a summary."""

    algorithm: str = "easgd"
    """sgd, msgd, asgd, mvasgd, qsgd, sd-qsgd, easgd, easgd-wm, eamsgd, downpour, mdownpour, filter, saturating-filter
    or tree."""
    agents: int = 4
    """Agents p of a run."""
    k: float | None = None
    """Coupling gain, in 1/time: eta * k is the weight of the pull in one step. By default the algorithm's own."""
    eta: float = 0.05
    """Learning rate."""
    momentum: float = 0.9
    """Momentum delta, of the algorithms that have one."""
    period: int = 1
    """Steps between two communications, tau."""
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
    network: str = "three-layer"
    """three-layer (BS 6.1), seven-layer (Z 4.1; add --crop 28) or low-rank (Z 6.1.2)."""
    data: Data = "cifar10"
    """cifar10 (see `sdesim data cifar10`), or synthetic images."""
    data_folder: Path | None = None
    """Folder that holds CIFAR-10 in one of its authors' layouts; the cache by default."""
    images: int | None = None
    """Use this many training and a fifth as many test images alone."""
    schedule: Literal["stall", "constant"] = "stall"
    """stall: divide an agent's rate by 5, 2, 2 when its validation loss stalls (BS 6.1)."""
    weight_decay: float = 0.0
    """lambda of lambda / 2 |x|^2."""
    crop: int | None = None
    """Side of random crops, with flips; whole images by default."""
    precision: str = "float32"
    """float32, tf32 or bfloat16."""
    out: Path | None = None
    """Folder for history.nc, summary.png and checkpoints; runs/ALGORITHM by default."""
    resume: bool = False
    """Go on with the training in that folder."""


def parse(arguments: Sequence[str]) -> Options:
    """Options from the command line; tyro ends the process on a mistake, with what would be right."""
    return tyro.cli(Options, prog="sdesim train", args=list(arguments))


def run(options: Options) -> xr.Dataset:
    """Train as the options say, tell how it goes, and write the summary picture.

    Raises:
        ValueError, FileNotFoundError, FileExistsError: as `sdesim.cnn.train` and `sdesim.cnn.cifar10`.
    """
    from sdesim import cnn

    check_choice("network", options.network, cnn.NETWORKS)
    images = load(options.data, options.data_folder, options.images)
    data = cnn.split(images, options.seed)
    network = cnn.NETWORKS[options.network](classes=images.classes)
    numbers: dict[str, Any] = dict(agents=options.agents, eta=options.eta)
    algorithm = cnn.algorithm(
        options.algorithm,
        **numbers,
        k=options.k,
        momentum=options.momentum,
        period=options.period,
        batches=max(1, len(data.train_y) // options.batch),
    )
    out = Path("runs") / options.algorithm if options.out is None else options.out
    passed = ("epochs", "batch", "runs", "seed", "same_start", "weight_decay", "crop", "precision", "resume")
    began = time.perf_counter()
    history = cnn.train(
        network,
        data,
        algorithm,
        **numbers,
        **{name: getattr(options, name) for name in passed},
        schedule=cnn.Stall() if options.schedule == "stall" else cnn.Constant(),
        folder=out,
        progress=True,
    )
    with plotting.looks():
        plotting.save(cnn.summary(history, _title(options)), out / "summary.png")
    last = history.isel(epoch=-1)
    print(f"{_title(options)}: {history.sizes['epoch'] - 1} epochs, {time.perf_counter() - began:.0f} s now")
    for name in ("train", "validation", "test"):
        loss, accuracy = (last[f"{name}_{what}"].mean("run") for what in ("loss", "accuracy"))
        print(
            f"{name:>10}  center: loss {float(loss[-1]):.4f}, accuracy {100 * float(accuracy[-1]):.2f} %"
            f"   agents: loss {float(loss[:-1].mean()):.4f}, accuracy {100 * float(accuracy[:-1].mean()):.2f} %"
        )
    for run_number, step in enumerate(history["diverged"].values):
        if step >= 0:
            print(f"sdesim: warning: run {run_number} diverged at step {step}; it is kept and marked", file=sys.stderr)
    print(f"wrote {out / 'history.nc'}, {out / 'summary.png'}")
    return history


def _title(options: Options) -> str:
    many = f"{options.agents} agents" if options.agents > 1 else "one agent"
    return f"{options.algorithm} on {options.data}, {many}"


def load(data: Data, folder: Path | None, images: int | None):
    """The images that the options name."""
    from sdesim import cnn

    if images is not None:
        check_count("images", images, least=10)
    if data == "synthetic":
        return cnn.synthetic(images or 2000, max(10, (images or 2000) // 5))
    whole = cnn.cifar10(folder)
    if images is None:
        return whole
    test = max(10, images // 5)
    return cnn.Images(whole.train_x[:images], whole.train_y[:images], whole.test_x[:test], whole.test_y[:test])


def fetch(arguments: Sequence[str]) -> Path:
    """`sdesim data cifar10 [--folder DIR]`: fetch it unless it is there, verify it, and say where it is.

    Raises:
        ValueError, ConnectionError: as `sdesim.cnn.fetch_cifar10`.
    """
    from sdesim import cnn

    @dataclasses.dataclass(frozen=True)
    class Fetch:
        folder: Path | None = None
        """Folder to fetch into; by default the cache: $SDESIM_CACHE, or ~/.cache/sdesim."""

    if not arguments or arguments[0] not in ("cifar10", "-h", "--help"):
        raise ValueError(f"data {' '.join(arguments)!r}: the data set that there is is cifar10: `sdesim data cifar10`")
    given = arguments[1:] if arguments[0] == "cifar10" else arguments
    options = tyro.cli(Fetch, prog="sdesim data cifar10", args=list(given))
    return cnn.fetch_cifar10(options.folder, progress=sys.stderr.isatty())
