"""Progress: a bar where a line can be overwritten, plain lines elsewhere, and never more than there is to do."""

import io
import re
import sys

import pytest

import sdesim
from sdesim import noise, objectives, progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


MODEL = sdesim.Dynamics(objectives.Quadratic(), sdesim.Quorum(1.0), noise.Uniform(1.0), eta=0.1)


@pytest.mark.parametrize("sims", [1, 5, 17, 100])
def test_a_bar_ends_at_the_whole(sims, monkeypatch):
    done, total = [], []
    bar = progress.bar

    def watched(count, label, shown):
        made = bar(count, label, False)
        total.append(count)
        monkeypatch.setattr(made, "update", done.append)
        return made

    monkeypatch.setattr("sdesim.engine.run.bar", watched)
    sdesim.simulate(MODEL, agents=3, sims=sims, steps=70, every=7, observe=sdesim.observe.Spread(), progress=True)
    assert sum(done) == total[0] == 70 * sims


def test_a_terminal_has_one_line_and_a_log_has_lines(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    progress.line("step 1", False)
    progress.line("step 2", True)
    assert sys.stderr.getvalue() == "\r\x1b[Kstep 1\r\x1b[Kstep 2\n"
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.setattr(progress, "_last_line", progress.time.monotonic())
    progress.line("step 1", False)
    progress.line("step 2", True)
    assert sys.stderr.getvalue() == "step 2\n"


def test_a_log_has_lines_for_a_bar(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.setattr(progress, "EVERY", 0.0)
    assert list(progress.each([1, 2], "figure", True)) == [1, 2]
    assert re.fullmatch(r"figure: 50%, 0:00:00 left\nfigure: 100%, 0:00:00 left\n", sys.stderr.getvalue())
    assert list(progress.each([1, 2], "figure", False)) == [1, 2]
    assert sys.stderr.getvalue().count("\n") == 2


@pytest.mark.parametrize("terminal", [True, False])
def test_what_was_done_before_counts_and_tells_nothing_of_the_time(terminal, monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal() if terminal else io.StringIO())
    monkeypatch.setattr(progress, "EVERY", 0.0)
    monkeypatch.setattr(progress, "DELAY", 0.0)
    now = progress.time.monotonic()
    with progress.bar(40, "sweep", True, "task", 60) as told:
        if not terminal:
            told.began = now - 10.0  # ten done in ten seconds: thirty left
        told.update(10)
    said = sys.stderr.getvalue()
    assert "70%" in said and (terminal or "70%, 0:00:30 left" in said)
