"""Designs: points spread over ranges, each the simulation at that point, and more of them later."""

import jax.numpy as jnp
import numpy as np
import pytest

import sdesim
from sdesim.ensembles.designs import Design, random_design, sobol
from sdesim.results.stores.folder import Store

pytestmark = pytest.mark.usefixtures("float32")

RANGES = {"coupling.k": (0.1, 10.0, "log"), "eta": (0.01, 0.1)}
RUN = dict(agents=3, steps=10, sims=20, init=0.5, seed=2)


def loss(x):
    return jnp.sum(0.5 * x**2)


def model():
    return sdesim.Dynamics(loss, sdesim.Quorum(1.0), sdesim.noise.Gaussian(1.0), eta=0.1)


@pytest.mark.parametrize("make", [sobol, random_design])
def test_designs_fill_their_ranges_and_go_on(make):
    design = make(RANGES, 256, seed=1)
    k, eta = (np.array(design.columns[name]) for name in RANGES)
    unit = np.stack([np.log(k / 0.1) / np.log(100), (eta - 0.01) / 0.09])
    assert (unit >= 0).all() and (unit <= 1).all()
    # The means of uniform values are within 4 standard errors; those of a Sobol sequence much nearer.
    assert np.abs(unit.mean(1) - 0.5).max() < (4 / np.sqrt(12 * 256) if make is random_design else 0.01)
    assert abs(np.corrcoef(unit)[0, 1]) < 0.25
    assert make(RANGES, 100, seed=1).rows == design.rows[:100]
    assert make(RANGES, 256, seed=2).rows != design.rows


def test_each_point_is_the_simulation_there(tmp_path):
    design = sobol(RANGES, 8)
    data = sdesim.sweep(model(), design, **RUN)
    assert data["quorum"].dims == ("point", "sim", "dim")
    one = sdesim.sweep(model(), {name: [column[5]] for name, column in design.columns.items()}, exact=True, **RUN)
    np.testing.assert_array_equal(data["agents"][5], one["agents"].squeeze(["coupling_k", "eta"]))
    np.testing.assert_allclose(data["coupling_k"], design.columns["coupling.k"])
    stored = sdesim.sweep(model(), sobol(RANGES, 4), store=tmp_path / "store", lanes=30, **RUN)
    np.testing.assert_array_equal(stored["agents"], data["agents"][:4])
    before = Store(tmp_path / "store").done()
    stored = sdesim.sweep(model(), design, store=tmp_path / "store", **RUN)
    rounds = Store(tmp_path / "store").rounds()
    assert sum(rounds.task(n).lanes for n in range(rounds.tasks)) == 8 * 20
    assert before < Store(tmp_path / "store").done()
    for opened in (stored, sdesim.open(tmp_path / "store")):
        for name in data.variables:
            np.testing.assert_allclose(opened[name].values, data[name].values, rtol=1e-12, err_msg=str(name))
            assert opened[name].dims == data[name].dims


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(ranges={}), "ranges={}: must be ends by name"),
        (dict(ranges={"eta": (1.0,)}), r"ranges\['eta'\]=\(1.0,\): must be \(low, high\)"),
        (dict(ranges={"eta": (2.0, 1.0)}), r"ranges\['eta'\] low.*must be less than"),
        (dict(ranges={"eta": (0.0, 1.0, "log")}), "must begin above 0 on a logarithmic scale"),
        (dict(ranges={"eta": (0.0, 1.0, "lin")}), "did you mean 'linear'"),
        (dict(count=0), "count=0: must be an integer of at least 1"),
        (dict(seed=-1), "seed=-1: must be an integer of at least 0"),
    ],
)
def test_designs_that_are_none(change, message):
    for make in (sobol, random_design):
        with pytest.raises(ValueError, match=message):
            make(**{**dict(ranges=RANGES, count=4), **change})


def test_what_no_design_can_sweep():
    for design, message in (
        (Design(("agents",), ((3.0,),)), "agents=3.0: must be an integer from 1"),
        (Design(("coupling.kk",), ((3.0,),)), "did you mean 'coupling.k'"),
        (Design(("eta",), ((-1.0,),)), "eta=-1.0: must be finite and at least 0"),
        (Design(("eta",), ((0.1,), (0.1,))), "each point of a design must be there once"),
    ):
        with pytest.raises(ValueError, match=message):
            sdesim.sweep(model(), design, **RUN)
