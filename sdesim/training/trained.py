"""What a training gives: its history, and the networks as they are at its end and as they were at their best.

A network is named by a run, by whose parameters it has (an agent's, the quorum, the center), and by an epoch, the last
or the best: of each run the one whose center had the least validation loss, or the least training loss where there are
no validation samples.
"""

import dataclasses
import functools
import json
import os
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import PyTree
from numpy.typing import NDArray

from sdesim.fields import check_choice, check_count, shown
from sdesim.training import modules
from sdesim.training import step as steps
from sdesim.training.kinds import CLASSES, IMAGES, ROWS, TOKENS, Kind, kind_of
from sdesim.training.measure import Record
from sdesim.training.step import Pixels, Task
from sdesim.training.store import kept_in

Epoch = Literal["best", "last"]
SCALES = ("mean", "std", "target_mean", "target_std")  # of a `Split`


class Best(NamedTuple):
    """The networks of each run at its best epoch so far.

    Attributes:
        epoch: its number, (runs,).
        loss: of its center, (runs,).
        models: parameters of the agents and, last, of the center, (runs, agents + 1, ...).
    """

    epoch: NDArray
    loss: NDArray
    models: PyTree


def best_of(before: Best | None, epoch: int, record: Record, models: PyTree) -> Best:
    """The best networks after a measurement.

    Args:
        before: it; None if nothing was measured.
        epoch: number of the measurement.
        record: what was measured.
        models: what it was measured of, (runs, agents + 1, ...).

    Returns:
        Those before, of the runs where nothing is better now; a loss that is not a number is worse than any.
    """
    loss = record["validation_loss" if "validation_loss" in record else "train_loss"][:, -1]
    if before is None:
        return Best(np.full(len(loss), epoch, np.int32), loss, models)
    better = (loss < before.loss) | (np.isnan(before.loss) & ~np.isnan(loss))
    if not better.any():
        return before
    chosen = lambda new, old: new if better.all() else np.where(better.reshape(-1, *[1] * (new.ndim - 1)), new, old)
    models = jax.tree.map(chosen, models, before.models)
    return Best(np.where(better, np.int32(epoch), before.epoch), np.where(better, loss, before.loss), models)


@dataclasses.dataclass(frozen=True, eq=False)
class Trained:
    """A training's history and its networks. `train` gives one, `Training.trained` too, and `load` reads one.

    Attributes:
        history: what was measured, as `Training.history`.
        task: what is static about the training, its network among it.
        last: parameters of the agents and, last, of the center, (runs, agents + 1, ...).
        best: the same at the best epoch of each run.
        scales: what standardizes samples and targets, by their names in a `Split`.
    """

    history: xr.Dataset
    task: Task
    last: PyTree
    best: Best
    scales: Mapping[str, NDArray]

    def __repr__(self) -> str:
        sizes, best = self.history.sizes, self.best.epoch.tolist()
        return f"<Trained: runs {sizes['run']}, agents {sizes['agent']}, epochs {sizes['epoch'] - 1}, best at {best}>"

    def parameters(self, of: int | str = "center", *, run: int = 0, epoch: Epoch = "best") -> PyTree:
        """The parameters of one network, as Flax has them.

        Args:
            of: number of an agent, or "quorum" for the agents' mean, or "center" for what the algorithm tests.
            run: place of the run.
            epoch: "best" or "last".

        Returns:
            Nested dictionaries of arrays: of linen what its `apply` takes as {"params": ...}; of nnx what
            `nnx.update` gives a module.

        Raises:
            ValueError: for an agent, a run or an epoch that there is not.
            TypeError: for what is none of these.
        """
        params, network = self._params(of, run, epoch), self.task.network
        return network.nested(params) if isinstance(network, modules.Nnx) else params

    def predict(self, samples: Any, of: int | str = "center", *, run: int = 0, epoch: Epoch = "best") -> NDArray:
        """What a network says of samples.

        Args:
            samples: images, tokens or rows as they were before `split`, which are standardized and cropped here as
                those of the test set were.
            of: as `parameters`.
            run: as `parameters`.
            epoch: as `parameters`.

        Returns:
            Logits (samples, classes), whose largest is the class, of tokens (samples, length, tokens); of rows with
            targets what was to be said of them, in the units of these. Networks with statistics of their batch see
            batches as in evaluation.

        Raises:
            ValueError: for samples of another kind or shape; as `parameters`.
            TypeError: as `parameters`.
        """
        params, x = self._params(of, run, epoch), self._checked(samples)
        size = min(self.task.evaluation_batch, len(x))
        said = [np.asarray(self._say(params, x[first : first + size])) for first in range(0, len(x), size)]
        found = np.concatenate(said).astype(np.float32)
        if self._kind is not ROWS:
            return found
        mean, std = self.scales["target_mean"], self.scales["target_std"]
        return found.reshape(len(x), *np.shape(mean)) * std + mean

    @staticmethod
    def load(folder: str | os.PathLike, network: Any) -> "Trained":
        """What a training left in its folder, for whoever has the network and no data.

        Args:
            folder: of `train`, `Training.save` or `sdesim train`.
            network: as it was given to the training.

        Returns:
            History and networks.

        Raises:
            FileNotFoundError: if there is no training in it.
            ValueError: for a folder that is damaged; for one that was written before networks were kept in it; for
                another network.
            TypeError: for what is no network.
        """
        taken = modules.taken(network)
        history, (state, _, kept) = kept_in(folder)
        settings = json.loads(history.attrs["settings"])
        names = ("crop", "precision", "evaluation_batch", "weight_decay")
        task = Task(taken.network, settings["batch"], **{name: settings[name] for name in names})
        scales = {name: np.asarray(kept[name]) for name in SCALES}
        last = with_center(state["params"], kept["center"])
        best = Best(*(jax.tree.map(np.asarray, kept["best"][name]) for name in Best._fields))
        trained = Trained(history, task, last, best, scales)
        trained._check_network(taken)
        return trained

    # -- inside

    @property
    def _kind(self) -> Kind:
        if len(self._sample) == 3:
            return IMAGES
        if not self.scales["mean"].ndim:
            return TOKENS
        return CLASSES if "classes" in self._data else ROWS

    @functools.cached_property
    def _sample(self) -> tuple[int, ...]:
        """Shape of one, as it was before anything was cropped."""
        return tuple(self._data["shape"])

    @functools.cached_property
    def _data(self) -> dict[str, Any]:
        """What the history says of the data."""
        return json.loads(self.history.attrs["settings"])["data"]

    def _params(self, of: Any, run: Any, epoch: Any) -> PyTree:
        """As the trainer has them."""
        sizes = self.history.sizes
        check_count("run", run, least=0, most=sizes["run"] - 1)
        check_choice("epoch", epoch, ("best", "last"))
        if isinstance(of, str):
            check_choice("of", of, ("center", "quorum"))
        else:
            check_count("of", of, least=0, most=sizes["agent"] - 1)
        which = {"center": lambda models: models[-1], "quorum": lambda models: models[:-1].mean(axis=0)}
        chosen = which[of] if isinstance(of, str) else lambda models: models[of]
        return jax.tree.map(lambda leaf: chosen(leaf[run]), self.best.models if epoch == "best" else self.last)

    def _checked(self, samples: Any) -> NDArray:
        try:
            x = np.asarray(samples)
        except ValueError:  # of a ragged list
            x = np.zeros(0)
        kind, right = self._kind, f"(n, {', '.join(map(str, self._sample))})"
        if not len(x.shape) or x.shape[1:] != self._sample or not len(x) or kind_of(x).samples != kind.samples:
            raise ValueError(f"samples={shown(samples)}: must be {kind.samples} as the training's, of shape {right}")
        numbers = np.dtype(self._data.get("dtype", "uint8"))
        if kind is IMAGES and (x.dtype.kind != "f" if numbers.kind == "f" else x.dtype != numbers):
            what = "real numbers" if numbers.kind == "f" else "uint8, from 0 to 255"
            raise ValueError(f"samples: must be images of {what}, as the training's, got {x.dtype}")
        return x

    @functools.cached_property
    def _say(self) -> Any:
        task, mean, std = self.task, jnp.asarray(self.scales["mean"]), jnp.asarray(self.scales["std"])

        def say(params: PyTree, x: Any):
            pixels = Pixels(x, jnp.zeros(len(x)), mean, std)
            seen = steps.prepared(task, pixels, jnp.arange(len(x)), None)
            with steps.precision(task):
                return modules.logits(task.network, params, seen, False).astype(jnp.float32)

        return jax.jit(say)

    def _check_network(self, taken: modules.Taken) -> None:
        """Refuse a network whose parameters are others."""
        form = self._kind.form((self.task.crop, self.task.crop, self._sample[2]) if self.task.crop else self._sample)
        there = modules.looked_at(taken, form).params
        kept = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[2:], leaf.dtype), self.last)
        said = lambda tree: {jax.tree_util.keystr(path): leaf.shape for path, leaf in jax.tree.leaves_with_path(tree)}
        if (own := said(there)) != (found := said(kept)):
            name = next(n for n in {**own, **found} if own.get(n) != found.get(n))
            raise ValueError(
                f"network: must be that of the training, whose parameters {name} are of shape {found.get(name)}, and "
                f"its own of shape {own.get(name)}"
            )


def with_center(params: PyTree, center: PyTree) -> PyTree:
    """Parameters of the agents and, last, of the center.

    Args:
        params: of the agents, (runs, agents, ...).
        center: (runs, ...).

    Returns:
        (runs, agents + 1, ...).
    """
    return jax.tree.map(lambda p, c: np.concatenate([np.asarray(p), np.asarray(c)[:, None]], axis=1), params, center)
