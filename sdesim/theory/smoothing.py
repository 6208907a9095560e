"""Which noise smooths the loss that the center of mass descends, as sums of independent uniform variables (BS 4, 39).

A loss convolved with a law keeps of a wave cos(w x) the share `Law.damping(w)`, the law's characteristic function.
"""

import dataclasses

import numpy as np
from numpy.typing import NDArray

from sdesim.coupling import ORDERS, Order
from sdesim.fields import check_choice, check_count, check_sign


@dataclasses.dataclass(frozen=True)
class Law:
    """A sum of independent uniform variables.

    Attributes:
        widths: half widths, (terms,), in length.
        counts: how many there are of each, (terms,).
    """

    widths: NDArray
    counts: NDArray

    @property
    def variance(self) -> float:
        """In length^2."""
        return float(np.sum(self.counts * self.widths**2) / 3)

    def damping(self, frequency: float) -> float:
        """The characteristic function: what is left of a wave after convolution.

        Args:
            frequency: of the wave, in 1/length.
        """
        return float(np.prod(np.sinc(frequency * self.widths / np.pi) ** self.counts))


def uniform(half_width: float) -> Law:
    """One uniform variable.

    Args:
        half_width: at least 0, where there is no noise at all; in length.
    """
    check_sign("half_width", half_width)
    return Law(np.array([half_width]), np.array([1]))


def averaged(half_width: float, agents: int) -> Law:
    """The mean of uniform variables: narrower than one by the root of their number, and not uniform.

    Args:
        half_width: of each, in length.
        agents: their number p.
    """
    check_sign("half_width", half_width)
    p = check_count("agents", agents)
    return Law(np.array([half_width / p]), np.array([p]))


def agents_law(half_width: float, agents: int, order: Order, rate: float, step: int) -> Law:
    """The law of the point of an agent's gradient about Y_t, the mean of all x^i - eta grad f, where the loss is flat.

    Agents start at one point, and a pull of weight `rate` shrinks their differences by 1 - rate. Y has moved with the
    mean of all noise but the newest, so that of older noise the law has only what agents differ by.

    Args:
        half_width: of the uniform noise that each step adds to each agent, in length.
        agents: p.
        order: "jacobi" takes gradients at the old positions, "gauss-seidel" after the pull.
        rate: eta k, from 0 to 1.
        step: t, the iterations since the start.

    Returns:
        The law.
    """
    check_sign("half_width", half_width)
    p = check_count("agents", agents)
    check_choice("order", order, ORDERS)
    check_sign("rate", rate)
    if not rate <= 1:
        raise ValueError(f"rate={rate:g}: must be from 0 to 1")
    age = np.arange(check_count("step", step, least=0) + 1)
    kept = (1 - rate) ** (age + (order == "gauss-seidel"))
    mean = (age == 0) / p
    own, others = kept * (1 - 1 / p) + mean, mean - kept / p
    counts = np.repeat([1, p - 1], step + 1)
    return Law(half_width * np.abs(np.concatenate([own, others])), counts)
