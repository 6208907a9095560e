"""Rules: simulations are added where they are needed, round by round, by whoever comes."""

import jax.numpy as jnp
import numpy as np
import pytest

import sdesim
from sdesim.ensembles.durable import Durable
from sdesim.ensembles.grids import asked_of
from sdesim.ensembles.rules import Rule
from sdesim.ensembles.simulations import Simulations
from sdesim.results.stores.folder import Store, StoreError

pytestmark = pytest.mark.usefixtures("float32")


def loss(x):
    return jnp.sum(0.5 * x**2)


def model():
    return sdesim.Dynamics(loss, sdesim.Quorum(1.0), sdesim.noise.Gaussian(1.0), eta=0.1)


RULE = "stderr(quorum_loss) < 0.002"
GRID = {"noise.sigma": [0.1, 1.0, 2.0], "eta": [0.05, 0.1]}
RUN = dict(agents=2, steps=10, init=0.0, seed=3)


def test_points_have_what_they_need(tmp_path):
    data = sdesim.sweep(model(), GRID, sims=20, until=RULE, store=tmp_path / "store", **RUN)
    assert (data["quorum_loss_stderr"] < 0.002).all()
    done = data["done"].values
    assert (done[0] == 20).all()  # sure at once
    assert (done[2] > done[1]).all() and (done[1] > 20).any()
    store = Store(tmp_path / "store")
    rounds = store.rounds()
    assert len(rounds) > 2
    assert {one.said.get("rule") for one in rounds.all[1:]} == {RULE}
    # Errors go with one over the root of the number: what is needed is met without waste.
    worst = float(data["quorum_loss_stderr"].isel(noise_sigma=2, eta=1))
    assert worst > 0.001
    # The numbers are those of the sweep with that many simulations.
    whole = sdesim.sweep(model(), GRID, sims=int(done.max()), exact=True, **RUN)
    there = np.isfinite(data["quorum_loss"].values)
    np.testing.assert_array_equal(there.sum(-1), done)
    np.testing.assert_array_equal(data["quorum_loss"].values[there], whole["quorum_loss"].values[there])
    # The same call again, and one that was killed between rounds, plan nothing else.
    sdesim.sweep(model(), GRID, sims=20, until=RULE, store=tmp_path / "store", **RUN)
    assert len(Store(tmp_path / "store").rounds()) == len(rounds)


def test_a_round_follows_from_results_alone(tmp_path):
    """Two drivers, of which one stops after each round: the rounds are those of one alone."""
    asked = Simulations(asked_of(model(), GRID, sims=20, until=RULE, **RUN))
    alone = Durable.of(asked, tmp_path / "alone", lanes=30)
    alone.run()
    made = Durable.of(asked, tmp_path / "many", lanes=30)
    made.plan()
    while True:
        made = Durable.of(asked, tmp_path / "many")
        made.work()
        if not made.plan_more():
            break
    assert [one.to_json() for one in made.store.rounds().all] == [one.to_json() for one in alone.store.rounds().all]


def test_the_most_is_not_exceeded(tmp_path):
    data = sdesim.sweep(
        model(), GRID, sims=20, until="stderr(quorum_loss) < 1e-6", most=50, store=tmp_path / "s", **RUN
    )
    assert (data["done"] == 50).all()


def test_what_diverges_is_left():
    rule = Rule.of(RULE, 10, None)
    done, nan = np.array([10, 10, 10]), np.array([[np.nan], [np.inf], [1.0]])
    assert rule.wanted(done, nan, nan).tolist() == [10, 10, 30]
    assert rule.wanted(done, nan, np.full((3, 1), 0.00202)).tolist() == [11, 11, 11]
    assert Rule.of("stderr(x) < 5%", 10, None).wanted(
        done, np.array([[2.0], [1.0], [-1.0]]), np.full((3, 1), 0.08)
    ).tolist() == [
        10,
        26,
        26,
    ]


def test_a_store_has_one_rule(tmp_path):
    sdesim.sweep(model(), GRID, sims=5, until="stderr(quorum_loss) < 9", store=tmp_path / "store", **RUN)
    with pytest.raises(
        StoreError, match=r"rule is 'stderr\(quorum_loss\) < 9, from 5 to 500 simulations' there and None here"
    ):
        sdesim.sweep(model(), GRID, sims=5, store=tmp_path / "store", **RUN)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(until="stderr(quorum_loss)"), r"until='stderr\(quorum_loss\)': must be a moment, or such as"),
        (dict(until="stderr(x) < 0"), "must have a number greater than 0"),
        (dict(sims=1), "sims=1: must be an integer of at least 2"),
        (dict(most=3), "most=3: must be an integer of at least 20"),
        (dict(until=None, most=3), "most=3: must be left out, unless until= is a rule"),
        (dict(until="stderr(spraed) < 1"), "must name what is measured: center, quorum, quorum_loss, spread"),
        (dict(store=None), "must have a store"),
    ],
)
def test_rules_that_are_none(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        sdesim.sweep(model(), GRID, **{**dict(sims=20, until=RULE, store=tmp_path / "store"), **RUN, **change})
