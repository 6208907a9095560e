"""Who is measured at training: sdesim's trainer, and other ways to train the same networks by the same iteration.

All start from the same parameters, see the same batches in the same order, and run EASGD with heavy-ball momentum,

    v <- momentum v - eta g(x),   x <- x + v + alpha (center - x),   center <- center + agents alpha (mean - center),

with old values on the right. Without dropout, their results are equal to rounding.
"""

import functools
import importlib
from typing import Any

import numpy as np
from jaxtyping import Array

from sdesim.bench.peers import Run, Variant
from sdesim.bench.workloads import TrainingWorkload


def _data(workload: TrainingWorkload):
    """Images, their labels, and what standardizes them; all of them are trained on."""
    from sdesim import training

    return training.split(training.synthetic(workload.images, 10), validation=0.0)


def _network(workload: TrainingWorkload):
    from sdesim import training

    return training.ThreeLayer(channels=workload.channels, dropout=workload.dropout)


@functools.cache
def _start(workload: TrainingWorkload):
    """Trainer's task, algorithm, pixels and initial state, of one run."""
    import equinox as eqx
    import jax.numpy as jnp

    import sdesim
    from sdesim import random
    from sdesim.training import algorithms, step

    w, data = workload, _data(workload)
    rule = sdesim.Elastic(w.alpha / w.eta)
    algorithm = algorithms.over_runs(algorithms.Algorithm(rule, w.momentum, nesterov=False), 1)
    task = step.Task(_network(w), w.batch)
    pixels = step.Pixels(*map(jnp.asarray, (data.train_x, data.train_y, data.mean, data.std)))
    seed = random.seed_words(0)
    runs, form = jnp.zeros(1, jnp.uint32), step.form_of(task, data.train_x)
    state = eqx.filter_jit(step.start)(task, algorithm, seed, runs, jnp.full((1, w.agents), w.eta), form, False)
    return task, algorithm, pixels, state


def _batches(workload: TrainingWorkload, seed: int) -> Array:
    """The images of every step, (steps, 1, agents, batch), drawn by seed."""
    import jax.numpy as jnp

    from sdesim import random
    from sdesim.training import step

    w = workload
    epoch = w.images // w.batch
    epochs = -(-w.steps // epoch)
    words = random.seed_words(seed)
    orders = [step.shuffled(words, jnp.uint32(e), jnp.zeros(1, jnp.uint32), w.agents, w.images) for e in range(epochs)]
    parts = [jnp.moveaxis(o[..., : epoch * w.batch].reshape(1, w.agents, epoch, w.batch), 2, 0) for o in orders]
    return jnp.concatenate(parts)[: w.steps]


def flat(params: Any) -> np.ndarray:
    """Parameters as Flax names them, one vector an agent: in the order of the names.

    Args:
        params: with the agents on the first axis of their leaves.

    Returns:
        (agents, parameters).
    """
    import jax

    return np.concatenate([np.asarray(a).reshape(len(a), -1) for a in jax.tree.leaves(params)], axis=1)


# -- the variants ------------------------------------------------------------------------------------------------------


@functools.cache
def _program():
    import equinox as eqx

    from sdesim.training import step

    return eqx.filter_jit(step.take_steps)


def _sdesim(workload: TrainingWorkload) -> Run:
    """The steps that `sdesim.training.train` takes between two measurements."""
    import jax
    import jax.numpy as jnp

    from sdesim import random

    w = workload
    task, algorithm, pixels, state = _start(w)
    run, rates, total = jnp.zeros(1, jnp.uint32), jnp.full((1, w.agents), w.eta), jnp.zeros((1, w.agents))

    def steps(seed: int):
        words = random.seed_words(seed)
        end = jnp.int32(w.steps)
        after, _ = _program()(
            task, algorithm, pixels, state, words, run, rates, _batches(w, seed), jnp.int32(0), end, total
        )
        return flat(jax.tree.map(lambda a: a[0], after.params))

    return steps


def _naive(workload: TrainingWorkload) -> Run:
    """Flax's own convolutions and Optax, one agent after another from Python.

    A convolution mapped over agents, or in a loop of XLA's, is far slower on a CPU.
    """
    import flax.linen as nn
    import jax
    import jax.numpy as jnp
    import optax

    from sdesim.training.networks import BatchNorm

    w, data = workload, _data(workload)

    class Network(nn.Module):
        @nn.compact
        def __call__(self, x: Any):
            for features, size in zip(w.channels, (9, 5, 3), strict=True):
                x = nn.relu(nn.Conv(features, (size, size), padding="VALID")(x))
                x = BatchNorm()(nn.max_pool(x, (2, 2), (2, 2)))
            x = nn.Dropout(w.dropout, deterministic=False)(x.reshape(x.shape[0], -1))
            return nn.Dense(10)(x)

    network, optimizer = Network(), optax.sgd(w.eta, momentum=w.momentum)
    images, labels = (jnp.asarray(a) for a in (data.train_x, data.train_y))

    @jax.jit
    def step(params: Any, state: Any, index: Any, key: Any, center: Any):
        x = (images[index].astype(jnp.float32) - data.mean) / data.std

        def loss(p: Any):
            logits: Any = network.apply({"params": p}, x, rngs={"dropout": key})
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels[index]).mean()

        updates, state = optimizer.update(jax.grad(loss)(params), state)
        pulled = jax.tree.map(lambda p, u, c: p + u + w.alpha * (c - p), params, updates, center)
        return pulled, state

    @jax.jit
    def follow(center: Any, *agents: Any):
        mean = jax.tree.map(lambda *a: sum(a) / w.agents, *agents)
        return jax.tree.map(lambda c, m: c + w.agents * w.alpha * (m - c), center, mean)

    began = _start(w)[-1].params
    starts = [
        {name.replace("Convolution", "Conv"): jax.tree.map(lambda a: a[0, i], layer) for name, layer in began.items()}  # noqa: B023
        for i in range(w.agents)
    ]

    def steps(seed: int):
        agents, states = list(starts), [optimizer.init(p) for p in starts]
        center = jax.tree.map(lambda *a: sum(a) / w.agents, *agents)
        keys = jax.random.split(jax.random.key(seed), (w.steps, w.agents))
        for index, key in zip(_batches(w, seed), keys, strict=True):
            new = [step(*one, center) for one in zip(agents, states, index[0], key, strict=True)]
            center = follow(center, *agents)
            agents, states = (list(part) for part in zip(*new, strict=True))
        return flat(jax.tree.map(lambda *a: jnp.stack(a), *agents))

    return steps


def _torch(workload: TrainingWorkload) -> Run:
    """PyTorch, one agent after another, in the memory layout that is its fastest on a CPU."""
    torch: Any = importlib.import_module("torch")
    w, data = workload, _data(workload)
    functional = torch.nn.functional
    # Two copies: a tensor would share memory that is not its own.
    images = torch.tensor(data.train_x).permute(0, 3, 1, 2)  # the channels stay last in memory
    labels = torch.tensor(data.train_y).long()
    mean, std = (torch.tensor(a).view(1, 3, 1, 1) for a in (data.mean, data.std))

    def network():
        layers, before = [], 3
        for features, size in zip(w.channels, (9, 5, 3), strict=True):
            layers += [torch.nn.Conv2d(before, features, size), torch.nn.ReLU(), torch.nn.MaxPool2d(2)]
            layers += [torch.nn.BatchNorm2d(features, track_running_stats=False)]
            before = features
        layers += [torch.nn.Flatten(), torch.nn.Dropout(w.dropout), torch.nn.Linear(before, 10)]
        return torch.nn.Sequential(*layers).to(memory_format=torch.channels_last)

    def layers_of(model: Any):
        """Its layers that have parameters, by the names that Flax gives them."""
        kinds = (("BatchNorm", torch.nn.BatchNorm2d), ("Convolution", torch.nn.Conv2d), ("Dense", torch.nn.Linear))
        return {f"{n}_{i}": m for n, kind in kinds for i, m in enumerate(m for m in model if isinstance(m, kind))}

    turned = {4: ((2, 3, 1, 0), (3, 2, 0, 1)), 2: ((1, 0), (1, 0)), 1: ((0,), (0,))}  # to Flax's axes, and from them
    began = _start(w)[-1].params

    def begin(model: Any, agent: int) -> None:
        with torch.no_grad():
            for name, layer in layers_of(model).items():
                weight = "scale" if name.startswith("BatchNorm") else "kernel"
                for parameter, key in ((layer.weight, weight), (layer.bias, "bias")):
                    value = np.array(began[name][key][0, agent])
                    parameter.copy_(torch.tensor(value.transpose(turned[value.ndim][1])))

    def state(models: Any) -> np.ndarray:
        rows = []
        for model in models:
            # Flax's leaves are sorted: a layer's bias comes first.
            parts = [p.detach() for layer in layers_of(model).values() for p in (layer.bias, layer.weight)]
            rows.append(np.concatenate([p.permute(turned[p.ndim][0]).reshape(-1).numpy() for p in parts]))
        return np.stack(rows)

    models = [network() for _ in range(w.agents)]

    def steps(seed: int):
        torch.manual_seed(seed)
        for agent, model in enumerate(models):
            begin(model, agent)
        optimizers = [torch.optim.SGD(model.parameters(), w.eta, momentum=w.momentum) for model in models]
        together = list(zip(*(model.parameters() for model in models), strict=True))
        with torch.no_grad():
            centers = [torch.stack(p).mean(0) for p in together]
        for index in np.asarray(_batches(w, seed))[:, 0]:
            with torch.no_grad():
                pulls = [[w.alpha * (c - p) for p in agents] for c, agents in zip(centers, together, strict=True)]
            for model, optimizer, own in zip(models, optimizers, torch.tensor(index), strict=True):
                optimizer.zero_grad()
                x = (images[own].float() - mean) / std
                functional.cross_entropy(model(x), labels[own]).backward()
                optimizer.step()
            with torch.no_grad():
                for center, agents, pull in zip(centers, together, pulls, strict=True):
                    for p, a in zip(agents, pull, strict=True):
                        p += a
                    center -= sum(pull)  # elastic symmetry: the reaction to all pulls
        return state(models)

    return steps


TRAINERS: dict[str, Variant] = {
    v.name: v
    for v in (
        Variant("naive", "Flax convolutions, one agent after another", _naive, quick=None),
        Variant("torch", "PyTorch, one agent after another", _torch, ("torch",), quick=0.5),
        Variant("sdesim", "sdesim", _sdesim, quick=0.5),
        Variant("sdesim-all-cores", "sdesim on all cores", _sdesim, cores=None, quick=None),
    )
}
"""Every variant that trains, by name."""
