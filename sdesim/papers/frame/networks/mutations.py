"""What a wrong training would have left: changes of the data of a right one, for to train again is too dear.

Each is an error that a comparison of trained arms must see: an algorithm without effect, arms in each other's place,
nothing learned, a model that is not the one that is meant, runs that are not paired or not independent.
"""

from collections.abc import Callable, Mapping

import numpy as np
import xarray as xr

from sdesim.papers.frame.mutations import Mutation

Change = Callable[[xr.Dataset], xr.Dataset]


def some(arms: slice, change: Change) -> Change:
    """A change of some arms alone.

    Args:
        arms: which.
        change: of data.
    """

    def changed(data: xr.Dataset) -> xr.Dataset:
        wrong = xr.zeros_like(data["arm"], bool)
        wrong[arms] = True
        return xr.where(wrong, change(data), data, keep_attrs=True).transpose(*data.dims)

    return changed


def others(dim: str, order: Callable[[np.ndarray], np.ndarray]) -> Change:
    """Arms, epochs or runs that have what others have.

    Args:
        dim: "arm", "epoch" or "sim".
        order: of their numbers, the number of the one whose data each has.
    """
    return lambda data: data.isel({dim: order(np.arange(data.sizes[dim]))}).assign_coords(data.coords)


def until(epoch: int) -> Change:
    """Nothing changes after an epoch.

    Args:
        epoch: the last that counts.
    """
    return others("epoch", lambda n: np.minimum(n, epoch))


def metrics(instead: Mapping[str, str]) -> Change:
    """Metrics that are others.

    Args:
        instead: by the name of a metric, that of the one in its place.
    """
    return lambda data: data.assign({name: data[other] for name, other in instead.items()})


MUTATIONS = {
    "arms alike": Mutation("every arm does what the first does", data=others("arm", np.zeros_like)),
    "arms reversed": Mutation("the first arm does what the last does, and so on", data=others("arm", np.flip)),
    "arms swapped": Mutation(
        "each two neighbors among the arms are swapped", data=others("arm", lambda n: np.minimum(n ^ 1, n[-1]))
    ),
    "nothing learned": Mutation("nothing changes from the start on", data=until(0)),
    "one epoch": Mutation("nothing changes after the first epoch", data=until(1)),
    "half learn": Mutation("nothing changes in every second arm", data=some(slice(1, None, 2), until(0))),
    "other half learn": Mutation(
        "nothing changes in the first arm, the third, ...", data=some(slice(0, None, 2), until(0))
    ),
    "one learns": Mutation("nothing changes but in the first arm", data=some(slice(1, None), until(0))),
    "agents tested": Mutation(
        "the agents are tested, and not their center or mean",
        data=metrics({"test_loss": "agents_test_loss", "test_accuracy": "agents_test_accuracy"}),
    ),
    "tested in training": Mutation(
        "training losses are those of the test set",
        data=metrics({"train_loss": "test_loss", "agents_train_loss": "agents_test_loss"}),
    ),
    "distances kept": Mutation(
        "agents are as far apart as at the start", data=lambda d: d.assign(spread=until(0)(d)["spread"])
    ),
    "distances inverted": Mutation(
        "agents that are far from each other are near, and those that are near are far",
        data=lambda d: d.assign(spread=1 / d["spread"]),
    ),
    "runs unpaired": Mutation(
        "the second arm starts its runs at other points",
        data=some(slice(1, 2), others("sim", lambda n: np.roll(n, 1))),
    ),
    "runs alike": Mutation("all runs of an arm are its first", data=others("sim", np.zeros_like)),
}
"""Those that are tried on every figure that trains."""
