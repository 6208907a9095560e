"""Results as labeled data: what is at the end and what was recorded, times, screens, differences, joined series."""

import html.parser
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sdesim
from sdesim import asynchrony, noise, observe, schedules
from sdesim.asynchrony import Exponential
from sdesim.results.result import FINAL, unlike
from sdesim.statistics import mean_of, paired, standard_error

WATCHED = [observe.Spread(), observe.QuorumLoss(), observe.MeanLoss(), observe.Quorum()]


def model_of(k=1.0, eta=0.1, **more):
    return sdesim.Dynamics(sdesim.objectives.QuarticDoubleWell(), sdesim.Quorum(k), noise.Gaussian(1.0), eta, **more)


def run(k=1.0, steps=20, model=None, **more):
    how = dict(agents=3, sims=8, seed=5, init=sdesim.init.Normal(), observe=WATCHED, every=4)
    how = {**how, **more} if "init" not in more or not isinstance(more["init"], sdesim.Result) else more
    return sdesim.simulate(model_of(k) if model is None else model, steps=steps, **how)


def test_a_result_and_a_sweep_have_the_same_names_for_the_same():
    made = run()
    result = made.to_xarray()
    how = dict(agents=3, sims=8, seed=5, init=sdesim.init.Normal(), observe=WATCHED, every=4)
    swept = sdesim.sweep(model_of(), {"coupling.k": [1.0, 2.0]}, steps=20, **how).isel(coupling_k=0, drop=True)
    shared = [name for name in result if not str(name).startswith("shared")]
    assert {"spread", "quorum_loss", "spread_series", "quorum_loss_series", "mean_loss", "quorum_series"} <= set(shared)
    for name in shared:
        assert result[name].dims == swept[name].dims, name
        assert result[name].attrs == swept[name].attrs, name
        np.testing.assert_allclose(result[name], swept[name], rtol=1e-9, err_msg=name)
    for name in ("sim", "agent", "dim", "step"):
        np.testing.assert_array_equal(result[name], swept[name])
    for name in ("quorum", "center", "spread", "quorum_loss"):
        np.testing.assert_array_equal(getattr(made, f"{name}_mean"), result[f"{name}_mean"])
        np.testing.assert_array_equal(getattr(made, f"{name}_stderr"), result[f"{name}_stderr"])
    said = f"means       quorum {mean_of(made.quorum[:, 0])}, spread {mean_of(made.spread)}, quorum_loss"
    assert said in repr(made)


def test_what_is_at_the_end_is_the_last_record():
    result = run()
    for name in ("spread", "quorum_loss", "quorum"):
        np.testing.assert_allclose(getattr(result, name), result.observed[name][:, -1], rtol=1e-9)


class OwnMean(observe.AbstractSeries):
    name = "quorum_mean"

    def value(self, view):
        return view.quorum[0]


def test_what_is_recorded_never_takes_the_name_of_a_mean(tmp_path):
    result = run(observe=OwnMean())
    data = result.to_xarray()
    swept = sdesim.sweep(model_of(), {"coupling.k": [1.0]}, agents=3, sims=8, steps=20, every=4, observe=OwnMean())
    for found in (data, swept):
        assert "step" not in found["quorum_mean"].dims and "step" in found["quorum_mean_series"].dims
    result.save(tmp_path / "run.nc")
    np.testing.assert_array_equal(
        sdesim.load(tmp_path / "run.nc").observed["quorum_mean"], result.observed["quorum_mean"]
    )


@pytest.mark.parametrize("name", FINAL)
def test_what_is_recorded_never_takes_the_name_of_the_end(name, tmp_path):
    if name in ("diverged", "agents"):
        return
    model = model_of(momentum=sdesim.HeavyBall(0.5))
    kinds = {"quorum": observe.Quorum, "center": observe.Center, "velocity": observe.Velocity}
    kinds |= {"spread": observe.Spread, "quorum_loss": observe.QuorumLoss}
    result = run(model=model, observe=kinds[name]())
    data = result.to_xarray()
    assert "step" not in data[name].dims and "step" in data[f"{name}_series"].dims
    result.save(tmp_path / "run.nc")
    again = sdesim.load(tmp_path / "run.nc")
    np.testing.assert_array_equal(again.observed[name], result.observed[name])
    np.testing.assert_array_equal(getattr(again, name), getattr(result, name))


# -- time --------------------------------------------------------------------------------------------------------------


def test_records_are_dated_by_the_time_of_the_coupling(tmp_path):
    """Of a rate that halves the time is the sum of the rates, and at the end that of the state."""
    result = run(model=model_of(eta=schedules.Halving(0.1, 10)), steps=24)
    data = result.to_xarray()
    expected = np.concatenate([[0], np.cumsum(0.1 * 0.5 ** (np.arange(24) // 10))])[::4]
    np.testing.assert_allclose(data["time"], expected, rtol=1e-9)
    assert data["time"].dims == ("step",) and data["time"].attrs["units"] == "time"
    np.testing.assert_allclose(data["time"][-1], np.asarray(result.time)[0], rtol=1e-9)
    result.save(tmp_path / "run.nc")
    np.testing.assert_array_equal(sdesim.load(tmp_path / "run.nc").moments, result.moments)


def test_a_run_that_goes_on_goes_on_in_time():
    first = run()
    longer = run(init=first, observe=WATCHED, every=4)
    np.testing.assert_allclose(longer.moments, 2.0 + np.arange(0, 21, 4) * 0.1, rtol=1e-9)
    np.testing.assert_allclose(longer.moments[-1], np.asarray(longer.time)[0], rtol=1e-9)


def test_seconds_of_workers_are_their_own():
    stepper = sdesim.asynchrony.Asynchronous(asynchrony.protocols.AsyncSGD(), compute=Exponential())
    model = sdesim.Dynamics(sdesim.objectives.Quadratic(), noise=noise.Gaussian(1.0), eta=0.05)
    how = dict(agents=3, sims=2, init=1.0, observe=observe.Quorum(), stepper=stepper)
    by_steps = sdesim.simulate(model, steps=12, every=3, **how).to_xarray()
    assert by_steps["time"].dims == ("sim", "step") and "time" in by_steps.coords
    assert by_steps["time"].attrs["units"] == "s" and (np.diff(by_steps["time"]) > 0).all()
    by_seconds = sdesim.simulate(model, until=2.0, at=4, **how)
    assert by_seconds.moments is None and by_seconds.to_xarray()["quorum_series"].dims == ("sim", "time", "dim")
    assert "2 s of virtual time" in repr(by_seconds)


# -- on a screen -------------------------------------------------------------------------------------------------------


def test_a_result_says_what_ran_on_a_screen(tmp_path):
    def my_loss(x):
        return jnp.sum(x**2)

    result = run(model=sdesim.Dynamics(my_loss, sdesim.Quorum(2.5), noise.Gaussian(1.0), eta=0.1))
    said = repr(result)
    assert len(said.splitlines()) < 15 and max(map(len, said.splitlines())) <= 100
    for words in ("8 simulations of 3 agents in 1 dimension, after 20 steps, at time 2", "my_loss, Quorum(k=2.5)"):
        assert words in said
    for words in ("Gaussian(sigma=1)", "eta=0.1", "EulerMaruyama, jacobi", "none", "seed 5, simulations 0 to 7"):
        assert words in said
    assert re.search(r"in [\d.e-]+ s, float64 on cpu: cpu x 1; ", said)
    assert "spread, quorum_loss, mean_loss, quorum; 6 records over step" in said
    result.save(tmp_path / "run.nc")
    assert repr(sdesim.load(tmp_path / "run.nc")).splitlines()[1:3] == said.splitlines()[1:3]


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_a_result_says_what_diverged():
    model = sdesim.Dynamics(lambda x: -jnp.sum(jnp.exp(x * x)), eta=1.0)
    with pytest.warns(sdesim.DivergenceWarning):
        result = sdesim.simulate(model, sims=2, steps=20, init=np.array([[[0.0]], [[2.0]]]))
    dated = int(result.diverged[1])
    assert f"1 of 2, the first at step {dated} (simulation 1)" in repr(result) and "± nan" in repr(result)


def test_a_traced_result_can_be_shown():
    seen = []
    jax.jit(lambda k: seen.append(repr(run(k))) or run(k).quorum)(1.0)
    assert "not known within a transformation" in seen[0]


def test_html_is_well_formed_and_shows_no_markup_of_others():
    result = run()
    result.run["path"] = "<script>alert(1)</script>"
    page = result._repr_html_()
    open_tags = []

    class Reader(html.parser.HTMLParser):
        def handle_starttag(self, tag, attrs):
            open_tags.append(tag)

    Reader().feed(page.split("<details>")[0])
    assert set(open_tags) == {"table", "tr", "th", "td"} and "&lt;script&gt;" in page
    assert "quorum_loss" in page.split("<details>")[1]


def test_labels_select():
    result = run(first_sim=3)
    np.testing.assert_array_equal(result.sel(sim=4, step=8)["spread_series"], result.observed["spread"][1, 2])
    np.testing.assert_array_equal(result.isel(sim=1, agent=2)["agents"], result.agents[1, 2])
    with pytest.raises(KeyError):
        result.sel(sim=0)


# -- differences -------------------------------------------------------------------------------------------------------


def test_paired_differences_are_known_better_on_common_random_numbers():
    """Two gains on one noise: of a quadratic's quorum the difference is exactly 0, and of the spread it is sharp."""
    model = lambda k: sdesim.Dynamics(sdesim.objectives.Quadratic(), sdesim.Quorum(k), noise.Gaussian(1.0), eta=0.1)
    how = dict(agents=4, sims=200, steps=40, seed=2, init=0.5)
    one, other = (sdesim.simulate(model(k), **how) for k in (1.0, 1.2))
    found = one.paired(other)
    np.testing.assert_allclose(found["quorum"], 0, atol=1e-12)
    assert (found["quorum_apart"] > 1e-2).all()
    difference = np.asarray(one.spread - other.spread)
    np.testing.assert_allclose(found["spread"], difference)
    assert float(found["spread_mean"]) == pytest.approx(difference.mean())
    assert float(found["spread_stderr"]) == pytest.approx(float(standard_error(difference)))
    apart = np.hypot(standard_error(np.asarray(one.spread)), standard_error(np.asarray(other.spread)))
    assert float(found["spread_apart"]) == pytest.approx(apart)
    assert found["spread_stderr"] < 0.3 * found["spread_apart"]
    assert abs(found["spread_mean"] / found["spread_stderr"]) > 5 > abs(found["spread_mean"] / found["spread_apart"])
    assert found["spread"].attrs["long_name"].startswith("one - other: ") and "diverged" not in found


def test_of_independent_runs_both_errors_agree():
    one, other = (run(seed=seed, sims=400) for seed in (1, 2))
    data = [r.to_xarray() for r in (one, other)]
    found = paired(*data)
    np.testing.assert_allclose(found["quorum_stderr"], found["quorum_apart"], rtol=0.15)


def test_points_of_a_sweep_are_paired():
    data = sdesim.sweep(model_of(), {"coupling.k": [1.0, 1.1]}, agents=3, sims=50, steps=20, init=sdesim.init.Normal())
    found = paired(data.isel(coupling_k=1), data.isel(coupling_k=0), names=("1.1", "1"))
    assert found["spread_mean"].attrs["difference"] == "1.1 - 1"
    assert found["spread_stderr"] < 0.5 * found["spread_apart"]
    np.testing.assert_allclose(found["spread"], data["spread"][1] - data["spread"].values[0])


def test_what_is_not_paired_is_refused():
    result = run()
    for other, name in ((run(seed=6), "seed=6"), (run(sims=4), "sims=4"), (run(first_sim=1), "first_sim=1")):
        with pytest.raises(ValueError, match=f"other: has {name}, and must have"):
            result.paired(other)
    with pytest.raises(TypeError, match="other=3"):
        result.paired(3)
    data = result.to_xarray()
    with pytest.raises(ValueError, match="has other simulations"):
        paired(data, data.isel(sim=slice(3)))
    with pytest.raises(ValueError, match="no variable of simulations in common"):
        paired(data[["spread"]], data[["quorum"]])


# -- series that go on -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [20, 18])
def test_a_continued_run_joins_its_series(steps):
    """As if it had never stopped: at all records of the first part, and at those of the second."""
    first = run(steps=steps)
    longer = run(init=first, observe=WATCHED, every=4, steps=12)
    joined = first.then(longer)
    assert joined.records.tolist() == [*range(0, steps + 1, 4), *range(steps + 4 * (steps % 4 == 0), steps + 13, 4)]
    at_once = run(steps=steps + 12, every=2)
    places = joined.records // 2
    for name in ("spread", "quorum_loss", "mean_loss", "quorum"):
        np.testing.assert_allclose(joined.observed[name], at_once.observed[name][:, places], rtol=1e-9)
    np.testing.assert_allclose(joined.moments, joined.records * 0.1, rtol=1e-9)
    np.testing.assert_array_equal(joined.agents, longer.agents)
    assert joined.seconds == first.seconds + longer.seconds
    again = run(init=joined, observe=WATCHED, every=4, steps=4)  # which goes on, too
    assert joined.then(again).records[-1] == steps + 16


def test_only_what_goes_on_is_joined():
    first = run()
    with pytest.raises(ValueError, match=r"begins at step 0, and must begin where this ends, at step 20"):
        first.then(run(steps=24))
    with pytest.raises(ValueError, match="has seed=6, and must have seed=5"):
        first.then(run(seed=6))
    with pytest.raises(ValueError, match="recorded spread, and must have recorded"):
        first.then(run(init=first, observe=observe.Spread(), every=4))
    sums = run(observe=[observe.Spread(), observe.Moments()])
    joined = sums.then(run(init=sums, observe=[observe.Spread(), observe.Moments()], every=4))
    assert list(joined.observed) == ["spread"]


def test_a_run_that_goes_on_by_another_model_says_so(tmp_path):
    """In memory, from a file, and on; its series are not joined."""
    go_on = lambda began, k, **more: run(k, init=began, observe=observe.Spread(), every=4, **more)
    first = run(observe=observe.Spread())
    first.save(tmp_path / "run.nc")
    again = sdesim.load(tmp_path / "run.nc")
    assert "before" not in go_on(again, 1.0).run  # equal, and another object
    other, finer = go_on(again, 2.0), go_on(first, 1.0, dt=0.05)
    for began, longer, why in (
        (again, other, "coupling.k=2.0, and that had coupling.k=1.0"),
        (first, finer, "dt=0.05"),
    ):
        assert [ran["step"] for ran in longer.run["before"]] == [20] and longer.step == 40
        assert longer.run["before"][0]["model"]["numbers"]["coupling.k"] == 1.0
        assert "before      to step 20: QuarticDoubleWell" in repr(longer)
        with pytest.raises(ValueError, match=f"its model and stepper must be those that ran; this has {why}"):
            began.then(longer)
    other.save(tmp_path / "other.nc")
    third = go_on(sdesim.load(tmp_path / "other.nc"), 2.0)
    assert third.run["before"] == other.run["before"] == sdesim.load(tmp_path / "other.nc").run["before"]
    assert [ran["step"] for ran in go_on(third, 1.0).run["before"]] == [20, 60]


def test_another_function_of_the_stepper_is_another_stepper(tmp_path):
    """By its code, not by where it lies; what was saved without it is taken to be the same."""
    model = sdesim.Dynamics(sdesim.objectives.Quadratic(1.0), sdesim.Quorum(1.0), eta=0.1)
    period = lambda often: lambda n: often + 0 * n
    go = lambda began, often: sdesim.iterate(model, steps=4, init=began, period=period(often))
    first = sdesim.iterate(model, agents=2, steps=4, init=1.0, period=period(2))
    first.save(tmp_path / "run.nc")
    for began in (first, sdesim.load(tmp_path / "run.nc", model)):
        assert "Iteration(period=<function <lambda>>), jacobi" in repr(began)
        assert "before" not in go(began, 2).run
        assert [ran["step"] for ran in go(began, 3).run["before"]] == [4]
    with pytest.raises(ValueError, match="another function period"):
        first.then(go(first, 3))
    del first.run["functions"]
    assert "before" not in go(first, 3).run


def test_a_stepper_is_said_with_all_that_it_is_made_of(tmp_path):
    """On a screen, from a file too: its parts with their numbers, and what was chosen."""
    model = sdesim.Dynamics(sdesim.objectives.Quadratic(1.0), eta=0.1)
    law = asynchrony.Slowed(Exponential(mean=0.5), 3.0, 0.1)
    workers = asynchrony.Asynchronous(asynchrony.AsyncSGD(), compute=law, start="stationary")
    result = sdesim.simulate(model, agents=2, steps=2, stepper=workers)
    result.save(tmp_path / "run.nc")
    slowed = "Slowed(Exponential(mean=0.5), mean=1, factor=3, share=0.1, length=50)"
    for one in (result, sdesim.load(tmp_path / "run.nc")):
        said = f" steps Asynchronous(AsyncSGD, {slowed}, start='stationary'), jacobi computed "
        assert said in " ".join(repr(one).split())
    one = sdesim.simulate(model, agents=2, steps=2, stepper=sdesim.Iteration(5, late=3))
    two = sdesim.simulate(model, steps=2, stepper=sdesim.Iteration(5, late=2), init=one)
    said = " ".join(repr(two).split())
    assert " steps Iteration(late=2, period=5), jacobi " in said
    assert " before to step 2: Quadratic(" in said and " Iteration(late=3, period=5), jacobi " in said
    with pytest.raises(ValueError, match="this has late=2, and that had late=3"):
        one.then(two)
    assert unlike(one.run | {"parts": {}}, one.run) == "this has late=the default, and that had late=3"
    with pytest.raises(
        ValueError, match=r"this is stepped by Adam\(debias=False, b1=0.9, .*, and that was by Iteration"
    ):
        sdesim.simulate(model, steps=2, stepper=sdesim.Adam(debias=False), init=one)


def test_what_needs_another_state_is_refused_with_what_differs():
    model, other = (
        sdesim.Dynamics(sdesim.objectives.Quadratic(), rule, eta=0.1)
        for rule in (sdesim.Quorum(1.0), sdesim.Elastic(2.0))
    )
    often = lambda n: 2 + 0 * n
    begun = {period: sdesim.iterate(model, agents=2, steps=2, period=period) for period in (4, often)}
    how = {4: "period=4", often: "period=<function <lambda>>"}
    for period, result in begun.items():
        (new,) = begun.keys() - {period}
        why = f": this is stepped by Iteration({how[new]}), jacobi, and that was by Iteration({how[period]}), jacobi; "
        with pytest.raises(ValueError, match=re.escape(why)):
            sdesim.iterate(model, steps=2, init=result, period=new)
    with pytest.raises(ValueError, match=r": this has Elastic\(k=2\), and that had Quorum\(k=1\); init=result.agents"):
        sdesim.iterate(other, steps=2, init=begun[4], period=4)


# -- the model ---------------------------------------------------------------------------------------------------------


def test_the_model_is_restored_or_a_differing_one_refused(tmp_path):
    wide = 2.0
    of = lambda width, k=1.0: sdesim.Dynamics(lambda x: jnp.sum(x**2) / width, sdesim.Quorum(k), eta=0.1)
    model = of(wide)
    sdesim.simulate(model, agents=2, steps=3, init=1.0).save(tmp_path / "run.nc")
    assert sdesim.load(tmp_path / "run.nc", model).run["model"] is model
    assert isinstance(sdesim.load(tmp_path / "run.nc").run["model"], dict)
    with pytest.raises(ValueError, match=r"model: must be the one that ran; this has coupling\.k=1\.5, and that had"):
        sdesim.load(tmp_path / "run.nc", of(wide, 1.5))
    with pytest.raises(ValueError, match="must be the one that ran; the function objective"):
        sdesim.load(tmp_path / "run.nc", of(3.0))
    with pytest.raises(ValueError, match=r"; this has Elastic\(k=1\), and that had Quorum\(k=1\)$"):
        sdesim.load(tmp_path / "run.nc", sdesim.Dynamics(lambda x: jnp.sum(x**2), sdesim.Elastic(1.0), eta=0.1))
    with pytest.raises(TypeError, match="model=3"):
        sdesim.load(tmp_path / "run.nc", 3)
