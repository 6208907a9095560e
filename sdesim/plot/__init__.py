"""Pictures in one line: each takes a result, a sweep, a stability map, a timetable or a history, and returns the axes.

Every function draws into axes of the user's (`ax=`) in the user's own style, or makes a new figure in the look of all
of sdesim's. Labels say units, from what the data say of themselves; ticks of logarithmic axes are plain numbers; colors
are told apart also by who does not see red or green. `save` writes bitmaps and vectors.
"""

from sdesim.plot.densities import density
from sdesim.plot.landscapes import agents
from sdesim.plot.lines import band, learning_curves, points, trajectories
from sdesim.plot.maps import heat_map, phase_diagram
from sdesim.plot.movies import animate
from sdesim.plot.theme import looks, save
from sdesim.plot.timelines import timeline

__all__ = [
    "agents",
    "animate",
    "band",
    "density",
    "heat_map",
    "learning_curves",
    "looks",
    "phase_diagram",
    "points",
    "save",
    "timeline",
    "trajectories",
]
