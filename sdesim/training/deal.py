"""Data dealt to agents: who trains on which samples, where not all train on all."""

import dataclasses

import numpy as np
from numpy.typing import NDArray

from sdesim.fields import one_number


class AbstractDeal:
    """Which agent owns each training sample. Subclasses are frozen dataclasses that give `owners`."""

    def owners(self, labels: NDArray, agents: int, seed: int, run: int) -> NDArray:
        """Deal all samples of a run.

        Args:
            labels: of the training samples, (samples,) or of any form that begins so.
            agents: p.
            seed: of the training.
            run: its number.

        Returns:
            The number of each sample's agent, (samples,) integers, in which every agent is.

        Raises:
            ValueError: for labels or agents that cannot be dealt.
        """
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class Dirichlet(AbstractDeal):
    """Each class is cut among the agents in shares of a symmetric Dirichlet law (Hsu, Qi and Brown, 1909.06335).

    Shares are drawn by (seed, run) alone, and which of a class's samples go where too. An agent that would be left with
    nothing gets a sample of whoever has most.

    Attributes:
        alpha: concentration, greater than 0: near 0 each class is one agent's, and a large number deals alike.
    """

    alpha: float

    def __post_init__(self):
        one_number("alpha", self.alpha, zero=False)

    def owners(self, labels: NDArray, agents: int, seed: int, run: int) -> NDArray:
        """Deal all samples of a run.

        Args:
            labels: classes of the training samples, (samples,) integers.
            agents: p, at most as many as samples.
            seed: of the training.
            run: its number.

        Returns:
            The number of each sample's agent, (samples,) integers, in which every agent is.

        Raises:
            ValueError: for labels that are no classes, and for more agents than samples.
        """
        labels = np.asarray(labels)
        if labels.ndim != 1 or labels.dtype.kind not in "iu":
            raise ValueError(f"deal={self}: must have one class for each sample, and labels are {labels.dtype}")
        if agents > len(labels):
            raise ValueError(f"agents={agents}: must be at most the {len(labels)} samples that are dealt")
        rng, owner = np.random.default_rng([seed, run]), np.zeros(len(labels), np.int32)
        for one in np.unique(labels):
            where = rng.permutation(np.flatnonzero(labels == one))
            ends = np.rint(np.cumsum(rng.dirichlet(np.full(agents, self.alpha))) * len(where)).astype(int)
            owner[where] = np.searchsorted(ends[:-1], np.arange(len(where)), side="right")
        for agent in range(agents):
            if not (owner == agent).any():
                most = np.bincount(owner, minlength=agents).argmax()
                owner[np.flatnonzero(owner == most)[0]] = agent
        return owner
