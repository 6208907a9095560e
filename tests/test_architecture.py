"""Who imports whom: no circles, and nothing above what it serves."""

import ast
import graphlib
import importlib

from sdesim import source


def imports() -> dict[str, set[str]]:
    """The modules of sdesim that each module imports anywhere: at its head, within functions, for types alone."""
    root = source.package()
    name = lambda path: ".".join(("sdesim", *path.relative_to(root).with_suffix("").parts)).removesuffix(".__init__")
    files = {name(p): p for p in root.rglob("*.py")}
    found = {}
    for module, path in files.items():
        seen = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                seen |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                # `from package import part` is of the part if that is a module.
                parts = {f"{node.module}.{alias.name}" for alias in node.names}
                seen |= {part if part in files else node.module for part in parts}
        found[module] = {s for s in seen if s in files} - {module}
    return found


def test_theory_computes_and_never_simulates():
    """What it knows of a model is what the model says of itself."""
    above = ("run", "engine", "ensembles", "analysis", "training", "papers", "bench", "cli")
    theory = {module: seen for module, seen in imports().items() if module.startswith("sdesim.theory")}
    assert len(theory) > 10
    for module, seen in theory.items():
        assert not {name for name in seen if name.split(".")[1:2] and name.split(".")[1] in above}, module


def test_a_figure_is_a_file_or_a_folder_of_four():
    paper = source.package() / "papers" / "boffi_slotine"
    figures = [f for f in paper.iterdir() if f.is_dir() and f.name != "__pycache__"]
    assert len(figures) > 10
    for figure in figures:
        files = {f.stem for f in figure.iterdir() if f.name != "__pycache__"}
        assert files == {"__init__", "config", "run", "claims", "picture"}, figure


def test_there_are_no_circles():
    # The package itself only says where its parts are, and imports each when it is asked for.
    graph = {module: seen - {"sdesim"} for module, seen in imports().items() if module != "sdesim"}
    assert len(graph) > 50
    graphlib.TopologicalSorter(graph).prepare()


def test_a_public_name_hides_no_module():
    """`package.name` is what `import package.name` finds."""
    modules = set(imports())
    packages = {module.rpartition(".")[0] for module in modules} - {""}
    assert len(packages) > 10
    for package in map(importlib.import_module, sorted(packages)):
        for name in getattr(package, "__all__", ()):
            if (module := f"{package.__name__}.{name}") in modules:
                assert getattr(package, name) is importlib.import_module(module), module
