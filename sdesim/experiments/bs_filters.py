"""bs-filters: one agent in feedback with a filter of itself (BS 64), beside SGD and momentum.

Command: sdesim figure bs-filters. With p = 1 EASGD is SGD in feedback with a low-pass filter of its own output, second
order in time, and in general

    dx = (-grad f(x) + k (c - x)) dt + sqrt(eta) B dW,    dc = filter(c, x) dt,

with a linear filter r (x - c), or one that saturates, r w tanh((x - c) / w). Under a constant force all of it drifts at
the effective rate eta r / (r + k), as momentum does at eta / (1 - delta): filters, SGD, heavy ball and Nesterov are
compared at equal effective rates, where slow motion and its noise agree. What differs is fast: the agent explores about
its center with the noise of the full rate, so that the center descends a smoothed loss.

Exact here: variances on a quadratic (h its curvature), for linear filters as eta -> 0

    Var x = (eta sigma^2 / 2h) (h + r) / (h + r + k),   Var c = (eta sigma^2 / 2h) r / (h + r + k),

and rates of convergence, from the eigenvalues of the iteration. All constants are chosen [C].
"""

import dataclasses
import warnings
from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib import pyplot
from matplotlib.figure import Figure

from sdesim import init, noise, objectives, observe, plotting
from sdesim.claims import Statement
from sdesim.coupling import Filtered, LinearFilter, SaturatingFilter, Uncoupled
from sdesim.dynamics import Dynamics, HeavyBall, Nesterov
from sdesim.experiments import measured
from sdesim.experiments import one_dimensional as one
from sdesim.experiments.base import Experiment
from sdesim.fields import check_count, check_sign
from sdesim.integrate import DivergenceWarning, StabilityWarning
from sdesim.sweep import sweep
from sdesim.theory import bounds

METHODS = {
    "linear": ("linear filter", plotting.QUORUM),
    "saturating": ("saturating filter", plotting.LOSS),
    "sgd": ("SGD", "#4d4d4d"),
    "heavy ball": ("heavy ball", plotting.SMOOTHED),
    "nesterov": ("Nesterov", "#1b9e77"),
}
FILTERS = ("linear", "saturating")
EVERY = 10  # iterations between two records


@dataclasses.dataclass(frozen=True)
class Config:
    """Constants [C] of the experiment."""

    k: tuple[float, ...] = (0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0)
    """Gains of the filters."""
    k_shown: float = 8.0
    """The gain of the curves of convergence, of the trajectories and of the runs against the filters' rate."""
    rate: float = 2.0
    """Rate r of the filters, in 1/time."""
    width: float = 0.3
    """Width w at which the saturating filter saturates."""
    rates: tuple[float, ...] = (1.0, 4.0, 16.0, 28.0, 36.0, 44.0, 60.0)
    """Rates of the filters in the runs that show where they lose stability."""
    momentum: float = 0.9
    """Momentum delta of heavy ball and Nesterov."""
    sims: int = 1500
    """Independent simulations, of one agent each."""
    steps: int = 3000
    """Iterations; the first half is left out of averages."""
    eta: float = 0.05
    """Learning rate of the agent with a filter; the others have its effective rate."""
    sigma: float = 1.0
    """Standard deviation of the Gaussian gradient noise on the convex losses."""
    curvature: float = 1.0
    """Curvature h of the quadratic, and least curvature of the log cosh loss."""
    weight: float = 1.0
    """Weight of log cosh."""
    start: float = 5.0
    """Where the agent starts on the log cosh loss."""
    noise_half_width: float = 8.0
    """Noise on the oscillating loss is uniform on (-w, w)."""
    init_half_width: float = 3.0
    """Agents there start uniformly on (-R, R)."""
    seed: int = 0
    """Seed of all random numbers."""
    loss: one.Loss = dataclasses.field(default_factory=one.Loss)
    """Constants of the oscillating loss."""

    def __post_init__(self):
        for name in ("sims", "steps"):
            check_count(name, getattr(self, name), least=2)
        for name in ("k", "k_shown", "rate", "rates", "width", "eta", "sigma", "curvature", "noise_half_width"):
            check_sign(name, getattr(self, name), zero=False)
        for name in ("weight", "start", "init_half_width"):
            check_sign(name, getattr(self, name))
        if self.k_shown not in self.k:
            raise ValueError(f"k_shown={self.k_shown}: must be one of the gains k={self.k}")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum={self.momentum}: must be at least 0 and less than 1")
        fastest = self.eta * (max(self.k) + self.rate + self.curvature + self.weight)
        if not fastest < 2:
            raise ValueError(f"k={self.k}: eta (k + r + L) is {fastest:.3g}; must be less than 2")

    @property
    def landmarks(self) -> one.Landmarks:
        """Minima of the oscillating loss and of that loss smoothed at the full rate."""
        return one.landmarks(one.Config(eta=self.eta, noise_half_width=self.noise_half_width, loss=self.loss))


PRESETS = {
    "smoke": Config(k=(2.0, 8.0), sims=60, steps=1500, rates=(4.0, 44.0)),
    "default": Config(),
    "paper": Config(sims=15000),
}


# -- theory ------------------------------------------------------------------------------------------------------------


def effective_rate(config: Config, k):
    """Drift of an iteration under a constant unit force, in time: eta r / (r + k)."""
    return config.eta * config.rate / (config.rate + k)


def transition(config: Config, method: str, k: float) -> tuple[np.ndarray, np.ndarray]:
    """One iteration on the quadratic, (x, s) <- M (x, s) + noise of covariance N, s the center or the displacement.

    For SGD, s is x itself. M and N are (2, 2).
    """
    h, e, variance = config.curvature, effective_rate(config, k), config.sigma**2
    if method == "linear":
        a = np.array([[h + k, -k], [-config.rate, config.rate]])
        return np.eye(2) - config.eta * a, np.diag([config.eta**2 * variance, 0.0])
    if method == "sgd":
        return np.array([[1 - e * h, 0.0], [1 - e * h, 0.0]]), np.full((2, 2), e**2 * variance)
    e, delta = e * (1 - config.momentum), config.momentum
    kept = delta * (1 - e * h) if method == "nesterov" else delta
    return np.array([[1 - e * h, kept], [-e * h, kept]]), np.full((2, 2), e**2 * variance)


def exact(config: Config, method: str, k: float) -> tuple[float, float]:
    """Stationary variance of the agent and of its center (for SGD and momentum, of itself) on the quadratic."""
    m, n = transition(config, method, k)
    v = bounds.ou_covariance_discrete(np.eye(2) - m, n, 1.0)
    return float(v[0, 0]), float(v[1, 1] if method in FILTERS else v[0, 0])


def decay(config: Config, method: str, k: float) -> float:
    """Rate of convergence on the quadratic, per iteration: minus the logarithm of the spectral radius."""
    return float(-np.log(np.abs(np.linalg.eigvals(transition(config, method, k)[0])).max()))


def energy_bound(config: Config, k: float) -> float:
    """Bound of E[x^2 + (k / r) c^2] of the linear filter on the log cosh loss, stationary, made for the iteration.

    In the metric diag(sqrt r, sqrt k) the drift is symmetric, and contracts for curvatures from h to L as at the worst
    of the two: BS Lemma 5.2 and Thm 5.2 for p = 1, with a rate r of the center that need not be k.
    """
    worst = 0.0
    for h in (config.curvature, config.curvature + config.weight):
        mixed = -np.sqrt(k * config.rate)
        a = np.array([[h + k, mixed], [mixed, config.rate]])
        worst = max(worst, np.abs(1 - config.eta * np.linalg.eigvalsh(a)).max())
    return config.eta**2 * config.sigma**2 / (1 - worst**2)


# -- runs --------------------------------------------------------------------------------------------------------------


def _models(config: Config, loss, law) -> dict[str, Dynamics]:
    linear, saturating = LinearFilter(config.rate), SaturatingFilter(config.rate, config.width)
    return {
        "linear": Dynamics(loss, Filtered(1.0, linear), law, config.eta),
        "saturating": Dynamics(loss, Filtered(1.0, saturating), law, config.eta),
        "sgd": Dynamics(loss, Uncoupled(), law, config.eta),
        "heavy ball": Dynamics(loss, Uncoupled(), law, config.eta, HeavyBall(config.momentum)),
        "nesterov": Dynamics(loss, Uncoupled(), law, config.eta, Nesterov(config.momentum)),
    }


def _runs(config: Config, loss, law, k: Sequence[float], start, progress: bool) -> xr.Dataset:
    """Series of the agent `x` and of its `center` (of itself where it has none), (algorithm, k, sim, step)."""
    parts = []
    for method, model in _models(config, loss, law).items():
        scale = 1 - config.momentum if model.momentum is not None else 1.0
        swept = method in FILTERS
        grid = {"coupling.k": list(k)} if swept else {"eta": [scale * effective_rate(config, one) for one in k]}
        parts.append(_series(config, model, grid, start, progress).assign_coords(k=list(k)))
    return xr.concat(parts, dim=xr.IndexVariable("algorithm", list(METHODS)))


def _series(config: Config, model: Dynamics, grid, start, progress: bool) -> xr.Dataset:
    data = sweep(
        model,
        grid,
        sims=config.sims,
        steps=config.steps,
        seed=config.seed,
        init=start,
        observe=[observe.Quorum(), observe.Center()],
        every=EVERY,
        keep_agents=False,
        progress=progress,
    )
    names = {next(iter(grid)): "k", "quorum_series": "x", "center_series": "center"}
    return data[["quorum_series", "center_series"]].isel(dim=0, drop=True).rename(names).astype(float)


def run(config: Config, progress: bool = False) -> xr.Dataset:
    law = noise.Gaussian(config.sigma)
    quadratic = objectives.LogCosh(config.curvature, 0.0)  # of the form of the other: one program serves both
    convex = objectives.LogCosh(config.curvature, config.weight)
    late = dict(step=slice(config.steps // 2, None))
    found = {}
    series = _runs(config, quadratic, law, config.k, 0.0, progress)
    for name in ("x", "center"):
        found[f"{name}_variance"] = (series[name].sel(late) ** 2).mean("step")
    series = _runs(config, convex, law, config.k, config.start, progress)
    settled = series.sel(late)
    found["convex_energy"] = (settled["x"] ** 2).mean("step") + settled["k"] / config.rate * (
        settled["center"] ** 2
    ).mean("step")
    for name in ("x", "center"):
        found[f"convex_{name}"] = abs(settled[name]).mean("step")
    shown = series.sel(k=config.k_shown, drop=True)
    found["approach"] = abs(shown["center"]).mean("sim")
    found["fastest_center"] = abs(shown["center"].diff("step")).max("step") / (
        10 * config.eta * config.rate * config.width
    )
    start = init.Uniform(-config.init_half_width, config.init_half_width)
    law = noise.Uniform(config.noise_half_width)
    series = _runs(config, config.loss.objective(), law, config.k, start, progress)
    for name in ("x", "center"):
        last = series[name].isel(step=-1, drop=True)
        found[f"{name}_found"] = (abs(last - config.landmarks.right) < one.NEAR).astype(float)
    few = series.sel(k=config.k_shown, drop=True).isel(sim=slice(None, 3))
    for name in ("x", "center"):
        found[f"{name}_path"] = few[name].rename(sim="path")
    return xr.Dataset({**found, **_decays(config), **_stability(config, convex, progress)})


def _decays(config: Config) -> dict[str, xr.DataArray]:
    """Rates at which runs without noise converge on the quadratic, per iteration, of filter and SGD."""
    series = _runs(config, objectives.LogCosh(config.curvature, 0.0), noise.Gaussian(0.0), config.k, 1.0, False)
    measured_rates = []
    for method in ("linear", "sgd"):
        for k in config.k:
            x = series["center"].sel(algorithm=method, k=k).isel(sim=0).values
            early, late = (int(np.argmax(x < level)) for level in (1e-1, 1e-3))
            if late == 0:
                raise ValueError(f"steps={config.steps}: too few for k={k} to converge; use more")
            measured_rates.append(np.log(x[early] / x[late]) / (EVERY * (late - early)))
    dims = {"converging": ["linear", "sgd"], "k": list(config.k)}
    return {"decay": xr.DataArray(np.reshape(measured_rates, (2, -1)), dims)}


def _stability(config: Config, loss, progress: bool) -> dict[str, xr.DataArray]:
    """Square of the agent, averaged over the second half, against the filters' rate: NaN where it diverged."""
    models = _models(config, loss, noise.Gaussian(config.sigma))
    parts = []
    for method in FILTERS:
        model = dataclasses.replace(models[method], coupling=Filtered(config.k_shown, models[method].coupling.filter))
        with warnings.catch_warnings():  # that it diverges is what is looked at
            warnings.simplefilter("ignore", StabilityWarning)
            warnings.simplefilter("ignore", DivergenceWarning)
            grid = {"coupling.filter.rate": list(config.rates)}
            series = _series(config, model, grid, 0.0, progress).rename(k="rate")
        late = series["x"].sel(step=slice(config.steps // 2, None)) ** 2
        parts.append(late.mean("step", skipna=False).assign_coords(rate=list(config.rates)))
    return {"square": xr.concat(parts, dim=xr.IndexVariable("filter", list(FILTERS)))}


# -- statements --------------------------------------------------------------------------------------------------------


def _exact(config: Config, data: xr.Dataset, index: int, methods: Sequence[str]) -> xr.DataArray:
    values = [[exact(config, m, float(k))[index] for k in data["k"].values] for m in methods]
    return xr.DataArray(np.array(values), {"algorithm": list(methods), "k": data["k"].values})


def _best(data: xr.Dataset, method: str, name: str = "center_found") -> float:
    return float(data[name].sel(algorithm=method).mean("sim").max())


def statements(config: Config) -> list[Statement]:
    others = ("sgd", "heavy ball", "nesterov")
    solvable = ("linear", *others)
    variance = lambda name, methods: lambda d: d[f"{name}_variance"].sel(algorithm=list(methods))
    sgd = lambda d: d["center_variance"].sel(algorithm="sgd", drop=True).mean("sim")
    limit = 2 / config.eta - config.k_shown
    beyond = lambda d, method: d["square"].sel(filter=method).where(d["rate"] > limit, drop=True)
    decays = lambda d: np.array([[decay(config, m, float(k)) for k in d["k"].values] for m in ("linear", "sgd")])

    def ahead(id: str, text: str, method: str, than: Sequence[str], least: float, **options) -> Statement:
        difference = lambda runs: _best(runs.data, method) - max(_best(runs.data, m) for m in than)
        return Statement(id, text, difference, ">=", least, **options)

    return [
        measured.equal(
            "agent-variance-exact",
            "on a quadratic the variance of the agent is that of the linear iteration, with a filter and without",
            variance("x", solvable),
            lambda d: _exact(config, d, 0, solvable),
        ),
        measured.equal(
            "center-variance-exact",
            "and so is that of the linear filter's center",
            variance("center", ("linear",)),
            lambda d: _exact(config, d, 1, ("linear",)),
        ),
        measured.ratio(
            "center-as-quiet-as-sgd",
            "the center is no noisier than SGD of the same effective rate (largest ratio of variances)",
            lambda d: d["center_variance"].sel(algorithm="linear"),
            sgd,
            "<=",
            1.0,
            smoke=1.05,
        ),
        measured.ratio(
            "saturating-quieter",
            "a filter that saturates is quieter still (largest ratio of its center's variance to SGD's)",
            lambda d: d["center_variance"].sel(algorithm="saturating"),
            sgd,
            "<=",
            1.0,
            smoke=1.05,
        ),
        Statement(
            "rates-are-eigenvalues",
            "filter and SGD converge at the rate of their slowest eigenvalue (largest relative deviation)",
            lambda runs: (float(abs(runs.data["decay"].values / decays(runs.data) - 1).max()), 0.0),
            "<=",
            0.01,
            smoke=0.01,
        ),
        measured.below(
            "energy-bound",
            "on log cosh Theorem 5.2's argument, made for the iteration and any rate r, bounds E[x^2 + k c^2 / r]",
            lambda d: d["convex_energy"].sel(algorithm="linear"),
            lambda d: xr.DataArray([energy_bound(config, float(k)) for k in d["k"].values], {"k": d["k"].values}),
        ),
        measured.ratio(
            "energy-bound-tight",
            "and is loose by no more than a factor 20 (least ratio)",
            lambda d: d["convex_energy"].sel(algorithm="linear"),
            lambda d: xr.DataArray([energy_bound(config, float(k)) for k in d["k"].values], {"k": d["k"].values}),
            ">=",
            0.05,
            smoke=0.05,
        ),
        Statement(
            "saturating-speed",
            "from afar the saturating filter's center moves at its largest speed r w, and no faster (largest speed)",
            lambda runs: (float(runs.data["fastest_center"].sel(algorithm="saturating").max()), 0.0),
            "<=",
            1.0001,
            smoke=1.0001,
        ),
        Statement(
            "linear-unstable",
            f"the linear filter diverges beyond eta (k + r) = 2, r = {limit:g} (share of runs)",
            lambda runs: beyond(runs.data, "linear").isnull().all("rate").values,
            ">=",
            0.9,
            smoke=0.8,
        ),
        Statement(
            "saturating-stable",
            "where the saturating filter is stable (root mean square of the agent at the largest rate)",
            lambda runs: float(beyond(runs.data, "saturating").isel(rate=-1).mean("sim", skipna=False) ** 0.5),
            "<=",
            1.0,
            smoke=1.0,
        ),
        ahead(
            "center-finds-deepest",
            "on the oscillating loss the linear filter's center is in the deepest smoothed basin more often than SGD "
            "of any of the effective rates (best share, difference)",
            "linear",
            ("sgd",),
            0.05,
        ),
        ahead(
            "beats-momentum",
            "and more often than heavy ball or Nesterov",
            "linear",
            ("heavy ball", "nesterov"),
            0.05,
        ),
        Statement(
            "agent-finds-no-more",
            "the agent itself is there no more often than heavy ball (best share, difference)",
            lambda runs: _best(runs.data, "linear", "x_found") - _best(runs.data, "heavy ball"),
            "<=",
            0.05,
            counted=False,
            note="what the filter gains lies in its center, which is what one would take",
        ),
        ahead(
            "saturating-finds-deepest",
            "the saturating filter's center is there more often than the linear filter's",
            "saturating",
            ("linear",),
            0.0,
            counted=False,
            note="an open question of the paper: at this rate and width it is not better",
        ),
    ]


# -- picture -----------------------------------------------------------------------------------------------------------


def plot(config: Config, data: xr.Dataset) -> Figure:
    figure, axes = pyplot.subplots(2, 3, figsize=(12.0, 6.6), layout="constrained")
    _plot_variance(config, data, axes[0, 0])
    approach, paths, shares, speed, stable = axes[0, 1], axes[1, 0], axes[1, 1], axes[0, 2], axes[1, 2]
    for method, (label, color) in METHODS.items():
        approach.plot(data["step"], data["approach"].sel(algorithm=method), color=color, label=label, lw=1.2)
        share = data["center_found"].sel(algorithm=method)
        measured.plot_measured(shares, share, "k", label, color)
        shares.plot(share["k"], share.mean("sim"), color=color, lw=0.8)
    approach.set(yscale="log", xlabel="iteration $n$", ylabel=r"$E|c|$ (or $E|x|$)", xlim=(0, 0.5 * config.steps))
    plotting.letter(approach, 1, f"approach on log cosh, $k={config.k_shown:g}$")
    shares.set(xscale="log", xlabel="gain $k$", ylabel="share within 0.4", ylim=(0, None))
    plotting.letter(shares, 4, "center at the deepest smoothed minimum")
    for method in ("linear", "sgd"):
        label, color = METHODS[method]
        speed.plot(data["k"], data["decay"].sel(converging=method), "o", ms=4, color=color, label=label)
        k = np.geomspace(min(config.k), max(config.k), 60)
        measured.plot_formula(speed, k, [decay(config, method, one) for one in k], "", color)
    speed.plot([], [], "k--", lw=1.2, label="eigenvalue")
    speed.set(xscale="log", yscale="log", xlabel="gain $k$", ylabel="rate per iteration")
    plotting.letter(speed, 2, "convergence on a quadratic")
    for method, panel_color in (("sgd", METHODS["sgd"][1]), ("linear", METHODS["linear"][1])):
        if method == "linear":
            paths.plot(data["step"], data["x_path"].sel(algorithm=method)[0], color=panel_color, lw=0.4, alpha=0.5)
        for i in range(data.sizes["path"]):
            label = ("its center" if method == "linear" else METHODS[method][0]) if i == 0 else None
            path = data["center_path"].sel(algorithm=method)[i]
            paths.plot(data["step"], path, color=panel_color, lw=1.0, label=label)
    paths.plot([], [], color=METHODS["linear"][1], lw=0.4, alpha=0.5, label="agent with linear filter")
    paths.axhline(config.landmarks.right, color=plotting.SMOOTHED, lw=0.8, ls="--", label="deepest smoothed minimum")
    paths.set(xlabel="iteration $n$", ylabel="$x$, $c$", ylim=(-4.2, 3))
    plotting.letter(paths, 3, f"oscillating loss, $k={config.k_shown:g}$")
    for method in FILTERS:
        square = data["square"].sel(filter=method)
        measured.plot_measured(stable, square.dropna("rate"), "rate", METHODS[method][0], METHODS[method][1])
    stable.axvline(2 / config.eta - config.k_shown, color="k", ls=":", lw=1.0, label=r"$\eta(k+r)=2$")
    stable.set(yscale="log", xlabel="rate $r$ of the filter", ylabel="$E x^2$ on log cosh")
    plotting.letter(stable, 5, "stability (what diverged is not shown)")
    for panel in axes.flat:
        panel.legend(fontsize=7.5)
    figure.suptitle("One agent in feedback with a filter of itself (Boffi & Slotine, BS 64)", fontsize=10.5)
    pyplot.close(figure)
    return figure


def _plot_variance(config: Config, data: xr.Dataset, panel) -> None:
    """Variances on the quadratic against the gain, over that of SGD at the full rate as eta -> 0."""
    scale = config.eta * config.sigma**2 / (2 * config.curvature)
    k = np.geomspace(min(config.k), max(config.k), 40)
    kinds = [(f"{METHODS[m][0]}", "x", m, METHODS[m][1], "o") for m in ("sgd", "heavy ball", "nesterov")]
    kinds += [("linear filter, agent", "x", "linear", METHODS["linear"][1], "s")]
    kinds += [(f"{METHODS[m][0]}, center", "center", m, METHODS[m][1], "o") for m in FILTERS]
    for label, name, method, color, marker in kinds:
        measured.plot_measured(panel, data[f"{name}_variance"].sel(algorithm=method) / scale, "k", label, color, marker)
        if method != "saturating":
            values = [exact(config, method, one)[name == "center"] / scale for one in k]
            measured.plot_formula(panel, k, values, "", color)
    panel.plot([], [], "k--", lw=1.2, label="exact")
    panel.set(xscale="log", yscale="log", xlabel="gain $k$", ylabel=r"variance $/\ (\eta\sigma^2/2h)$")
    plotting.letter(panel, 0, "variance on a quadratic")


EXPERIMENT = Experiment(
    "bs-filters",
    "Boffi & Slotine, BS 64: single-agent methods with a filter",
    "One agent in feedback with a low-pass filter of itself is a method of second order in time, and other filters are "
    "possible. We set a linear and a saturating filter beside SGD and momentum of the same effective learning rate.",
    PRESETS,
    run,
    plot,
    lambda config, data: measured.Runs(data),
    statements,
)
