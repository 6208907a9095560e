"""Who computes a sweep: processes, clusters of dask.distributed, jobs of SLURM. Real ones; the numbers of memory."""

import contextlib
import itertools
import json
import os
import random
import re
import signal
import stat
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from subprocess import DEVNULL, PIPE

import dask
import distributed
import jax
import jax.numpy as jnp
import numpy as np
import psutil
import pytest
from places import ROOT

import sdesim
from sdesim.engine.path import EngineWarning
from sdesim.ensembles import cluster
from sdesim.ensembles.cluster import work_on_cluster
from sdesim.ensembles.durable import Durable, SweepError
from sdesim.ensembles.engines import engine_of
from sdesim.ensembles.grids import asked_of
from sdesim.ensembles.processes import work_in_processes
from sdesim.ensembles.simulations import Simulations
from sdesim.results.stores.folder import Store
from sdesim.threads import settings

pytestmark = pytest.mark.usefixtures("float32")


with jax.enable_x64(False):
    INIT = sdesim.init.Uniform(-1, 1)
GRID = {"coupling.k": [0.0, 1.0, 2.0]}
RUN = dict(agents=4, sims=40, steps=20, init=INIT, seed=5)
TASKS = 12  # of at most 13 simulations


FILE = f"""
import sdesim, jax.numpy as jnp
loss = lambda x: jnp.sum(0.25 * x**4 - 0.5 * x**2)
model = sdesim.Dynamics(loss, sdesim.Quorum(1.0), sdesim.noise.Uniform(1.0), eta=0.05)
init = sdesim.init.Uniform(-1, 1)
SWEEP = dict(model=model, grid={GRID}, agents=4, sims=40, steps=20, init=init, seed=5, lanes=13)
"""


def quartic(x):
    return jnp.sum(0.25 * x**4 - 0.5 * x**2)


def model(fn=quartic):
    return sdesim.Dynamics(fn, coupling=sdesim.Quorum(1.0), noise=sdesim.noise.Uniform(1.0), eta=0.05)


def same(data):
    whole = sdesim.sweep(model(), GRID, exact=True, **RUN)
    for name in ("agents", "quorum", "quorum_loss", "spread", "diverged"):
        np.testing.assert_array_equal(data[name].values, whole[name].values, err_msg=name)


class Killer(threading.Thread):
    """Ends workers of this process, one at a time, at random moments: while they import, compile, compute or write."""

    def __init__(self, kills):
        super().__init__(daemon=True)
        self.left, self.chance, self.over = kills, random.Random(0), threading.Event()

    def __enter__(self):
        self.start()

    def __exit__(self, *_):  # also where the test has failed: no worker of another one is ended
        self.over.set()
        self.join()

    def run(self):
        while self.left and not self.over.wait(self.chance.uniform(0, 3)):
            children = psutil.Process().children(recursive=True)
            workers = [
                p for p in children if p.status() != psutil.STATUS_ZOMBIE and "resource_tracker" not in str(p.cmdline())
            ]
            if workers:
                self.chance.choice(workers).kill()
                self.left -= 1


@pytest.mark.parametrize("engine", [work_in_processes, work_on_cluster])
def test_ten_kills_of_workers_lose_nothing(tmp_path, engine):
    """Two workers are handed a function that no import finds, sweep after sweep until all kills are spent. A call that
    gives up is made again; what is done is not computed again, and the numbers are those of memory.
    """

    def handed(x):
        return jnp.sum(0.25 * x**4 - 0.5 * x**2)

    sweep, killer = Simulations(asked_of(model(handed), GRID, **RUN)), Killer(10)
    said = pytest.warns(EngineWarning, match="was killed") if engine is work_in_processes else contextlib.nullcontext()
    with said, killer:
        for i in itertools.count():
            made = Durable.of(sweep, tmp_path / f"store-{i}", lanes=2)
            made.plan()
            seen, inodes = [], {}

            def look(done, made=made, seen=seen, inodes=inodes):
                seen.append(done)
                for number in made.store.done():
                    with contextlib.suppress(FileNotFoundError):  # packed
                        inode = os.stat(made.store.task_path(number)).st_ino
                        assert inodes.setdefault(number, inode) == inode

            while len(made.store.done()) < made.store.rounds().tasks:
                with contextlib.suppress(SweepError):
                    engine(made, look, workers=2)
            assert inodes and not made.store.failures()
            assert engine is work_on_cluster or seen[-1] == made.store.done()
            same(made.data())
            if not killer.left:
                break


def test_a_cluster_whose_workers_are_all_gone_has_ended():
    """One that is not back within dask's time is given up by dask, and nobody would ever compute."""
    with (
        dask.config.set({"distributed.deploy.lost-worker-timeout": "100ms"}),
        cluster._client("local", 1, "127.0.0.1", False) as client,
    ):
        assert not cluster._has_ended(client.cluster)
        (worker,) = (p for p in psutil.Process().children() if "spawn_main" in str(p.cmdline()))
        worker.kill()
        until = time.monotonic() + 60
        while not cluster._has_ended(client.cluster):
            assert time.monotonic() < until
            time.sleep(0.05)


def test_a_cluster_that_is_there(tmp_path):
    """By its address. Its worker is of this process, whose own settings and places stay what they are."""
    places = lambda: [p for p in sys.path if "dask-" not in p]  # dask has folders of its own there
    now = lambda: (places(), *ThreadPoolExecutor(1).map(lambda _: settings(), [0]))
    before = now()
    assert before[1] != settings()  # those of this thread alone are handed on
    with distributed.LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None) as there:
        data = sdesim.sweep(model(), GRID, store=tmp_path / "store", lanes=13, scheduler=there.scheduler_address, **RUN)
        assert now() == before
        handmade = lambda x: jnp.sum(x**2)
        handmade.__module__ = "__main__"  # as in a notebook
        with pytest.raises(TypeError, match=r"between processes of one user; .* is of a notebook or script"):
            sdesim.sweep(model(handmade), GRID, store=tmp_path / "own", scheduler=there.scheduler_address, **RUN)
    same(data)


@pytest.mark.slow
def test_a_killed_scheduler(tmp_path, users_environment):
    """kill -9 in the midst of it: the call ends and says so, and the same one with another scheduler goes on."""
    (tmp_path / "phase.py").write_text(FILE.replace("steps=20", "steps=20000"))
    path = tmp_path / "store"
    done = lambda: Store(path).done() if (path / "manifest.json").exists() else set()
    said = lambda: {n: (os.stat(p := Store(path).task_path(n)).st_ino, os.stat(p).st_mtime_ns) for n in done()}
    start = lambda *arguments, stderr=DEVNULL: subprocess.Popen(
        [sys.executable, "-m", *map(str, arguments)], env=users_environment, cwd=tmp_path, text=True, stderr=stderr
    )
    before = {}
    for killed in (True, False):
        at = tmp_path / f"scheduler{killed}.json"
        with contextlib.ExitStack() as stack:

            def ended(process):
                process.kill()
                process.wait()

            options = ("--scheduler-file", at, "--no-dashboard")
            scheduler = start("distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0", *options)
            stack.callback(ended, scheduler)
            for _ in range(2):
                worker = start("distributed.cli.dask_worker", "--no-nanny", "--nthreads", "1", *options)
                stack.callback(ended, worker)
            while not at.exists():
                time.sleep(0.1)
            address = json.loads(at.read_text())["address"]
            driver = start("sdesim", "sweep", "phase.py", "--store", "store", "--scheduler", address, stderr=PIPE)
            stack.callback(ended, driver)
            if killed:
                while len(done()) < 2:
                    assert driver.poll() is None, driver.stderr.read()
                    time.sleep(0.02)
                scheduler.kill()
                assert driver.wait(400) == 1
                assert len(done()) < TASKS
            else:
                assert driver.wait(400) == 0, driver.stderr.read()
        assert said() | before == said()  # what was done is not done again
        before = said()
    assert len(done()) == TASKS
    whole = sdesim.sweep(model(), GRID, exact=True, **{**RUN, "steps": 20000})
    np.testing.assert_array_equal(sdesim.open(path)["agents"], whole["agents"])
    assert (sdesim.open(path)["done"] == RUN["sims"]).all()


def test_a_cluster_without_workers_is_waited_for_and_said(tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "PATIENCE", 0.0)
    with distributed.LocalCluster(n_workers=0, threads_per_worker=1, processes=False, dashboard_address=None) as there:
        threading.Timer(2.0, there.scale, [1]).start()
        with pytest.warns(EngineWarning, match="has no worker; the sweep goes on when one comes"):
            data = sdesim.sweep(model(), GRID, store=tmp_path / "store", scheduler=there.scheduler_address, **RUN)
    same(data)


def test_workers_of_several_threads_are_refused(tmp_path):
    with (
        distributed.LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None) as there,
        pytest.raises(ValueError, match="has 2 threads; start workers with --nthreads 1"),
    ):
        sdesim.sweep(model(), GRID, store=tmp_path / "store", scheduler=there.scheduler_address, **RUN)


@pytest.mark.parametrize(
    ("listen", "warns"), [("127.0.0.1", False), pytest.param("0.0.0.0", True, marks=pytest.mark.slow)]
)
def test_a_cluster_listens_to_this_machine_alone_unless_told_otherwise(listen, warns):
    """What the system says of the ports that are open."""
    said = pytest.warns(cluster.ClusterWarning, match="can run programs as you") if warns else contextlib.nullcontext()
    with said, cluster._client("local", 1, listen, False) as client:
        addresses = [client.scheduler.address, *client.scheduler_info()["workers"]]
        ports = {int(address.rpartition(":")[2]) for address in addresses}
        assert len(ports) == 2
        found = listening(ports)
    everyone = {"00000000", "0" * 32}
    assert bool(found & everyone) == warns
    assert warns or found == {"0100007F"}


def listening(ports) -> set[str]:
    """The addresses on which this machine listens at some ports, as Linux writes them."""
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(FileNotFoundError), open(table) as lines:
            for line in list(lines)[1:]:
                _, local, _, state, *_ = line.split()
                address, port = local.split(":")
                if state == "0A" and int(port, 16) in ports:
                    found.add(address)
    return found


def test_what_cannot_be_handed_on_is_said(tmp_path):
    import threading

    lock = threading.Lock()

    def locked(x):
        with lock:
            return jnp.sum(x**2)

    with pytest.raises(TypeError, match=r"functions reach other processes by import.*put it into a file"):
        sdesim.sweep(model(locked), GRID, store=tmp_path / "store", workers=1, **RUN)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (dict(workers=0), ValueError, "workers=0: must be"),
        (dict(scheduler=3), TypeError, "scheduler=3: must be an address"),
        (dict(listen="0.0.0.0"), ValueError, "or scheduler 'local'"),
        (dict(scheduler="tcp://x:1", workers=2), ValueError, "has its own"),
    ],
)
def test_engines_that_there_are_not(arguments, error, message):
    with pytest.raises(error, match=message):
        engine_of(**arguments)
    with pytest.raises(ValueError, match="must have a store"):
        sdesim.sweep(model(), GRID, scheduler="local", **RUN)


# -- SLURM, of which there is none here: a stand-in starts the jobs on this machine ------------------------------------

SBATCH = """#!{python}
import os, re, subprocess, sys
script = next((a for a in sys.argv[1:] if not a.startswith("-")), None)
said = dict(a[2:].split("=", 1) for a in sys.argv[1:] if a.startswith("--") and "=" in a)
command = said.get("wrap") or open(script).read()
first, last = (int(n) for n in said.get("array", "1-1").split("-"))
for i in range(first, last + 1):
    environment = {{**os.environ, "SLURM_ARRAY_TASK_ID": str(i)}}
    with open("slurm.out", "a") as out:
        job = subprocess.Popen(["bash", "-c", command], env=environment, start_new_session=True, stdout=out, stderr=out)
    with open(os.environ["JOBS"], "a") as jobs:
        print(job.pid, file=jobs)
print("Submitted batch job", job.pid)
"""


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """A folder with sbatch and scancel on the path; its jobs are ended."""
    (tmp_path / "bin").mkdir()
    cancel = f"#!{sys.executable}\nimport os, sys\nfor job in sys.argv[1:]:\n    os.killpg(int(job), 9)\n"
    for name, text in (("sbatch", SBATCH.format(python=sys.executable)), ("scancel", cancel)):
        path = tmp_path / "bin" / name
        path.write_text(text)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.path.dirname(sys.executable)}:{os.environ['PATH']}")
    monkeypatch.setenv("JOBS", str(tmp_path / "jobs"))
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for job in (tmp_path / "jobs").read_text().split():
        with contextlib.suppress(ProcessLookupError):
            os.killpg(int(job), signal.SIGKILL)


PAGE = (ROOT / "docs" / "clusters.md").read_text()


@pytest.mark.slow
def test_the_array_of_jobs_of_the_page(slurm):
    """Its commands, with two jobs in place of sixteen."""
    (slurm / "phase.py").write_text(FILE)
    (command,) = re.findall(r"^sbatch .*$", PAGE, re.MULTILINE)
    (slurm / "runs").mkdir()
    subprocess.run(command.replace("1-16", "1-2").replace("python -m", f"{sys.executable} -m"), shell=True, check=True)
    for job in map(int, (slurm / "jobs").read_text().split()):
        subprocess.run(["tail", f"--pid={job}", "-f", "/dev/null"], check=True, timeout=100)
    same(sdesim.open("runs/phase"))


@pytest.mark.slow
def test_workers_that_dask_submits(slurm, monkeypatch):
    """The page's own lines, with two jobs in place of sixteen."""
    (lines,) = re.findall(r"```text\n(from dask_jobqueue.*?)```", PAGE, re.DOTALL)
    lines = lines.replace("jobs=16", "jobs=2")
    names = dict(sdesim=sdesim, model=model(), grid=GRID, run={**RUN, "store": slurm / "store", "lanes": 13})
    exec(lines, names)
    names["cluster"].close()
    same(names["data"])
