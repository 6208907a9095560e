"""The site. Its source is the whole checkout, so that links between docs, figures and notebooks are those of the files:

python -m sphinx -W -c docs . build/site
"""

import pathlib
import re

import sdesim

ROOT = pathlib.Path(__file__).parents[1]

project = "sdesim"
author = "The sdesim developers"
copyright = "The sdesim developers"
release = version = sdesim.__version__

root_doc = "docs/index"
include_patterns = ["docs/**", "figures/README.md", "notebooks/*.ipynb", "CHANGELOG.md", "CONTRIBUTING.md"]
exclude_patterns = ["build", "**/.*"]
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx-mathjax-offline",
]

# -- pages -------------------------------------------------------------------------------------------------------------

myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 4
nb_execution_mode = "off"  # what is committed is shown: it is of full size
nb_merge_streams = True
copybutton_exclude = ".linenos, .gp, .go"

default_role = "code"

# -- reference ---------------------------------------------------------------------------------------------------------

autodoc_typehints = "none"  # docstrings say shapes and units, which the annotations of arrays repeat
autodoc_member_order = "bysource"
autodoc_default_options = {"no-value": None}
autodoc_class_signature = "mixed"
napoleon_numpy_docstring = False
napoleon_use_ivar = True

MODULES = {
    "Models": "dynamics coupling objectives noise schedules init",
    "Runs": "run steppers asynchrony observe results.result sharding",
    "Sweeps": "ensembles.grids ensembles.designs ensembles.opening ensembles.joining ensembles.exporting "
    "ensembles.warnings",
    "Numbers": "statistics random",
    "Pictures": "plot notebook",
    "Theory and analysis": "analysis theory",
    "Networks": "training interop.as_optax interop.as_diffrax",
    "Figures and claims": "claims papers.frame.experiment papers.frame.measured papers.frame.breaks",
}
"""What the reference shows, in this order."""


def write_reference(app):
    """A page a module, and their list; only where the text has changed, so that Sphinx sees what has not."""
    import importlib
    import pkgutil
    import types

    folder = ROOT / "docs" / "reference"
    folder.mkdir(exist_ok=True)
    parts = ["# Reference\n\nEvery public name, with its equation, shapes, units and errors.\n"]
    pages = {}
    for title, names in MODULES.items():
        shown = []
        for name in names.split():
            module = importlib.import_module(f"sdesim.{name}")
            shown.append(name)
            inner = [
                f"{name}.{part.name}"
                for part in pkgutil.iter_modules(getattr(module, "__path__", ()))
                if isinstance(getattr(module, part.name, None), types.ModuleType)
                and (part.name in getattr(module, "__all__", ()) or not hasattr(module, "__all__"))
            ]
            shown += inner
            for each in (name, *inner):
                whole = f".. automodule:: sdesim.{each}\n   :members:\n   :show-inheritance:"
                pages[each] = f"# sdesim.{each}\n\n```{{eval-rst}}\n{whole}\n```\n"
        listed = "\n".join(f"{each} <{each}>" for each in shown)  # without "sdesim.", to fit the sidebar
        parts.append(f"```{{toctree}}\n:caption: {title}\n:maxdepth: 1\n\n{listed}\n```\n")
    pages["index"] = "\n".join(parts)
    for name, text in pages.items():
        path = folder / f"{name}.md"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def as_markup(app, what, name, value, options, lines):
    """Docstrings are plain text, in which |x| is a norm, x* a minimum, and an indented paragraph a formula."""
    shown, formula, section, listed, before = [], False, False, False, ""
    for line in lines:
        section = section or bool(SECTION.fullmatch(line))  # what follows is indented for napoleon
        indented = line.startswith("    ") and not section
        if indented and not formula and not before.strip():
            shown += [".. code-block:: text", ""]
        formula = indented or (formula and not line.strip())
        before = line
        if formula:
            shown.append(line)
            continue
        if section and ENTRY.match(line):
            listed = line.endswith(":")
        if listed and (item := ITEM.match(line)):
            shown += ["", f"{item[1]}- {item[2]}"]
            continue
        line = re.sub(r"(`+[^`]*`+|\*\*[^*]+\*\*)|([|*])", lambda m: m[1] or "\\" + m[2], line)
        line = re.sub(r"(`[^`]+`)(?=\w)", r"\1\\ ", line)
        shown.append(line.replace(" " * 12, " " * 10) if listed else line)
    lines[:] = shown


def without_axes(app, what, name, value, skip, options):
    """The axes of an observable are a mapping, whose docstring is that of `dict`; the class says what they are."""
    return True if name == "axes" else None


ENTRY = re.compile(r" {4}\S")
ITEM = re.compile(r"( {8})(\w+: .*)")  # of a list within an entry
SECTION = re.compile(r"(Args|Attributes|Returns|Yields|Raises|Examples?|Notes?):")


def write_front_door(app, error):
    """The address of the site itself leads to its first page."""
    if error is None and app.builder.format == "html":
        door = '<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0; url=docs/index.html">'
        (pathlib.Path(app.outdir) / "index.html").write_text(
            door + '<a href="docs/index.html">sdesim</a>\n'
        )


def setup(app):
    app.connect("builder-inited", write_reference)
    app.connect("autodoc-process-docstring", as_markup, priority=100)  # before napoleon reads it
    app.connect("autodoc-skip-member", without_axes)
    app.connect("doctree-read", sought)
    app.connect("build-finished", write_front_door)


# -- search ------------------------------------------------------------------------------------------------------------

SOUGHT = {
    "docs/analysis": "gain limit threshold maximum stable instability",
    "docs/asynchrony": "centre parameter server straggler custom heterogeneous",
    "docs/engine": "CUDA GPU float32 float64 precision performance",
    "docs/extending": "custom topology neighbor neighbour user-defined callback",
    "docs/models": "custom topology neighbor neighbour centre decentralized federated",
    "docs/pictures": "heatmap plot chart contour confidence interval error bar video custom",
    "docs/recipes": "heatmap confidence interval custom CUDA GPU float64 precision centre howto example",
    "docs/scaling": "CUDA GPU cluster parallel multiprocessing",
    "docs/sweeps": "hyperparameter parameter scan heatmap resume checkpoint confidence interval",
    "docs/training": "CUDA GPU custom topology centre PyTorch checkpoint",
}
"""Words that people type, by the page that answers; a search finds pages that have all its words."""
html_search_scorer = "docs/_static/scorer.js"  # of the source, and not of this folder


def sought(app, tree):
    """The words of a page, as keywords, which the search knows."""
    from docutils import nodes

    if words := SOUGHT.get(app.env.docname):
        tree.insert(0, nodes.meta("", name="keywords", content=", ".join(words.split())))


# -- looks -------------------------------------------------------------------------------------------------------------

html_theme = "pydata_sphinx_theme"
html_title = "sdesim"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_sidebars = {"figures/README": []}  # a section of one page, with nothing to list
html_theme_options = {
    "show_toc_level": 2,
    "navbar_align": "left",
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
}
