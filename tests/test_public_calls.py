"""Every public argument of sdesim with every kind of bad value is refused by its name, in one line, or is taken and the
reason is here. Arguments are those of the signatures: a new one is tried by itself, and a new public name must be added
to `public_calls.py`."""

import inspect
import types
import warnings

import public_calls
import pytest
from matplotlib import pyplot
from public_calls import BAD, GOOD

import sdesim
from sdesim import analysis, asynchrony, coupling, init, noise, notebook, objectives, observe, plot, schedules

NUMBER = {"fraction", "negative", "huge", "shape"}  # numbers of any size and sign; that shapes fit is seen in a run
POSITIVE = NUMBER - {"negative"}

# What is taken, by argument; else numbers are, where no sign is wrong, and functions where they may stand for numbers.
TAKEN = {
    "Snapshot(agents)": {"huge"},  # more than there are is seen in a run
    "Velocity(agents)": {"huge"},
    "Histogram(bins)": {"huge"},  # as is that they fit into memory
    "Density(bins)": {"huge"},
    "Tree(fanout)": {"huge"},
    "Link(size)": NUMBER | {"function", "none"},  # none is that of a network, in a training
    "Box(high)": NUMBER | {"inf"},
    "Adam(b1)": {"fraction", "none"},
    "AdamSDE(b1)": {"fraction", "none"},
    "HeavyBall(delta)": {"fraction", "shape"},
    "Nesterov(delta)": {"fraction", "shape"},
    "Histogram(low)": {"fraction", "negative"},
    "Density(low)": {"fraction", "negative"},
    "Uniform(low)": {"fraction", "negative"},
    "Halving(every)": set(),
    "couple(lookahead)": {"fraction", "shape"},
    "couple(mean)": {"function"},  # what it returns is seen in an update
    "simulate(observe)": {"empty"},
    "sweep(observe)": {"empty"},
    "sweep(lanes)": {"huge"},
    "sweep(store)": {"text"},
    "iterate(observe)": {"empty"},
    "diffrax_solve(dt0)": {"fraction", "huge"},
    "diffrax_solve(t1)": {"fraction"},
}
COUNTS = {"simulate(seed)", "simulate(memory)", "iterate(seed)", "iterate(memory)", "sweep(seed)", "sweep(memory)"}
NAMES = [(name, argument) for name, (fn, _) in GOOD.items() for argument in inspect.signature(fn).parameters]
RIGHT = ("must", "known:", "needs", "has no", "there is no", "does not fit")
RUNS = (sdesim.simulate, sdesim.iterate, sdesim.sweep, sdesim.diffrax_solve)


def taken(name: str, argument: str) -> set[str]:
    short = f"{name.rpartition('.')[2]}({argument})"
    if short in COUNTS:
        return {"huge"}
    if short in TAKEN:
        return TAKEN[short]
    return NUMBER | {"function"}


@pytest.fixture(autouse=True)
def closed():
    yield
    pyplot.close("all")


def arguments(runs: bool):
    return pytest.mark.parametrize(("name", "argument"), [(n, a) for n, a in NAMES if (GOOD[n][0] in RUNS) is runs])


def check(name: str, argument: str) -> None:
    fn, good = GOOD[name]
    parameter = inspect.signature(fn).parameters[argument]
    if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
        return
    refused = 0
    for kind, value in BAD.items():
        if kind == "none" and parameter.default is None:
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                fn(**{**good, argument: value})
        except (ValueError, TypeError, MemoryError, FileNotFoundError) as error:
            said = str(error)
            assert argument in said and any(word in said for word in RIGHT), f"{kind}: {said}"
            assert "\n" not in said and len(said) <= 300, f"{kind}: {said}"
            refused += 1
        else:
            assert kind in taken(name, argument), f"{kind} is taken"
    assert refused >= 5


@arguments(runs=False)
def test_bad_values_of_parts(name, argument):
    check(name, argument)


@pytest.mark.relaxed
@arguments(runs=True)
def test_bad_values_of_runs(name, argument, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a store may be of any name
    check(name, argument)


def test_every_public_name_is_tried():
    """Parts and functions that are public, but for bases, results and what has no argument that could be wrong."""
    known = {id(getattr(fn, "__func__", fn)) for fn, _ in GOOD.values()}
    missing = []
    for module in (sdesim, coupling, noise, objectives, init, observe, schedules, analysis, asynchrony, plot, notebook):
        for name in getattr(module, "__all__", vars(module)):
            value = getattr(module, name)
            own = hasattr(module, "__all__") or getattr(value, "__module__", "") == module.__name__
            public = isinstance(value, type | types.FunctionType) and not name.startswith(("_", "Abstract"))
            if own and public and name not in public_calls.ELSEWHERE and id(value) not in known:
                missing.append(f"{module.__name__}.{name}")
    assert missing == []
