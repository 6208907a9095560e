"""Who imports whom: no circles, and nothing above what it serves."""

import ast
import graphlib

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


def test_there_are_no_circles():
    # The package itself only says where its parts are, and imports each when it is asked for.
    graph = {module: seen - {"sdesim"} for module, seen in imports().items() if module != "sdesim"}
    assert len(graph) > 50
    graphlib.TopologicalSorter(graph).prepare()
