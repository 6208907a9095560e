"""What bs-sync and bs-noise share: three losses s x^2 / 2 + w log cosh x of bounded curvature, and how they look."""

from sdesim.plot import theme

LOSSES: tuple[str, ...] = ("double well", "quadratic", "convex")
"""Of weight w < -s, 0 and > 0."""
COLORS: dict[str, str] = dict(zip(LOSSES, (theme.QUORUM, theme.AGENTS, theme.SMOOTHED), strict=True))
MARKERS: dict[str, str] = dict(zip(LOSSES, "osD", strict=True))
