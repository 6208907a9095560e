"""Laws of positive numbers as tables of their quantiles at equal steps of the logit of the probability.

Between the nodes the logarithm of the quantile is interpolated: it is smooth in the logit, in both tails too.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

NODES = 1 << 14


def logits(reach: float) -> NDArray:
    """The nodes.

    Args:
        reach: the greatest logit.

    Returns:
        From -reach to reach, (NODES,).
    """
    return np.linspace(-reach, reach, NODES)


def looked_up(logit: Any, reach: float, xp: Any, at: Callable[[Any], tuple[Any, Any]]) -> Any:
    """Quantiles out of a table.

    Args:
        logit: of the probabilities, any shape, within the reach.
        reach: of the table.
        xp: numpy or jax.numpy.
        at: of a node, or of many: the logarithm of the quantile there, and how much more it is at the next one.

    Returns:
        The quantiles, of the shape of `logit`.
    """
    place = (logit + reach) * ((NODES - 1) / (2 * reach))
    node = xp.clip(xp.floor(place).astype(np.int32), 0, NODES - 2)
    log, slope = at(node)
    return xp.exp(log + (place - node.astype(place.dtype)) * slope)
