"""What two commits compute: is every lowered program the same text, and where not, every number the same to the bit?

    python tests/comparison/commits.py OLD [NEW] [--only programs runs figures training] [--keep FOLDER]

A commit that moves code must leave all numbers where they were. Each commit is checked out beside this one, with an
environment of its own where its dependencies differ from those here. Both then go through one catalogue:

- programs: the step of every rule, noise law and momentum, lowered and not compiled (`programs.py`). Where the text
  differs, the run is made on both sides, and its numbers are compared.
- runs: sizes, observables, continuations, sweeps. Their programs and all that they return are compared.
- figures: every figure that trains no network, at smoke size, by the command: programs, data, claims.
- training: the command at small sizes, with and without momentum, and continued.

The texts are compared without the names of functions and arguments, which a move changes, as a multiset: the order in
which programs are compiled is nobody's promise. Exit status 1 if any number differs.
"""

import argparse
import collections
import concurrent.futures
import contextlib
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import numpy as np
import xarray as xr

from sdesim.bench.commits import check_out

HERE = pathlib.Path(__file__).resolve().parent
COMMAND = """
import sys
try:
    from sdesim.__main__ import command
except ImportError:
    from sdesim.interrupt import command
sys.exit(command())"""
TRAININGS = {
    "easgd": ["--algorithm", "easgd"],
    "eamsgd": ["--algorithm", "eamsgd"],
    "downpour": ["--algorithm", "downpour"],
    "qsgd": ["--algorithm", "qsgd"],
}


class Side:
    """A commit and a folder for what it writes."""

    def __init__(self, name: str, folder: pathlib.Path):
        folder.mkdir(parents=True)
        self.folder, self.commit = folder, check_out(name, folder / "source")

    def run(self, name: str, *arguments: str) -> pathlib.Path:
        """Run Python with this commit's package; the folder with what it wrote (out) and the programs (ir)."""
        folder = self.folder / name
        (folder / "out").mkdir(parents=True)
        environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "SDESIM_"))},
            **self.commit.environment,
            "JAX_PLATFORMS": "cpu",
            "JAX_DUMP_IR_TO": str(folder / "ir"),
            "JAX_DUMP_IR_MODES": "stablehlo",
            "SDESIM_CACHE": str(folder / "cache"),
        }
        done = subprocess.run(
            [self.commit.python, *arguments], env=environment, cwd=folder / "out", capture_output=True, text=True
        )
        if done.returncode not in (0, 1) or "Traceback" in done.stderr:  # a claim that fails at smoke size is status 1
            raise SystemExit(f"{self.commit.name}: {' '.join(arguments)[:200]}\n{done.stderr[-3000:]}")
        return folder


_NAMES = re.compile(r"@\"?[\w.<>$-]+\"?")
_SAID = re.compile(
    r'(jax\.(arg_info|result_info)|mhlo\.frontend_attributes) = ("[^"]*"|\{[^}]*\}),? ?|loc\([^\n]*\)|#loc[^\n]*'
)


_CONSTANT = re.compile(r"(%\w+) = (stablehlo\.constant .*)")
_VALUE = re.compile(r"%\w+")


def normal(text: str) -> str:
    """The text of a program without what only names things: constants stand where they are used, and other values have
    their number in the order of their appearance in their function."""
    known: dict[str, str] = {}
    lines, constants, values = [], {}, {}
    for line in _NAMES.sub(lambda m: known.setdefault(m[0], f"@f{len(known)}"), _SAID.sub("", text)).splitlines():
        line = line.strip()
        if line.startswith("func.func"):
            constants, values = {}, {}
        if (constant := _CONSTANT.fullmatch(line)) is not None:
            constants[constant[1]] = f"<{constant[2]}>"
            continue
        name = lambda m, c=constants, v=values: c.get(m[0]) or v.setdefault(m[0], f"%{len(v)}")
        lines.append(_VALUE.sub(name, line))
    return "\n".join(lines)


def programs(folder: pathlib.Path) -> collections.Counter:
    """The programs in a folder, by a hash of their text, with how often."""
    texts = (normal(p.read_text()) for p in sorted(folder.rglob("*.mlir")))
    return collections.Counter(hashlib.sha256(t.encode()).hexdigest() for t in texts)


def differences(old: pathlib.Path, new: pathlib.Path) -> list[str]:
    """What differs between the files of two folders: arrays, data variables and claims, to the bit."""
    names = lambda folder: {
        str(p.relative_to(folder)) for p in folder.rglob("*") if p.suffix in (".npz", ".nc", ".json")
    }
    found = [f"{name}: on one side alone" for name in sorted(names(old) ^ names(new))]
    for name in sorted(names(old) & names(new)):
        a, b = _values(old / name), _values(new / name)
        found += [f"{name}: {v}: on one side alone" for v in sorted(a.keys() ^ b.keys())]
        for v in sorted(a.keys() & b.keys()):
            if not _equal(a[v], b[v]):
                found.append(f"{name}: {v}: {_apart(a[v], b[v])}")
    return found


def _values(path: pathlib.Path) -> dict[str, np.ndarray]:
    if path.suffix == ".npz":
        with np.load(path) as data:
            return dict(data)
    if path.suffix == ".nc":
        with xr.open_dataset(path, engine="h5netcdf") as data:
            return {str(n): v.values for n, v in data.load().variables.items() if n != "seconds"}
    found, _ = json.JSONDecoder().raw_decode(path.read_text())  # a seal may follow
    if not isinstance(found, list):
        return {}
    return {
        f"{c['id']}.{key}": np.asarray(c[key]) for c in found for key in ("value", "stderr", "threshold", "verdict")
    }


def _equal(a: np.ndarray, b: np.ndarray) -> bool:
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    return np.array_equal(a, b, equal_nan=a.dtype.kind in "fc")


def _apart(a: np.ndarray, b: np.ndarray) -> str:
    if a.shape != b.shape or a.dtype != b.dtype or a.dtype.kind not in "fc":
        return f"{a.dtype}{a.shape} {a.ravel()[:3]} and {b.dtype}{b.shape} {b.ravel()[:3]}"
    differ = np.count_nonzero(~((a == b) | (np.isnan(a) & np.isnan(b))))
    most, scale = np.nanmax(np.abs(a - b), initial=0), np.nanmax(np.abs(a), initial=0)
    return f"{differ} of {a.size} differ, by {most:.3g} at scale {scale:.3g}"


def compare(name: str, old: Side, new: Side, *arguments: str) -> bool:
    """Run both sides and say what differs; whether all numbers are the same."""
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        a, b = pool.map(lambda side: side.run(name, *arguments), (old, new))
    mine, theirs = programs(a / "ir"), programs(b / "ir")
    found = differences(a / "out", b / "out")
    same = (mine & theirs).total()
    print(
        f"{name}: {same} programs the same, {mine.total() - same} and {theirs.total() - same} others; "
        f"{len(found)} values differ",
        flush=True,
    )
    for line in found[:20]:
        print(f"    {line}")
    return not found


def compare_programs(old: Side, new: Side) -> bool:
    script = str(HERE / "programs.py")
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        a, b = pool.map(lambda side: side.run("programs", script, "lower", "."), (old, new))
    read = lambda folder: {p.stem: normal(p.read_text()) for p in (folder / "out").glob("*.mlir")}
    mine, theirs = read(a), read(b)
    changed = sorted(n for n in mine.keys() | theirs.keys() if mine.get(n) != theirs.get(n))
    print(f"programs: {len(mine) - len(changed)} of {len(mine)} lowered steps are the same text", flush=True)
    if not changed:
        return True
    print("    others: " + ", ".join(changed[:10]) + (" ..." if len(changed) > 10 else ""))
    return compare("programs-run", old, new, script, "run", ".", *changed)


def main() -> int:
    parts = ("programs", "runs", "figures", "training")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old")
    parser.add_argument("new", nargs="?", default="HEAD")
    parser.add_argument("--only", nargs="+", default=parts, choices=parts)
    parser.add_argument("--figures", nargs="+", help="these alone")
    parser.add_argument("--keep", type=pathlib.Path, help="a folder for what both sides wrote")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        base = options.keep or pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        old, new = Side(options.old, base / "old"), Side(options.new, base / "new")
        same = []
        if "programs" in options.only:
            same.append(compare_programs(old, new))
        if "runs" in options.only:
            same.append(compare("runs", old, new, str(HERE / "programs.py"), "run", "."))
        if "figures" in options.only:
            from sdesim.papers import EXPERIMENTS

            for name in options.figures or [e.name for e in EXPERIMENTS.values() if not e.trains]:
                same.append(compare(name, old, new, "-c", COMMAND, "figure", name, "--preset", "smoke", "--out", "."))
        if "training" in options.only:
            small = (
                "--data",
                "synthetic",
                "--images",
                "120",
                "--batch",
                "12",
                "--epochs",
                "2",
                "--agents",
                "2",
                "--out",
                "out",
            )
            for name, more in TRAININGS.items():
                same.append(compare(f"train-{name}", old, new, "-c", COMMAND, "train", *small, *more))
    print("all numbers are the same" if all(same) else "some numbers differ")
    return 0 if all(same) else 1


if __name__ == "__main__":
    sys.exit(main())
