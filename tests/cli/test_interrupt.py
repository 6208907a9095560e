"""Ctrl-C, really sent, at any moment of a command: it ends within seconds with status 130, and leaves no rubbish."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time

import pytest

SCRIPT = "import sys; from sdesim.__main__ import command; sys.exit(command())"  # as the installed one
COMMANDS = {
    "figure": ["figure", "bs-fig1", "--preset", "smoke", "--out", "out"],
    "train": [
        "train",
        "--data",
        "synthetic",
        "--images",
        "120",
        "--batch",
        "12",
        "--epochs",
        "4",
        "--agents",
        "2",
        "--out",
        "out",
    ],
    "bench": ["bench", "--quick", "--workloads", "w2", "--variants", "naive", "sdesim", "--out", "out"],
}


def start(folder, name):
    environment = {**os.environ, "JAX_ENABLE_X64": "0", "SDESIM_CACHE": str(folder / "cache")}
    environment["PYTHONPATH"] = os.pathsep.join(p for p in sys.path if p)
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *COMMANDS[name]],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env=environment,
        start_new_session=True,
    )


def rubbish(folder):
    """What is half written: every file that is written whole has its own name, and what is temporary a hidden one."""
    known = {".lock"}
    return [p for p in folder.rglob(".*") if p.name not in known]


def living(session):
    """Processes of a session, by the system's table."""
    listed = subprocess.run(["ps", "-o", "pid=,stat=", "-s", str(session)], capture_output=True, text=True).stdout
    return [line for line in listed.splitlines() if "Z" not in line]


def interrupted(folder, name, after):
    """Send Ctrl-C after some seconds: whether it came before the end, and how long the process then took."""
    process = start(folder, name)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(after)
    sent = time.monotonic()
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=60)
    took = time.monotonic() - sent
    left = f"rubbish {rubbish(folder)}, living {living(process.pid)}"
    told = f"{left}; {name} after {after:.2f} s: status {process.returncode}, {took:.2f} s\n{errors[-2000:]}"
    assert "Traceback" not in errors, told
    done = process.returncode == 0 and ("wrote" in out or "counted:" in out)
    assert done or process.returncode == 130, told
    assert done or took < 2, told
    assert done or "interrupted" in errors.splitlines()[-1], told
    assert not rubbish(folder), told
    assert not living(process.pid), told
    return not done, took


@pytest.mark.parametrize(("name", "after"), [("figure", 0.5), ("figure", 4.0), ("train", 6.0), ("bench", 5.0)])
def test_ctrl_c_at_some_moments(name, after, tmp_path):
    interrupted(tmp_path, name, after)


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_ctrl_c_at_random_moments(name, tmp_path):
    """Of 25 that came before the end; one that comes later says how long the command takes."""
    moments = random.Random(0)
    longest, heard, tries = 60.0, 0, 0
    while heard < 25:
        assert tries < 60
        folder = tmp_path / str(tries)
        folder.mkdir()
        began = time.monotonic()
        if interrupted(folder, name, moments.uniform(0.1, longest))[0]:
            heard += 1
        else:
            longest = min(longest, time.monotonic() - began)
        tries += 1
