"""One ensemble over the devices of a process, and over processes that speak by gloo: real ones."""

import re
import socket
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh
from places import ROOT

import sdesim
from sdesim import sharding

pytestmark = pytest.mark.usefixtures("float32")

slow = pytest.mark.slow
SCRIPT = ROOT / "tests" / "ensembles" / "over_devices.py"
with jax.enable_x64(False):
    INIT = sdesim.init.Uniform(-1, 1)


def quartic(x):
    return jnp.sum(0.25 * x**4 - 0.5 * x**2)


def model():
    return sdesim.Dynamics(quartic, sdesim.Quorum(1.0), sdesim.noise.Uniform(1.0), eta=0.05)


def compare(path, exact):
    """With a run on one device."""
    run = dict(agents=8, sims=32, steps=40, seed=3, init=INIT, observe=sdesim.observe.Spread())
    one, found = sdesim.simulate(model(), exact=True, **run), np.load(path)
    expected = dict(agents=one.agents, quorum=one.quorum, loss=one.quorum_loss, spread=one.observed["spread"])
    for name, value in expected.items():
        if exact:
            np.testing.assert_array_equal(found[name], value, err_msg=name)
        else:  # 40 steps of single precision, of a sum in another order
            np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize(
    ("devices", "agents"), [(4, 4), *(pytest.param(*p, marks=slow) for p in ((2, 1), (4, 1), (4, 2)))]
)
def test_devices_of_a_process(tmp_path, users_environment, devices, agents):
    """Simulations over the devices to the bit; agents over two or all of them to rounding, by one sum a step."""
    flags = (
        f"--xla_force_host_platform_device_count={devices} --xla_dump_to={tmp_path} --xla_dump_hlo_module_re=jit_whole"
    )
    environment = {**users_environment, "XLA_FLAGS": flags}
    subprocess.run([sys.executable, SCRIPT, tmp_path / "found.npz", str(agents)], env=environment, check=True)
    compare(tmp_path / "found.npz", exact=agents == 1)
    dumped = list(tmp_path.glob("*jit_whole*after_optimizations.txt"))
    assert len(dumped) == (agents > 1)
    for text in (path.read_text() for path in dumped):
        sums = re.findall(r"= \S+ (all-\w+|reduce-scatter|collective-\w+)(?:-start)?\(.*op_name=\"([^\"]*)\"", text)
        in_a_step = [kind for kind, name in sums if name.count("while/body") > 1]
        assert in_a_step == ["all-reduce"], sums


@pytest.mark.parametrize(
    ("processes", "agents"), [(2, 1), *(pytest.param(*p, marks=slow) for p in ((2, 2), (4, 1), (4, 2), (4, 4)))]
)
def test_processes(tmp_path, users_environment, processes, agents):
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{one.getsockname()[1]}"
    command = [sys.executable, SCRIPT, tmp_path / "found.npz", str(agents), address, str(processes)]
    started = [subprocess.Popen([*command, str(i)], env=users_environment) for i in range(processes)]
    try:
        assert [process.wait(timeout=200) for process in started] == [0] * processes
    finally:
        for process in started:
            process.kill()
    compare(tmp_path / "found.npz", exact=agents == 1)


def test_what_cannot_be_shared_out_is_said():
    mesh = sharding.mesh()
    with pytest.raises(ValueError, match="agents=2: must be an integer from 1 to 1"):
        sharding.mesh(agents=2)
    with pytest.raises(TypeError, match="mesh=3: must be one of"):
        sharding.simulate(model(), 3, agents=4, sims=4, steps=1)
    with pytest.raises(TypeError, match="with axes 'sims' and 'agents'"):
        sharding.simulate(model(), Mesh(np.asarray(jax.devices()), ("x",)), agents=4, sims=4, steps=1)
    with pytest.raises(ValueError, match="sims"):
        sharding.simulate(model(), mesh, agents=4, sims=0, steps=1)
