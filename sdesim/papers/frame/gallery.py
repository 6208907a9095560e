"""The page that shows every figure of a folder: its picture, what the paper says of it, and what was found."""

import pathlib
from collections.abc import Mapping

from sdesim.papers.frame import registry
from sdesim.papers.frame.experiment import Experiment
from sdesim.results.files import write_text

_HEAD = """\
# Figures

Written by `sdesim figure all`, which regenerates everything here but the figures that train networks: those are of
`sdesim figure NAME --preset small`, and a line says how small. A claim is a statement as a statistic with its Monte
Carlo error, what it needs, and a verdict: it holds or fails by more than three standard errors, or is undecided. Where
few runs tell the error, it takes more of them, as many as Student's t has for the same probability of 1 in 740: 3.4 of
twenty runs, 19 of three, 236 of two. A look at every point of a grid is set beside what chance exceeds once in 740 in
the worst of so many points; what is further off, but not further than the skewness of few values may take it, is
undecided. Claims in brackets are shown and not counted. What breaks a claim are wrong models, run at smoke size
(`sdesim claims NAME --break`) or, where that cannot ask it, at another (`--preset default`): each is a run with a wrong
coupling, noise, rate or law, a formula of theory that is wrong, or, of networks, what a wrong training would have left.
[All claims](../docs/claims.md) on one page.
"""


def write_gallery(experiments: Mapping[str, Experiment], folder: pathlib.Path) -> pathlib.Path:
    """Write README.md into `folder`, of those of the experiments whose pictures and claims lie there.

    Args:
        experiments: by name, in the order of the page; those of papers' figures are put first.
        folder: where pictures and claims lie.

    Returns:
        The path of README.md.
    """
    parts = [_HEAD]
    for name, experiment in sorted(
        experiments.items(), key=lambda item: "fig" not in item[0]
    ):  # a paper's figures first
        claims = folder / f"{name}.claims.json"
        if claims.is_file() and (folder / f"{name}.png").is_file():
            found = registry.of_figure(name, folder)
            picture = f"![{experiment.title}]({name}.png)"
            sizes = [f"Here: {size}." for size in dict.fromkeys(e.claim.measured_on for e in found) if size]
            parts.append(
                "\n\n".join(
                    [f"## {name}", f"{experiment.title}.", *sizes, experiment.says, picture, registry.rows_of(found)]
                )
                + "\n"
            )
    path = folder / "README.md"
    write_text(path, "\n".join(parts))
    return path
