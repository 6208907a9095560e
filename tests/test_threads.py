"""Work in threads: in order, on all cores, under the caller's settings, with its errors."""

import threading

import jax
import pytest

from sdesim import threads
from sdesim.threads import beside, in_threads


def precision(_=None):
    return jax.config.jax_default_matmul_precision


@pytest.fixture(autouse=True)
def three_cores(monkeypatch):
    monkeypatch.setattr(threads, "cores", lambda: [0, 1, 2])


def test_parts_are_done_in_order_and_at_once():
    together = threading.Barrier(3, timeout=30)  # nobody passes it alone

    def one(part):
        together.wait()
        return part * part, threading.get_ident()

    found = in_threads(one, [1, 2, 3])
    assert [square for square, _ in found] == [1, 4, 9]
    assert len({thread for _, thread in found} | {threading.get_ident()}) == 4


@pytest.mark.parametrize("parts", [[], [5]], ids=["none", "one"])
def test_few_parts_need_no_thread(parts):
    assert in_threads(lambda part: (part, threading.get_ident()), parts) == [(p, threading.get_ident()) for p in parts]


@pytest.mark.parametrize("ask", [lambda fn: in_threads(fn, [0, 1]), lambda fn: [beside(fn)()]], ids=["parts", "beside"])
def test_threads_have_the_callers_settings(ask):
    assert set(ask(precision)) == {None}
    with jax.default_matmul_precision("float32"):
        assert set(ask(precision)) == {"float32"}


@pytest.mark.parametrize("ask", [lambda fn: in_threads(fn, [0, 1]), lambda fn: beside(fn)()], ids=["parts", "beside"])
def test_errors_are_the_callers(ask):
    def fails(_=None):
        raise ValueError("of a part")

    with pytest.raises(ValueError, match="of a part"):
        ask(fails)
