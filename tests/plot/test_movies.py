"""Moving pictures: how many frames, what they show, and what is said where they cannot be made."""

import itertools
import shutil

import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot
from PIL import Image

import sdesim
from sdesim import noise, observe, plot
from sdesim.plot import movies

pytestmark = pytest.mark.filterwarnings("ignore:data. at step.*agents are beyond")  # its own test asks for it


@pytest.fixture(autouse=True)
def closed():
    before = pyplot.get_fignums()
    yield
    assert pyplot.get_fignums() == before  # none is left open


def run(dims, watch, momentum=None):
    model = sdesim.Dynamics(
        sdesim.objectives.QuarticDoubleWell(), sdesim.Quorum(1.0), noise.Gaussian(2.0), eta=0.05, momentum=momentum
    )
    return sdesim.simulate(
        model, agents=5, sims=3, steps=20, dims=dims, init=sdesim.init.Normal(), observe=watch, every=2
    )


FAST = dict(frames=6, seconds=3.0, dpi=40)
RUNS = {
    "agents": run(1, observe.Snapshot()),
    "agents in a plane": run(2, observe.Snapshot()),
    "density": run(1, observe.Density(-2.0, 2.0, 20)),
    "phase": run(1, [observe.Snapshot(), observe.Velocity()], sdesim.HeavyBall(0.5)),
}


@pytest.mark.parametrize("name", RUNS)
def test_a_gif_has_the_frames_that_were_asked_for(name, tmp_path):
    plot.animate(RUNS[name], tmp_path / "run.gif", kind=name.split()[0], **FAST)
    with Image.open(tmp_path / "run.gif") as picture:
        assert picture.n_frames == 6 and picture.info["duration"] == 500
        assert picture.size == (208, 144)
        frames = []
        for i in range(6):
            picture.seek(i)
            frames.append(np.asarray(picture.convert("L"), int))
    assert all((a != b).any() for a, b in itertools.pairwise(frames))


def drawn(name, kind):
    """What is drawn of the first and the last record."""
    result = RUNS[name]
    times, draw, axes = movies._scene(result, result.to_xarray(), kind, None, 0, (0, 1))
    try:
        for i in (0, len(times) - 1):
            draw(i)
            yield i, [line.get_xydata() for line in axes.lines[-2:]], axes
    finally:
        pyplot.close(axes.figure)


def test_frames_show_the_records():
    x = np.asarray(RUNS["agents"].observed["snapshot"])[..., 0]
    for i, (gray, red), _ in drawn("agents", "agents"):
        np.testing.assert_allclose(gray[:, 0], x[:, i].ravel())
        np.testing.assert_allclose(gray[:, 1], (1 - x[:, i].ravel() ** 2) ** 2 / 4, rtol=1e-6)
        np.testing.assert_allclose(red[:, 0], x[:, i].mean(axis=1))
    plane = np.asarray(RUNS["agents in a plane"].observed["snapshot"])
    for i, (gray, red), _ in drawn("agents in a plane", "agents"):
        np.testing.assert_allclose(gray, plane[:, i].reshape(-1, 2))
        np.testing.assert_allclose(red, plane[:, i].mean(axis=1))


def test_a_phase_plane_is_of_positions_and_velocities():
    x, v = (np.asarray(RUNS["phase"].observed[name])[..., 0] for name in ("snapshot", "velocity"))
    for i, (gray, red), _ in drawn("phase", "phase"):
        np.testing.assert_allclose(gray, np.stack([x[:, i].ravel(), v[:, i].ravel()], axis=1))
        np.testing.assert_allclose(red[:, 1], v[:, i].mean(axis=1))


def test_a_density_moves():
    counts = np.asarray(RUNS["density"].observed["density"]).sum(axis=0)
    for i, _, axes in drawn("density", "density"):
        (stairs,) = axes.patches
        np.testing.assert_allclose(stairs.get_data().values, counts[i, 1:-1] / 15 / 0.2)


def test_without_ffmpeg_it_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        FileNotFoundError, match=r"run\.mp4': an \.mp4 needs the program ffmpeg, which is not installed"
    ):
        plot.animate(RUNS["agents"], tmp_path / "run.mp4")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
def test_an_mp4(tmp_path):
    plot.animate(RUNS["agents"], tmp_path / "run.mp4", **FAST)
    assert (tmp_path / "run.mp4").read_bytes()[4:8] == b"ftyp"


def test_frames_are_handed_to_ffmpeg(tmp_path, monkeypatch):
    """Of a stand-in for ffmpeg: all frames come, of an even size, and the file is where it belongs."""
    fake = tmp_path / "bin" / "ffmpeg"
    fake.parent.mkdir()
    fake.write_text('#!/bin/sh\nfor last; do :; done\ncat | wc -c > "$last"\n')
    fake.chmod(0o755)
    monkeypatch.setitem(matplotlib.rcParams, "animation.ffmpeg_path", str(fake))
    plot.animate(RUNS["agents"], tmp_path / "run.mp4", **FAST)
    assert int((tmp_path / "run.mp4").read_text()) == 6 * 208 * 144 * 4


def test_what_cannot_be_shown_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"must end in \.gif or \.mp4"):
        plot.animate(RUNS["agents"], tmp_path / "run.avi")
    with pytest.raises(ValueError, match=r"must have recorded observe\.Snapshot\(\)"):
        plot.animate(RUNS["density"], tmp_path / "run.gif")
    with pytest.raises(ValueError, match=r"must have recorded observe\.Velocity\(\)"):
        plot.animate(RUNS["agents"], tmp_path / "run.gif", kind="phase")
    with pytest.raises(ValueError, match="kind='phases'"):
        plot.animate(RUNS["agents"], tmp_path / "run.gif", kind="phases")
    with pytest.raises(FileNotFoundError):
        plot.animate(RUNS["agents"], tmp_path / "none" / "run.gif", **FAST)
    assert not list(tmp_path.iterdir())
