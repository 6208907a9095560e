"""Histories as event files, which TensorBoard shows while a training goes on."""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from sdesim.fields import shown
from sdesim.results.files import check_writable
from sdesim.training.callbacks import Callback


class TensorBoard(Callback):
    """Writes what is measured after each epoch as event files: `tensorboard --logdir FOLDER` shows them.

    Each run has a folder of its own, run-0, run-1, ..., with the center and the mean of the agents, such as
    test_loss/center and test_loss/agents. What is not finite is left out. A training that is resumed goes on in the
    same folder.

    Args:
        folder: to write to, made if it is not there.

    Raises:
        TypeError: for what is no name of a folder.
        ValueError: for a folder that cannot be written to; without tensorboardX, which `pip install
            'sdesim[tensorboard]'` brings.
    """

    def __init__(self, folder: str | os.PathLike):
        if not isinstance(folder, str | os.PathLike) or not os.fspath(folder):
            raise TypeError(f"folder={shown(folder)}: must be the name of a folder")
        try:
            from tensorboardX import SummaryWriter
        except ModuleNotFoundError as error:
            raise ValueError("folder: needs tensorboardX; `pip install 'sdesim[tensorboard]'` brings it") from error
        self.folder, self._new = Path(check_writable(folder, "folder")), SummaryWriter
        self._writers: list[Any] = []

    @contextlib.contextmanager
    def around(self, training: Any) -> Iterator[None]:
        """The files, which are whole when the run ends, however it does.

        Args:
            training: the `Training` that runs.
        """
        self._writers = []
        try:
            yield
        finally:
            for writer in self._writers:
                writer.close()

    def after_epoch(self, training: Any) -> None:
        """Write an epoch.

        Args:
            training: the `Training` that runs.
        """
        epoch, last = training.epochs_done, training.history.isel(epoch=-1)
        if not self._writers:
            # What was written of this epoch and later ones before a crash is not shown.
            names = [str(self.folder / f"run-{run}") for run in range(last.sizes["run"])]
            # Two that begin within one second have files of their own, whose names are in order.
            own = f".{time.time_ns()}.{os.getpid()}"
            self._writers = [self._new(name, purge_step=epoch or None, filename_suffix=own) for name in names]
        for run, writer in enumerate(self._writers):
            for tag, value in scalars(last.isel(run=run)).items():
                writer.add_scalar(tag, value, epoch)
            writer.flush()


def scalars(measured: xr.Dataset) -> dict[str, float]:
    """The measurements of one run and epoch, by the names that TensorBoard shows.

    Args:
        measured: of a history.

    Returns:
        Numbers by name: of the center and the agents' mean, of each layer, or of all.
    """
    found = {}
    for name, values in measured.data_vars.items():
        of = values.dims[-1:]
        if of == ("model",):
            found[f"{name}/center"], found[f"{name}/agents"] = values[-1], values[:-1].mean()
        elif of == ("agent",):
            found[f"{name}/agents"] = values.mean()
        elif of == ("layer",):
            found |= {f"{name}/{layer}": values.sel(layer=layer) for layer in values["layer"].values}
        elif name != "diverged":
            found[f"{name}/all"] = values
    return {name: float(value) for name, value in found.items() if np.isfinite(value)}
