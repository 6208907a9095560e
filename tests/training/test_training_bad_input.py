"""Every public argument of sdesim.training with every kind of wrong value: a line names it before anything compiles."""

import functools

import flax.linen as nn
import numpy as np
import pytest
from bad_input import FUNCTION, HUGE, unrefused

import sdesim
from sdesim import training

pytestmark = [pytest.mark.relaxed, pytest.mark.usefixtures("float32")]  # as users have it


class Small(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(4)(x.reshape(x.shape[0], -1))


IMAGES = training.synthetic(80, 20, classes=4, size=8)
DATA = training.split(IMAGES)
QUORUM = training.Algorithm(sdesim.Quorum(1.0))


def train(network=None, data=DATA, algorithm=QUORUM, **options):
    return training.train(network, data, algorithm, **{"batch": 16, **options}).history


def algorithm(of, **options):
    return training.algorithm(of, **options)


def with_part(field, value):
    return training.split(IMAGES._replace(**{field: value}))


TRAIN = {
    "network": ("object", {}),
    "data": ("object", {}),
    "algorithm": ("object", {}),
    "optimizer": ("object", dict(takes=(None,))),
    "eta": ("at least 0", dict(takes=(None,), also=(np.ones(2), np.ones((3, 3))))),
    "agents": ("count", {}),
    "epochs": ("count", dict(takes=(0,))),
    "batch": ("count", {}),
    "runs": ("count", dict(also=([0.5], [-1], [HUGE], [[0, 1]]))),
    "seed": ("count", dict(takes=(0, HUGE))),
    "same_start": ("flag", {}),
    "schedule": ("object", dict(takes=(None,))),
    "weight_decay": ("one at least 0", {}),
    "crop": ("count", dict(takes=(None,), also=(9,))),
    "precision": ("name", dict(also=("float64",))),
    "evaluation_batch": ("count", dict(takes=(HUGE,))),  # what is too many is all
    "train_images": ("count", dict(takes=(HUGE,))),
    "stepper": ("object", dict(takes=(None,))),
    "folder": ("folder", {}),
    "resume": ("flag", {}),
    "memory": ("count", dict(takes=(None, 0, HUGE), also=("much",))),
    "loss": ("object", dict(takes=(None,))),
    "progress": ("flag", dict(takes=(FUNCTION,))),
}
OTHERS = {
    "algorithm": (
        lambda **o: training.algorithm(**{"name": "qsgd", **o}),
        {
            "k": ("number", dict(takes=(None,))),
            "momentum": ("at least 0", dict(takes=(None,), also=(1.0, 2.0))),
            "period": ("count", dict(takes=(True,))),
            "average": ("at least 0", dict(takes=(None,), also=(1.0, 2.0))),
        },
    ),
    "an algorithm": (
        lambda **o: training.algorithm("qsgd")(**{"agents": 4, "eta": 0.05, "batches": 20, **o}),
        {"agents": ("count", {}), "eta": ("positive", {}), "batches": ("count", {})},
    ),
    "sd-qsgd": (
        functools.partial(algorithm, "sd-qsgd"),
        {
            "magnification": ("at least 0", dict(takes=(None,))),
            "relaxation": ("positive", dict(takes=(None,))),
        },
    ),
    "tree": (functools.partial(algorithm, "tree"), {"fanout": ("count", dict(takes=(None,), also=((2, 0), (HUGE,))))}),
    "saturating-filter": (
        functools.partial(algorithm, "saturating-filter"),
        {"width": ("positive", dict(takes=(None,)))},
    ),
    "Algorithm": (
        lambda **o: training.Algorithm(**{"rule": sdesim.Quorum(1.0), **o}),
        {
            "rule": ("object", {}),
            "momentum": ("at least 0", dict(also=(1.0,))),
            "average": ("at least 0", dict(takes=(None,), also=(1.5,))),
            "running": ("flag", dict(also=(True,))),
            "pace": ("positive", dict(takes=(None,))),
            "clock": ("positive", dict(takes=(None,))),
            "order": ("name", {}),
            "period": ("count", {}),
            "nesterov": ("flag", {}),
            "share": ("flag", {}),
            "every": ("count", {}),
            "by_mean": ("flag", {}),
            "made": ("object", {}),
        },
    ),
    "split": (
        lambda **o: training.split(**{"images": IMAGES, **o}),
        {
            "images": ("object", {}),
            "seed": ("count", dict(takes=(0, HUGE))),
            "validation": ("one at least 0", dict(also=(1.0, 0.999, 0.001))),
        },
    ),
    "synthetic": (
        training.synthetic,
        {
            "train": ("count", {}),
            "test": ("count", {}),
            "classes": ("count", dict(also=(257,))),
            "size": ("count", {}),
            "noise": ("one at least 0", {}),
            "seed": ("count", dict(takes=(0, HUGE))),
        },
    ),
    "cifar10": (training.cifar10, {"folder": ("folder", {})}),
    "fetch_cifar10": (
        training.fetch_cifar10,
        {
            "folder": ("folder", {}),
            "sources": ("object", dict(also=("npm", ["nowhere"]))),
            "progress": ("flag", {}),
        },
    ),
    "ThreeLayer": (
        training.ThreeLayer,
        {
            "classes": ("count", dict(takes=(HUGE,))),  # of what is huge the trainer says that it does not fit
            "channels": ("count", dict(also=((1, 2), (1, 2, 0)))),
            "sizes": ("count", {}),
            "dropout": ("one at least 0", dict(also=(1.0,))),
        },
    ),
    "SevenLayer": (training.SevenLayer, {"units": ("count", dict(takes=(HUGE,))), "weights": ("name", {})}),
    "LowRank": (training.LowRank, {"ranks": ("count", {})}),
    "Stall": (
        training.Stall,
        {
            "factors": ("", dict(also=("x", 3, None, (2.0, 0.0), (np.nan,), ("x",), np.ones((2, 2)), [[1], [2, 3]]))),
            "patience": ("count", dict(takes=(HUGE,))),
            "tolerance": ("one at least 0", {}),
        },
    ),
    "summary": (lambda **o: training.summary(**{"data": None, "title": "", **o}), {"data": ("object", {})}),
}


@pytest.mark.parametrize("name", TRAIN)
def test_train(name):
    kind, options = TRAIN[name]
    call = train if name == "network" else functools.partial(train, Small())
    if name == "optimizer":
        call = functools.partial(call, eta=0.01)
    assert unrefused(call, name, kind, **options) == []


@pytest.mark.parametrize(("of", "name"), [(of, name) for of, (_, names) in OTHERS.items() for name in names])
def test_others(of, name):
    call, names = OTHERS[of]
    kind, options = names[name]
    assert unrefused(call, name, kind, **options) == []


@pytest.mark.parametrize(("function", "name"), [(training.algorithm, "algorithm")])
def test_names(function, name):
    for wrong in ("", "no such", 3, None, [], np.nan):
        with pytest.raises(ValueError, match=rf"^{name}=.*known: sgd"):
            function(wrong)


@pytest.mark.parametrize("which", ["train", "test"])
@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        ("x", lambda x: "x", "must be an array of uint8"),
        ("x", lambda x: x[0], "must be an array of uint8"),
        ("x", lambda x: x.astype(int), "must be an array of uint8"),
        ("x", lambda x: np.full(x.shape, np.nan), "must be finite"),
        ("x", lambda x: x[:, :0], "must have"),
        ("y", lambda y: "y", "one label an image"),
        ("y", lambda y: y[:-1], "one label an image"),
        ("y", lambda y: np.eye(4)[y], "one label an image"),
        ("y", lambda y: y + 0.5, "labels must be of an integer type, got float64"),
        ("y", lambda y: y.astype(int) - 1, "labels must be from 0 to 65535, got -1 to 2"),
        ("y", lambda y: y.astype(int) + 2**40, "labels must be from 0 to 65535"),
    ],
)
def test_images_and_labels(which, part, change, message):
    """Wherever they come from: `split`, or a `Split` that was put together by hand."""
    name = f"{which}_{part}"
    with pytest.raises(ValueError, match=f"^{name}.*{message}"):
        training.split(IMAGES._replace(**{name: change(getattr(IMAGES, name))}))
    with pytest.raises(ValueError, match=f"^{name}.*{message}"):
        train(Small(), DATA._replace(**{name: change(getattr(DATA, name))}))


@pytest.mark.parametrize("which", ["train", "validation", "test"])
def test_labels_that_the_network_has_no_logit_of(which):
    labels = getattr(DATA, f"{which}_y").copy()
    labels[3] = 4
    with pytest.raises(ValueError, match=r"^network: must give .* for labels up to 4, and gives shape \(2, 4\)"):
        train(Small(), DATA._replace(**{f"{which}_y": labels}))


def test_an_empty_training_set():
    none = IMAGES.train_x[:0], IMAGES.train_y[:0]
    with pytest.raises(ValueError, match="leaves none of the 0 training images to train on"):
        training.split(IMAGES._replace(train_x=none[0], train_y=none[1]), validation=0.0)
    with pytest.raises(ValueError, match=r"^data: have no training images"):
        train(Small(), DATA._replace(train_x=none[0], train_y=none[1].astype(np.int32)))


@pytest.mark.parametrize(
    ("made", "trained", "message"),
    [
        (("easgd", dict(agents=8)), dict(agents=4), "was made for agents=8, and the training has 4"),
        (("easgd", dict(agents=4)), dict(agents=4, eta=0.1), "was made for eta=0.05, and the training has 0.1"),
        (("qsgd", {}), dict(agents=4, eta=[0.05, 0.1], runs=2), "was made for eta=0.05, and the training has 0.1"),
        (("downpour", dict(agents=2)), dict(agents=4), "was made for agents=2"),
        (("sd-qsgd", dict(k=1.0)), dict(), "was made for batches=313, and the training has 4"),
        (("tree", dict(agents=4, k=1.0)), dict(agents=2), "was made for agents=4"),
    ],
)
def test_an_algorithm_that_was_made_for_other_numbers(made, trained, message):
    name, own = made[0], dict(made[1])
    agents, eta, batches = (own.pop(label, here) for label, here in (("agents", 1), ("eta", 0.05), ("batches", 313)))
    with pytest.raises(ValueError, match=f"^algorithm: {message}.* give the training what sdesim.training.algorithm"):
        train(Small(), DATA, training.algorithm(name, **own)(agents, eta, batches), **trained)
    training.Training(Small(), DATA, training.algorithm(name, **own), batch=16, **trained)  # whose numbers fit


def test_numbers_that_follow_from_nothing_fit_any_training():
    """A gain that was given is in 1/time; a rate that the coupling has of its own is not the agents'."""
    for made in (training.algorithm("easgd", k=1.0)(8, 0.05, 9), training.algorithm("downpour")(4, 0.02, 9)):
        made.check_made_for(4, np.full((1, 4), 0.1), 3)
    rates = np.array([0.02, 0.1])
    made = training.algorithm("easgd")(4, rates, 9)  # one a run
    made.check_made_for(4, np.broadcast_to(rates[:, None], (2, 4)), 3)
    np.testing.assert_allclose(made.rule.k * rates, 0.9 / 4, rtol=1e-6)
    with pytest.raises(ValueError, match=r"^fanout=\(2, 3\): has 6 leaves, and agents=4"):
        train(Small(), agents=4, algorithm=training.algorithm("tree", fanout=(2, 3)))


@pytest.mark.parametrize("name", ["runs", "agents", "batch", "epochs"])
def test_what_does_not_fit_is_said_before_it_starts(name):
    with pytest.raises(MemoryError, match=r"^runs=.*, agents=.*: need about .* GiB are free: .*would"):
        train(Small(), agents=2, memory=1000, **({} if name != "runs" else {"runs": 1 << 19}))
