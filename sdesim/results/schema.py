"""What every file of sdesim says of itself: one header, written here, and validated here when it is read.

A header is the attributes of a netCDF file's Dataset, or the members of a JSON object beside its rows: what kind of
file it is and of which version of this schema, all settings, how it was made and can be made again, where, by which
path of the engine, and what its kind needs besides. Attributes that are in no header are whoever put them there's own.
"""

import contextlib
import dataclasses
import functools
import importlib.metadata
import json
import math
import platform
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np

from sdesim import source
from sdesim._version import __version__
from sdesim.messages import shown, to_json
from sdesim.results.files import Damaged
from sdesim.results.recipe import Call, made_by

KIND, VERSIONED = "sdesim_kind", "sdesim_format"  # the names of two fields, by which a header is known
VERSION = 4  # of the schema; another one where a field gets another name or meaning, with what to do in _NEXT


# -- provenance --------------------------------------------------------------------------------------------------------

_PACKAGES = ("jax", "jaxlib", "equinox", "diffrax", "numpy", "xarray")


@functools.cache
def _versions() -> dict[str, str]:
    return {f"{name}_version": importlib.metadata.version(name) for name in _PACKAGES}


def device_of(devices: Iterable[Any]) -> str:
    """What computes.

    Args:
        devices: of JAX, of one kind.

    Returns:
        Platform, kind and how many, such as "gpu: NVIDIA H100 80GB HBM3 x 1".
    """
    first, *others = devices
    return f"{first.platform}: {first.device_kind} x {1 + len(others)}"


def provenance() -> dict[str, str]:
    """Versions, commit, device, precision and time, by the names of their fields."""
    import jax  # here: who only reads does not wait for it

    return {
        "sdesim_version": __version__,
        "commit": source.commit(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        **_versions(),
        "device": device_of(jax.devices()),
        "x64": str(jax.dtypes.canonicalize_dtype(float).itemsize == 8),
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
    }


# -- fields ------------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Field:
    """A field of a header.

    Attributes:
        read: an attribute to its value; a ValueError says what it must be.
        write: the inverse.
        needed: whether every header has it.
    """

    read: Callable[[Any], Any]
    write: Callable[[Any], Any] = lambda value: value
    needed: bool = True


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("must be text")
    return value


def _whole(value: Any) -> int:
    if isinstance(value, str) and re.fullmatch(r"-?\d+", value):
        return int(value)
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return int(value)
    raise ValueError("must be a whole number")


def _duration(value: Any) -> float:
    if isinstance(value, int | float | np.number) and not isinstance(value, bool) and 0 <= value < math.inf:
        return float(value)
    raise ValueError("must be a number of seconds")


def _json(kind: type) -> Field:
    """A JSON list or object, as text in an attribute; as itself in a JSON file."""
    what = f"must be JSON of {'a list' if kind is list else 'an object'}"

    def read(value: Any) -> Any:
        try:
            found = json.loads(value) if isinstance(value, str) else value
        except (ValueError, RecursionError):
            raise ValueError(what) from None
        if not isinstance(found, kind):
            raise ValueError(what)
        return found

    return Field(read, to_json)


TEXT, WHOLE = Field(_text), Field(_whole)
SEED = Field(_whole, str)  # of any size, and HDF5's numbers end at 64 bits
_ANY_TEXT = Field(_text, needed=False)
FIELDS = {
    "made_by": TEXT,
    "settings": _json(dict),
    "path": _ANY_TEXT,
    "seconds": Field(_duration, needed=False),
}
ORIGIN = {
    **dict.fromkeys(("platform", "x64", *(f"{name}_version" for name in _PACKAGES)), _ANY_TEXT),
    **dict.fromkeys(("sdesim_version", "commit", "python", "jax_version", "device", "written"), TEXT),
}
"""What files of every kind say beside their kind and version; the second of their provenance."""


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
        what: it is, in a sentence.
        opens: what reads it.
        fields: that it has beside those of all, by name.
    """

    what: str
    opens: str
    fields: Mapping[str, Field] = dataclasses.field(default_factory=dict)


KINDS = {
    "run": Kind(
        "a run of simulate or iterate",
        "sdesim.load(FILE)",
        {"seed": SEED, "first_sim": WHOLE, "step": WHOLE, "observed_axes": _json(dict)},
    ),
    "sweep": Kind("a sweep", "xarray.open_dataset(FILE)"),
    "figure": Kind(
        "a figure",
        "`sdesim figure {experiment} --from FILE`",
        {"experiment": TEXT, "preset": TEXT, "seed": SEED, "claims": _json(list)},
    ),
    "training": Kind(
        "a training",
        "xarray.open_dataset(FILE)",
        {
            "seed": SEED,
            "fingerprint": _ANY_TEXT,
            "checkpoint": Field(_whole, needed=False),
            "checkpoint_parts": Field(_whole, needed=False),  # 2 where it does not say
        },
    ),
    "cache": Kind("a run that figures keep", "xarray.open_dataset(FILE)", {"warnings": _json(list)}),
    "store": Kind("a sweep in a folder", "sdesim.open(FOLDER)", {"identity": _json(dict), "versions": _json(dict)}),
    "task": Kind("a task of a store", "sdesim.open(FOLDER)", {"number": WHOLE}),
    "benchmark": Kind("a benchmark", "json.load"),
}


# -- versions of the schema --------------------------------------------------------------------------------------------


def _from_1(old: dict[str, Any]) -> dict[str, Any]:
    """Two kinds had other names, and the path of a run was among its settings alone."""
    new = {**old, KIND: {"result": "run", "history": "training"}.get(old[KIND], old[KIND])}
    if new[KIND] == "run":
        with contextlib.suppress(KeyError, ValueError):  # of settings that are missing or damaged, which is said later
            new["path"] = FIELDS["settings"].read(old["settings"])["path"]
    return new


def _from_2(old: dict[str, Any]) -> dict[str, Any]:
    """In a run's data, what is recorded of the spread and the quorum's loss was `spread` and `quorum_loss`.

    These are what they are at the end now, and the series NAME_series, as in a sweep: `load` reads both.
    """
    return old


def _from_3(old: dict[str, Any]) -> dict[str, Any]:
    """In data, the dimension of what a grid names was called "coupling.k" and is `coupling_k`: `datasets.as_now`."""
    return old


_NEXT = {1: _from_1, 2: _from_2, 3: _from_3}
"""From a version, the header as the next one has it."""


# -- the header --------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Header:
    """What a file says of itself.

    Attributes:
        kind: of the file, one of `KINDS`.
        made_by: the command, or the call, that makes it again.
        settings: all numbers and choices.
        origin: its provenance.
        path: of the engine, with its reasons; None where there is none.
        seconds: of computing; None where nobody took the time.
        own: the fields of its kind.
    """

    kind: str
    made_by: str
    settings: dict[str, Any]
    origin: dict[str, str]
    path: str | None = None
    seconds: float | None = None
    own: dict[str, Any] = dataclasses.field(default_factory=dict)

    @classmethod
    def new(
        cls,
        kind: str,
        settings: Any,
        call: Call | str,
        *,
        path: str | None = None,
        seconds: float | None = None,
        **own: Any,
    ) -> "Header":
        """The header of what was made here and now.

        Args:
            kind: of the file, one of `KINDS`.
            settings: all numbers and choices, of types that `messages.to_json` takes.
            call: how it was made.
            path: the engine's, in words (`engine.path.Path`); None where there is none.
            seconds: of computing; None where nobody took the time.
            **own: the fields of this kind.

        Returns:
            The header.

        Raises:
            TypeError: for a field that the kind does not have.
        """
        if unknown := own.keys() - KINDS[kind].fields.keys():
            raise TypeError(f"{', '.join(sorted(unknown))}: no field of kind {kind}")
        return cls(kind, made_by(call), json.loads(to_json(settings)), provenance(), path, seconds, own)

    @classmethod
    def of(cls, attributes: Mapping[Any, Any], kind: str, said: str, needs: Iterable[str] = ()) -> "Header":
        """The header of what was read.

        Args:
            attributes: of the Dataset, or the members of a JSON object.
            kind: that is wanted.
            said: how errors call the file.
            needs: fields that this reader cannot do without, and others can.

        Returns:
            The header, of this version of the schema.

        Raises:
            Damaged: a ValueError, for what has no header, another kind, a later version of the schema, or a field that
                is missing or not what it must be.
        """
        if KIND not in attributes:
            raise Damaged(said, "has no header of sdesim's: another program wrote it", "name another file")
        known = _as_now({str(name): value for name, value in attributes.items()}, said)
        _check_kind(known, kind, said)
        read = {}
        for name, field in {**FIELDS, **ORIGIN, **KINDS[kind].fields}.items():
            if name in known:
                read[name] = _read(name, field, known[name], said)
            elif field.needed or name in needs:
                raise Damaged(said, f"is damaged: its header has no {name}")
        of = lambda fields: {name: read[name] for name in fields if name in read}
        return cls(kind, origin=of(ORIGIN), own=of(KINDS[kind].fields), **of(FIELDS))

    def attributes(self) -> dict[str, Any]:
        """The header as `of` reads it."""
        values = {**{name: getattr(self, name) for name in FIELDS}, **self.own}
        fields = {**FIELDS, **KINDS[self.kind].fields}
        written = {name: fields[name].write(value) for name, value in values.items() if value is not None}
        return {KIND: self.kind, VERSIONED: VERSION, **written, **self.origin}


def _as_now(attributes: dict[str, Any], said: str) -> dict[str, Any]:
    """The attributes of any version of the schema as those of this one."""
    _read(KIND, TEXT, attributes[KIND], said)
    version = _read(VERSIONED, WHOLE, attributes.get(VERSIONED), said)
    if version > VERSION:
        by = f"sdesim {attributes.get('sdesim_version', 'of a later version')}"
        why = f"is of format {version}, written by {by}, and this version, {__version__}, reads up to {VERSION}"
        raise Damaged(said, why, f"read it with {by}")
    if version < 1:
        raise Damaged(said, f"is damaged: its {VERSIONED}={version}: must be from 1 to {VERSION}")
    for older in range(version, VERSION):
        attributes = _NEXT[older](attributes)
    return attributes


def _check_kind(attributes: Mapping[str, Any], kind: str, said: str) -> None:
    if (found := attributes[KIND]) == kind:
        return
    if found not in KINDS:
        raise Damaged(said, f"is damaged: its {KIND}={shown(found)}: must be one of {', '.join(KINDS)}")
    opens = KINDS[found].opens.format(**{"experiment": "NAME", **attributes})
    raise Damaged(said, f"is {KINDS[found].what}, and not {KINDS[kind].what}", f"name another file; {opens} opens it")


def _read(name: str, field: Field, value: Any, said: str) -> Any:
    try:
        return field.read(value)
    except ValueError as error:
        raise Damaged(said, f"is damaged: its {name}={shown(value)}: {error}") from None
