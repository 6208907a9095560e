"""What the computed figures of Z share: a picture of theory, and simulations at some of its points.

A figure maps what theory says over two numbers, or along one. At a few points of it runs are made, and their second
moments after each step are set beside what the linear maps of theory make of the same start.
"""

from sdesim.papers.zhang.points.claims import faster, printed
from sdesim.papers.zhang.points.exact import additive, multiplicative_easgd, multiplicative_momentum
from sdesim.papers.zhang.points.figure import REVERSED, experiment
from sdesim.papers.zhang.points.picture import colors, legend, mark, paths, radius_map
from sdesim.papers.zhang.points.runs import Config, Points, presets

__all__ = [
    "REVERSED",
    "Config",
    "Points",
    "additive",
    "colors",
    "experiment",
    "faster",
    "legend",
    "mark",
    "multiplicative_easgd",
    "multiplicative_momentum",
    "paths",
    "presets",
    "printed",
    "radius_map",
]
