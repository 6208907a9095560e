"""What is kept from one process to the next."""

import os
import subprocess
import sys

import pytest

from sdesim import cache


@pytest.fixture
def environment(monkeypatch, tmp_path):
    """A process without settings of JAX's cache."""
    for name in [n for n in os.environ if n.startswith(("JAX_COMPILATION", "JAX_PERSISTENT"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("SDESIM_CACHE", str(tmp_path))
    return os.environ


def test_what_is_compiled_is_kept_for_the_next_process(environment, tmp_path):
    """JAX itself says that it found the program, in the second process alone."""
    code = """
from sdesim.cache import keep_compiled
keep_compiled()
import jax
from jax._src import monitoring
found = []
monitoring.register_event_listener(lambda event, **_: found.append(event))
jax.jit(lambda x: 2 * x + 1)(1.0)
print("/jax/compilation_cache/cache_hits" in found)
"""
    run = lambda: subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first, second = run(), run()
    assert (first.stdout.split(), second.stdout.split()) == (["False"], ["True"])
    assert not first.stderr and not second.stderr
    assert list((tmp_path / "compiled" / cache.processor()).iterdir())


def test_settings_of_the_user_stay(environment, tmp_path, monkeypatch):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_MAX_SIZE", "1000")
    cache.keep_compiled()
    assert environment["JAX_COMPILATION_CACHE_DIR"] == str(tmp_path / "compiled" / cache.processor())
    assert environment["JAX_COMPILATION_CACHE_MAX_SIZE"] == "1000"
    monkeypatch.setenv("SDESIM_CACHE", str(tmp_path / "other"))
    cache.keep_compiled()
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("where", ["", "/dev/null/sdesim"])
def test_without_a_folder_nothing_is_kept(where, environment, monkeypatch):
    monkeypatch.setenv("SDESIM_CACHE", where)
    cache.keep_compiled()
    assert "JAX_COMPILATION_CACHE_DIR" not in environment
