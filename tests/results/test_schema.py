"""One header for all that is written: what is written is read, and what is wrong is said."""

import numpy as np
import pytest

from sdesim._version import __version__
from sdesim.results import schema
from sdesim.results.files import Damaged
from sdesim.results.schema import Header

OWN = {
    "run": {"seed": 2**70, "first_sim": 3, "step": 7, "observed_axes": {"spread": ["step"]}},
    "sweep": {},
    "figure": {"experiment": "bs-fig1", "preset": "smoke", "seed": 0, "claims": [{"id": "a", "value": 0.1}]},
    "training": {"seed": 5, "fingerprint": "abc", "checkpoint": 2},
    "cache": {"warnings": ["3 of 4 simulations diverged"]},
    "store": {"identity": {"seed": 3}, "versions": {"jax": "0.10"}},
    "task": {"number": 12},
    "benchmark": {},
}


def header(kind="sweep", **more):
    return Header.new(kind, {"steps": 3, "k": np.float64(0.1), "nested": {"a": (1, 2)}}, "a call", **OWN[kind], **more)


def test_every_kind_is_read_as_it_was_written():
    assert OWN.keys() == schema.KINDS.keys()
    for kind in OWN:
        written = header(kind, path="blocks: it is large", seconds=0.25)
        read = Header.of(written.attributes(), kind, "path='a.nc'")
        assert read == written
        assert read.settings == {"steps": 3, "k": 0.1, "nested": {"a": [1, 2]}}
        assert (read.path, read.seconds) == ("blocks: it is large", 0.25)
        assert read.own == OWN[kind]
        assert read.origin["sdesim_version"] == __version__ and set(read.origin) == set(schema.provenance())


def test_path_and_seconds_are_there_where_somebody_knows_them():
    written = header(path="one program")
    read = Header.of(written.attributes(), "sweep", "")
    assert (read.path, read.seconds) == ("one program", None)
    assert "seconds" not in written.attributes()


def test_attributes_of_others_are_theirs():
    attributes = {**header().attributes(), "title": "my sweep", 3: "three"}
    assert Header.of(attributes, "sweep", "") == Header.of(header().attributes() | attributes, "sweep", "")


def test_a_field_of_another_kind_is_not_written():
    with pytest.raises(TypeError, match=r"^preset: no field of kind sweep$"):
        Header.new("sweep", {}, "a call", preset="smoke")


WRONG = {
    "no header": ("run", lambda a: a.clear(), "has no header of sdesim's: another program wrote it; name another file"),
    "later": (
        "run",
        lambda a: a.update(sdesim_format=9, sdesim_version="7.1", sdesim_kind="new"),
        f"is of format 9, written by sdesim 7.1, and this version, {__version__}, reads up to {schema.VERSION}; "
        "read it with sdesim 7",
    ),
    "no version": (
        "run",
        lambda a: a.pop("sdesim_format"),
        "is damaged: its sdesim_format=None: must be a whole number",
    ),
    "version 0": (
        "run",
        lambda a: a.update(sdesim_format=0),
        f"is damaged: its sdesim_format=0: must be from 1 to {schema.VERSION}",
    ),
    "unknown kind": (
        "run",
        lambda a: a.update(sdesim_kind="x"),
        "is damaged: its sdesim_kind='x': must be one of run, ",
    ),
    "missing": ("run", lambda a: a.pop("made_by"), "is damaged: its header has no made_by; put back a copy of it"),
    "missing provenance": ("sweep", lambda a: a.pop("commit"), "is damaged: its header has no commit"),
    "missing of a kind": ("figure", lambda a: a.pop("preset"), "is damaged: its header has no preset"),
    "no JSON": ("run", lambda a: a.update(settings="{"), "is damaged: its settings='{': must be JSON of an object"),
    "other JSON": (
        "run",
        lambda a: a.update(settings="[1]"),
        "is damaged: its settings='[1]': must be JSON of an object",
    ),
    "no list": ("figure", lambda a: a.update(claims="{}"), "is damaged: its claims='{}': must be JSON of a list"),
    "no number": ("run", lambda a: a.update(step="two"), "is damaged: its step='two': must be a whole number"),
    "no text": ("sweep", lambda a: a.update(device=3), "is damaged: its device=3: must be text"),
    "no time": ("run", lambda a: a.update(seconds=-1.0), "is damaged: its seconds=-1.0: must be a number of seconds"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said_with_the_field_and_what_would_be_right(case):
    kind, change, said = WRONG[case]
    attributes = header(kind).attributes()
    change(attributes)
    with pytest.raises(Damaged) as told:
        Header.of(attributes, kind, "path='a.nc'")
    assert str(told.value).startswith(f"path='a.nc': {said}")
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("kind", "other", "said"),
    [
        (
            "run",
            "figure",
            "is a figure, and not a run of simulate or iterate; name another file; `sdesim figure bs-fig1 ",
        ),
        (
            "run",
            "sweep",
            "is a sweep, and not a run of simulate or iterate; name another file; xarray.open_dataset(FILE)",
        ),
        (
            "figure",
            "run",
            "is a run of simulate or iterate, and not a figure; name another file; sdesim.load(FILE) opens",
        ),
    ],
)
def test_another_kind_is_said_with_what_opens_it(kind, other, said):
    with pytest.raises(ValueError) as told:
        Header.of(header(other).attributes(), kind, "path='a.nc'")
    assert str(told.value).startswith(f"path='a.nc': {said}")


def test_what_one_reader_needs_others_do_without():
    attributes = header("training").attributes()
    del attributes["checkpoint"]
    assert "checkpoint" not in Header.of(attributes, "training", "").own
    with pytest.raises(Damaged, match="its header has no checkpoint"):
        Header.of(attributes, "training", "path='a.nc'", needs=("checkpoint",))
