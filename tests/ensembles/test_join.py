"""Parts of a sweep, run apart, are the sweep."""

import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import sdesim


def sweep(k=(0.0, 1.0, 2.0), sims=6, first_sim=0, seed=0, eta=(0.1, 0.2)):
    model = sdesim.Dynamics(lambda x: jnp.sum(x**2), sdesim.Quorum(1.0), sdesim.noise.Gaussian(1.0), eta=0.1)
    run = dict(agents=2, steps=4, every=2, observe=sdesim.observe.Spread(), seed=seed)
    return sdesim.sweep(model, {"coupling.k": list(k), "eta": list(eta)}, sims=sims, first_sim=first_sim, **run)


@pytest.fixture(scope="module")
def whole():
    return sweep()


@pytest.fixture(scope="module")
def parts():
    """Both ways at once, not in order: two ranges of gains, two of simulations."""
    return [sweep(k, sims, first) for k in ((0.0,), (1.0, 2.0)) for sims, first in ((2, 4), (4, 0))]


def same(one: xr.Dataset, other: xr.Dataset):
    assert set(one.variables) == set(other.variables)
    for name in one.variables:
        assert one[name].dims == other[name].dims
        np.testing.assert_allclose(one[name].values, other[name].values, rtol=1e-12, atol=1e-14, err_msg=str(name))


def test_the_parts_are_the_whole(whole, parts):
    joined = sdesim.join(parts)
    same(joined, whole)
    same(sdesim.join([joined]), whole)  # also the settings, by which it is joined again
    error = whole["quorum_loss"].std("sim", ddof=1) / np.sqrt(6)
    np.testing.assert_allclose(joined["quorum_loss_stderr"], error, rtol=1e-12)


def test_parts_from_files_are_joined_by_what_the_files_say(whole, parts, tmp_path):
    for i, part in enumerate(parts):
        part.to_netcdf(tmp_path / f"{i}.nc", engine="h5netcdf")
    same(sdesim.join([xr.load_dataset(tmp_path / f"{i}.nc", engine="h5netcdf") for i in range(4)]), whole)


@pytest.mark.parametrize(
    ("others", "message"),
    [
        (lambda parts: parts[:3], "^parts: must fill the grid, and none has coupling.k"),
        (lambda parts: [*parts, parts[0]], r"^parts\[4\]: must not overlap, and holds the same points as parts\[0\]"),
        (lambda parts: [sweep(sims=3), sweep(sims=4, first_sim=2)], r"^parts: must not overlap, and first_sim \[2\]"),
        (lambda parts: [sweep((0.0, 1.0)), sweep((1.0, 2.0))], r"^parts: must not overlap, and grid\['coupling.k'\]"),
        (lambda parts: [sweep(sims=3), sweep(sims=3, first_sim=3, seed=1)], r"^parts\[1\]: .* differs in seed"),
        (lambda parts: [], "^parts=.*must be a non-empty list of Datasets"),
        (lambda parts: parts[0], "^parts=.*must be a non-empty list of Datasets"),
        (lambda parts: [parts[0], xr.Dataset()], r"^parts\[1\]=.*must be a Dataset of sdesim.sweep"),
        (lambda parts: [3], r"^parts\[0\]=3: must be a Dataset of sdesim.sweep"),
    ],
)
def test_what_is_not_one_sweep_is_refused(parts, others, message):
    with pytest.raises((ValueError, TypeError), match=message) as told:
        sdesim.join(others(parts))
    assert "\n" not in str(told.value)


def test_other_losses_are_another_sweep():
    """By what they compute: both are called the same."""
    run = dict(agents=2, steps=1)
    one, other = (
        sdesim.sweep(
            sdesim.Dynamics(lambda x, a=a: a * jnp.sum(x**2), sdesim.Quorum(1.0)),
            {"coupling.k": [0.0]}, first_sim=first, **run,
        )
        for a, first in ((1.0, 0), (2.0, 1))
    )  # fmt: skip
    with pytest.raises(ValueError, match="differs in model functions"):
        sdesim.join([one, other])
