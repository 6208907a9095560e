"""What the experiments of Zhang's chapter 4 share: settings, methods and their learning rates, statistics, pictures.

Zhang measures asynchronous workers by the wall clock. Here all workers are in step, and iterations take the place of
time: of p workers that are equally fast and communicate for nothing, they are the same up to a unit. The rest is as
in Z 4.1: the seven-layer network on 28 x 28 crops with flips, pixels scaled to [0, 1], biases that start at 0, l2
regularization, one start for all workers and methods. Each method is tried with the learning rates of Z's Table 4.1,
and stands for the one of smallest test error (Z 4.2).
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from matplotlib import colormaps
from matplotlib.figure import Figure

from sdesim import training
from sdesim.claims import Statement
from sdesim.fields import check_count, check_sign
from sdesim.papers.frame import networks as net
from sdesim.papers.frame.curves import Curve, heading, plot_iterations
from sdesim.papers.frame.measured import Runs
from sdesim.statistics import greatest, least
from sdesim.training.schedule import StallState

Rates = tuple[float, ...]
IMAGES = {"cifar10": 50_000, "synthetic": 2_000}  # there are, to train with
CROP = 28


@dataclasses.dataclass(frozen=True)
class Config(net.Config):
    """Settings of Z 4.1, 4.2 and Table 4.1. The number of epochs and what is marked [C] are chosen."""

    units: int = 256
    """Units of the network's fully connected layer."""
    dropout: float = 0.5
    """Share of those units that are dropped in training."""
    weights: Literal["torch", "kaiming"] = "torch"
    """Law of the initial weights: Torch's, as Zhang's, or Kaiming's, which learns from the first iterations."""
    eta: float = 1.0
    """Factor of all the learning rates below."""
    momentum: float = 0.99
    """Momentum delta of EAMSGD, MDOWNPOUR and MSGD."""
    beta: float = 0.9
    """Moving rate of the center of EASGD and EAMSGD; that of each worker is beta / p."""
    moving: float = 0.001
    """Moving rate of the averages of MVADOWNPOUR and, there [C], MVASGD."""
    weight_decay: float = 1e-4
    """lambda of the loss's lambda / 2 |x|^2."""
    easgd: Rates = (0.05, 0.01, 0.005)
    """Learning rates of EASGD."""
    eamsgd: Rates = (0.01, 0.005, 0.001)
    """Learning rates of EAMSGD."""
    downpour: Rates = (0.005, 0.001, 0.0005)
    """Learning rates of DOWNPOUR, ADOWNPOUR and MVADOWNPOUR."""
    mdownpour: Rates = (0.00005, 0.00001, 0.000005)
    """Learning rates of MDOWNPOUR."""
    sgd: Rates = (0.05, 0.01, 0.005)
    """Learning rates of SGD, ASGD and MVASGD."""
    msgd: Rates = (0.001, 0.0005, 0.0001)
    """Learning rates of MSGD."""
    agents: tuple[int, ...] = (4, 8, 16)
    """Workers p of Figures 4.5, 4.6 and 4.7; the first number is that of 4.1 to 4.4, the last of 4.12 and 4.13."""
    periods: tuple[int, ...] = (1, 4, 16, 64)
    """Communication periods tau of Figures 4.1 to 4.4."""
    period: int = 10
    """Communication period of EASGD and EAMSGD in Figures 4.5 to 4.7 and 4.12."""
    long_periods: tuple[int, ...] = (1, 10, 100, 1000)
    """Communication periods of Figure 4.13."""
    rate: float = 0.01
    """Learning rate of Figure 4.13."""
    decay: float = 0.001
    """gamma [C] of the decaying learning rates eta / (1 + gamma t)^0.5 of Figure 4.13, in 1 / iteration."""

    def __post_init__(self):
        super().__post_init__()
        check_count("units", self.units)
        check_count("period", self.period)
        for name in ("eta", "rate", "decay"):
            check_sign(name, getattr(self, name), zero=False)
        for name in ("beta", "weight_decay"):
            check_sign(name, getattr(self, name))
        if not 0 < self.moving <= 1:
            raise ValueError(f"moving={self.moving}: must be greater than 0 and at most 1")
        for name in ("momentum", "dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}: must be from 0 to less than 1")
        for name, length in (("agents", 3), ("periods", 4), ("long_periods", None)):
            values = getattr(self, name)
            for value in values:
                check_count(name, value)
            if (length or max(len(values), 2)) != len(values) or list(values) != sorted(set(values)):
                raise ValueError(f"{name}={values}: must be {length or 'two or more'} numbers in growing order")
        for name in ("easgd", "eamsgd", "downpour", "mdownpour", "sgd", "msgd"):
            values = getattr(self, name)
            for value in values:
                check_sign(name, value, zero=False)
            if not values or len(set(values)) < len(values):
                raise ValueError(f"{name}={values}: must be one learning rate or more, each once")

    @property
    def iterations(self) -> int:
        """Iterations of an epoch."""
        return max(1, (IMAGES[self.data] if self.images is None else self.images) // self.batch)

    def network(self, classes: int) -> training.SevenLayer:
        sizes: dict[str, Any] = dict(channels=self.channels, units=self.units)
        return training.SevenLayer(classes=classes, dropout=self.dropout, weights=self.weights, **sizes)

    def split(self, images: training.Images) -> training.Split:
        """All images to train with, in [0, 1]."""
        channels = images.train_x.shape[-1]
        zero, most = np.zeros(channels, np.float32), np.full(channels, 255, np.float32)
        return training.split(images, self.seed, validation=0.0)._replace(mean=zero, std=most)

    def algorithm(self, cell: net.Cell, batches: int) -> training.Algorithm:
        """The algorithm of a cell. All test an average, of moving rate 1 where the center itself is meant: what differs
        in numbers alone is one program."""
        assert cell.eta is not None
        k = self.beta / (cell.agents * cell.eta) if cell.algorithm.startswith("ea") else None
        numbers: dict[str, Any] = dict(k=k, period=cell.period, momentum=self.momentum)
        average = 1 - self.moving if cell.algorithm.startswith("mva") else None
        made = training.algorithm(cell.algorithm, **numbers, average=average)(cell.agents, cell.eta, batches)
        # Moving rates stay where learning rates decay, which is what Z 4.3.3 means by a growing penalty rho.
        made = dataclasses.replace(made, pace=cell.eta)
        return made if made.averages else dataclasses.replace(made, average=0.0)

    def alike(self, cell: net.Cell) -> Any:
        return jax.tree.structure(self.algorithm(cell, self.iterations)), cell.agents, cell.same_start

    def settings(self, cells: Sequence[net.Cell]) -> dict[str, Any]:
        gammas = tuple(getattr(c, "decay", 0.0) for c in cells for _ in range(self.sims))
        return dict(schedule=Decay(gammas, self.iterations), crop=CROP, weight_decay=self.weight_decay)


@dataclasses.dataclass(frozen=True)
class Decay(training.Constant):
    """Learning rates eta / (1 + gamma t)^0.5 (Z Fig. 4.13), t the iterations done, set anew after each epoch.

    gamma: of each run, in 1 / iteration. iterations: of an epoch.
    """

    gamma: Rates
    iterations: int

    def __post_init__(self):
        check_sign("gamma", np.asarray(self.gamma))
        check_count("iterations", self.iterations)

    def start(self, eta) -> StallState:
        return super().start(eta)._replace(reference=eta)  # what they start from

    def after_epoch(self, state: StallState, loss) -> StallState:
        epochs = state.stalled + 1
        gamma = jnp.asarray(self.gamma, state.eta.dtype)[:, None]
        t = (epochs * self.iterations).astype(state.eta.dtype)
        return state._replace(eta=state.reference * jax.lax.rsqrt(1 + gamma * t), stalled=epochs)


def presets() -> dict[str, Config]:
    """Sizes. `smoke` and `small` are of smaller networks, with rates [C] that suit few iterations."""
    smoke: dict[str, Any] = dict(data="synthetic", images=240, epochs=6, batch=12, sims=2)
    smoke |= dict(channels=(8, 16, 16), units=32, weights="kaiming", dropout=0.0, momentum=0.8, moving=0.1, decay=0.1)
    smoke |= dict(agents=(2, 3, 4), periods=(1, 2, 4, 8), period=2, long_periods=(1, 10))
    smoke |= dict(easgd=(0.05, 0.02), eamsgd=(0.02, 0.01), downpour=(0.02,), mdownpour=(0.01,))
    smoke |= dict(sgd=(0.05, 0.03), msgd=(0.02,), rate=0.02)
    small: dict[str, Any] = dict(**net.SMALL, sims=2, units=64, weights="kaiming", moving=0.01, decay=0.01)
    small |= dict(agents=(4, 6, 8), long_periods=(1, 10, 100))  # of 1250 iterations
    small |= dict(easgd=(0.05, 0.01), eamsgd=(0.01, 0.001), downpour=(0.005,), mdownpour=(0.0002,))
    small |= dict(sgd=(0.05,), msgd=(0.001,))
    return {
        "smoke": Config(**smoke),
        "small": Config(**small),
        "default": Config(epochs=20),
        "paper": Config(epochs=150),
    }


# -- methods -----------------------------------------------------------------------------------------------------------

METHODS = {
    "EASGD": ("easgd-wm", "easgd"),
    "EAMSGD": ("eamsgd", "eamsgd"),
    "DOWNPOUR": ("downpour", "downpour"),
    "ADOWNPOUR": ("adownpour", "downpour"),
    "MVADOWNPOUR": ("mvadownpour", "downpour"),
    "MDOWNPOUR": ("mdownpour", "mdownpour"),
    "SGD": ("sgd", "sgd"),
    "ASGD": ("asgd", "sgd"),
    "MVASGD": ("mvasgd", "sgd"),
    "MSGD": ("msgd", "msgd"),
}
"""Of each method, its algorithm and the field of the configuration with its learning rates."""

ALONE = ("SGD", "ASGD", "MVASGD", "MSGD")
COLORS = dict(zip(METHODS, colormaps["tab10"].colors, strict=True))  # pyright: ignore[reportAttributeAccessIssue]


@dataclasses.dataclass(frozen=True)
class Cell(net.Cell):
    """A method with one learning rate. decay: gamma of that rate."""

    method: str = ""
    decay: float = 0.0


def tried(
    config: Config, method: str, agents: int = 1, period: int = 1, rates: Rates | None = None, decay: float = 0.0
) -> list[Cell]:
    """A method with each of its learning rates."""
    algorithm, field = METHODS[method]
    where = f", p = {agents}, tau = {period}" if agents > 1 else ""
    slower = f", gamma = {decay:g}" if decay else ""
    etas = [config.eta * eta for eta in (getattr(config, field) if rates is None else rates)]
    numbers: dict[str, Any] = dict(agents=agents, period=period, same_start=True, method=method, decay=decay)
    return [Cell(f"{method}{where}, eta = {eta:g}{slower}", algorithm, eta=eta, **numbers) for eta in etas]


Methods = dict[str, list[Cell]]


def flat(methods: Methods) -> list[Cell]:
    """All cells of a figure."""
    return [cell for cells in methods.values() for cell in cells]


# -- statistics --------------------------------------------------------------------------------------------------------


def errors(data: xr.Dataset, cell: Cell) -> np.ndarray:
    """Test error of the tested model in percent, (epochs + 1, sims); of what has diverged that of a guess."""
    found = 100 - data["test_accuracy"].sel(cell=cell.label).transpose("epoch", "sim").values.astype(float)
    return np.where(np.isfinite(found), found, net.GUESS_ERROR)


def chosen(data: xr.Dataset, cells: Sequence[Cell]) -> Cell:
    """Of a method's cells the one with the smallest achievable test error, in the mean over runs."""
    return min(cells, key=lambda c: errors(data, c).min(axis=0).mean())


def smallest(data: xr.Dataset, cells: Sequence[Cell]) -> np.ndarray:
    """The smallest test error over the epochs, at the chosen learning rate, (sims,)."""
    return errors(data, chosen(data, cells)).min(axis=0)


def during(data: xr.Dataset, cells: Sequence[Cell], epochs: slice = slice(1, None)) -> np.ndarray:
    """The mean test error over the epochs, at the chosen learning rate, (sims,)."""
    return errors(data, chosen(data, cells))[epochs].mean(axis=0)


def better(of: Sequence[Cell], than: Sequence[Cell], by=smallest) -> Callable[[Runs], np.ndarray]:
    """By how many points of test error one method is better than another, run by run: runs are paired."""
    return lambda runs: by(runs.data, than) - by(runs.data, of)


def best_of_others(methods: Methods, name: str, by=smallest) -> Callable[[Runs], np.ndarray]:
    """By how many points a method is better than the best of all others in the mean over runs, run by run. The choice
    of the best favors the others."""

    def statistic(runs):
        others = [by(runs.data, cells) for other, cells in methods.items() if other != name]
        return min(others, key=np.mean) - by(runs.data, methods[name])

    return statistic


def speedup(methods: Methods, name: str) -> Callable[[Runs], float]:
    """Of the best of all other methods, the epochs to the smallest test error that it achieves, over those that `name`
    needs to the same; both of means over runs. 0 if `name` never gets there. Which method is the best is chosen as Z
    does, by that error."""

    def statistic(runs):
        curve = lambda cells: errors(runs.data, chosen(runs.data, cells)).mean(axis=1)
        other = min((curve(cells) for other, cells in methods.items() if other != name), key=np.min)
        reached = np.flatnonzero(curve(methods[name]) <= other.min())
        return float(other.argmin() / max(reached[0], 1)) if reached.size else 0.0

    return statistic


# -- statements that hold at any size ----------------------------------------------------------------------------------


def learns(id: str, methods: Methods) -> Statement:
    """Every method's workers, in every run at its chosen rate; 120 iterations teach synthetic images to them."""

    def worst(runs):
        found = [net.best(runs.data, "agents_train_loss", chosen(runs.data, m).label) for m in methods.values()]
        return greatest(found) / net.GUESS_LOSS, 0.0

    text = "the workers of every method learn in every run (worst of the least training losses, over ln 10 of guessing)"
    return Statement(id, text, worst, "<=", 0.9, smoke=0.95)


def one_start(id: str, cells: Sequence[Cell]) -> Statement:
    """What Z 4.1 sets, up to the rounding of different programs."""

    def widest(runs):
        values = np.stack([runs.data[n].sel(cell=c.label).isel(epoch=0) for c in cells for n in _TESTED])
        return greatest(np.ptp(values, axis=0)), 0.0

    text = "all methods start from one initial parameter, center and workers (largest difference of test losses)"
    return Statement(id, text, widest, "<=", 1e-3, smoke=1e-3)


_TESTED = ("test_loss", "agents_test_loss")


def own_path(id: str, methods: Methods) -> Statement:
    """An average looks at a path and does not change it: pairs of cells with one learning rate take the same."""
    families = [("SGD", ("ASGD", "MVASGD")), ("DOWNPOUR", ("ADOWNPOUR", "MVADOWNPOUR"))]
    pairs = [
        (a.label, b.label)
        for plain, averages in families
        for name in averages
        if plain in methods and name in methods
        for a, b in zip(methods[plain], methods[name], strict=True)
    ]

    def apart(runs, pair):
        a, b = (runs.data["agents_test_loss"].sel(cell=label).isel(epoch=1).values for label in pair)
        diverged = ~np.isfinite(a) & ~np.isfinite(b)
        return np.where(diverged, 0.0, np.abs(a / np.where(diverged, 1.0, b) - 1)).max()

    widest = lambda runs: (greatest([apart(runs, pair) for pair in pairs]), 0.0)

    text = "averages are of the plain method's own path (largest relative difference of workers' test losses, epoch 1)"
    return Statement(id, text, widest, "<=", 0.05, smoke=1e-3)


def at_one_point(id: str, cells: Sequence[Cell]) -> Statement:
    def widest(runs):
        """Over the epochs before a cell diverges."""
        spread, loss = (runs.data[n].sel(cell=[c.label for c in cells]).values for n in ("spread", "agents_test_loss"))
        return greatest(spread[np.isfinite(loss)]), 0.0

    text = "all workers of MDOWNPOUR read one point of the master (largest distance between workers)"
    return Statement(id, text, widest, "<=", 1e-6, smoke=1e-6)


def farther(id: str, statement: str, near: Cell, far: Cell) -> Statement:
    """In every run one cell's workers end farther from each other than another's; runs are paired."""
    smallest = lambda runs: (least(net.distance(far.label, near.label)(runs)), 0.0)
    return Statement(id, f"{statement} (least ratio of last distances)", smallest, ">=", 1.0, smoke=1.0)


# -- pictures ----------------------------------------------------------------------------------------------------------


def size(config: Config, cells: Sequence[net.Cell]) -> str:
    """What the networks saw, with the numbers of workers and periods, which smaller presets have others of than Z."""
    many = [cell for cell in cells if cell.agents > 1]
    workers = ", ".join(str(p) for p in sorted({cell.agents for cell in many}))
    periods = ", ".join(str(t) for t in sorted({cell.period for cell in many if cell.algorithm.startswith("ea")}))
    return f"{config.size}; " + (f"p = {workers}, elastic tau = {periods}" if many else "one worker")


def of_chosen(methods: Methods, data: xr.Dataset) -> list[Curve]:
    """Each method's curve at its chosen learning rate; those of one worker are dashed."""
    cells = [chosen(data, cells) for cells in methods.values()]
    style = lambda c: "--" if c.agents == 1 else "-"
    return [(rf"{c.method}, $\eta = {c.eta:g}$", c, COLORS[c.method], style(c)) for c in cells]


def experiment(
    number: str,
    title: str,
    says: str,
    methods: Callable[[Config], Methods],
    statements: Callable[[Config], list[Statement]],
    curves: Callable[[Config, xr.Dataset], list[Curve]],
    beside: Callable[[Config], list[Cell]] = lambda config: [],
):
    """The experiment of Z's figure `number`. beside: cells that statements compare with, and no curve shows. The title
    names none of the numbers that presets have others of: those of the run stand below it."""
    title = f"Zhang, Fig. {number}: {title}"
    seen = lambda config: size(config, flat(methods(config)))

    def picture(config: Config, data: xr.Dataset) -> Figure:
        return plot_iterations(curves(config, data), data, heading(title, seen(config), data), config.iterations)

    return net.experiment(
        f"z-fig{number}",
        title,
        says,
        dict(presets()),
        lambda config: [*flat(methods(config)), *beside(config)],
        statements,
        picture=picture,
        size=seen,
    )
