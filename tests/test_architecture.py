"""Who imports whom: no circles, and nothing above what it serves."""

import ast
import functools
import graphlib
import importlib

from sdesim import source

# The rooms of the package, the lowest first: each imports from those of the lines before its own, and from no other.
ROOMS = (
    "messages",
    "_moved _version cache contents cores interrupt memory progress quantiles source tracing",
    "fields threads",
    "random sums",
    "coupling objectives schedules statistics",
    "init noise",
    "dynamics",
    "observe steppers",
    "results",
    "asynchrony functions interop",
    "theory",
    "engine",
    "plot",
    "claims ensembles",
    "run",
    "analysis sharding training",
    "sdesim",
    "papers",
    "bench notebook view",
    "cli",
    "__main__",
)


@functools.cache
def modules() -> dict[str, ast.Module]:
    """Every module of sdesim, parsed, by its name."""
    root = source.package()
    name = lambda path: ".".join(("sdesim", *path.relative_to(root).with_suffix("").parts)).removesuffix(".__init__")
    return {name(path): ast.parse(path.read_text(encoding="utf-8")) for path in root.rglob("*.py")}


def imports() -> dict[str, set[str]]:
    """The modules of sdesim that each module imports anywhere: at its head, within functions, for types alone."""
    files = modules()
    found = {}
    for module, tree in files.items():
        seen = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                seen |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                # `from package import part` is of the part if that is a module.
                parts = {f"{node.module}.{alias.name}" for alias in node.names}
                seen |= {part if part in files else node.module for part in parts}
        found[module] = {s for s in seen if s in files} - {module}
    return found


def test_imports_point_down():
    """Theory among them: it stands below the engine, since it computes and never simulates."""
    floor = {room: number for number, rooms in enumerate(ROOMS) for room in rooms.split()}
    room = lambda module: (module.split(".") + [""])[1] or module
    graph = imports()
    assert {room(module) for module in graph} == set(floor)
    up = [
        f"{module} imports {seen}"
        for module, names in graph.items()
        for seen in names
        if room(seen) != room(module) and floor[room(seen)] >= floor[room(module)]
    ]
    assert not up, up


def test_no_module_knows_anothers_private_names():
    """Neither imported nor as attributes of a module; `_version` and `_moved` are modules of the package's own."""
    private = lambda name: name.startswith("_") and not name.endswith("__")
    found = []
    for module, tree in modules().items():
        seen = {}  # modules of sdesim, by what they are called here
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "sdesim":
                whole = {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
                seen |= {name: of for name, of in whole.items() if of in modules()}
                found += [(module, of) for of in whole.values() if private(of.rpartition(".")[2])]
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in seen:
                found += [(module, ast.unparse(node))] if private(node.attr) else []
    assert not found, found


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
