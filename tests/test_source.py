"""`sdesim.source`: a hash of the files that run, by the names of modules, which must not outlive them."""

import pytest

from sdesim import source


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An empty package in place of sdesim."""
    folder = tmp_path / "sdesim"
    folder.mkdir()
    monkeypatch.setattr(source, "package", lambda: folder)
    return folder


def test_a_hash_is_of_names_and_contents_of_all_python_files(package):
    of_all = lambda: source.hash_of(source.modules())
    assert of_all() == ""
    (package / "part").mkdir()
    module = package / "part" / "model.py"
    found = []
    for content in ("a = 1", "a = 2"):
        module.write_text(content)
        found.append(of_all())
    module.rename(package / "other.py")
    found.append(of_all())
    assert len(set(found)) == 3
    (package / "note.txt").write_text("not code")
    assert of_all() == found[-1]


def test_modules_are_named_by_their_dots_and_packages_are_all_of_theirs(package):
    for name in ("a.py", "part/__init__.py", "part/b.py", "part/deep/c.py"):
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).touch()
    assert source.modules("a", "part.deep.c") == ["a.py", "part/deep/c.py"]
    assert source.modules("part") == ["part/__init__.py", "part/b.py", "part/deep/c.py"]
    with pytest.raises(LookupError, match=r"sdesim\.gone: there is no such module"):
        source.modules("a", "gone")


def test_what_runs_is_here():
    assert (source.package() / "source.py").is_file()
    assert "source.py" in source.modules()
    if (root := source.checkout()) is not None:
        assert (root / "pyproject.toml").is_file()
        assert len(source.commit().removesuffix("-dirty")) == 40
