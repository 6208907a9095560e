"""The GPU kernel as machine code: compiled for an NVIDIA H100 that is described and need not be there.

Needs the extra `machine-code` (compilers of 230 MB, no driver), and minutes: JAX_PLATFORMS=cpu pytest -m machine_code.
"""

import collections
import importlib.util
import itertools
import pathlib
import re
import shutil
import subprocess

import jax
import jax.numpy as jnp
import pytest
from jax.experimental import topologies
from test_gpu import CASES, plan_of

from sdesim import asynchrony
from sdesim.asynchrony import Asynchronous
from sdesim.bench.gpu import INSTRUCTIONS
from sdesim.bench.peers import sdesim_model
from sdesim.bench.workloads import WORKLOADS
from sdesim.coupling import Elastic, Quorum, Uncoupled
from sdesim.dynamics import Dynamics, Nesterov
from sdesim.engine import gpu, path
from sdesim.engine.gpu.layout import WARP, shape_of
from sdesim.engine.loop import advance_lanes
from sdesim.engine.plan import Plan
from sdesim.noise import Gaussian
from sdesim.objectives import CoupledDoubleWells, OscillatingDoubleWell
from sdesim.random import seed_words
from sdesim.steppers import Delayed, EulerMaruyama, Iteration

H100 = """
gpu_device_info {
  name: "NVIDIA H100 80GB HBM3"  device_vendor: "NVIDIA Corporation"  platform_version: "Compute Capability 9.0a"
  cuda_compute_capability { major: 9 feature_extension: ACCELERATED_FEATURES }
  core_count: 132  fpus_per_core: 128  threads_per_warp: 32  threads_per_core_limit: 2048  threads_per_block_limit: 1024
  thread_dim_limit_x: 1024  thread_dim_limit_y: 1024  thread_dim_limit_z: 64
  block_dim_limit_x: 2147483647  block_dim_limit_y: 65535  block_dim_limit_z: 65535
  registers_per_core_limit: 65536  registers_per_block_limit: 65536
  shared_memory_per_core: 233472  shared_memory_per_block: 49152  shared_memory_per_block_optin: 232448
  device_memory_size: 84942979072  memory_bandwidth: 3352320000000  l2_cache_size: 52428800  clock_rate_ghz: 1.98
  device_address_bits: 64  ecc_enabled: true
  driver_version: "13.0.0"  runtime_version: "12.8.0"  compile_time_toolkit_version: "12.8.0"  dnn_version: "9.10.0"
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 10 }
device_description_str: "NVIDIA H100 80GB HBM3"
"""
LANES = 40_000
ANOTHER = itertools.count(LANES, 4)  # numbers of lanes that make a program new, or its code would come from a cache


def tool(name):
    """A program of an installed toolkit, which XLA takes first, or of NVIDIA's packages, which share a folder."""
    spec = importlib.util.find_spec("nvidia")
    packages = [] if spec is None else map(pathlib.Path, spec.submodule_search_locations or ())
    found = [str(path) for package in packages for path in package.glob(f"*/bin/{name}")]
    return next(filter(None, map(shutil.which, (name, *found, f"/usr/local/cuda/bin/{name}"))), None)


INSTALLED = importlib.util.find_spec("jax_cuda12_plugin") and tool("ptxas") and tool("nvdisasm")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.machine_code,
    pytest.mark.usefixtures("float32"),
    pytest.mark.skipif(not INSTALLED, reason="needs sdesim[machine-code]"),
    pytest.mark.skipif(jax.config.jax_platforms != "cpu", reason="needs JAX_PLATFORMS=cpu"),  # else it wants a driver
]


@pytest.fixture(scope="module")
def h100():
    topology = topologies.get_topology_desc(platform="cuda", target_config=H100, topology="1x1x1")
    return jax.sharding.SingleDeviceSharding(topology.devices[0])


@pytest.fixture
def assembled(h100, tmp_path, monkeypatch):
    """assembled(model, plan, backend, generator): what the assembler says of the kernel, and its instructions, as
    (address, name, operands)."""
    monkeypatch.setenv("MOSAIC_GPU_DUMP_PTX", "1")
    monkeypatch.setenv("MOSAIC_GPU_DUMP_TO", str(tmp_path))

    def compile(model, plan, backend, generator="threefry20"):
        axes = jax.tree.map(lambda _: None, model)
        options = {"xla_dump_to": str(tmp_path), "xla_gpu_dump_llvmir": True, "xla_dump_emitter_re": "ptx"}
        lowered = gpu._lowered(*plan, model, axes, backend, next(ANOTHER), h100, generator)
        lowered.compile(compiler_options=options)
        entry = r"\.entry \w*mosaic" if backend == "mosaic" else r"\.entry kernel\("
        (ptx,) = [path for path in tmp_path.glob("*.ptx") if re.search(entry, path.read_text())]
        cubin = ptx.with_suffix(".cubin")
        said = run(tool("ptxas"), "-v", "-arch=sm_90a", "-O3", "-o", cubin, ptx).stderr
        return said, instructions(run(tool("nvdisasm"), "-c", cubin).stdout)

    return compile


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done


def instructions(listing):
    """(address, name, operands), with the addresses that branches go to."""
    found, labels, waiting = [], {}, []
    for line in listing.splitlines():
        if label := re.match(r"(\.L_x_\d+):", line.strip()):
            waiting.append(label[1])
        elif code := re.search(r"/\*([0-9a-f]{4,})\*/\s+(?:@!?U?P\w+\s+)?([A-Z][\w.]*)(.*?);", line):
            address = int(code[1], 16)
            labels.update(dict.fromkeys(waiting, address))
            waiting = []
            found.append((address, code[2], code[3]))
    goal = lambda rest: next((labels[name] for name in re.findall(r"\.L_x_\d+", rest) if name in labels), None)
    return [(address, name, goal(rest) if name.startswith("BRA") else None) for address, name, rest in found]


def loop(code):
    """How often each instruction is in the longest loop, by the first part of its name."""
    back = [(goal, address) for address, _, goal in code if goal is not None and goal < address]
    start, end = max(back, key=lambda branch: branch[1] - branch[0])
    return collections.Counter(name.split(".")[0] for address, name, _ in code if start <= address <= end)


def agent_steps(plan, backend):
    """Of one coordinate, that a thread takes in a turn of the loop."""
    shape = shape_of(plan.agents, plan.dims, backend, LANES)
    return plan.agents * plan.dims * shape.lanes / (WARP * shape.warps)


def spills(said):
    return sum(int(n) for n in re.findall(r"(\d+) bytes spill", said))


@pytest.mark.parametrize("backend", ["mosaic", "triton"])
@pytest.mark.parametrize("name", CASES)
def test_every_case_becomes_machine_code(name, backend, assembled):
    make, (agents, dims), how, _ = CASES[name]
    if dims > gpu.MAX_DIMS[backend]:
        pytest.skip("coordinates lie along the block, which Mosaic's have no axis for")
    plan, plain = plan_of(agents, dims, how.get("method", "em"), how.get("order", "jacobi"), how.get("dt"))
    plan = (plan, how["stepper"]() if "stepper" in how else plain)
    said, code = assembled(make(), plan, backend, how.get("random", "threefry20"))
    assert "error" not in said and len(code) > 100
    assert backend == "triton" or spills(said) == 0


@pytest.mark.parametrize(
    "agents, dims, momentum", [(768, 2, 0), (640, 2, 0), (512, 2, 0), (1024, 1, 0.9), (128, 8, 0.9)]
)
def test_all_that_mosaic_takes_stays_in_registers(agents, dims, momentum, assembled):
    """48 numbers of the state a thread, and fewer; with velocities 64."""
    loss = CoupledDoubleWells() if dims > 1 else OscillatingDoubleWell()
    model = Dynamics(loss, Quorum(1.0), Gaussian(1.0), momentum=Nesterov(momentum) if momentum else None)
    plan = plan_of(agents, dims)
    assert gpu.refusal(*plan, model, None, (), False, jnp.float32, "mosaic") is None
    said, _ = assembled(model, plan, "mosaic")
    assert spills(said) == 0


# A multiprocessor issues 128 instructions a clock, one a lane, and its pipe for integers, comparisons and shifts 64.
INTEGER = frozenset(
    ("I2FP", "IADD", "IADD3", "IMNMX", "ISETP", "FMNMX", "FSEL", "FSETP", "LEA", "LOP3", "PLOP3", "PRMT", "SEL", "SHF")
)


@pytest.mark.parametrize(
    "backend, workload, generator, all_of_them, integer, registers",
    [
        ("mosaic", "w1-uniform", "threefry20", 87, 42, {89}),
        ("mosaic", "w1-gaussian", "threefry20", 116, 53, {89}),
        ("triton", "w1-uniform", "threefry20", 90, 43, {64}),
        ("triton", "w1-gaussian", "threefry20", 122, 54, {72, 80}),
        ("triton", "w2", "threefry20", 177, 72, {64, 86}),
        ("mosaic", "w1-uniform", "threefry13", 76, 34, {87}),
        ("mosaic", "w1-gaussian", "threefry13", 104, 41, {87}),
        ("triton", "w1-uniform", "threefry13", 78, 33, {64}),
        ("triton", "w1-gaussian", "threefry13", 110, 42, {72}),
        ("triton", "w2", "threefry13", 155, 55, {64, 86}),
    ],
)
def test_instructions_of_a_step(backend, workload, generator, all_of_them, integer, registers, assembled):
    """Those that the documentation and the ceilings of the benchmarks name, within two or 1.5 %.

    And the registers a thread, which differ between versions of JAX.
    """
    work = WORKLOADS[workload]
    model = sdesim_model(work)
    plan = plan_of(work.agents, work.dims, "sgd" if work.momentum else "em")
    said, code = assembled(model, plan, backend, generator)
    count, per = loop(code), agent_steps(plan[0], backend)
    found = sum(count.values()) / per, sum(count[name] for name in INTEGER) / per
    used = int(re.search(r"Used (\d+) registers", said)[1])
    assert spills(said) == 0
    assert abs(found[0] - all_of_them) <= max(2, 0.015 * all_of_them) and abs(found[1] - integer) <= 2, found
    assert min(abs(used - n) for n in registers) <= 2
    if generator == "threefry20" and backend == ("mosaic" if work.dims == 1 else "triton"):
        assert INSTRUCTIONS[workload] == all_of_them


@pytest.mark.parametrize(
    "stepper, expected",
    [
        (lambda: Delayed(0.01, 0.01), 124),
        (lambda: Delayed(0.024, 0.01), 131),
        (lambda: Delayed(0.05, 0.01), 141),
        (lambda: Iteration(4, late=2), 120),
    ],
    ids=["one-step", "2.4-steps", "five-steps", "late"],
)
def test_instructions_of_a_step_that_looks_back(stepper, expected, assembled):
    """Those that the documentation names: each slot of a ring is one comparison that all agents share, and a choice."""
    said, code = assembled(sdesim_model(WORKLOADS["w1-gaussian"]), (Plan(250, 1, None, None), stepper()), "mosaic")
    found = sum(loop(code).values()) / agent_steps(Plan(250, 1, None, None), "mosaic")
    assert abs(found - expected) <= 2 and spills(said) == 0, found


# -- the scan ----------------------------------------------------------------------------------------------------------

ARRIVALS = {"arrival": (jax.ShapeDtypeStruct((1000,), jnp.int32),) * 2}
WORKERS = dict(agents=16, dims=1, given=ARRIVALS)


def workers(protocol, coupling=None):
    """A model and workers in virtual time."""
    return Dynamics(OscillatingDoubleWell(), coupling or Uncoupled(), Gaussian(1.0)), Asynchronous(protocol)


def scanned(model, stepper, agents, dims, given=None, paired=False):
    """The loop over steps of all lanes as a scan: the function, and a state of one lane, the seed and what is given."""
    plan = Plan(agents, dims, None, None, True, paired=paired, lockstep=stepper.lockstep)
    state = jax.eval_shape(lambda x: stepper.init(model, x), jax.ShapeDtypeStruct((agents, dims), jnp.float32))
    axes = jax.tree.map(lambda _: None, model)

    def run(state, sims, seed, given, first, steps):
        rest = (state, sims, seed, (), (), given, 0, first, 1, steps)
        return advance_lanes(plan, stepper, model, axes, (), *rest)[0]

    return run, (state, seed_words(0), given)


@pytest.mark.parametrize(
    "make, sizes, kernels",
    [
        (lambda: (sdesim_model(WORKLOADS["w1-uniform"]), EulerMaruyama()), dict(agents=250, dims=1, paired=True), 6),
        (lambda: (sdesim_model(WORKLOADS["w1-uniform"]), EulerMaruyama()), dict(agents=2000, dims=1), 7),
        (lambda: (sdesim_model(WORKLOADS["w2"]), Iteration()), dict(agents=50, dims=200), 14),
        (lambda: (sdesim_model(WORKLOADS["w1-gaussian"]), Iteration(4, late=2)), dict(agents=250, dims=1), 7),
        (lambda: workers(asynchrony.AsyncSGD()), WORKERS, 3),
        (lambda: workers(asynchrony.Downpour(4)), WORKERS, 4),
        (lambda: workers(asynchrony.EASGD(1), Elastic(1.0)), WORKERS, 8),
    ],
    ids=["pairs", "many-agents", "many-dimensions", "late", "async-sgd", "downpour", "async-easgd"],
)
def test_kernels_of_a_scans_step(make, sizes, kernels, h100, monkeypatch):
    """What the graphics processor is told to do for one step of all lanes, in one command: few things."""
    run, (state, seed, given) = scanned(*make(), **sizes)
    lanes = 4000
    of = lambda a, *more: jax.ShapeDtypeStruct((*a.shape, *more), a.dtype, sharding=h100)
    over = lambda tree: jax.tree.map(lambda a: of(a, lanes), tree)
    number, sims = of(jnp.zeros((), jnp.int32)), of(jnp.zeros((lanes,), jnp.uint32))
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")  # for what is written otherwise on a CPU
    traced = jax.jit(run).trace(over(state), sims, jax.tree.map(of, seed), over(given), number, number)
    text = (
        traced.lower(lowering_platforms=("cuda",))
        .compile(compiler_options=path.compiler_options(False, False))
        .as_text()
    )
    programs = dict(re.findall(r"^%?([\w.\-]+) \(.*?\{\n(.*?)^\}", text, re.DOTALL | re.MULTILINE))
    bodies = [programs[name] for name in set(re.findall(r"body=%?([\w.\-]+)", text))]
    told = [re.findall(r" (fusion|copy|custom-call|reduce|scatter|gather|sort|while|call)\(", body) for body in bodies]
    (step,) = [found for found in told if "while" not in found and found]
    assert 0 < len(step) <= kernels, f"found {len(step)}"
