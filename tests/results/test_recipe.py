"""What files say of themselves: how to make them again, units and meaning of everything, and the commit."""

import gc
import json
import subprocess
import sys
import weakref
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from places import ROOT

import sdesim
from sdesim import init, noise, objectives, observe
from sdesim.results import datasets, recipe, schema


def my_loss(x):
    return jnp.sum(x**2) - jnp.cos(x[0])


MODEL = sdesim.Dynamics(my_loss, sdesim.Filtered(1.7, sdesim.LinearFilter(0.1)), noise.Uniform(1 / 3), eta=0.1)


def run(code: str):
    """What pasting it gives."""
    names: dict = {}
    exec(code, names)
    return names["result"]


def test_a_result_says_how_to_make_it_again(tmp_path):
    made = sdesim.simulate(
        MODEL, agents=3, sims=2, steps=7, seed=2**40 + 1, dims=2, init=init.Normal(0.1, 2.0), observe=observe.Spread(),
        every=2, first_sim=5,
    )  # fmt: skip
    made.save(tmp_path / "a.nc")
    code = datasets.read_dataset(tmp_path / "a.nc").attrs["made_by"]
    assert code.startswith("import sdesim") and "LinearFilter" in code
    again = run(code)
    np.testing.assert_array_equal(again.agents, made.agents)
    np.testing.assert_array_equal(again.observed["spread"], made.observed["spread"])


def test_a_run_that_was_continued_says_all_its_calls(tmp_path):
    made = sdesim.iterate(MODEL, agents=2, sims=2, steps=3, seed=4, order="gauss-seidel", period=2)
    for _ in range(50):
        made = sdesim.iterate(MODEL, steps=2, init=made, order="gauss-seidel", period=2)
    made.save(tmp_path / "a.nc")
    loaded = sdesim.load(tmp_path / "a.nc")
    last = sdesim.iterate(MODEL, steps=3, init=loaded, order="gauss-seidel", period=2)
    code = str(last.run["call"])
    assert len(code.splitlines()) == 5 and "for _ in range(50):" in code
    np.testing.assert_array_equal(run(code).agents, last.agents)


SCALES = np.array([0.5, 0.1])


def test_a_recipe_with_sources_can_be_pasted(tmp_path):
    """What a source reads stands before it, of a module and of what it closes over; and once, until it is another."""

    def made(rate):
        def wave(x):
            return rate * jnp.cos(x[0])

        def loss(x):
            return jnp.sum(SCALES * x**2) - wave(x)

        return sdesim.Dynamics(loss, sdesim.Quorum(1.0), noise.Uniform(1 / 3), eta=0.1)

    sdesim.simulate(made(0.3), agents=2, sims=2, steps=3, dims=2).save(tmp_path / "a.nc")
    longer = sdesim.simulate(made(0.3), steps=2, init=sdesim.load(tmp_path / "a.nc"))
    last = sdesim.simulate(made(0.5), steps=2, init=longer)
    code = str(last.run["call"])
    for line in ("import sdesim", "import jax.numpy as jnp", "def loss(x):", "rate = 0.3", "rate = 0.5"):
        assert code.splitlines().count(line) == 1
    np.testing.assert_array_equal(run(code).agents, last.agents)
    both = str(recipe.Call("sdesim.simulate", {"one": made(0.3), "other": made(0.5)}))
    assert "# rate = 0.5" in both and "fn=<another loss>" in both


def test_a_sweep_says_how_to_make_it_again():
    data = sdesim.sweep(MODEL, {"coupling.k": [0.0, 1.5], "agents": [1, 2]}, sims=2, steps=3, dims=1, seed=3)
    assert data.attrs["sdesim_kind"] == "sweep"
    assert run(data.attrs["made_by"]).equals(data)


def test_a_call_is_said_as_it_was_and_holds_no_arrays():
    start, increments = np.full((2, 1), 0.5), np.zeros((4, 3, 2, 1))
    gone = weakref.ref(increments)
    made = sdesim.simulate(MODEL, agents=2, sims=3, steps=4, init=start, increments=increments)
    start[:] = 7.0
    code = str(made.run["call"])
    assert "init=[[0.5], [0.5]]" in code and "increments=[" in code
    del increments
    gc.collect()
    assert gone() is None
    np.testing.assert_array_equal(run(code).agents, made.agents)


def test_a_result_that_went_through_jit_says_so_and_compiles_once():
    compiled = []

    @jax.jit
    def same(result):
        compiled.append(result.step)
        return result

    for _ in range(2):
        result = sdesim.simulate(MODEL, agents=2, sims=3, steps=3, seed=0, exact=True)
        out = same(result)
        np.testing.assert_array_equal(out.agents, result.agents)
        assert "transformation of JAX" in str(out.run["call"])
    assert compiled == [3]


def test_values_as_python():
    with jax.enable_x64(False):
        assert recipe.as_code(jnp.float32(0.1)) == "0.1"
    assert recipe.as_code({"a": (1,), "b": [None, True, "x"]}) == "{'a': (1,), 'b': [None, True, 'x']}"
    assert recipe.as_code(np.array([[1.5, np.nan]])) == "[[1.5, float('nan')]]"
    assert recipe.as_code(sdesim.Quorum(3.0)) == "sdesim.coupling.Quorum(k=3.0)"
    assert recipe.as_code(np.zeros(100)).startswith("<float64 array of shape (100,), SHA-256 ")
    assert recipe.as_code(observe.Spread()) == "sdesim.observe.Spread()"
    assert " at 0x" not in recipe.as_code(object())


def test_functions_come_with_their_source():
    def local(x):
        return x @ x

    said = str(recipe.Call("sdesim.simulate", {"model": sdesim.Dynamics(local, eta=0.1), "steps": 1}))
    assert "def local(x):\n    return x @ x" in said and "fn=local" in said
    exec(said.replace("result = ", "model = ").replace("sdesim.simulate", "dict"), {})
    assert "# " in str(recipe.Call("f", {"loss": lambda x: x * 17}))


def test_every_variable_has_units_and_a_meaning():
    seen = [observe.Quorum(), observe.Moments(), observe.Histogram(-1.0, 1.0, 3), observe.MeanLoss()]
    options = dict(agents=2, sims=2, steps=4, observe=seen, every=2)
    nesterov = sdesim.Dynamics(objectives.Quadratic(), noise=noise.Uniform(1.0), momentum=sdesim.Nesterov(0.5), eta=0.1)
    result = sdesim.simulate(nesterov, **options).to_xarray()
    swept = sdesim.sweep(nesterov, {"eta": [0.1, 0.2]}, **options)
    for data in (result, swept):
        for name, variable in data.variables.items():
            assert variable.attrs["units"] and variable.attrs["long_name"], name
            if not str(name).startswith("shared_"):
                assert variable.attrs["units"] != "not stated", name
        assert json.loads(data.attrs["settings"])["model"]["numbers"]["momentum.delta"] == 0.5
        assert data.attrs["commit"] and data.attrs["sdesim_format"] == schema.VERSION
    assert swept["quorum_stderr"].attrs == {
        "units": "length",
        "long_name": "standard error over simulations: mean of the agents",
    }
    assert swept["eta"].attrs["units"] == "time"


class Range(observe.AbstractSeries):
    name = "range"
    axes = ("dim",)
    label = ("length", "largest minus smallest agent")

    def value(self, view):
        return view.state.x.max(axis=0) - view.state.x.min(axis=0)


class Agents(observe.AbstractAccumulator):
    """Of the name of another variable; of two outputs, one is described."""

    name = "agents"
    axes: ClassVar = {"least": (), "looks": ()}
    label: ClassVar = {"least": ("length", "least agent seen")}

    def init(self, view):
        return view.state.x.min(), view.step

    def update(self, total, view):
        return jnp.minimum(total[0], view.state.x.min()), total[1] + 1

    def finish(self, total):
        return {"least": total[0], "looks": total[1]}


def test_an_observable_says_its_units_and_meaning(tmp_path):
    """A user's as those of sdesim; in a run, a file, a file of what was read, a sweep, its errors and parts."""
    model = sdesim.Dynamics(objectives.Quadratic(), noise=noise.Uniform(1.0), eta=0.1)
    options = dict(agents=2, sims=2, steps=4, observe=[Range(), Agents()], every=2)
    result = sdesim.simulate(model, **options)
    for name in ("one.nc", "two.nc"):
        result.save(tmp_path / name)
        result = sdesim.load(tmp_path / name)
    parts = [sdesim.sweep(model, {"eta": [0.1, 0.2]}, first_sim=i, **options) for i in (0, 2)]
    sized = sdesim.sweep(model, {"agents": [2, 3]}, **{name: options[name] for name in options if name != "agents"})
    for data in (result.to_xarray(), *parts, sdesim.join(parts), sized):
        said = {name: datasets.label_of(variable) for name, variable in data.variables.items()}
        assert said["range"] == ("length", "largest minus smallest agent")
        assert said["agents_least"] == ("length", "least agent seen")
        assert said["agents_looks"] == ("not stated", "agents looks")
        if "range_stderr" in data:
            assert said["range_stderr"] == ("length", "standard error over simulations: largest minus smallest agent")


def test_a_label_is_two_texts():
    wrong = type("Wrong", (Range,), {"label": "length", "__module__": __name__})
    with pytest.raises(
        TypeError, match=r"^observe: the label of range must be its units and its meaning, got 'length'$"
    ):
        sdesim.simulate(sdesim.Dynamics(objectives.Quadratic(), eta=0.1), steps=1, observe=wrong())


def test_a_command_says_its_own_line():
    with recipe.by_command(["figure", "bs-fig1", "--out", "my figures"]):
        assert recipe.made_by("a call") == "sdesim figure bs-fig1 --out 'my figures'"
    assert recipe.made_by("a call") == "a call"


@pytest.mark.slow
def test_the_commit_is_built_into_wheels(tmp_path):
    """Of a checkout, and of an sdist that was made of one; needs the build backend, and so the network."""
    head = subprocess.run(["git", "-C", ROOT, "rev-parse", "HEAD"], capture_output=True, text=True).stdout.strip()
    if not head:
        pytest.skip("not a checkout")
    subprocess.run(["git", "clone", "-q", ROOT, tmp_path / "clone"], check=True)
    build = "import sys, hatchling.build as b; print(getattr(b, 'build_' + sys.argv[1])(sys.argv[2]))"
    environment = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    python = environment / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", "hatchling"], check=True)

    def made(kind, source):
        subprocess.run([python, "-c", build, kind, tmp_path / kind], cwd=source, check=True)
        (path,) = (tmp_path / kind).iterdir()
        return path

    import tarfile
    import zipfile

    with zipfile.ZipFile(made("wheel", tmp_path / "clone")) as wheel:
        assert wheel.read("sdesim/COMMIT").decode().strip() == head
    with tarfile.open(made("sdist", tmp_path / "clone")) as sdist:
        sdist.extractall(tmp_path / "unpacked", filter="data")
    (source,) = (tmp_path / "unpacked").iterdir()
    assert (source / "sdesim" / "COMMIT").read_text().strip() == head
    next((tmp_path / "wheel").iterdir()).unlink()
    with zipfile.ZipFile(made("wheel", source)) as wheel:
        assert wheel.read("sdesim/COMMIT").decode().strip() == head
