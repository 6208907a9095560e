"""bs-table1: EASGD of a single agent with and without momentum, and SGD with momentum (BS Table 1).

Command: sdesim figure bs-table1, after sdesim data cifar10. Interrupted, the same command goes on at the epoch where it
was. The methods are compared over learning rates and momenta. Each column has runs of its own, and the
three methods of a cell start at the same points in each of them. EASGD-WM has no momentum: along a block its numbers
differ by the runs alone.

Learning rates, momenta, gain and runs of the paper's table are lost; those here are chosen [C]. The least loss and
error are taken as the minimum over epochs of the mean over runs [C]. A loss that is not a number counts as that of a
guess, the logarithm of the number of classes, as its error does.
"""

import dataclasses

import numpy as np
import xarray as xr
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from sdesim.claims import Statement, at_least, at_most
from sdesim.fields import check_sign
from sdesim.papers.frame import networks as net
from sdesim.papers.frame.measured import Runs
from sdesim.papers.frame.networks.picture import heading
from sdesim.plot import theme
from sdesim.statistics import greatest, grid_error, least, variance_ratio

METHODS = ("EASGD-WM", "EASGD", "MSGD")

# -- the paper's own numbers -------------------------------------------------------------------------------------------

# As printed: a row is a method at one learning rate, a column a momentum; six losses, then six errors.
PRINTED = """
4.25 4.26 4.28 4.29 3.22 3.24 .267 .266 .264 .269 .268 .270
4.72 4.83 4.56 4.28 3.17 3.11 .304 .313 .301 .282 .280 .277
4.75 4.87 4.64 4.33 3.21 3.29 .310 .323 .306 .286 .292 .295
4.09 5.15 4.03 4.12 3.15 3.10 .262 .259 .253 .261 .267 .257
4.57 5.75 4.27 4.14 3.04 3.22 .297 .300 .280 .275 .263 .283
4.59 5.81 4.48 4.46 3.22 3.33 .300 .307 .294 .294 .287 .301
3.95 3.96 3.86 3.97 3.07 3.00 .252 .258 .250 .255 .262 .253
4.41 4.27 4.05 4.06 3.19 4.04 .286 .283 .265 .267 .276 .417
4.46 4.57 4.48 4.43 3.21 6.91 .294 .307 .295 .290 .292 0.9
4.08 4.01 4.04 4.05 3.11 3.15 .267 .264 .268 .265 .268 .269
4.24 4.23 4.14 4.13 3.17 6.91 .282 .283 .277 .272 .280 0.9
4.62 4.55 4.22 4.47 3.38 6.91 .288 .307 .287 .288 .301 0.9
"""
EXCEPTION = (1, 4)  # block and column of the one cell in which EASGD-WM has not the least error


def paper() -> xr.Dataset:
    """The paper's table: `loss` of a run and `error`, (block, algorithm, column).

    The printed losses are sums over runs [D]: 6.91 is three times the logarithm of 10, and EASGD-WM, which is constant
    along a block, has 4/3 of its last two columns in the first four. So there were three runs in columns 5 and 6, four
    in the others, and five in column 2 of block 2. Errors are means.
    """
    values = np.array(PRINTED.split(), float).reshape(4, len(METHODS), 2, 6)
    runs = np.tile([4, 4, 4, 4, 3, 3], (4, 1))
    runs[1, 1] = 5
    dims = ("block", "algorithm", "column")
    found = {"loss": (dims, values[:, :, 0] / runs[:, None]), "error": (dims, values[:, :, 1])}
    return xr.Dataset(found, {"algorithm": list(METHODS)})


# -- configuration -----------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Config(net.Config):
    """Constants [C] of Table 1."""

    rates: tuple[float, ...] = (0.01, 0.025, 0.05, 0.1)
    """Learning rates at the start, in growing order: the blocks."""
    momenta: tuple[float, ...] = (0.5, 0.7, 0.8, 0.9, 0.95, 0.99)
    """Momenta, in growing order: the columns. The field `momentum` is not used."""
    eta: float = 0.05
    """Learning rate at which `alpha` is the weight of the pull: k = alpha / eta, for all rates."""
    alpha: float = 0.04
    """Weight of the pull in one step at learning rate eta."""

    def __post_init__(self):
        super().__post_init__()
        net.check_growing("rates", self.rates)
        net.check_growing("momenta", self.momenta)
        if self.momenta[-1] >= 1:
            raise ValueError(f"momenta={self.momenta}: must be below 1")
        check_sign("alpha", self.alpha)


PRESETS = net.presets(
    Config,
    smoke=dict(rates=(0.05, 0.1), momenta=(0.5, 0.9)),
    small=dict(rates=(0.025, 0.1), momenta=(0.5, 0.9, 0.99)),
)
PRESETS["default"] = dataclasses.replace(PRESETS["default"], epochs=16)  # 216 networks: some 20 minutes of an H200


def label(method: str, rate: float, momentum: float) -> str:
    """The label of a method's arm.

    Args:
        method: its name.
        rate: learning rate.
        momentum: momentum delta.
    """
    return f"{method}, rate {rate:g}, momentum {momentum:g}"


def arms(config: Config) -> list[net.Arm]:
    k = config.alpha / config.eta
    return [
        net.Arm(
            label(m, rate, delta),
            m.lower(),
            k=None if m == "MSGD" else k,
            eta=rate,
            momentum=delta,
            first=column * config.sims,
        )
        for rate in config.rates
        for m in METHODS
        for column, delta in enumerate(config.momenta)
    ]


# -- the table ---------------------------------------------------------------------------------------------------------


def curves(config: Config, data: xr.Dataset) -> xr.Dataset:
    """Test `loss` and `error`, (block, algorithm, column, epoch, sim), from the first epoch on.

    Args:
        config: constants of the experiment.
        data: measurements, as `run` gives them.
    """
    names = [[[label(m, r, d) for d in config.momenta] for m in METHODS] for r in config.rates]
    order = xr.DataArray(names, dims=("block", "algorithm", "column"))
    chosen = data[["test_loss", "test_accuracy"]].sel(arm=order).isel(epoch=slice(1, None)).drop_vars("arm")
    tested = net.guessing(chosen)
    found = {"loss": tested["test_loss"], "error": 1 - tested["test_accuracy"] / 100}
    return xr.Dataset(found).assign_coords(algorithm=list(METHODS))


def table(config: Config, data: xr.Dataset) -> xr.Dataset:
    """The least mean loss and error, and their errors.

    Args:
        config: constants of the experiment.
        data: measurements, as `run` gives them.

    Returns:
        Of `loss` and `error`, the minimum over epochs of the mean over runs, and `NAME_stderr` there, (block,
        algorithm, column).
    """
    found = curves(config, data)
    mean = found.mean("sim")
    at = mean.fillna(np.inf).map(lambda v: v.argmin("epoch"))
    return xr.Dataset(
        {
            name + suffix: values[name].isel(epoch=at[name], drop=True).drop_vars("epoch", errors="ignore")
            for suffix, values in (("", mean), ("_stderr", found.map(grid_error)))
            for name in ("loss", "error")
        }
    )


def lead(error: xr.DataArray) -> xr.DataArray:
    """By how much EASGD-WM's error is less than the lesser of the others', (block, column).

    Args:
        error: test errors, (block, algorithm, column).
    """
    return error.isel(algorithm=slice(1, None)).min("algorithm") - error.isel(algorithm=0)


def constancy(error: xr.DataArray) -> float:
    """Whether EASGD-WM's runs differ along a block by more than from run to run.

    Args:
        error: test errors of EASGD-WM's runs, (block, column, sim).

    Returns:
        The largest F statistic of a block over its 99.9 % quantile; at most 1 where columns are alike.
    """
    return greatest(variance_ratio(error.transpose(..., "column", "sim").values))


# -- statements --------------------------------------------------------------------------------------------------------


def statements(config: Config) -> list[Statement]:
    exception = EXCEPTION if (len(config.rates), len(config.momenta)) == (4, 6) else None
    cells = len(config.rates) * len(config.momenta)
    leads = lambda runs: lead(table(config, runs.data)["error"])
    last_errors = lambda runs: curves(config, runs.data)["error"].sel(algorithm=METHODS[0]).isel(epoch=-1)
    constant = Statement(
        "1-constant",
        "EASGD-WM has no momentum: along a block its last errors are alike but for the runs' noise (F statistic over "
        "its 99.9 % quantile, largest of the blocks)",
        lambda runs: (constancy(last_errors(runs)), 0.0),
        at_most(1.0),
    )
    return [
        Statement(
            "1-headline",
            "EASGD without momentum has the least test error in all cells but one (by how much, in the second worst)",
            lambda runs: least(leads(runs), but=min(1, cells - 1)),
            at_least(0.0),
        ),
        *[
            Statement(
                f"1-least-error-{block + 1}-{column + 1}",
                f"EASGD-WM has the least error, learning rate {rate:g}, momentum {momentum:g} (by how much)",
                lambda runs, b=block, c=column: float(leads(runs).isel(block=b, column=c)),
                at_least(0.0),
                note="the one cell in which it has not in the paper" if (block, column) == exception else "",
            )
            for block, rate in enumerate(config.rates)
            for column, momentum in enumerate(config.momenta)
        ],
        *([constant] if len(config.momenta) > 1 and config.epochs > 2 else []),
        Statement(
            "1-independent",
            "the columns are independent runs (least difference between any two runs' test losses before training)",
            lambda runs: (_least_difference(config, runs), 0.0),
            at_least(1e-6, smoke=1e-6),
        ),
        net.same_starts("1-same-start", arms(config)),
        net.learns("1-learns", [arm for arm in arms(config) if arm.algorithm == "easgd-wm"]),
    ]


def _least_difference(config: Config, runs: Runs) -> float:
    names = [label("MSGD", config.rates[0], m) for m in config.momenta]
    first = np.sort(np.concatenate([net.at_start(runs.data, "agents_test_loss", n) for n in names]))
    return float(np.diff(first).min())


# -- picture -----------------------------------------------------------------------------------------------------------


def plot(config: Config, data: xr.Dataset) -> Figure:
    """Least error and loss in every cell, here and in the paper; the least of a cell's three methods is framed."""
    ours, theirs = table(config, data), paper()
    figure, axes = pyplot.subplots(2, 2, figsize=(13.0, 9.6), layout="constrained")
    rows = [rf"{m}, $\eta = {r:g}$" for r in config.rates for m in METHODS]
    printed = [f"{m}, block {b}" for b in range(1, 5) for m in METHODS]
    columns = [rf"$\delta = {m:g}$" for m in config.momenta]
    for row, (name, what, worst) in enumerate((("error", "test error", 0.5), ("loss", "test loss", 1.8))):
        # One scale for both; a few cells that do not learn would else take it from all others.
        limits = float(min(ours[name].min(), theirs[name].min())), max(worst, float(ours[name].quantile(0.9)))
        _panel(axes[row, 0], ours[name], ours[f"{name}_stderr"], rows, columns, limits)
        _panel(axes[row, 1], theirs[name], None, printed, [f"column {c}" for c in range(1, 7)], limits)
        theme.letter(axes[row, 0], 2 * row, f"least {what} ± standard error, here")
        theme.letter(axes[row, 1], 2 * row + 1, f"least {what} in the paper" + ", per run" * row)
        axes[row, 0].set_ylabel("method and learning rate")
        axes[row, 1].set_ylabel("method and learning rate (lost)")
        axes[row, 0].set_xlabel("momentum")
        axes[row, 1].set_xlabel("momentum (lost)")
    figure.suptitle(heading(TITLE, config.size, data), fontsize=10.5)
    pyplot.close(figure)
    return figure


def _panel(
    axes: Axes,
    values: xr.DataArray,
    error: xr.DataArray | None,
    rows: list[str],
    columns: list[str],
    limits: tuple[float, float],
) -> None:
    grid = values.transpose("block", "algorithm", "column")
    flat = grid.values.reshape(len(rows), len(columns))
    axes.imshow(flat, cmap="YlOrRd", vmin=limits[0], vmax=limits[1], aspect="auto")
    least = (grid == grid.min("algorithm")).values.reshape(flat.shape)
    errors = None if error is None else error.transpose(*grid.dims).values.reshape(flat.shape)
    bright = limits[0] + 0.75 * (limits[1] - limits[0])
    for (i, j), value in np.ndenumerate(flat):
        text = f"{value:.3f}" + ("" if errors is None else f"\n±{errors[i, j]:.3f}")
        weight, color = "bold" if least[i, j] else "normal", "white" if value > bright else "black"
        axes.text(j, i, text, ha="center", va="center", fontsize=7.0, weight=weight, color=color)
        if least[i, j]:
            axes.add_patch(Rectangle((j - 0.47, i - 0.46), 0.94, 0.92, fill=False, ec="black", lw=1.2))
    for block in range(1, len(rows) // len(METHODS)):
        axes.axhline(len(METHODS) * block - 0.5, color="white", lw=3.0)
    axes.set_xticks(range(len(columns)), columns, fontsize=7.5)
    axes.set_yticks(range(len(rows)), rows, fontsize=7.5)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)


TITLE = "Boffi & Slotine, Table 1: EASGD of a single agent, with and without momentum"
EXPERIMENT = net.experiment(
    "bs-table1",
    TITLE,
    "Over learning rates and momenta, EASGD of a single agent without momentum has the least test error in every cell "
    "but one. The paper's own numbers stand beside ours.",
    PRESETS,
    arms,
    statements,
    picture=plot,
)
