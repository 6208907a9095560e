"""Pictures by the numbers that are drawn: of lines, meshes, hatches and bars, and what their labels say."""

import itertools
import warnings

import jax.numpy as jnp
import matplotlib
import numpy as np
import pytest
import xarray as xr
from matplotlib import pyplot
from matplotlib.collections import LineCollection, PolyCollection, QuadMesh
from matplotlib.colors import to_rgb

import sdesim
from sdesim import analysis, noise, observe, plot
from sdesim.asynchrony import Exponential, timetable
from sdesim.plot import densities, maps, theme
from sdesim.statistics import paired, standard_error

AGENTS, SIMS, STEPS, EVERY = 5, 6, 40, 4

pytestmark = pytest.mark.filterwarnings("ignore:data. at step.*agents are beyond")  # its own test asks for it


@pytest.fixture(autouse=True)
def closed():
    yield
    pyplot.close("all")


def well(x):
    return jnp.sum((x**2 - 1) ** 2) / 4


MODEL = sdesim.Dynamics(well, sdesim.Quorum(1.0), noise.Gaussian(2.0), eta=0.05)
WATCHED = [observe.Snapshot(), observe.Quorum(), observe.Spread(), observe.Density(-2.0, 2.0, 16)]


def run(dims=1, watch=WATCHED, model=MODEL, **options):
    sizes = dict(agents=AGENTS, sims=SIMS, steps=STEPS, dims=dims, every=EVERY if watch else None, seed=2)
    return sdesim.simulate(model, init=sdesim.init.Normal(0.0, 1.0), observe=watch, **{**sizes, **options})


@pytest.fixture(scope="module")
def result():
    return run()


@pytest.fixture(scope="module")
def swept():
    grid = {"coupling.k": [0.5, 1.0, 2.0, 4.0], "eta": [0.02, 0.05, 0.1]}
    return sdesim.sweep(
        MODEL, grid, agents=AGENTS, sims=SIMS, steps=STEPS, every=EVERY, seed=2,
        init=sdesim.init.Normal(0.0, 1.0), observe=[observe.Spread(), observe.Quorum()],
    )  # fmt: skip


def lines(axes):
    return [np.asarray(line.get_ydata(), float) for line in axes.lines]


# -- lines -------------------------------------------------------------------------------------------------------------


def test_trajectories_are_the_paths(result):
    axes = plot.trajectories(result, sims=2)
    snapshot = np.asarray(result.observed["snapshot"], float)[:2, :, :, 0]
    drawn = lines(axes)
    assert len(drawn) == 2 * AGENTS + 1
    np.testing.assert_array_equal(np.array(drawn[:-1]), snapshot.transpose(0, 2, 1).reshape(-1, snapshot.shape[1]))
    np.testing.assert_allclose(drawn[-1], snapshot.mean(axis=(0, 2)), rtol=1e-12)
    np.testing.assert_array_equal(axes.lines[0].get_xdata(), np.arange(0, STEPS + 1, EVERY))
    assert axes.get_ylabel().replace("\n", " ") == "position of each agent at one step (length)"
    one = lines(plot.trajectories(result, "quorum", sims=SIMS))
    np.testing.assert_array_equal(np.array(one[:-1]), np.asarray(result.observed["quorum"])[..., 0])


def test_trajectories_of_one_coordinate():
    result = run(dims=3, watch=observe.Snapshot(2))
    drawn = lines(plot.trajectories(result, dim=1))
    np.testing.assert_array_equal(np.array(drawn[:2]), np.asarray(result.observed["snapshot"])[0, :, :, 1].T)
    with pytest.raises(ValueError, match=r"dim=None: must be one of the 3 coordinates, 0 to 2"):
        plot.trajectories(result)


def test_a_band_is_two_standard_errors(result):
    axes = plot.band(result, "spread")
    values = np.asarray(result.observed["spread"], float)
    mean, error = values.mean(axis=0), standard_error(values)
    np.testing.assert_allclose(lines(axes)[0], mean, rtol=1e-12)
    corners = axes.collections[0].get_paths()[0].vertices
    for x, m, e in zip(result.records, mean, error, strict=True):
        heights = corners[corners[:, 0] == x, 1]
        assert heights.min() == pytest.approx(m - 2 * e, rel=1e-9) and heights.max() == pytest.approx(
            m + 2 * e, rel=1e-9
        )
    assert axes.get_ylabel() == "sum over agents of the squared distance\nfrom their mean (length$^{2}$)"


def test_a_band_for_each_swept_value(swept):
    axes = plot.band(swept.sel(eta=0.05), "spread", log=True)
    drawn = lines(axes)
    series = swept["spread_series"].sel(eta=0.05)
    np.testing.assert_allclose(np.array(drawn), series.mean("sim").values, rtol=1e-12)
    assert [line.get_label() for line in axes.lines] == ["k = 0.5", "k = 1", "k = 2", "k = 4"]
    assert axes.get_yscale() == "log"
    assert min(p.vertices[:, 1].min() for c in axes.collections for p in c.get_paths()) > 0
    with pytest.raises(ValueError, match=r"coupling_k, eta beside; must have 1"):
        plot.band(swept, "spread")


def test_points_have_bars_of_two_standard_errors(swept):
    axes = plot.points(swept.sel(eta=0.1), "quorum_loss")
    values = swept["quorum_loss"].sel(eta=0.1).transpose("sim", ...).values.astype(float)
    (bars,) = axes.containers
    np.testing.assert_allclose(bars.lines[0].get_ydata(), values.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(bars.lines[0].get_xdata(), [0.5, 1, 2, 4])
    ends = np.array([piece[:, 1] for piece in bars.lines[2][0].get_segments()])
    np.testing.assert_allclose(ends[:, 1] - ends[:, 0], 4 * standard_error(values), rtol=1e-9)
    assert axes.get_xlabel() == "gain of the coupling (1 / time)"


def test_a_difference_has_its_zero_and_says_which_less_which(swept):
    found = paired(swept.sel(eta=0.1), swept.sel(eta=0.02), names=("fast", "slow"))
    axes = plot.points(found, "quorum_loss")
    assert " ".join(axes.get_ylabel().split()).startswith("fast - slow: loss at the mean")
    assert [0, 0] in [line.tolist() for line in lines(axes)]
    assert [0, 0] not in [line.tolist() for line in lines(plot.points(swept.sel(eta=0.1), "quorum_loss"))]


def test_what_a_result_goes_on_from_is_no_choice(result):
    assert "shared_0" in result.to_xarray()
    for name in (None, "qorum"):
        with pytest.raises(ValueError, match=r"^name=.*known") as error:
            plot.points(result, name)
        assert "quorum" in str(error.value) and "shared_" not in str(error.value)


def test_a_band_over_the_time_of_the_coupling(result):
    axes = plot.band(result, "spread", over="time")
    np.testing.assert_allclose(axes.lines[0].get_xdata(), 0.05 * result.records)
    assert axes.get_xlabel() == "time of the coupling (time)"


def test_a_sweep_without_simulations_has_its_summary(swept):
    """Of a file that keeps means and errors alone."""
    kept = swept[["quorum_loss_mean", "quorum_loss_stderr"]].sel(eta=0.1)
    one, other = plot.points(kept, "quorum_loss"), plot.points(swept.sel(eta=0.1), "quorum_loss")
    ends = lambda axes: np.array(axes.containers[0].lines[2][0].get_segments())
    np.testing.assert_allclose(ends(one), ends(other), rtol=1e-9)


def test_a_users_axes_and_style_are_used(result):
    with matplotlib.rc_context({"lines.linewidth": 7.0}):
        figure, mine = pyplot.subplots()
        assert plot.band(result, "spread", ax=mine, color="green", label="mine") is mine
        assert mine.lines[0].get_color() == "green" and mine.get_legend() is None
        assert matplotlib.rcParams["lines.linewidth"] == 7.0
    with pytest.raises(TypeError, match="ax="):
        plot.band(result, "spread", ax=figure)


# -- densities ---------------------------------------------------------------------------------------------------------


def test_a_density_is_the_histogram_of_recorded_agents_to_the_count(result):
    snapshot = np.asarray(result.observed["snapshot"])[..., 0]
    edges = np.concatenate([[-np.inf], np.linspace(-2, 2, 17), [np.inf]])
    counts = np.asarray(result.observed["density"])
    assert counts.shape == (SIMS, STEPS // EVERY + 1, 18) and counts.dtype.kind == "i"
    for sim, record in itertools.product(range(SIMS), range(counts.shape[1])):
        np.testing.assert_array_equal(counts[sim, record], np.histogram(snapshot[sim, record], edges)[0])
    assert counts[..., [0, -1]].sum() > 0  # some are outside
    data = result.to_xarray()
    np.testing.assert_allclose(data["density_bin"], edges[:-1])
    back = data["density"].sel(density_bin=0.3, method="pad")  # the bin that holds 0.3
    np.testing.assert_array_equal(back, ((snapshot >= 0.25) & (snapshot < 0.5)).sum(axis=-1))


def test_a_density_says_which_share_of_agents_it_leaves_out(result):
    """At the worst record: beyond the bins, or not finite; of one in a hundred and less it says nothing."""
    data = result.to_xarray().isel(sim=[0])
    few, snapshot = (data[name].copy(deep=True) for name in ("density", "snapshot"))
    few[:], few[..., 5] = 0, 198
    few[0, :, 0], few[0, 3, -1], snapshot[0, 4, 0] = 1, 1, np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        densities.over_time(few.isel(step=slice(3)), None)  # 1 of 199
    few[0, 2, -1], few[0, 5, 1:-1] = 21, 0
    for array, said in (
        (few.isel(step=slice(5)), r"at step 8 10 % of the agents are beyond -2 to 2, or not finite, and in no bin$"),
        (few, "at step 20 100 % of the agents .* no bin, so that nothing is drawn there"),
        (snapshot, rf"at step 16 {100 / AGENTS:.3g} % of the agents are not finite, and in no bin"),
    ):
        with pytest.warns(UserWarning, match=said):
            densities.over_time(array, None)


def test_what_has_no_time_says_what_would_record_it(result):
    with pytest.raises(ValueError, match=r"center has no time; .* record it: observe=observe\.Center\(\)"):
        plot.band(result, "center")
    plane = xr.DataArray(np.zeros((2, 3, 4)), dims=("sim", "x", "y"))
    with pytest.raises(ValueError, match=r"the array has no time, and must be one of .*, x, y; .* an observable"):
        plot.band(plane)


def test_memory_of_a_density_does_not_grow_with_agents_or_steps():
    one = observe.Density(-2.0, 2.0, 16)
    assert one.numbers(10, 1) == one.numbers(10**6, 3) == 18
    counts = [run(watch=one, steps=steps, every=None).observed["density"].shape for steps in (1000, 5000)]
    assert counts[0] == counts[1] == (SIMS, 101, 18)


@pytest.mark.parametrize("save", [False, True])
def test_a_heat_map_of_density(result, save, tmp_path):
    if save:
        result.save(tmp_path / "run.nc")
        result = sdesim.load(tmp_path / "run.nc")
    axes = plot.density(result)
    (mesh,) = (c for c in axes.collections if isinstance(c, QuadMesh))
    snapshot = np.asarray(result.observed["snapshot"])[..., 0]
    edges = np.linspace(-2, 2, 17)
    expected = [np.histogram(snapshot[:, i], edges)[0] / (SIMS * AGENTS * 0.25) for i in range(snapshot.shape[1])]
    np.testing.assert_allclose(np.asarray(mesh.get_array()).reshape(16, -1).T, expected, rtol=1e-12)
    assert [a.get_ylabel() for a in axes.figure.axes] == [
        "position of agents (length)",
        "density of agents (1 / length)",
    ]


def test_ridges_are_the_density_at_some_times(result):
    axes = plot.density(result, kind="ridge", ridges=3)
    _, _, values = densities.over_time(result, None)
    rises = [y - y.min() for y in lines(axes)]
    shown = values[[0, 5, 10]]
    np.testing.assert_allclose(rises, 1.8 * shown / shown.max(), atol=1e-12)
    assert [t.get_text() for t in axes.get_yticklabels()] == ["0", "20", "40"]


def test_a_density_of_snapshots_holds_all_agents(result):
    time, edges, values = densities.over_time(result, "snapshot", bins=30)
    np.testing.assert_allclose(values.sum(axis=1) * np.diff(edges)[0], 1.0, rtol=1e-9)
    assert time.values.tolist() == result.records.tolist()


# -- maps --------------------------------------------------------------------------------------------------------------


def mesh_of(axes):
    (mesh,) = (c for c in axes.collections if isinstance(c, QuadMesh))
    return mesh


def hatched(axes):
    """The middles of the cells that are hatched."""
    found = [c for c in axes.collections if isinstance(c, PolyCollection) and c.get_gid() == "uncertain"]
    return [p.vertices[:4].mean(axis=0) for c in found for p in c.get_paths()]


def made(errors, means=((0.0, 1.0), (2.0, 10.0))):
    names = ("a", "b")
    values = {"loss_mean": (names, np.array(means)), "loss_stderr": (names, np.array(errors))}
    return xr.Dataset(values, {"a": [1.0, 2.0], "b": [5.0, 7.0]})


def test_a_heat_map_is_of_means(swept):
    axes = plot.heat_map(swept, "spread")
    mean = swept["spread"].mean("sim").transpose("eta", "coupling_k")
    np.testing.assert_allclose(np.asarray(mesh_of(axes).get_array()).reshape(mean.shape), mean, rtol=1e-12)
    assert axes.get_xscale() == "log"  # gains double
    edges = mesh_of(axes).get_coordinates()[0, :, 0]
    np.testing.assert_allclose(edges[1:-1], np.sqrt(np.array([0.5, 1, 2]) * [1, 2, 4]), rtol=1e-9)
    error = 2 * standard_error(swept["spread"].transpose("sim", "eta", "coupling_k").values)
    expected = int((error > 0.1 * (mean.max() - mean.min()).item()).sum())
    assert len(hatched(axes)) == expected > 0


def test_few_values_of_a_map_have_a_tick_each(swept):
    """Where there is room: 0.02 of a range of 10 leaves none, and ticks are round numbers as ever."""
    axes = plot.heat_map(swept, "spread")
    for axis, values in ((axes.xaxis, [0.5, 1.0, 2.0, 4.0]), (axes.yaxis, [0.02, 0.05, 0.1])):
        np.testing.assert_allclose(axis.get_ticklocs(), values)
        assert [t.get_text() for t in axis.get_ticklabels()] == [f"{value:g}" for value in values]
        assert not len(axis.get_ticklocs(minor=True))
    crowded = plot.heat_map(swept.assign_coords(eta=[0.0, 0.02, 10.0]), "spread").yaxis
    assert len(crowded.get_ticklocs()) > 3 and 0.02 not in crowded.get_ticklocs()


def test_hatched_is_what_is_known_worse_than_wanted():
    """A tenth of the range is 1: two standard errors of 0.5 are not more, of 0.51 they are."""
    axes = plot.heat_map(made([[0.5, 0.51], [0.1, np.nan]]), "loss")
    np.testing.assert_allclose(sorted(map(tuple, hatched(axes))), [(1.0, 7.0), (2.0, 7.0)])
    assert axes.get_legend().get_texts()[0].get_text() == "uncertain: two standard errors > 1"
    assert len(hatched(plot.heat_map(made([[0.5, 0.51], [0.1, 0.2]]), "loss", resolution=0.3))) == 3
    certain = plot.heat_map(made([[0.1, 0.1], [0.1, 0.1]]), "loss")
    assert hatched(certain) == [] and certain.get_legend() is None
    swapped = plot.heat_map(made([[0.5, 0.51], [0.1, 0.1]]), "loss", x="b")
    np.testing.assert_allclose(hatched(swapped), [(7.0, 1.0)])
    assert (swapped.get_xlabel(), swapped.get_ylabel()) == ("b", "a")


def test_hatches_of_logarithms_are_of_factors():
    """Of a range of 1 to 100 a tenth is a factor of 10**0.2: relative errors of 0.46 and more."""
    means, errors = ((1.0, 10.0), (100.0, 50.0)), ((0.1, 4.0), (22.0, 12.0))
    axes = plot.heat_map(made(errors, means), "loss", log=True)
    relative = 2 * np.array(errors) / means
    assert (relative > np.log(100) / 10).sum() == 2
    np.testing.assert_allclose(sorted(map(tuple, hatched(axes))), [(1.0, 7.0), (2.0, 7.0)])
    assert not maps.uncertain(np.array([1.0]), np.array([0.05]), 1.2, True).any()
    with pytest.raises(ValueError, match=r"resolution=0\.5: must be a factor greater than 1"):
        plot.heat_map(made(errors, means), "loss", log=True, resolution=0.5)


def test_what_is_not_finite_is_gray_and_not_hatched():
    axes = plot.heat_map(made([[0.1, np.nan], [0.1, 0.1]], ((0.0, np.nan), (1.0, 2.0))), "loss")
    assert np.ma.getmaskarray(mesh_of(axes).get_array()).sum() == 1
    assert hatched(axes) == [] and to_rgb(axes.get_facecolor()) == to_rgb("0.85")
    assert axes.get_legend().get_texts()[0].get_text() == "not finite"
    with pytest.raises(ValueError, match="no value that is finite"):
        plot.heat_map(made([[0.1] * 2] * 2, ((np.nan,) * 2,) * 2), "loss")


def test_one_simulation_is_uncertain():
    one = sdesim.sweep(MODEL, {"coupling.k": [0, 1], "eta": [0.1, 0.2]}, agents=2, steps=5, init=1.0)
    assert len(hatched(plot.heat_map(one, "quorum_loss"))) == 4


def test_a_map_needs_two_numbers(swept):
    with pytest.raises(ValueError, match="and must with two numbers"):
        plot.heat_map(swept.sel(eta=0.1), "spread")
    with pytest.raises(ValueError, match=r"name='sprea'.*spread"):
        plot.heat_map(swept, "sprea")


@pytest.fixture(scope="module")
def plane():
    model = sdesim.Dynamics(
        sdesim.objectives.Quadratic(1.0), sdesim.Quorum(1.0), noise.Gaussian(1.0), 0.1, sdesim.HeavyBall(0.5)
    )
    return analysis.stability_map(
        model, x={"eta": np.linspace(0.2, 3.0, 7)}, y={"momentum.delta": [0.0, 0.4, 0.8]}, stepper=sdesim.Iteration(),
        agents=1,
    )  # fmt: skip


def test_a_phase_diagram_has_the_traced_boundary(plane):
    """Of one agent that descends a quadratic the heavy ball is stable below eta = 2 (1 + delta)."""
    axes = plot.phase_diagram(plane, "radius")
    (border,) = (c for c in axes.collections if isinstance(c, LineCollection))
    ends = np.concatenate(border.get_segments())
    known = np.isclose(ends[:, 1], 0.0) | np.isclose(ends[:, 1], 0.4)
    assert known.sum() >= 2
    np.testing.assert_allclose(ends[known, 0], 2 * (1 + ends[known, 1]), rtol=1e-6)
    mesh = mesh_of(axes).get_array()
    stable = plane["stable"].transpose("momentum_delta", "eta").values
    np.testing.assert_array_equal(np.ma.getmaskarray(mesh).reshape(stable.shape), ~stable)
    assert axes.get_legend().get_texts()[-1].get_text() == "not stable"
    assert axes.get_xlabel() == "learning rate (time)"


def test_a_phase_diagram_needs_a_boundary(plane, swept):
    with pytest.raises(ValueError, match="has no boundary"):
        plot.phase_diagram(swept)
    with pytest.raises(ValueError, match=r"name='rat'.*rate"):
        plot.phase_diagram(plane, "rat")


# -- agents over the loss ----------------------------------------------------------------------------------------------


def test_agents_lie_on_the_curve_of_their_loss(result):
    axes = plot.agents(result, sims=3)
    curve, gray, red = axes.lines
    x = np.asarray(result.agents)[:3, :, 0]
    f = lambda x: (x**2 - 1) ** 2 / 4
    np.testing.assert_allclose(gray.get_xdata(), x.ravel())
    np.testing.assert_allclose(gray.get_ydata(), f(x.ravel()), rtol=1e-6)
    np.testing.assert_allclose(red.get_xdata(), x.mean(axis=1), rtol=1e-6)
    np.testing.assert_allclose(curve.get_ydata(), f(curve.get_xdata()), rtol=1e-6)


def test_agents_over_contours(tmp_path):
    result = run(dims=2, watch=())
    axes = plot.agents(result)
    gray, red = axes.lines
    x = np.asarray(result.agents)
    np.testing.assert_allclose(gray.get_xydata(), x.reshape(-1, 2))
    np.testing.assert_allclose(red.get_xydata(), x.mean(axis=1), rtol=1e-6)
    filled = axes.collections[0]
    assert filled.levels[0] <= 1e-2 < filled.levels[-1]  # the least of the loss is 0
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("$x_1$  (length)", "$x_2$  (length)")
    result.save(tmp_path / "run.nc")
    loaded = sdesim.load(tmp_path / "run.nc")
    with pytest.raises(ValueError, match="loss=None: must be given for a result from a file"):
        plot.agents(loaded)
    again = plot.agents(loaded, well)
    np.testing.assert_array_equal(again.collections[0].levels, filled.levels)


def test_a_plane_of_many_coordinates_goes_through_the_mean():
    steep = lambda x: 5 * x[2] + x[0] ** 2 + x[1] ** 2
    result = run(dims=3, watch=(), model=sdesim.Dynamics(steep, eta=0.05))
    axes = plot.agents(result, dims=(1, 2))
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("$x_2$  (length)", "$x_3$  (length)")
    with pytest.raises(ValueError, match=r"dims=\(1, 1\): must be two different"):
        plot.agents(result, dims=(1, 1))


# -- workers and trainings ---------------------------------------------------------------------------------------------


def test_a_timeline_is_drawn_into_new_axes():
    axes = plot.timeline(timetable(Exponential(), workers=4, arrivals=40, barrier=4))
    assert {c.get_label() for c in axes.containers} == {"computes", "waits"}
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("time  (s)", "worker")


def history(runs=3, epochs=4):
    """As of a training in which the last run diverges at the last epoch."""
    key = np.random.default_rng(0)
    models = ["center", "agent 0", "agent 1"]
    data = xr.Dataset(
        {
            "train_loss": (("run", "epoch", "model"), key.uniform(0.1, 1.0, (runs, epochs, 3))),
            "train_accuracy": (("run", "epoch", "model"), key.uniform(0.5, 1.0, (runs, epochs, 3))),
            "batch_loss": (("run", "epoch", "agent"), key.uniform(0.1, 1.0, (runs, epochs, 2))),
            "spread_by_layer": (("run", "epoch", "layer"), key.uniform(0.1, 1.0, (runs, epochs, 1))),
            "diverged": ("run", np.array([-1] * (runs - 1) + [epochs - 1])),
        },
        {"model": models, "agent": [0, 1], "epoch": np.arange(epochs)},
    )
    data["train_loss"][-1, -1] = np.nan
    return data


def test_learning_curves_leave_out_what_diverged():
    data = history()
    axes = plot.learning_curves(data)
    drawn = {line.get_label(): np.asarray(line.get_ydata()) for line in axes.lines}
    center = data["train_loss"].sel(model="center").values
    np.testing.assert_allclose(drawn["train, center"][:-1], center[:, :-1].mean(axis=0))
    np.testing.assert_allclose(drawn["train, center"][-1], center[:2, -1].mean())
    percent = plot.learning_curves(data, "accuracy")
    center = 100 * data["train_accuracy"].sel(model="center").values
    np.testing.assert_allclose(percent.lines[-1].get_ydata()[:-1], center[:, :-1].mean(axis=0))
    corners = percent.collections[0].get_paths()[0].vertices
    heights = corners[corners[:, 0] == 3, 1]
    np.testing.assert_allclose(np.ptp(heights), 4 * standard_error(center[:2, -1]), rtol=1e-9)
    with pytest.raises(TypeError, match="history"):
        plot.learning_curves(data[["train_loss"]])


# -- the look ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "labels"),
    [
        ((0.25, 4.0), ["0.3", "1", "3"]),
        ((0.02, 0.15), ["0.02", "0.05", "0.1"]),
        ((0.9, 1.25), ["0.9", "1", "1.1", "1.2"]),
        ((1e-3, 2e4), ["0.001", "0.1", "10", "1000"]),
        ((1e-9, 1e-7), ["$10^{-9}$", "$10^{-8}$", "$10^{-7}$"]),
        ((2e6, 2e7), ["$2\\cdot 10^{6}$", "$5\\cdot 10^{6}$", "$10^{7}$", "$2\\cdot 10^{7}$"]),
    ],
)
def test_logarithmic_axes_have_plain_labels(limits, labels):
    _, axes = pyplot.subplots()
    axes.set(xscale="log", xlim=limits)
    theme.plain_ticks(axes.xaxis)
    axes.figure.canvas.draw()
    low, high = limits
    shown = [
        t for t, at in zip(axes.get_xticklabels(), axes.get_xticks(), strict=True) if low * 0.999 < at < high * 1.001
    ]
    assert [t.get_text() for t in shown] == labels
    assert not axes.xaxis.get_minorticklocs().size


def test_ticks_that_someone_chose_stay():
    figure, axes = pyplot.subplots()
    axes.set_xscale("log")
    axes.set_xticks([2, 7], ["two", "seven"])
    theme.plain(figure)
    figure.canvas.draw()
    assert [t.get_text() for t in axes.get_xticklabels()] == ["two", "seven"]
    assert not any(t.get_text() for t in axes.get_xticklabels(minor=True))


def test_lines_of_a_color_are_solid():
    """Of many lines with colors of their own none is dashed by the look."""
    with theme.looks():
        _, axes = pyplot.subplots()
        for color in theme.shades(14):
            axes.plot([0, 1], [0, 1], color=color)
    assert {line.get_linestyle() for line in axes.lines} == {"-"}


# What who lacks a kind of cone sees of linear red, green and blue: Machado, Oliveira & Fernandes (2009), severity 1.
SEEN = {
    "all cones": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)


def lab(color, kind):
    """CIE L*a*b* of a color of sRGB, as it is seen, relative to white of D65."""
    c = np.array(to_rgb(color))
    linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    t = XYZ @ np.clip(np.asarray(SEEN[kind]) @ linear, 0, 1) / XYZ.sum(axis=1)
    f = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def least_distance(colors, kind):
    """Of two colors, as CIE 1976 has it: about 2.3 is just seen side by side."""
    seen = [lab(color, kind) for color in colors]
    return min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2))


@pytest.mark.parametrize("kind", SEEN)
def test_colors_are_told_apart_by_everyone(kind):
    roles = (theme.LOSS, theme.SMOOTHED, theme.AGENTS, theme.QUORUM)
    least = 16.0 if kind == "tritanopia" else 20.0
    assert least_distance(theme.PALETTE, kind) > least
    assert least_distance(roles, kind) > 25.0
    for count in (2, 3, 4, 6):
        assert least_distance(theme.shades(count), kind) > 12.0
    lightness = [lab(color, kind)[0] for color in theme.shades(11)]
    assert (np.diff(lightness) > 3).all()  # an order that is seen without colors
    assert lab("white", kind)[0] == pytest.approx(100, abs=0.1)


def test_what_the_simulation_of_sight_is_good_for():
    """Green and red of one lightness, and the colors that Matplotlib has by default, are not told apart by all."""
    assert (
        least_distance(("#d62728", "#2ca02c"), "all cones")
        > 100
        > 25
        > least_distance(("#a35a00", "#6b7000"), "protanopia")
    )
    assert least_distance(matplotlib.colormaps["tab10"].colors, "protanopia") < 5


def test_more_lines_than_colors_are_dashed():
    ways = theme.distinct(14)
    assert len(set(ways)) == 14 and {style for _, style in ways} == {"-", "--", "-."}


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg"])
def test_pictures_are_written_as_bitmaps_and_vectors(result, suffix, tmp_path):
    axes = plot.band(result, "spread")
    for name in ("one", "two"):
        plot.save(axes, tmp_path / f"{name}.{suffix}")
    blob = (tmp_path / f"one.{suffix}").read_bytes()
    assert blob[:5] == {"png": b"\x89PNG\r", "pdf": b"%PDF-", "svg": b"<?xml"}[suffix]
    if suffix == "pdf":
        assert blob == (tmp_path / "two.pdf").read_bytes()
