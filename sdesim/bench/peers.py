"""Who is measured: sdesim, and other ways to run the same iteration, each written as its users would.

A variant builds, for a workload, a function of a seed that runs it and returns its final state, finished. Imports are
inside, because each variant runs in a process of its own that should hold what it needs and no more.
"""

import dataclasses
import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np

from sdesim.bench import native
from sdesim.bench.commits import Commit
from sdesim.bench.workloads import AnyWorkload, Workload

Run = Callable[[int], Any]


@dataclasses.dataclass(frozen=True)
class Variant:
    """A way to run a workload.

    Attributes:
        name: by which it is chosen.
        title: in words.
        build: of a workload, a function of a seed that runs it.
        needs: packages.
        share: part of the workload's steps that is run, for the slow ones; rates stay comparable.
        gaussian: it knows Gaussian noise alone, and runs workloads of other noise with Gaussian noise of their
            variance.
        cores: how many it may use, or None for all there are.
        only: the one workload it is for; None for all.
        quick: the share under --quick; None if it starts too slowly for that.
        commit: of sdesim, where it is not the one that runs.
    """

    name: str
    title: str
    build: Callable[[Any], Run]
    needs: tuple[str, ...] = ()
    share: float = 1.0
    gaussian: bool = False
    cores: int | None = 1
    only: str | None = None  # the one workload it is for
    quick: float | None = 1.0  # the share under --quick; None if it starts too slowly for that
    commit: Commit | None = None

    @property
    def key(self) -> str:
        """What tells it from all others that are measured."""
        return self.name if self.commit is None else f"{self.name} at {self.commit.name}"

    def installed(self) -> bool:
        """Whether all that it needs is here."""
        if self.name == "cpp":
            return native.compiler() is not None
        return all(importlib.util.find_spec(name) is not None for name in self.needs)

    def fits(self, workload: AnyWorkload) -> bool:
        """Whether it can be compared on a workload.

        Args:
            workload: any.
        """
        if not isinstance(workload, Workload):
            return True
        # Peers with Gaussian noise are compared where noise is Gaussian, or where no workload has it (W2).
        alike = not self.gaussian or workload.noise == "gaussian" or workload.dims > 1
        return alike and self.only in (None, workload.name)

    def part(self, workload: AnyWorkload) -> AnyWorkload:
        """The workload as this variant runs it.

        Args:
            workload: that it fits.

        Returns:
            The workload, with its share of the steps.
        """
        return dataclasses.replace(workload, steps=max(1, round(self.share * workload.steps)))


# -- the losses --------------------------------------------------------------------------------------------------------


def user_loss(x: Any) -> Any:
    """What a user writes in a notebook.

    Args:
        x: a number.

    Returns:
        The loss there.
    """
    import jax.numpy as jnp

    return 0.1 * (x**4 - 5.0 * x**2 - 0.75 * x - 6.0 * jnp.cos(3.6 * x) + 4.0 * jnp.sin(16.0 * x))


def slope(x: Any, np: Any = np) -> Any:
    """The derivative of the oscillating double well, by hand.

    Args:
        x: of any shape.
        np: numpy or a namespace like it.

    Returns:
        Of the shape of x.
    """
    return 0.4 * x * x * x - x - 0.075 + 2.16 * np.sin(3.6 * x) + 6.4 * np.cos(16.0 * x)


def wells_gradient(y: Any, np: Any = np) -> Any:
    """The gradient of the coupled double wells, by hand.

    Args:
        y: points, (..., dims).
        np: numpy or a namespace like it.

    Returns:
        (..., dims).
    """
    cosine = np.cos(4.4 * y)
    waves = np.sin(4.4 * y) * (cosine.sum(-1)[..., None] - cosine)
    return 0.15 * (4.0 * y * y * y - 8.0 * y + 0.4 + 6.0 * 4.4 / (y.shape[-1] - 1) * waves)


def sdesim_model(workload: Workload, by_hand: bool = False) -> Any:
    """The workload as a `sdesim.Dynamics`.

    Args:
        workload: any that simulates.
        by_hand: whether a user's loss has its gradient by hand.

    Returns:
        The model.
    """
    import jax.numpy as jnp

    import sdesim

    class ByHand(sdesim.objectives.Function):
        def gradient(self, x: Any):
            return slope(x, jnp)

    w = workload
    if w.dims > 1:
        objective = sdesim.objectives.CoupledDoubleWells()
    elif w.user_loss:
        objective = ByHand(user_loss) if by_hand else user_loss
    else:
        objective = sdesim.objectives.OscillatingDoubleWell()
    law = sdesim.noise.Gaussian(w.sigma) if w.noise == "gaussian" else sdesim.noise.Uniform(w.half_width)
    momentum = sdesim.Nesterov(w.momentum) if w.momentum else None
    return sdesim.Dynamics(objective, sdesim.Quorum(w.k), law, w.eta, momentum)


# -- the variants ------------------------------------------------------------------------------------------------------


def _sdesim(workload: Workload, by_hand: bool = False, generator: Any = None) -> Run:
    import sdesim

    model, w = sdesim_model(workload, by_hand), workload
    return lambda seed: sdesim.simulate(
        model, agents=w.agents, sims=w.sims, dims=w.dims, steps=w.steps, seed=seed, random=generator, init=w.start
    )


def _naive(workload: Workload) -> Run:
    """jax.random, lax.scan and vmap over the simulations, with automatic gradients."""
    import jax
    import jax.numpy as jnp

    import sdesim

    w = workload
    loss = sdesim.objectives.CoupledDoubleWells().loss if w.dims > 1 else lambda x: user_loss(x[0])
    gradients = jax.vmap(jax.grad(loss))

    def noise(key: Any):
        if w.noise == "gaussian":
            return w.sigma * jax.random.normal(key, (w.agents, w.dims))
        return jax.random.uniform(key, (w.agents, w.dims), minval=-w.half_width, maxval=w.half_width)

    def one(key: Any):
        x0 = jnp.full((w.agents, w.dims), w.start)

        def step(carry: Any, key: Any):
            x, v = carry
            pull = w.eta * w.k * (x.mean(0) - x)
            v = w.momentum * v + w.eta * (noise(key) - gradients(x + w.momentum * v))
            return (x + v + pull, v), None

        def first_order(x: Any, key: Any):
            return x + w.eta * (w.k * (x.mean(0) - x) - gradients(x) + noise(key)), None

        keys = jax.random.split(key, w.steps)
        if w.momentum:
            return jax.lax.scan(step, (x0, jnp.zeros_like(x0)), keys)[0][0]
        return jax.lax.scan(first_order, x0, keys)[0]

    program = jax.jit(lambda key: jax.vmap(one)(jax.random.split(key, w.sims)))
    return lambda seed: program(jax.random.key(seed)).block_until_ready()


def _diffrax(workload: Workload, tree: bool) -> Run:
    """diffrax's Euler on the SDE, vmapped over the simulations."""
    import diffrax
    import jax
    import jax.numpy as jnp
    import lineax as lx

    import sdesim

    w = workload
    model = sdesim_model(w)
    h = model.matched_step().item()  # the step at which the SDE is the iteration
    end = h * w.steps
    shape = (w.agents, w.dims)
    gradients = jax.vmap(jax.grad(model.objective.loss))

    def drift(t: Any, x: Any, args: Any):
        return w.k * (x.mean(0) - x) - gradients(x)

    def diffusion(t: Any, x: Any, args: Any):
        return lx.DiagonalLinearOperator(jnp.full(shape, h**0.5 * w.sigma))

    def one(key: Any):
        x = jnp.full(shape, w.start)
        if tree:
            path = diffrax.VirtualBrownianTree(0.0, end + h, tol=h / 2, shape=shape, key=key)
        else:
            path = diffrax.UnsafeBrownianPath(shape=shape, key=key)
        if w.momentum:
            terms, y = sdesim.diffrax_terms(model, x, path), sdesim.diffrax_state(model, x)
        else:
            terms, y = diffrax.MultiTerm(diffrax.ODETerm(drift), diffrax.ControlTerm(diffusion, path)), x
        solution = diffrax.diffeqsolve(
            terms, diffrax.Euler(), 0.0, end, h, y, max_steps=2 * w.steps + 10, adjoint=diffrax.ForwardMode()
        )
        ys: Any = solution.ys
        return (ys.x if w.momentum else ys)[-1]

    program = jax.jit(lambda key: jax.vmap(one)(jax.random.split(key, w.sims)))
    return lambda seed: program(jax.random.key(seed)).block_until_ready()


def _torchsde(workload: Workload) -> Run:
    """torchsde's Euler on all simulations as one batch, with its own Brownian intervals."""
    import torch  # pyright: ignore[reportMissingImports]
    import torchsde  # pyright: ignore[reportMissingImports]

    w = workload
    h = w.eta**0.5 if w.momentum else w.eta
    width = w.agents * w.dims

    def mean_pull(x: Any):
        return w.k * (x.mean(1, keepdim=True) - x)

    class Model(torch.nn.Module):
        noise_type, sde_type = "diagonal", "ito"

        def f(self, t: Any, y: Any):
            if not w.momentum:
                x = y.view(-1, w.agents, w.dims)
                return (mean_pull(x) - gradient(x)).view(y.shape)
            x, v = (part.reshape(-1, w.agents, w.dims) for part in y.split(width, 1))
            force = -h * gradient(x + w.momentum * v) - (1 - w.momentum) / h * v
            return torch.cat([(v / h + h * mean_pull(x)).reshape(-1, width), force.reshape(-1, width)], 1)

        def g(self, t: Any, y: Any):
            if not w.momentum:
                return torch.full_like(y, h**0.5 * w.sigma)
            return torch.cat([torch.zeros_like(y[:, :width]), torch.full_like(y[:, width:], h**1.5 * w.sigma)], 1)

    def gradient(x: Any):
        return slope(x, torch) if w.dims == 1 else wells_gradient(x, torch)

    def run(seed: int):
        torch.manual_seed(seed)
        y = torch.full((w.sims, width), w.start)
        if w.momentum:
            y = torch.cat([y, torch.zeros_like(y)], 1)
        with torch.no_grad():
            end = torchsde.sdeint(Model(), y, torch.tensor([0.0, h * w.steps]), method="euler", dt=h)[-1]
        return end[:, :width].view(w.sims, w.agents, w.dims).numpy()

    return run


def _numpy(workload: Workload) -> Run:
    """NumPy in float32, with its fastest generator."""
    w = workload
    gradient = slope if w.dims == 1 else wells_gradient

    def run(seed: int):
        generator = np.random.Generator(np.random.SFC64(seed))
        x = np.full((w.sims, w.agents, w.dims), w.start, np.float32)
        v = np.zeros_like(x)
        for _ in range(w.steps):
            if w.noise == "gaussian":
                z = np.float32(w.sigma) * generator.standard_normal(x.shape, np.float32)
            else:
                z = np.float32(2 * w.half_width) * generator.random(x.shape, np.float32) - np.float32(w.half_width)
            pull = w.k * (x.mean(1, keepdims=True) - x)
            if w.momentum:
                v = w.momentum * v + w.eta * (z - gradient(x + w.momentum * v))
                x = x + v + w.eta * pull
            else:
                x = x + w.eta * (pull - gradient(x) + z)
        return x

    return run


def _numba(workload: Workload) -> Run:
    """Plain loops compiled by Numba, with its own generator, one simulation after another."""
    import numba  # pyright: ignore[reportMissingImports]

    w = workload
    gaussian, sigma, half_width = w.noise == "gaussian", np.float32(w.sigma), np.float32(w.half_width)
    eta, k, delta, start = (np.float32(a) for a in (w.eta, w.k, w.momentum, w.start))
    f = np.float32
    cross = f(6.0 * 4.4 / max(w.dims - 1, 1))

    @numba.njit(fastmath=True)
    def program(seed: int, sims: int, agents: int, dims: int, steps: int):
        np.random.seed(seed)
        out = np.empty((sims, agents, dims), np.float32)
        cosine, sine = np.empty(dims, np.float32), np.empty(dims, np.float32)
        for s in range(sims):
            x, v = np.full((agents, dims), start), np.zeros((agents, dims), np.float32)
            mean = np.full(dims, start)
            for _ in range(steps):
                after = np.zeros(dims, np.float32)
                for i in range(agents):
                    total = f(0)
                    if dims > 1:
                        for j in range(dims):
                            y = f(4.4) * (x[i, j] + delta * v[i, j])
                            sine[j], cosine[j] = np.sin(y), np.cos(y)
                            total += cosine[j]
                    for j in range(dims):
                        z = sigma * f(np.random.normal()) if gaussian else half_width * f(2 * np.random.random() - 1)
                        y = x[i, j] + delta * v[i, j]
                        if dims > 1:
                            waves = cross * sine[j] * (total - cosine[j])
                            g = f(0.15) * ((f(4) * y * y - f(8)) * y + f(0.4) + waves)
                        else:
                            g = (f(0.4) * y * y - f(1)) * y - f(0.075)
                            g += f(2.16) * np.sin(f(3.6) * y) + f(6.4) * np.cos(f(16) * y)
                        v[i, j] = delta * v[i, j] + eta * (z - g)
                        x[i, j] += v[i, j] + eta * k * (mean[j] - x[i, j])
                        after[j] += x[i, j]
                mean = after / f(agents)
            out[s] = x
        return out

    return lambda seed: program(seed, w.sims, w.agents, w.dims, w.steps)


def _cpp(workload: Workload) -> Run:
    program = native.Native()
    return lambda seed: program.run(workload, seed)


VARIANTS: dict[str, Variant] = {
    v.name: v
    for v in (
        Variant("naive", "lax.scan with jax.random", _naive, quick=0.2),
        Variant(
            "diffrax-unsafe",
            "diffrax Euler, UnsafeBrownianPath",
            lambda w: _diffrax(w, False),
            share=0.5,
            gaussian=True,
            quick=0.1,
        ),
        Variant(
            "diffrax-tree",
            "diffrax Euler, VirtualBrownianTree",
            lambda w: _diffrax(w, True),
            share=0.1,
            gaussian=True,
            quick=None,
        ),
        Variant("torchsde", "torchsde Euler", _torchsde, ("torch", "torchsde"), share=0.2, gaussian=True, quick=None),
        Variant("numpy", "NumPy", _numpy, quick=0.2),
        Variant("numba", "Numba", _numba, ("numba",), quick=None),
        Variant("cpp", "C++, the same generator", _cpp),
        Variant("sdesim", "sdesim", _sdesim),
        Variant("sdesim-13", "sdesim, 13 rounds", lambda w: _sdesim(w, generator="threefry13")),
        Variant("sdesim-by-hand", "sdesim, gradient by hand", lambda w: _sdesim(w, True), only="user-loss"),
        Variant("sdesim-all-cores", "sdesim on all cores", _sdesim, cores=None),
    )
}
"""Every variant by name, slowest first."""
