"""Strict JAX for all tests: float64 oracles, no silent broadcasting of ranks, no implicit change of dtype."""

import dataclasses
import gc
import os
import pathlib
import pickle
import tempfile

import filelock
import hypothesis
import jax
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache

from sdesim.cache import cache_folder

os.environ.setdefault("MPLBACKEND", "Agg")
# Figures keep their runs in a cache; those of tests are their own, one for all workers, and gone afterwards.
if "PYTEST_XDIST_WORKER" not in os.environ:
    _SESSION = tempfile.TemporaryDirectory(prefix="sdesim-tests-")
    os.environ["SDESIM_TESTS"] = _SESSION.name
    os.environ["SDESIM_TESTS_DATA"] = str(cache_folder() or "")
_FOLDER, _USERS_CACHE = os.environ["SDESIM_TESTS"], os.environ["SDESIM_TESTS_DATA"]
os.environ["SDESIM_CACHE"] = f"{_FOLDER}/sdesim"

# More than half of the time goes into XLA's compiler. What it made of a program, it makes of the same program again in
# another test, another worker, or after `clear_caches`: so it is kept, to the end of the session or in the folder that
# who calls names. Programs are traced, and counted as compiled, as without.
COMPILED = {
    "jax_compilation_cache_dir": os.environ.get("JAX_COMPILATION_CACHE_DIR") or f"{_FOLDER}/jax",
    "jax_persistent_cache_min_compile_time_secs": 0,
    "jax_persistent_cache_min_entry_size_bytes": -1,
}
for name, value in COMPILED.items():
    jax.config.update(name, value)

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")

# Compilation makes the first example slow and says nothing of the others; a failure must be the same for everyone.
hypothesis.settings.register_profile("sdesim", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("sdesim")

# Traced programs are many objects that live long; looking through them all again and again takes a tenth of the time.
gc.set_threshold(200_000, 20, 100)


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: takes minutes; left out unless asked for")
    config.addinivalue_line("markers", "relaxed: runs code of others that mixes dtypes or ranks (optax, diffrax)")


SLOW = pathlib.Path(__file__).with_name("slow.txt").read_text(encoding="utf-8").splitlines()
COLLECTED = pytest.StashKey[set[str]]()


@pytest.hookimpl(tryfirst=True)  # before -m is looked at
def pytest_collection_modifyitems(config, items):
    """What choose_slow.py found dear is `slow`, too."""
    listed = set(SLOW)
    for item in items:
        if item.nodeid in listed:
            item.add_marker(pytest.mark.slow)
    config.stash[COLLECTED] = {item.nodeid for item in items}


@pytest.fixture(autouse=True)
def _promotion(request):
    """Standard promotion for tests marked `relaxed`, because strict promotion breaks optax."""
    if request.node.get_closest_marker("relaxed") is None:
        yield
        return
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


MAPPINGS = 20_000  # of memory, a third of what Linux allows a process


@pytest.fixture(autouse=True, scope="module")
def _programs():
    """Let go of compiled programs now and then: each holds some six mappings of memory, and at Linux's limit of 65,530
    the compiler crashes."""
    yield
    try:
        with open("/proc/self/maps") as lines:
            mappings = sum(1 for _ in lines)
    except OSError:
        return
    if mappings > MAPPINGS:
        jax.clear_caches()


@pytest.fixture
def float32():
    """The precision that users get by default."""
    with jax.enable_x64(False):
        yield


@pytest.fixture
def z_scores():
    """z_scores(values, expected): of the mean over the first axis, whose entries are independent."""

    def scores(values, expected):
        values = np.asarray(values, float)
        error = values.std(axis=0, ddof=1) / np.sqrt(len(values))
        return (values.mean(axis=0) - expected) / error

    return scores


@pytest.fixture
def fit_order():
    """fit_order(steps, samples, statistic) -> (order, its standard error) of error = constant * step ** order.

    samples: (len(steps), simulations), one error a simulation. The statistic of the simulations (axis -1) is fitted by
    log error = a + order log step + c step, least squares; the last term takes up the next power of the step, which
    would bend a straight line. The standard error is that of the bootstrap over simulations, which keeps the pairing
    of paths between steps.
    """

    def fit(steps, samples, statistic, resamples=300):
        samples, steps = np.asarray(samples, float), np.asarray(steps, float)
        row = np.linalg.pinv(np.stack([np.ones_like(steps), np.log(steps), steps], axis=1))[1]
        order = lambda s: row @ np.log(np.abs(statistic(s)))
        rng = np.random.default_rng(0)
        picks = rng.integers(0, samples.shape[1], (resamples, samples.shape[1]))
        return order(samples), np.std([order(samples[:, p]) for p in picks], ddof=1)

    return fit


@pytest.fixture
def users_data():
    """The folder of the user's own cache in which data may be."""
    if not _USERS_CACHE:
        pytest.skip("there is no cache")
    return pathlib.Path(_USERS_CACHE) / "data"


@pytest.fixture
def unknown_slow_tests(request):
    """What slow.txt names that is no test, of the files that were collected; skips unless these were whole files."""
    if any("::" in argument for argument in request.config.args):
        pytest.skip("only parts of files were collected")
    collected = request.config.stash[COLLECTED]
    files = {name.partition("::")[0] for name in collected}
    return [name for name in SLOW if name.partition("::")[0] in files and name not in collected]


@pytest.fixture
def compiled_here():
    """For tests that ask XLA's compiler: what it made, or how long it took."""
    jax.config.update("jax_compilation_cache_dir", None)
    compilation_cache.reset_cache()
    yield
    jax.config.update("jax_compilation_cache_dir", COMPILED["jax_compilation_cache_dir"])
    compilation_cache.reset_cache()


@pytest.fixture
def users_environment():
    """Of a process that users start: 32-bit floats, whatever the tests use, and programs that are compiled already."""
    return {**os.environ, "JAX_ENABLE_X64": "0", **{name.upper(): str(value) for name, value in COMPILED.items()}}


SMOKE = {"bs-rates": dict(sims=48)}
"""Of experiments, what differs from the preset: of bs-rates' 32 runs in float32, one claim that holds is undecided."""


@pytest.fixture(scope="session")
def _smoke_runs():
    """Runs by experiment, of this worker; `smoke` keeps them for the others too."""
    return {}


@pytest.fixture
def smoke(float32, _smoke_runs):
    """An experiment at smoke size by its name, run once for all workers: (experiment, configuration, data).

    In float32, as users have it, and so is what the test makes of it: pictures and claims.
    """
    from sdesim.papers import EXPERIMENTS  # after the settings above

    def run(name):
        if name not in _smoke_runs:
            experiment = EXPERIMENTS[name]
            config = dataclasses.replace(experiment.preset("smoke"), **SMOKE.get(name, {}))
            path = pathlib.Path(_FOLDER, f"{name}-smoke.pickle")
            with filelock.FileLock(f"{path}.lock"):
                if not path.exists():
                    path.write_bytes(pickle.dumps(experiment.run(config, False)))
            _smoke_runs[name] = experiment, config, pickle.loads(path.read_bytes())
        return _smoke_runs[name]

    return run


@pytest.fixture
def leaks():
    """leaks(experiment, configuration, data, value) -> the statements that skip `value` where it stands in the data.

    It is put into every measurement: of one simulation, and then of the first and of the last point of the grid. What a
    statement looks at must then be not finite, or not what was changed: the same number as without.
    """

    def summary(statement, ensemble) -> float:
        found = statement.statistic(ensemble)
        return float(np.mean(np.asarray(found[0] if isinstance(found, tuple) else found, float)))

    def put(data, value, place):
        changed = {}
        for name, v in data.data_vars.items():
            sims = [d for d in v.dims if d.partition("_")[0] == "sim"]  # "sim_many" of those of which there are fewer
            grid = [d for d in v.dims if d not in sims]
            here = bool(sims) and bool(grid or place == "simulation")
            here |= "step" in v.dims and place != "simulation"  # runs in which nothing is random
            if v.dtype.kind == "f" and here:
                changed[name] = v.copy(deep=True)
                changed[name][{sims[0]: 1} if place == "simulation" else {d: place for d in grid}] = value
        return data.assign(changed)

    def find(experiment, config, data, value):
        statements = experiment.statements(config)
        clean = experiment.ensemble(config, data)
        right = [summary(s, clean) for s in statements]
        found, looked = set(), set()
        for place in ("simulation", 0, -1):
            ensemble = experiment.ensemble(config, put(data, value, place))
            for statement, expected in zip(statements, right, strict=True):
                with np.errstate(all="ignore"):
                    got = summary(statement, ensemble)
                if not np.isfinite(got):
                    looked.add(statement.id)
                elif got != expected:
                    found.add((statement.id, place))
        assert len(looked) >= len(statements) / 2  # most statements look at simulations
        return found

    return find
