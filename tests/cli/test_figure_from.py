"""`sdesim figure NAME --from FILE`: a figure from its file, to the digit, and with nothing run."""

import dataclasses
import shutil

import pytest

import sdesim
from sdesim.cli import main
from sdesim.papers import EXPERIMENTS
from sdesim.results.datasets import read_dataset, write_dataset

SUFFIXES = ("claims.json", "png", "pdf")


def figure(*arguments):
    return main(["figure", *map(str, arguments)])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The folder of a figure that was run, its configuration other than the preset's."""
    folder = tmp_path_factory.mktemp("made")
    numbers = ["--sims", 4, "--steps", 20, "--agents", 5, "--k", 0, 1, 2, 3, 4, 5, "--loss.w2", 12.5, "--seed", 2**40]
    assert figure("bs-fig1", "--preset", "smoke", "--out", folder, *numbers) == 0
    return folder


@pytest.fixture
def nothing_runs(monkeypatch):
    def run(config, progress):
        raise AssertionError("it was run")

    monkeypatch.setitem(EXPERIMENTS, "bs-fig1", dataclasses.replace(EXPERIMENTS["bs-fig1"], run=run))


def test_claims_and_picture_are_those_of_the_run(made, nothing_runs, tmp_path, capsys):
    assert figure("bs-fig1", "--from", made / "bs-fig1.nc", "--out", tmp_path / "new") == 0
    assert {p.name for p in (tmp_path / "new").iterdir()} == {f"bs-fig1.{suffix}" for suffix in SUFFIXES}
    for suffix in SUFFIXES:
        assert (tmp_path / "new" / f"bs-fig1.{suffix}").read_bytes() == (made / f"bs-fig1.{suffix}").read_bytes()
    told = capsys.readouterr().out
    assert f"[smoke preset, seed {2**40}]" in told and "counted:" in told and "bs-fig1.nc" not in told
    assert "the configuration is not the preset's" in told


def test_the_file_may_lie_where_is_written_and_stays(made, nothing_runs, tmp_path):
    shutil.copytree(made, tmp_path / "same")
    path = tmp_path / "same" / "bs-fig1.nc"
    before = path.read_bytes(), path.stat().st_mtime_ns
    for suffix in SUFFIXES:
        path.with_suffix(f".{suffix}").unlink()
    assert figure("bs-fig1", f"--from={path}", "--out", path.parent) == 0
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    assert {p.name for p in path.parent.iterdir()} == {p.name for p in made.iterdir()}


def test_failing_claims_of_the_default_preset_exit_with_1(made, monkeypatch, tmp_path):
    """As those of the run, whose configuration is made the preset's here."""
    data = read_dataset(made / "bs-fig1.nc")
    write_dataset(data.assign_attrs(preset="default"), tmp_path / "bs-fig1.nc")
    fig1 = EXPERIMENTS["bs-fig1"]
    loss = dataclasses.replace(fig1.preset("smoke").loss, w2=12.5)
    small = dict(sims=4, steps=20, agents=5, k=(0.0, 1.0, 2.0, 3.0, 4.0, 5.0), loss=loss)
    presets = {**fig1.presets, "default": dataclasses.replace(fig1.preset("smoke"), **small)}
    monkeypatch.setitem(EXPERIMENTS, "bs-fig1", dataclasses.replace(fig1, presets=presets))
    assert figure("bs-fig1", "--from", tmp_path / "bs-fig1.nc", "--out", tmp_path) == 1


def a_run(path):
    model = sdesim.Dynamics(sdesim.objectives.Quadratic(), sdesim.Quorum(1.0), sdesim.noise.Uniform(1.0), eta=0.1)
    sdesim.simulate(model, agents=2, sims=2, steps=2).save(path)


def settings(change):
    def write(path):
        data = read_dataset(path)
        text = data.attrs["settings"]
        assert change[0] in text
        write_dataset(data.assign_attrs(settings=text.replace(*change)), path)

    return write


FILES = {
    "another figure": (
        None,
        "bs-fig2",
        "bs-fig1.nc': holds the figure bs-fig1, and not bs-fig2; name another file, or",
    ),
    "a run": (a_run, "bs-fig1", "bs-fig1.nc': is a run of simulate or iterate, and not a figure"),
    "damaged": (lambda p: p.write_bytes(p.read_bytes()[:9000]), "bs-fig1", "bs-fig1.nc': has no checksum of sdesim's"),
    "not there": (lambda p: p.unlink(), "bs-fig1", "bs-fig1.nc': there is no such file"),
    "unknown field": (
        settings(('"k"', '"gain"')),
        "bs-fig1",
        "holds another configuration than bs-fig1 has: k: must be",
    ),
    "unknown part": (
        settings(('"w2"', '"w2": 1, "w3"')),
        "bs-fig1",
        "has: loss.w3: is no field of it; make it again, or",
    ),
    "unfit value": (settings(('"sims": 4', '"sims": 1')), "bs-fig1", "has: sims=1: must be at least 2"),
}


@pytest.mark.parametrize("case", FILES)
def test_a_file_of_something_else_is_refused_by_its_name(case, made, nothing_runs, tmp_path, capsys):
    change, name, said = FILES[case]
    shutil.copy(made / "bs-fig1.nc", path := tmp_path / "bs-fig1.nc")
    if change is not None:
        change(path)
    assert figure(name, "--from", path, "--out", tmp_path / "out") == 3
    told = capsys.readouterr().err
    assert said in told and told.startswith("sdesim: error: path='") and told.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["bs-fig1", "--from", "a.nc", "--k", "1"],
            "--k: --from takes --out alone; the configuration is that of the file",
        ),
        (["bs-fig1", "--preset", "smoke", "--from", "a.nc"], "--preset: --from takes --out alone"),
        (["bs-fig1", "--from"], "--from: needs a value"),
        (["all", "--from", "a.nc"], "--from: is of one figure"),
        (["bs-fg1", "--from", "a.nc"], "did you mean 'bs-fig1'"),
    ],
)
def test_wrong_usage_is_said(arguments, said, capsys):
    assert figure(*arguments) == 2
    told = capsys.readouterr().err
    assert said in told and told.count("\n") == 1


def test_help_says_it(capsys):
    assert figure("--help") == 0
    assert "sdesim figure NAME --from FILE" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stop:
        figure("bs-fig1", "--from", "a.nc", "--help")
    assert stop.value.code == 0 and "--from FILE" in capsys.readouterr().out
