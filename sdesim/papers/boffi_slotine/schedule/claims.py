"""What is said of gains that grow in time."""

import xarray as xr

from sdesim import statistics
from sdesim.claims import Statement, at_least, at_most
from sdesim.papers.boffi_slotine.schedule.config import POWERS, Config
from sdesim.papers.frame import measured


def _variance(data: xr.Dataset) -> xr.DataArray:
    """Square of the quorum without its bias, over the variance that linear theory gives it, by power and simulation.

    At constant eta, over the last quarter of the run.
    """
    last = data.sel(rate="constant").isel(step=slice(-(data.sizes["step"] // 4), None))
    return ((last["quorum"] + last["expected"]) ** 2 / last["noise"]).mean("step", skipna=False)


def _end(data: xr.Dataset) -> xr.DataArray:
    """E|x_mean - x*| over the last eighth of the steps, by rate, power and simulation."""
    return abs(data["quorum"]).isel(step=slice(-(data.sizes["step"] // 8), None)).mean("step", skipna=False)


def _by_stiffness(data: xr.Dataset, name: str, curvature: float) -> xr.DataArray:
    """The bias or its prediction under growing gains at constant eta, by k + f'' and simulation."""
    bias, k = (
        data[n].sel(power=list(POWERS[1:])).stack(point=("power", "window")) for n in (name, "gain_window_constant")
    )
    return bias.drop_vars(("point", "power", "window")).assign_coords(point=k.values + curvature)


def statements(config: Config) -> list[Statement]:
    problem = config.problem
    bias, expected = (lambda d: d["bias_constant"]), (lambda d: d["expected_window_constant"])
    small, large = min(config.constant_eta), max(config.constant_eta)
    at = lambda eta: lambda d: d["constant_bias"].sel(eta=eta)
    term = lambda d: problem.first_term(d["eta"], d["k"], discrete=True)

    def last(power: float):
        return lambda runs: float(statistics.grid_mean(runs.data["bias_constant"].sel(power=power).isel(window=-1)))

    def end(rate: str, power: float, of: tuple[str, float]):
        ends = lambda d, r, p: float(statistics.grid_mean(_end(d).sel(rate=r, power=p)))
        return lambda runs: ends(runs.data, rate, power) / ends(runs.data, *of)

    return [
        measured.below(
            "distance-bound",
            "Theorem 5.1, made for the iteration, bounds E|x_mean - x*| at all times under all schedules",
            lambda d: abs(d["quorum"]).isel(step=slice(1, None)),
            lambda d: d["bound"].isel(step=slice(1, None)),
        ),
        measured.below(
            "constant-bound",
            "the bias at constant gain is below the theorem's first term, with the iteration's spread",
            lambda d: d["constant_bias"],
            term,
        ),
        measured.ratio(
            "constant-tight",
            "and that term is within a factor 4 of it for all gains (least bias / term)",
            lambda d: d["constant_bias"],
            term,
            at_least(0.25, smoke=0.25),
        ),
        measured.ratio(
            "bias-predicted-at-most",
            "the bias under schedules is what the third derivative at the minimum makes of the agents' variance "
            "(largest ratio)",
            bias,
            expected,
            at_most(1.05, smoke=1.1),
        ),
        measured.ratio("bias-predicted-at-least", "(least ratio)", bias, expected, at_least(0.9, smoke=0.85)),
        measured.exponent(
            "bias-follows-gain",
            "under growing gains the bias falls with k(t) + f'' as its prediction does",
            lambda d: _by_stiffness(d, "bias_constant", problem.curvature),
            "point",
            lambda d: _by_stiffness(d, "expected_window_constant", problem.curvature),
            0.03,
        ),
        Statement(
            "first-term-removed",
            "a gain that grows as t takes off nearly all of the bias (end, relative to constant gain)",
            lambda runs: last(1.0)(runs) / last(0.0)(runs),
            at_most(0.12, smoke=0.25),
        ),
        measured.ratio(
            "noise-stays",
            "its noise stays, that of linear theory for every schedule of the gain (least ratio of variances)",
            _variance,
            lambda d: 1.0,
            at_least(0.8),
        ),
        measured.ratio("noise-stays-at-most", "(largest ratio)", _variance, lambda d: 1.0, at_most(1.25)),
        Statement(
            "halved-too",
            "halving eta at a growing gain takes down what is left, as sqrt(eta) (E|x_mean - x*| at the end, over that "
            "at constant eta, over the square root of the two rates)",
            lambda runs: end("halved", 1.0, ("constant", 1.0))(runs) / (config.floor / config.eta) ** 0.5,
            at_most(1.4),
        ),
        Statement(
            "halved-not-alone",
            "and at constant gain leaves more (E|x_mean - x*|, relative to the growing gain)",
            end("halved", 0.0, ("halved", 1.0)),
            at_least(1.15),
        ),
        Statement(
            "step-limit",
            "beyond k = 1/eta gain hurts: agents spread again (bias at the largest gain over the least bias)",
            lambda runs: (
                float(statistics.grid_mean(at(large)(runs.data))[-1])
                / statistics.least(statistics.grid_mean(at(large)(runs.data)))
            ),
            at_least(3.0, smoke=3.0),
        ),
        measured.below(
            "sde-bound",
            "the theorem's first term as it stands, for dt -> 0, bounds the bias at the smaller eta",
            at(small),
            lambda d: problem.first_term(small, d["k"], discrete=False),
        ),
        measured.below(
            "sde-bound-large-step",
            "and at the larger eta",
            at(large),
            lambda d: problem.first_term(large, d["k"], discrete=False),
            note="it is about the SDE: from about eta k = 1 the iteration exceeds it, and the discrete form holds",
        ),
    ]
