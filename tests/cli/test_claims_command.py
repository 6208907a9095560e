"""`sdesim claims`: what it prints and writes, and what it refuses."""

import json

import pytest

from sdesim.cli import main
from sdesim.papers import EXPERIMENTS, MODULES
from sdesim.papers.frame import breaks


@pytest.fixture
def folder(tmp_path):
    """Two figures' claims, and what breaks those of one."""
    claim = dict(stderr=0.1, op=">=", threshold=0.5, counted=True)
    first = dict(id="a", statement="a holds", value=1.0, verdict="holds", **claim)
    second = dict(id="b", statement="b fails", value=0.0, verdict="fails", **claim)
    (tmp_path / "bs-fig1.claims.json").write_text(json.dumps([first, second]))
    (tmp_path / "y-poisson.claims.json").write_text(json.dumps([first]))
    kept = {
        "breaks": {"a": {"coupling off": 0.1}},
        "preset": "smoke",
        "tried": {"coupling off": "agents do not pull on each other"},
    }
    breaks.path_of("bs-fig1", tmp_path).write_text(json.dumps(kept))
    return tmp_path


def command(*arguments):
    try:
        return main(["claims", *map(str, arguments)])
    except SystemExit as stop:
        return stop.code


def test_it_prints_the_registry_and_chooses(folder, capsys):
    assert command("--folder", folder) == 0
    told = capsys.readouterr().out
    assert "a holds [broken by: coupling off]" in told and "3 counted of 3: 2 hold, 0 undecided, 1 fail" in told
    for chosen in (("--paper", "yu"), ("y-poisson",)):
        assert command(*chosen, "--folder", folder) == 0
        told = capsys.readouterr().out
        assert "y-poisson" in told and "bs-fig1" not in told and "a holds [not tried]" in told
    assert command("--verdict", "fails", "--folder", folder) == 0
    told = capsys.readouterr().out
    assert "b fails" in told and "a holds" not in told


def test_it_writes_json_and_a_page(folder, tmp_path, capsys):
    assert command("--folder", folder, "--json", tmp_path / "x.json", "--page", tmp_path / "x.md") == 0
    rows = json.loads((tmp_path / "x.json").read_text())
    assert [(r["figure"], r["paper"], r["id"], r["verdict"]) for r in rows] == [
        ("bs-fig1", "boffi_slotine", "a", "holds"),
        ("bs-fig1", "boffi_slotine", "b", "fails"),
        ("y-poisson", "yu", "a", "holds"),
    ]
    assert rows[0]["broken"] == ["coupling off"] and rows[0]["value"] == 1.0
    page = (tmp_path / "x.md").read_text()
    assert page.index("## boffi slotine") < page.index("### bs-fig1") < page.index("### y-poisson")


def test_it_breaks_a_figure_and_tries_other_seeds(folder, capsys, float32, monkeypatch):
    """At other seeds of a small figure, and under one wrong model of it."""
    every = breaks.under_wrong_models
    monkeypatch.setattr(breaks, "under_wrong_models", lambda e, **how: every(e, only=("coupling off",), **how))
    status = command("bs-fig1", "--break", "--seeds", 2, "--record", "--folder", folder)
    told = capsys.readouterr().out
    assert "nothing breaks" in told and status == 1  # as only one was tried
    kept = breaks.read("bs-fig1", folder)
    assert set(kept["tried"]) == {"coupling off"} and "1c-quorum-at-minimum" in kept["breaks"]
    assert kept["seeds"]["count"] == 2 and set(kept["seeds"]["held"].values()) <= {0, 1, 2}
    assert set(kept["seeds"]["held"]) == set(kept["breaks"])
    assert kept["sources"]


def test_it_judges_a_figure_at_another_size(folder, capsys, float32):
    status = command("bs-fig1-easgd", "--judge", "--preset", "smoke", "--record", "--folder", folder)
    told, kept = capsys.readouterr().out, breaks.read("bs-fig1-easgd", folder)["judged"]
    assert status == 0 and "bs-fig1-easgd [smoke preset]" in told and kept["preset"] == "smoke" and kept["seconds"] > 0
    assert set(kept["verdicts"]) == set(kept["values"]) and set(kept["verdicts"].values()) <= {"holds", "undecided"}
    assert all(id in told for id in kept["verdicts"])


def test_it_breaks_at_a_larger_size_what_was_not_tried_at_smoke(folder, capsys, float32, monkeypatch):
    assert command("bs-fig1", "--break", "--preset", "default", "--folder", folder) == 2
    assert "run `sdesim claims bs-fig1 --break --record` first" in capsys.readouterr().err
    smoke = {"breaks": {"1a-quorum-at-zero": {"k x 3": 2.0}}, "preset": "smoke", "tried": {"k x 3": ""}}
    breaks.record("bs-fig1", MODULES["bs-fig1"], folder, smoke)
    asked = {}
    every = breaks.under_wrong_models

    def at_smoke(experiment, **how):
        asked.update(how)
        return every(experiment, **{**how, "preset": "smoke"})

    monkeypatch.setattr(breaks, "under_wrong_models", at_smoke)
    assert command("bs-fig1", "--break", "--preset", "default", "--record", "--folder", folder) == 0
    kept = breaks.read("bs-fig1", folder)
    assert asked["preset"] == "default" and asked["besides"] == ["1a-quorum-at-zero"]
    assert kept["breaks"] == smoke["breaks"] and "1a-quorum-at-zero" not in kept["larger"]["breaks"]
    assert kept["larger"]["breaks"] and all(kept["larger"]["breaks"].values())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("bs-fig",), "figures='bs-fig'"),
        (("--paper", "bofi"), "paper='bofi'"),
        (("--break",), "figures: name those"),
        (("--record",), "--record: writes what"),
        (("bs-fig1", "--seeds", "0"), "seeds=0"),
        (("bs-fig1", "--seeds", "2", "--preset", "smoky"), "preset='smoky'"),
        (("bs-fig1", "--judge", "--preset", "smoky"), "preset='smoky'"),
        (("--judge",), "figures: name those"),
        (("bs-fig7", "--from", "x.nc"), "--from x.nc: is the file of one figure for --break"),
        (("--json", "no/such/x.json"), "json='no/such/x.json'"),
    ],
)
def test_mistakes_are_told_in_one_line(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert command(*arguments) == 2
    told = capsys.readouterr().err
    assert message in told and told.count("\n") == 1 and "bs-fig1" in EXPERIMENTS


def test_a_folder_without_claims_is_said(capsys):
    assert command("--folder", "no/such") == 3
    assert "holds no claims of these figures" in capsys.readouterr().err
