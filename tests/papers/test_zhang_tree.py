"""z-tree: its claims hold at smoke, and fail of wrong models."""

import dataclasses
import functools

import jax.numpy as jnp
import pytest
import wrong_models

from sdesim.asynchrony import EASGDTree
from sdesim.coupling.base import rows_of, with_rows
from sdesim.papers.zhang import tree as z_tree
from sdesim.papers.zhang.tree import run
from sdesim.papers.zhang.tree.config import SCHEMES

SMOKE = z_tree.PRESETS["smoke"]
failed = functools.partial(wrong_models.failed, z_tree)


def test_claims_hold(smoke):
    _, config, data = smoke("z-tree")
    assert config == SMOKE and failed(data) == set()


class Halved(EASGDTree):
    """Half of the moving rate."""

    def arrive(self, state, job):
        new = super().arrive(state, job)
        half = lambda now, before: jnp.where(job.came.ends_a_job, now, (now + before) / 2)
        nodes = half(new.shared["nodes"], state.shared["nodes"])
        return new._replace(x=half(new.x, state.x), shared={**new.shared, "nodes": nodes})


def with_protocol(monkeypatch, wrong):
    right = run.protocol
    monkeypatch.setattr(run, "protocol", lambda scheme, period: wrong(right(scheme, period).scheme))


@pytest.mark.slow
def test_claims_fail_of_half_the_moving_rate(monkeypatch, float32):
    with_protocol(monkeypatch, Halved)
    assert failed(run.run(SMOKE)) >= {"mean", "squares"}


class BothMove(EASGDTree):
    """An exchange of receiver and sender, as in EASGD: what the one gains the other loses."""

    def arrive(self, state, job):
        new = super().arrive(state, job)
        agents, sender = state.x.shape[0], job.worker if job.came.sender is None else job.came.sender
        at = lambda s, i: jnp.where(
            i < agents, rows_of(s.x, i[None]), rows_of(s.shared["nodes"], jnp.maximum(i - agents, 0)[None])
        )
        gained = jnp.where(job.came.ends_a_job, 0.0, at(new, job.worker) - at(state, job.worker))
        lost = at(new, sender) - gained
        nodes = new.shared["nodes"]
        above = jnp.where(sender < agents, nodes.shape[0], sender - agents)
        return new._replace(
            x=with_rows(new.x, sender[None], lost), shared={**new.shared, "nodes": with_rows(nodes, above[None], lost)}
        )


@pytest.mark.slow
def test_claims_fail_of_exchanges_that_move_both(monkeypatch, float32):
    with_protocol(monkeypatch, BothMove)
    assert failed(run.run(SMOKE)) >= {"mean", "squares"}


def test_claims_fail_of_messages_that_take_no_time(monkeypatch, float32):
    right = run.stepper
    monkeypatch.setattr(run, "stepper", lambda scheme, period, delay: right(scheme, period, 0.0))
    found = failed(run.run(SMOKE))
    assert found >= {"mean", "messages"} and "squares" not in found


@pytest.mark.slow
def test_claims_fail_of_schemes_that_are_swapped(monkeypatch, float32):
    right = run.protocol
    swapped = dict(zip(SCHEMES, reversed(SCHEMES), strict=True))
    monkeypatch.setattr(run, "protocol", lambda scheme, period: right(swapped[scheme], period))
    assert failed(run.run(SMOKE)) >= {"informed", "less-at-the-root", "more-at-the-leaves"}


def test_claims_fail_where_all_copy_each_other(smoke):
    _, config, data = smoke("z-tree")
    assert failed(data, dataclasses.replace(config, alpha=0.9)) >= {"averaging", "flat-variance"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"alpha": 0.2}, "alphas=.*must have alpha=0.2"),
        ({"delays": (1.0, 2.0)}, "delays=.*must grow from 0"),
        ({"delay": 3.0}, "delays=.*must grow from 0"),
        ({"periods": (2, 4)}, "periods=.*must grow from 1"),
        ({"sims": 1}, "sims=1"),
        ({"eta": -1.0}, "eta=-1"),
    ],
)
def test_unfit_configurations_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(SMOKE, **change)
