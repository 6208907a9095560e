"""Files that earlier versions of the schema wrote, with the numbers that they wrote into them."""

import json
import pathlib
import shutil

import numpy as np
import pytest
import xarray as xr

import sdesim
from sdesim.papers import EXPERIMENTS
from sdesim.papers.frame.experiment import kept_in, redraw
from sdesim.results.datasets import read_dataset, read_described
from sdesim.results.schema import VERSION, Header
from sdesim.view.sheets import Sheet

OLD = pathlib.Path(__file__).parent / "old"
NUMBERS = json.loads((OLD / "numbers.json").read_text())


def test_they_are_old():
    versions = {"run": 1, "sweep": 1, "figure": 1, "training": 1, "run_2": 2, "sweep_3": 3}
    for name, version in versions.items():
        data = xr.load_dataset(OLD / f"{name}.nc", engine="h5netcdf")
        assert data.attrs["sdesim_format"] == version < VERSION


@pytest.mark.relaxed  # a run in float32 goes on
def test_a_run_is_read_and_goes_on(tmp_path, float32):
    result, was = sdesim.load(OLD / "run.nc"), NUMBERS["run"]
    np.testing.assert_array_equal(result.agents, was["agents"])
    np.testing.assert_array_equal(result.observed["spread"], was["spread"])
    assert [getattr(result, name) for name in ("step", "seed", "first_sim")] == [4, 2**40 + 7, 3]
    assert result.run["path"] == was["path"] and result.seconds > 0
    model = sdesim.Dynamics(
        sdesim.objectives.Quadratic(2.0),
        sdesim.Elastic(1.5),
        sdesim.noise.Uniform(1.0),
        eta=0.1,
        momentum=sdesim.Nesterov(0.5),
    )
    longer = sdesim.simulate(model, steps=4, init=result)
    np.testing.assert_allclose(longer.agents, was["agents after 4 steps more"], rtol=1e-5)
    result.save(tmp_path / "new.nc")
    again, header = read_described(tmp_path / "new.nc", "run")
    assert header.path == was["path"] and header.own["step"] == 4
    old = read_dataset(OLD / "run.nc").rename(spread="spread_series")  # which `spread` was before format 3
    assert again[list(old.data_vars)].drop_vars(("agent", "dim")).drop_attrs().identical(old.drop_attrs())


@pytest.mark.relaxed
def test_a_run_of_format_2_has_its_series_and_what_it_is_at_the_end(float32):
    """There `spread` and `quorum_loss` were the series, and the end was not kept."""
    result, was = sdesim.load(OLD / "run_2.nc"), NUMBERS["run of format 2"]
    np.testing.assert_array_equal(result.observed["spread"], was["spread"])
    np.testing.assert_array_equal(result.observed["quorum_loss"], was["quorum_loss"])
    np.testing.assert_allclose(result.spread, np.asarray(was["spread"])[:, -1], rtol=1e-5)
    assert result.quorum_loss is None and result.moments is None
    data = result.to_xarray()
    assert data["spread"].dims == ("sim",) and data["spread_series"].dims == ("sim", "step")
    assert "quorum_loss" not in data and data["quorum_loss_series"].dims == ("sim", "step")
    model = sdesim.Dynamics(
        sdesim.objectives.Quadratic(2.0),
        sdesim.Elastic(1.5),
        sdesim.noise.Uniform(1.0),
        eta=0.1,
        momentum=sdesim.Nesterov(0.5),
    )
    assert sdesim.load(OLD / "run_2.nc", model).run["model"] is model
    longer = sdesim.simulate(model, steps=2, init=result)
    np.testing.assert_allclose(longer.agents, was["agents after 2 steps more"], rtol=1e-5)


def test_a_sweep_is_joined():
    data = sdesim.join([xr.load_dataset(OLD / "sweep.nc", engine="h5netcdf")])
    for name, values in NUMBERS["sweep"].items():
        np.testing.assert_allclose(data[name.replace(".", "_")], values, rtol=1e-6)
    assert Header.of(data.attrs, "sweep", "").settings["grid"] == {"coupling.k": [0.5, 1.5]}


def test_dimensions_of_format_3_are_identifiers():
    """There a dimension had the dotted name that the grid has."""
    as_it_was = xr.load_dataset(OLD / "sweep_3.nc", engine="h5netcdf")
    assert as_it_was["quorum_mean"].dims == ("coupling.k", "n_agents", "dim")
    files = [read_dataset(OLD / "sweep_3.nc"), sdesim.join([as_it_was]), Sheet("", "data", OLD / "sweep_3.nc").data()]
    for data in (*files, sdesim.open(OLD / "store_3")):
        assert data["quorum_mean"].dims == ("coupling_k", "n_agents", "dim")
        np.testing.assert_allclose(data["quorum_mean"], NUMBERS["sweep of format 3"], rtol=1e-6)
        assert data.sel(coupling_k=1.5, n_agents=3).sizes["sim"] == 2


def test_a_figure_is_drawn_and_judged(tmp_path):
    experiment = EXPERIMENTS["bs-fig1"]
    shutil.copy(OLD / "figure.nc", tmp_path / "figure.nc")
    done = redraw(experiment, kept_in(experiment, tmp_path / "figure.nc"), tmp_path)
    assert len(done.claims) == len(NUMBERS["figure"]) > 10
    for claim, was in zip(done.claims, NUMBERS["figure"], strict=True):
        assert (claim.id, claim.verdict, claim.threshold) == (was["id"], was["verdict"], was["threshold"])
        np.testing.assert_allclose([claim.value, claim.stderr], [was["value"], was["stderr"]], rtol=1e-4)


def test_a_training_is_read():
    data, header = read_described(OLD / "training.nc", "training", needs=("fingerprint", "checkpoint"))
    assert header.own["checkpoint"] == 1 and header.own["seed"] == 0
    np.testing.assert_array_equal(data["test_loss"], NUMBERS["training"]["test_loss"])
