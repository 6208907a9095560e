"""Wrong models are what they say, reach every run, and break the claims that the records say they break."""

import io
import json
import subprocess
import tarfile

import numpy as np
import pytest
from places import ROOT

import sdesim
from sdesim import claims, coupling, noise, objectives
from sdesim.asynchrony import Asynchronous, AsyncSGD
from sdesim.dynamics import HeavyBall
from sdesim.ensembles.setup import changed, instead
from sdesim.papers import EXPERIMENTS, MODULES
from sdesim.papers.frame import breaks, cache, formulas, registry
from sdesim.papers.frame.experiment import Kept, judged
from sdesim.papers.frame.mutations import MUTATIONS
from sdesim.steppers.delayed import Delayed
from sdesim.theory import bounds

FIGURES = ROOT / "figures"
RECORDED = [name for name in EXPERIMENTS if breaks.path_of(name, FIGURES).is_file()]
JUDGED = {
    name: wrong for name, e in EXPERIMENTS.items() if (wrong := [w for w, m in e.mutations.items() if m.misjudges])
}
RULE = coupling.Elastic(2.0, center_rate=3.0)
MODEL = sdesim.Dynamics(
    objectives.Quadratic(1.5), RULE, noise.Gaussian(0.7), eta=0.1, momentum=HeavyBall(0.6), batch=4.0
)
RUN = dict(agents=3, sims=5, steps=12, dims=2, seed=3, init=sdesim.init.Normal())


def with_parts(**parts):
    """The model with other parts."""
    kept = {name: getattr(MODEL, name) for name in ("objective", "coupling", "noise", "eta", "momentum", "batch")}
    return sdesim.Dynamics(**{**kept, **parts})


def under(name, run):
    with instead(MUTATIONS[name].change):
        return run()


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("coupling off", dict(coupling=coupling.Elastic(0.0, 3.0))),
        ("coupling flipped", dict(coupling=coupling.Elastic(-2.0, 3.0))),
        ("k x 1.1", dict(coupling=coupling.Elastic(2.2, 3.0))),
        ("k x 1/2", dict(coupling=coupling.Elastic(1.0, 3.0))),
        ("k x 3", dict(coupling=coupling.Elastic(6.0, 3.0))),
        ("noise x 1/2", dict(noise=noise.Gaussian(0.35))),
        ("noise x 1.1", dict(noise=noise.Gaussian(0.77))),
        ("noise x 3", dict(noise=noise.Gaussian(2.1))),
        ("batch ignored", dict(batch=1.0)),
        ("eta x 1.1", dict(eta=0.11)),
        ("delta - 0.05", dict(momentum=HeavyBall(0.55))),
        ("momentum off", dict(momentum=HeavyBall(0.0))),
        ("center frozen", dict(coupling=coupling.Elastic(2.0, 0.0))),
        ("center slow", dict(coupling=coupling.Elastic(2.0, 0.3))),
    ],
)
def test_a_wrong_model_runs_in_place_of_the_right_one(name, parts):
    """It is the model with that number, in a run and at every point of a sweep, and only within."""
    right = sdesim.simulate(MODEL, **RUN)
    wrong, expected = under(name, lambda: sdesim.simulate(MODEL, **RUN)), sdesim.simulate(with_parts(**parts), **RUN)
    np.testing.assert_allclose(wrong.agents, expected.agents, rtol=1e-9)
    assert not np.allclose(wrong.agents, right.agents, rtol=1e-3)
    assert MUTATIONS[name].applies(MODEL, sdesim.Iteration()) and not changed()
    np.testing.assert_array_equal(sdesim.simulate(MODEL, **RUN).agents, right.agents)
    rates = [0.5, 1.5]
    grid = {"objective.curvature": rates}
    swept = under(name, lambda: sdesim.sweep(MODEL, grid, **RUN))
    np.testing.assert_allclose(swept["agents"][1], expected.agents, rtol=1e-9)


def test_gains_of_a_sweep_are_wrong_at_each_of_its_points():
    sweep = lambda gains: sdesim.sweep(MODEL, {"coupling.k": gains}, **RUN)["agents"].values
    gains = [0.0, 1.0, 4.0]
    np.testing.assert_allclose(under("k x 1/2", lambda: sweep(gains)), sweep([0.0, 0.5, 2.0]), rtol=1e-9)
    for name, k in (("k greatest", 4.0), ("k middle", 1.0)):
        same = under(name, lambda: sweep(gains))
        np.testing.assert_allclose(same, np.broadcast_to(sweep([k]), same.shape), rtol=1e-9)
    growing = sdesim.Dynamics(MODEL.objective, coupling.Quorum(lambda x, t: 2 + t), MODEL.noise, 0.1)
    half = sdesim.Dynamics(MODEL.objective, coupling.Quorum(lambda x, t: 1 + t / 2), MODEL.noise, 0.1)
    wrong = under("k x 1/2", lambda: sdesim.simulate(growing, **RUN))
    np.testing.assert_allclose(wrong.agents, sdesim.simulate(half, **RUN).agents, rtol=1e-9)


def test_common_noise_leaves_agents_together_and_biased_noise_drives_them():
    model = sdesim.Dynamics(objectives.Quadratic(0.0), noise=noise.Gaussian(1.0), eta=0.1)
    run = lambda: np.asarray(sdesim.simulate(model, agents=4, sims=400, steps=25).agents)
    right, common, biased = run(), under("noise common", run), under("noise biased", run)
    assert np.ptp(right, axis=1).min() > 0 and np.ptp(common, axis=1).max() == 0
    np.testing.assert_array_equal(common[:, 0], right[:, 0])
    np.testing.assert_allclose(biased - right, 25 * 0.1 * 0.5, rtol=1e-9)
    steps = np.random.default_rng(0).normal(size=(25, 400, 4, 1))
    given = under(
        "noise common", lambda: np.asarray(sdesim.iterate(model, agents=4, sims=400, steps=25, increments=steps).agents)
    )
    np.testing.assert_allclose(given, np.broadcast_to(0.1 * steps.sum(0)[:, :1], given.shape), atol=1e-12)


def test_fresh_gradients_are_those_of_one_worker():
    """Of workers one after another and of steps with a delay: what each step takes is the gradient of where it is."""
    model = sdesim.Dynamics(objectives.Quadratic(1.0), eta=0.1)
    late = lambda: sdesim.simulate(model, agents=3, steps=9, init=1.0, stepper=Asynchronous(AsyncSGD()))
    assert float(under("gradients fresh", late).center[0, 0]) == pytest.approx(0.9**9, rel=1e-9)
    assert abs(float(late().center[0, 0]) - 0.9**9) > 1e-2
    old = lambda: sdesim.simulate(model, steps=9, init=1.0, stepper=Delayed(4.0, longest=4.0))
    assert float(under("gradients fresh", old).agents[0, 0, 0]) == pytest.approx(0.9**9, rel=1e-9)


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_mutation_applies_where_it_changes_something(name):
    plain = sdesim.Dynamics(objectives.Quadratic(1.0), eta=0.1)
    applies = MUTATIONS[name].applies(plain, sdesim.Iteration())
    assert applies == (name == "eta x 1.1")


def test_what_runs_in_the_place_of_another_model_is_not_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("SDESIM_CACHE", str(tmp_path))
    run = lambda: cache.cached("own", {"a": 1}, lambda: sdesim.sweep(MODEL, {"coupling.k": [1.0]}, **RUN))
    right = run()["agents"].values
    wrong = under("k x 3", run)["agents"].values
    assert abs(wrong - right).max() > 1e-3
    np.testing.assert_array_equal(run()["agents"].values, right)


def test_a_wrong_formula_is_wrong_for_figures_alone(smoke):
    """It is what the claims are set beside, and neither what theory makes of it nor what others get."""
    experiment, config, data = smoke("bs-noise")
    right, asked = bounds.quorum_noise_covariance, set()
    with formulas.changed(lambda name, value: (asked.add(name), formulas.scaled(value, 2.0))[1]):
        assert bounds.quorum_noise_covariance(1.0, 2, 0.1, 1.0) == right(1.0, 2, 0.1, 1.0)
        assert {c.id for c in claims.failed(judged(experiment, config, data, "smoke"))} >= {"noise-exact"}
    assert bounds.quorum_noise_covariance is right
    assert {name.rpartition(".")[2] for name in asked} >= {"quorum_noise_covariance", "constants"}
    assert claims.failed(judged(experiment, config, data, "smoke")) == []


def test_scaled_values_keep_their_kind():
    chain = sdesim.theory.curvature.Constants(1.0, 2.0, 3.0, None, True, "by hand")
    assert formulas.scaled(chain, 2.0) == sdesim.theory.curvature.Constants(2.0, 4.0, 6.0, None, True, "by hand")
    pair = formulas.scaled((1.0, np.array([1, 2]), "a", True, np.ones(2)), 3.0)
    assert pair[0] == 3.0 and pair[1].tolist() == [1, 2] and pair[2:4] == ("a", True) and pair[4].tolist() == [3, 3]


# -- the records -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RECORDED)
def test_records_are_of_the_figures_as_they_are(name):
    """Of other sources a record is stale: `sdesim claims NAME --break --record` makes it again."""
    kept = breaks.read(name, FIGURES)
    assert kept["sources"] == breaks.hash_of(MODULES[name])
    for of in breaks.tries(kept):
        assert set(of["tried"]) >= {wrong for found in of["breaks"].values() for wrong in found}


@pytest.mark.parametrize("name", RECORDED)
def test_every_claim_that_was_tried_is_broken_by_a_wrong_model(name):
    """What none breaks says nothing: it is reworded, joined by what one breaks, or not counted."""
    kept = breaks.read(name, FIGURES)
    assert [id for of in breaks.tries(kept) for id, found in of["breaks"].items() if not found] == []


def test_every_figure_without_training_has_a_record():
    assert {name for name, experiment in EXPERIMENTS.items() if not experiment.trains} <= set(RECORDED)


@pytest.mark.parametrize("name", JUDGED)
def test_wrong_formulas_break_what_the_record_says(name, smoke):
    """Those that a figure adds: no factor makes them wrong."""
    experiment, config, data = smoke(name)
    kept = breaks.read(name, FIGURES)["breaks"]
    for wrong in JUDGED[name]:
        found = breaks.mutated(experiment, experiment.mutations[wrong], Kept(config, "smoke", data))
        assert {c.id for c in claims.failed(found)} == {id for id, of in kept.items() if wrong in of} != set()


def test_sources_of_a_figure_are_its_own_and_what_it_shares_with_others():
    own = breaks.sources("sdesim.papers.boffi_slotine.fig2")
    assert own == [f"papers/boffi_slotine/{f}.py" for f in ("fig2", "one_dimensional")]
    folder = breaks.sources(MODULES["y-schedule"])
    assert "papers/yu/schedule/claims.py" in folder and "papers/yu/workers/run.py" in folder
    assert not [f for f in folder if "frame" in f or f.endswith("picture.py")]


REPEATED = {
    "bs-fig1": ("coupling off", "k middle", "noise biased"),
    "bs-fig1-easgd": ("coupling flipped", "noise x 3"),
    "bs-noise": ("linear.ou_covariance_discrete x 1/2", "synchronization.quorum_noise_covariance x 1/2"),
}


@pytest.mark.parametrize("name", REPEATED)
def test_wrong_models_break_again_what_the_record_says(name, float32):
    kept = breaks.read(name, FIGURES)
    broken = breaks.under_wrong_models(EXPERIMENTS[name], only=REPEATED[name])
    assert set(broken.wrong) == set(REPEATED[name]) and not broken.refused
    of = lambda table: {id: set(wrong) & set(REPEATED[name]) for id, wrong in table.items()}
    assert of(broken.breaks()) == of(kept["breaks"])
    assert any(of(kept["breaks"]).values())


def test_what_was_not_tried_is_tried_until_it_is_broken(float32):
    """Of a larger run no more is made than it takes, and of claims that were tried nothing is asked."""
    experiment = EXPERIMENTS["bs-fig5"]
    every = breaks.read("bs-fig5", FIGURES)["breaks"]
    left = "5c-clusters"
    broken = breaks.under_wrong_models(experiment, preset="smoke", besides=set(every) - {left})
    assert broken.preset == "smoke" and [c.id for c in broken.right] == [left] and len(broken.breaks()[left]) == 1
    assert list(broken.wrong)[-1] in every[left] and len(broken.wrong) < len(breaks.read("bs-fig5", FIGURES)["tried"])
    assert not breaks.under_wrong_models(experiment, besides=every).wrong


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bs-fig1", "bs-fig3", "bs-sync"])
def test_all_wrong_models_break_again_what_the_record_says(name, float32):
    kept, broken = breaks.read(name, FIGURES), breaks.under_wrong_models(EXPERIMENTS[name])
    assert {id: set(of) for id, of in broken.breaks().items()} == {id: set(of) for id, of in kept["breaks"].items()}


@pytest.fixture
def committed(tmp_path):
    """The checkout as it is committed: `sdesim figure NAME` writes into its figures, with a user's own last digits."""
    packed = subprocess.run(["git", "archive", "HEAD", "figures", "docs/claims.md"], cwd=ROOT, capture_output=True)
    if packed.returncode:  # no checkout, but its files
        return ROOT
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path


def test_the_page_of_all_claims_is_of_the_figures_as_they_are(committed):
    """`sdesim claims --page docs/claims.md` writes it anew."""
    papers = {name: module.split(".")[2] for name, module in MODULES.items()}
    page = registry.page(registry.entries(papers, committed / "figures"))
    assert (committed / "docs" / "claims.md").read_text(encoding="utf-8") == page


def test_what_is_published_knows_seeds_and_what_breaks_it(tmp_path):
    claim = dict(value=1.0, stderr=0.1, op=">=", threshold=0.5, verdict="holds", counted=True, statement="a | b")
    rows = [{"id": id, **claim, "counted": id != "d"} for id in "abcde"]
    (tmp_path / "bs-fig1.claims.json").write_text(json.dumps(rows))
    held = {"a": 10, "b": 8}
    record = {
        "breaks": {"a": {"wrong": 0.1, "other": 0.2}, "b": {}},
        "preset": "small",
        "untried": {"c": "undecided"},
        "larger": {
            "breaks": {"e": {"third": 0.1}},
            "preset": "paper",
            "untried": {},
            "tried": {"third": ""},
            "predictions": [],
        },
        "tried": {"other": "", "wrong": ""},
        "predictions": ["b"],
        "seeds": {"preset": "default", "count": 10, "held": held},
        "judged": {"preset": "paper", "seconds": 1.0, "values": {"b": 0.25}, "verdicts": {"b": "fails"}},
    }
    breaks.path_of("bs-fig1", tmp_path).write_text(json.dumps(record))
    found = registry.entries({"bs-fig1": "boffi_slotine", "bs-fig2": "boffi_slotine"}, tmp_path)
    assert [e.verdict for e in found] == ["holds", "undecided", "holds", "holds", "holds"]  # at nine of ten other seeds
    why = "not tried: undecided at small size and not asked at paper size"
    assert [e.breaking for e in found] == [
        "other, wrong (small size)",
        "nothing (small size)",
        why,
        "",
        "third (paper size)",
    ]
    assert [e.seeds for e in found] == [(10, 10, "default"), (8, 10, "default"), None, None, None]
    assert "4 counted of 5: 3 hold, 1 undecided, 0 fail; wrong models were tried on 3, and break 2" in registry.tally(
        found
    )
    assert [e.judged for e in found] == [None, (0.25, "fails", "paper"), None, None, None]
    page = registry.page(found)
    assert page.count("paper size: fails, 0.25") == 1
    assert "Broken by nothing: bs-fig1 `b`." in page
    assert "### bs-fig1" in page and "a \\| b" in page and "on predictions alone" in page and "(holds)" in page
    record["seeds"]["preset"] = "smoke"
    breaks.path_of("bs-fig1", tmp_path).write_text(json.dumps(record))
    assert registry.of_figure("bs-fig1", tmp_path)[1].verdict == "holds"  # other thresholds there
