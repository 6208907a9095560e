"""A figure of a picture of theory and of runs at some of its points."""

from collections.abc import Callable, Mapping

import xarray as xr
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sdesim.claims import Statement
from sdesim.papers.frame.experiment import Experiment
from sdesim.papers.frame.measured import Runs
from sdesim.papers.frame.mutations import Mutation
from sdesim.papers.zhang.points import claims, picture
from sdesim.papers.zhang.points.runs import Config, Points
from sdesim.plot import theme

REVERSED = {
    "points exchanged": Mutation(
        "points are taken in the reverse order",
        names={
            "papers.zhang.points.runs.Points._squares": lambda right: (
                lambda points, config, values, progress: right(
                    points, config, points.values[::-1][points.values.index(values)], progress
                )
            )
        },
    )
}
"""Stable points are taken for unstable ones, and the best for others."""


def experiment(
    number: str,
    title: str,
    says: str,
    points: Points,
    draw: Callable[[Axes, Config, xr.Dataset], None],
    statements: Callable[[Config], list[Statement]],
    sizes: dict[str, Config],
    formulas: Mapping[str, Mutation] | None = None,
) -> Experiment:
    """A figure of Z: its picture beside the runs.

    Args:
        number: of the figure.
        title: what it shows.
        says: what Z says of it.
        points: where runs are made.
        draw: of the panel, the configuration and the data, the picture of theory.
        statements: of the configuration, what is said beside what is said of all points.
        sizes: its presets.
        formulas: of theory that are wrong, by name; none by default.
    """

    def plot(config: Config, data: xr.Dataset) -> Figure:
        figure, axes = pyplot.subplots(
            1, 2, figsize=(10.4 if len(points.values) <= 10 else 12.4, 4.2), layout="constrained"
        )
        draw(axes[0], config, data)
        theme.letter(axes[0], 0, title)
        picture.paths(axes[1], points, data)
        theme.letter(axes[1], 1, "simulated squares, on the lines of theory")
        figure.suptitle(f"Zhang, Fig. {number}", fontsize=10.5)
        pyplot.close(figure)
        return figure

    def said(config: Config) -> list[Statement]:
        radii = [points.radius(*values) for values in points.values]
        border = [claims.border(points)] if min(radii) < 1 < max(radii) else []
        return [claims.moments(points), *border, *statements(config)]

    run = lambda config, progress=False: points.run(config, progress)
    ensemble = lambda config, data: Runs(data)
    whole = f"Zhang, Fig. {number}: {title}"
    wrong = REVERSED | dict(formulas or {})
    return Experiment(f"z-fig{number}", whole, says, sizes, run, plot, ensemble, said, mutations=wrong)
