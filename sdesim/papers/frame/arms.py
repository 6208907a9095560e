"""What training experiments compare."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Arm:
    """One algorithm with its numbers; what is None is the configuration's or the algorithm's own.

    first: number of its first run; arms with the same run numbers start alike and see the same batches.
    group: arms of one group share a color in the picture, style distinguishes them.
    """

    label: str
    algorithm: str
    agents: int = 1
    k: float | None = None
    eta: float | None = None
    momentum: float | None = None
    period: int = 1
    same_start: bool = False
    first: int = 0
    group: str = ""
    style: str = "-"
