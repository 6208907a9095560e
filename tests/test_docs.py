"""The documentation is true: its Python runs as printed, its links lead somewhere, and it leaves no part out."""

import re
import runpy
import shlex
import types
import warnings

import matplotlib
import pytest
from places import ROOT

import sdesim
from sdesim import coupling, noise, objectives
from sdesim.cli import main, train

WITHOUT_CODE = ("claims", "command-line", "errata", "index", "learn", "more", "scaling", "understand")
PROSE = [ROOT / "docs" / f"{name}.md" for name in WITHOUT_CODE]
CODE = [*sorted(set((ROOT / "docs").glob("*.md")) - set(PROSE)), ROOT / "README.md"]
PAGES = [*CODE, *PROSE, ROOT / "CONTRIBUTING.md"]
CONF = ROOT / "docs" / "conf.py"
FENCE = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
SHELL = re.compile(r"^```(?:sh|bash)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")

page = pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())


@pytest.mark.parametrize("page", CODE, ids=lambda p: p.relative_to(ROOT).as_posix())
@pytest.mark.relaxed
@pytest.mark.usefixtures("float32")
def test_code_runs(page, tmp_path, monkeypatch):
    """The blocks of a page in order, in one namespace, in the precision and promotion that readers have.

    A warning about the model is an error in an example.
    """
    monkeypatch.chdir(tmp_path)
    matplotlib.use("agg")
    text = page.read_text(encoding="utf-8")
    namespace = {"__name__": "__docs__"}
    blocks = list(FENCE.finditer(text))
    assert blocks, f"{page.name} shows no Python"
    with warnings.catch_warnings():
        warnings.simplefilter("error", sdesim.StabilityWarning)
        warnings.simplefilter("error", sdesim.DivergenceWarning)
        for block in blocks:
            before = text.count("\n", 0, block.start(1))  # so that a traceback names the line of the page
            exec(compile("\n" * before + block[1], str(page), "exec"), namespace)


def test_recipes_are_short_and_shown():
    """Each has under ten lines, asserts something, and shows the picture that it writes."""
    text = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    for recipe in text.split("\n## ")[1:]:
        title, blocks = recipe.partition("\n")[0], FENCE.findall(recipe)
        if title == "Parts of your own":  # what the others share
            continue
        assert blocks and all("assert" in block for block in blocks), title
        assert all(len([line for line in block.splitlines() if line.strip()]) < 10 for block in blocks), title
        shown = re.findall(r"\(pictures/recipes/([^)]+)\)", recipe)
        assert shown or title == "On a GPU", title
        assert [name for name in shown if f'"{name}"' not in blocks[0]] == [], title


def commands(page) -> list[str]:
    """The command lines of sdesim that a page shows, in blocks of the shell or in the text; NAME and the like are no
    values, and what follows ; or && is another command."""
    text = page.read_text(encoding="utf-8")
    shown = [line for block in SHELL.findall(text) for line in re.split(r"\n|&&", block)]
    shown += re.findall(r"`(sdesim [^`|\[]+)`", text)
    lines = [" ".join(re.split("[#>]", line)[0].split()).removeprefix(".venv/bin/") for line in shown]
    return [line for line in lines if line.startswith("sdesim ") and not re.search(r"\b[A-Z]{2,}\b|\.\.\.", line)]


@pytest.mark.parametrize("line", sorted({line for page in PAGES for line in commands(page)}))
def test_commands_are_understood(line, monkeypatch, tmp_path):
    """Every command is parsed with all its options, up to where its work would begin."""
    monkeypatch.chdir(tmp_path)
    done = []
    work = lambda *arguments, **options: done.append(arguments) or 0
    for name in ("_regenerate", "_redraw", "_all_figures", "_estimate", "_work"):
        monkeypatch.setattr(f"sdesim.cli.figure.{name}", work)
    monkeypatch.setattr("sdesim.cli.claims.run", work)
    monkeypatch.setattr("sdesim.cli.completion.run", work)
    monkeypatch.setattr("sdesim.cli.train.run", work)
    for name in ("begin", "look", "write"):
        monkeypatch.setattr(f"sdesim.cli.sweep.{name}", work)
    for name in ("look", "write"):
        monkeypatch.setattr(f"sdesim.cli.view.{name}", work)
    monkeypatch.setattr("sdesim.training.fetch_cifar10", work)
    monkeypatch.setattr("sdesim.cli.new.write_text", work)
    monkeypatch.setattr("sdesim.cli.bench.run", lambda options: work() or types.SimpleNamespace(rows=[1]))
    for word in shlex.split(line):
        if word.endswith("training.toml"):  # which a training has left
            (tmp_path / word).parent.mkdir(parents=True)
            (tmp_path / word).write_text(train.as_file(train.Options()))
    try:
        status = main(shlex.split(line)[1:])
    except SystemExit as stopped:  # of --help
        status = stopped.code
    assert status in (0, None)
    assert done or "--help" in line or "--list" in line


def test_documents_show_commands():
    assert len({line for page in PAGES for line in commands(page)}) > 12


@page
def test_links_lead_somewhere(page):
    made = "reference/"  # by the site's own configuration
    links = [link for link in LINK.findall(page.read_text(encoding="utf-8")) if not link.startswith(made)]
    local = [link for link in links if "://" not in link]
    assert [link for link in local if not (page.parent / link).exists()] == []


def test_pages_that_are_sought_are_there():
    conf = runpy.run_path(str(CONF))
    listed = re.search(r"\^\((.*)\)\$/", (ROOT / conf["html_search_scorer"]).read_text())
    assert listed is not None and conf["SOUGHT"]
    for page in [*conf["SOUGHT"], *listed[1].replace("\\", "").split("|")]:
        assert (ROOT / f"{page}.md").is_file(), page


def test_reference_has_every_public_name():
    listed = [f"sdesim.{name}" for names in runpy.run_path(str(CONF))["MODULES"].values() for name in names.split()]
    shown = lambda home: any(home == module or home.startswith(f"{module}.") for module in listed)
    public = {name: getattr(sdesim, name) for name in sdesim.__all__ if not name.startswith("_")}
    home = lambda value: value.__name__ if isinstance(value, types.ModuleType) else value.__module__
    assert [name for name, value in public.items() if not shown(home(value))] == []


@pytest.mark.parametrize("known", [coupling.RULES, noise.LAWS], ids=["rules", "laws"])
def test_models_page_names_every(known):
    text = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    assert [part.__name__ for part in known.values() if f"`{part.__name__}" not in text] == []


@pytest.mark.parametrize("loss", [objectives.OscillatingDoubleWell(), objectives.CoupledDoubleWells()])
def test_models_page_states_the_chosen_constants(loss):
    """The constants [C] in the page are those of the code."""
    text = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    name = type(loss).__name__
    stated = re.search(rf"defaults of `{name}`:\s+`([^`]+)`", text)
    assert stated, f"no constants of {name} in docs/models.md"
    pairs = dict(pair.split("=") for pair in stated[1].split(", "))
    assert {key: float(value) for key, value in pairs.items()} == pytest.approx(
        {field: float(getattr(loss, field)) for field in type(loss).__dataclass_fields__}, rel=1e-6
    )


def test_readme_states_the_speed_on_record():
    """That of a user's loss on one core, in the newest row."""
    stated = re.search(r"runs (\d+) times as fast", (ROOT / "README.md").read_text(encoding="utf-8"))
    rows = [line.split(" | ") for line in (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8").splitlines()]
    names = next(row for row in rows if "x naive" in row)
    found = [row for row in rows if len(row) == len(names) and row[3] == "user-loss" and row[5] == "sdesim"]
    assert stated and int(stated[1]) == round(float(found[-1][names.index("x naive")]))
