"""Verdicts and Monte Carlo errors of claims."""

import dataclasses
import json
import math

import numpy as np
import pytest

from sdesim import claims
from sdesim.claims import Statement, at_least, at_most


@dataclasses.dataclass
class Sample:
    x: np.ndarray

    @property
    def sims(self):
        return len(self.x)

    def take(self, sims):
        return Sample(self.x[sims])


@pytest.mark.parametrize(
    ("value", "stderr", "op", "threshold", "expected"),
    [
        (1.0, 0.1, ">=", 0.5, "holds"),
        (0.0, 0.1, ">=", 0.5, "fails"),
        (0.7, 0.1, ">=", 0.5, "undecided"),
        (0.4, 0.1, ">=", 0.5, "undecided"),
        (0.0, 0.1, "<=", 0.5, "holds"),
        (1.0, 0.1, "<=", 0.5, "fails"),
        (0.5, 0.0, "<=", 0.5, "holds"),
        (np.nan, 0.1, "<=", 0.5, "fails"),
        (0.0, np.nan, "<=", 0.5, "fails"),
    ],
)
def test_verdict(value, stderr, op, threshold, expected):
    assert claims.verdict(value, stderr, op, threshold) == expected


def test_few_runs_decide_less():
    assert claims.verdict(1.0, 0.1, ">=", 0.0, dof=2) == "undecided"
    assert claims.verdict(2.0, 0.1, ">=", 0.0, dof=2) == "holds"
    assert claims.verdict(-2.0, 0.1, ">=", 0.0, dof=2) == "fails"


def test_degrees_of_freedom_of_the_error():
    sample = Sample(np.random.default_rng(0).normal(size=50))
    assert claims.estimate(lambda e: e.x, sample).dof == 49
    assert claims.estimate(lambda e: float(e.x.mean()), sample).dof == 19  # 20 groups
    assert claims.estimate(lambda e: float(e.x.mean()), Sample(sample.x[:3])).dof == 2
    assert claims.estimate(lambda e: e.x > 0, sample).dof == math.inf
    assert claims.estimate(lambda e: (1.0, 0.1), sample) == (1.0, 0.1, math.inf)
    for statistic in (lambda e: e.x, lambda e: float(e.x.mean())):
        assert claims.measure(statistic, sample) == claims.estimate(statistic, sample)[:2]
        assert math.isnan(claims.estimate(statistic, Sample(sample.x[:1])).stderr)


def test_three_runs_do_not_decide_what_thirty_do():
    """Of a mean that is five standard errors off, and of a jackknifed one."""
    for statistic in (lambda e: e.x, lambda e: float(e.x.mean())):
        statement = Statement("a", "", statistic, at_least(0.0))
        for runs, expected in ((3, "undecided"), (30, "holds")):
            z = np.random.default_rng(0).normal(size=runs)
            sample = Sample((z - z.mean()) / z.std(ddof=1) + 5 / math.sqrt(runs))
            assert claims.judge([statement], sample)[0].verdict == expected


def test_errors_are_those_of_repeated_experiments():
    """Standard errors of a mean, a share and a jackknifed width, against the deviation over 400 repetitions."""
    rng = np.random.default_rng(0)
    statistics = {
        "mean": lambda e: e.x,
        "share": lambda e: e.x > 1.0,
        "width": lambda e: float(np.std(e.x)),
    }
    for statistic in statistics.values():
        found = np.array([claims.measure(statistic, Sample(rng.normal(size=200))) for _ in range(400)])
        deviation = found[:, 0].std(ddof=1)
        # that of 400 values is known to 3.5 %, and the mean of the jackknife errors (19 degrees) better than that
        assert abs(np.sqrt((found[:, 1] ** 2).mean()) / deviation - 1) < 4 * 0.045


def test_a_unanimous_share_is_not_infinitely_sure():
    value, stderr = claims.measure(lambda e: e.x > 0, Sample(np.ones(200)))
    assert value == 1.0
    assert 0.004 < stderr < 0.006
    assert claims.measure(lambda e: e.x > 0, Sample(np.ones(16)))[1] > 0.05


STATEMENTS = [
    Statement("high", "the mean is high", lambda e: e.x, at_least(0.5, smoke=0.2)),
    Statement("low", "the mean is low", lambda e: e.x, at_most(0.5)),
    Statement("weak", "the mean is very low", lambda e: e.x, at_most(0.1), note="weak: as an example"),
]


def test_judge_table_and_file(tmp_path):
    sample = Sample(np.random.default_rng(1).normal(1.0, 0.1, size=100))
    found = claims.judge(STATEMENTS, sample)
    assert [c.verdict for c in found] == ["holds", "fails", "fails"]
    assert [c.id for c in claims.failed(found)] == ["low"]  # the weak one is shown and not counted
    text = claims.table(found)
    assert "(fails)" in text
    assert "2 counted: 1 hold, 0 undecided, 1 fail; 1 shown in brackets, not counted" in text
    path = tmp_path / "x.claims.json"
    claims.write(found, path)
    rows = json.loads(path.read_text())
    assert [set(r) for r in rows] == [
        {"id", "statement", "value", "stderr", "op", "threshold", "verdict", "counted", "measured_on"}
    ] * 3
    assert [c.id for c in claims.judge(STATEMENTS, sample, smoke=True)] == ["high"]
    assert claims.judge(STATEMENTS, sample, smoke=True)[0].threshold == 0.2
