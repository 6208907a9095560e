"""How long a slider's picture takes, in a real kernel: from the widget's message to the picture's.

    python tests/comparison/sliders.py [--moves 100] [--write FILE.json]

250 agents, 20 simulations, 300 steps of the oscillating well, sliders over gain, noise, learning rate and momentum. A
kernel of Jupyter's is started, the widget made in it, and each move sent as a browser sends it, the next when its
picture has come. Prints percentiles of the time and of the kernel's own processor time (on a machine with other work
to do the first says how busy it is), and the load.
"""

import argparse
import json
import os
import pathlib
import time

import numpy as np
from jupyter_client.client import KernelClient
from jupyter_client.manager import KernelManager

CODE = """
import os
import jax.numpy as jnp
import sdesim
from sdesim.notebook import live

def loss(x):
    return 0.1 * (x**4 - 5 * x**2 - 0.75 * x - 6 * jnp.cos(3.6 * x) + 4 * jnp.sin(16 * x))

model = sdesim.Dynamics(
    loss, sdesim.Quorum(k=3.0), sdesim.noise.Uniform(8.0), eta=0.05, momentum=sdesim.Nesterov(0.0)
)
ranges = {"coupling.k": (0, 10), "noise.half_width": (0, 16), "eta": (0.01, 0.06), "momentum.delta": (0, 0.9)}
widget = live(model, ranges, agents=250, sims=20, steps=300, init=sdesim.init.Uniform(-3, 3))
*sliders, picture, words = widget.children
print(os.getpid(), picture.comm.comm_id, *(f"{s.comm.comm_id},{s.min},{s.max}" for s in sliders))
"""


def processor(pid: int) -> float:
    """Seconds of processor time of a process and its threads."""
    ticks = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[11:13]
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


def printed(client: KernelClient, code: str) -> str:
    """What code prints in the kernel."""
    said, request = [], client.execute(code)
    while True:
        message = client.get_iopub_msg(timeout=300)
        if message["parent_header"].get("msg_id") != request:
            continue
        if message["msg_type"] == "stream" and message["content"]["name"] == "stdout":
            said.append(message["content"]["text"])
        if message["msg_type"] == "error":
            raise RuntimeError("\n".join(message["content"]["traceback"]))
        if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
            return "".join(said)


def moved(client: KernelClient, slider: str, value: float, picture: str) -> tuple[float, bool]:
    """Seconds from the message that moves a slider to that with the picture; or, where all diverges, to its words."""
    content = {"comm_id": slider, "data": {"method": "update", "state": {"value": value}, "buffer_paths": []}}
    message = client.session.msg("comm_msg", content)
    began, due = time.perf_counter(), None
    client.shell_channel.send(message)
    while True:
        got = client.get_iopub_msg(timeout=60)
        if got["parent_header"].get("msg_id") != message["header"]["msg_id"]:
            continue
        if got["msg_type"] == "comm_msg" and got["content"]["comm_id"] == picture:
            due = time.perf_counter() - began
        if got["msg_type"] == "status" and got["content"]["execution_state"] == "idle":
            return (time.perf_counter() - began, False) if due is None else (due, True)


def main() -> None:
    parser = argparse.ArgumentParser(description="How long a slider's picture takes, in a real kernel.")
    parser.add_argument("--moves", type=int, default=100)
    parser.add_argument("--write", type=pathlib.Path)
    options = parser.parse_args()
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel()
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=120)
        pid, picture, *sliders = printed(client, CODE).split()
        ends = [(name, float(low), float(high)) for name, low, high in (s.split(",") for s in sliders)]
        shares = np.random.Generator(np.random.Philox(0)).random(options.moves)
        wall, cpu, pictures = [], [], 0
        for i, share in enumerate([0.1, 0.2, 0.3, 0.4, *shares]):  # the first of each slider are not counted
            name, low, high = ends[i % len(ends)]
            before = processor(int(pid))
            took, came = moved(client, name, low + share * (high - low), picture)
            wall.append(took)
            pictures += came and i >= len(ends)
            cpu.append(processor(int(pid)) - before)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    found = {"moves": options.moves, "pictures": pictures, "load": os.getloadavg()[0], "cores": os.cpu_count()}
    for what, values in (("milliseconds", wall[len(ends) :]), ("processor milliseconds", cpu[len(ends) :])):
        median, most = (round(1e3 * float(np.quantile(values, q)), 1) for q in (0.5, 0.95))
        found[what] = {"median": median, "95th percentile": most}
    print(json.dumps(found, indent=1))
    if options.write is not None:
        options.write.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
