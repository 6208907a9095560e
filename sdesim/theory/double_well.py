"""Two workers of EASGD on (1 - x^2)^2 / 4: where they rest, and whether they stay on both sides of the saddle (Z 5.3).

They and the center z descend (1 - x^2)^2 / 4 + (1 - y^2)^2 / 4 + rho ((x - z)^2 + (y - z)^2) / 2, without noise.
"""

import numpy as np
from numpy.typing import NDArray

from sdesim.fields import check_sign
from sdesim.theory.arguments import finite


def critical_points(rho: float) -> NDArray:
    """All points (x, y, z) at which workers and center rest, z = (x + y) / 2 (Z 5.37).

    Both at 1, at -1 and at 0; for rho < 1 on both sides at +- sqrt(1 - rho); and for rho < 2/3 those with
    (x + y)^2 = 1 - 3 rho / 2 and (x - y)^2 = 1 + rho / 2, of which the thesis says that there are none.

    Args:
        rho: penalty, greater than 0, in units of the wells' curvature.

    Returns:
        (points, 3).
    """
    check_sign("rho", rho, zero=False)
    pairs = [(1.0, 1.0), (-1.0, -1.0), (0.0, 0.0)]
    if rho < 1:
        apart = np.sqrt(1 - rho)
        pairs += [(apart, -apart), (-apart, apart)]
    if rho < 2 / 3:
        total, difference = np.sqrt(1 - 1.5 * rho), np.sqrt(1 + rho / 2)
        signs = [(1, 1), (1, -1), (-1, 1), (-1, -1)]
        pairs += [((s * total + d * difference) / 2, (s * total - d * difference) / 2) for s, d in signs]
    return np.array([(x, y, (x + y) / 2) for x, y in pairs])


def gradient(point: NDArray, rho: float) -> NDArray:
    """Of what workers and center descend (Z 5.36).

    Args:
        point: (..., 3).
        rho: penalty.

    Returns:
        (..., 3).
    """
    check_sign("rho", rho)
    x, y, z = np.moveaxis(finite("point", np.asarray(point, float)), -1, 0)
    return np.stack([x**3 - x + rho * (x - z), y**3 - y + rho * (y - z), rho * (2 * z - x - y)], axis=-1)


def hessian(point: NDArray, rho: float) -> NDArray:
    """Of what workers and center descend (Z 5.38).

    Args:
        point: (3,).
        rho: penalty.

    Returns:
        (3, 3).
    """
    check_sign("rho", rho)
    x, y, _ = finite("point", np.asarray(point, float))
    return np.array([[3 * x**2 - 1 + rho, 0, -rho], [0, 3 * y**2 - 1 + rho, -rho], [-rho, -rho, 2 * rho]])


def least_curvature_apart(rho: float) -> float:
    """The least eigenvalue of the Hessian where the workers are on both sides (Z, Fig. 5.20): positive for rho < 2/3.

    Args:
        rho: penalty, at least 0 and below 1.

    Returns:
        In units of the wells' curvature.

    Raises:
        ValueError: for a penalty of at least 1, at which there is no such point.
    """
    check_sign("rho", rho)
    if not float(finite("rho", rho)) < 1:
        raise ValueError(f"rho={rho:g}: must be below 1, or no worker rests beside the saddle")
    apart = np.sqrt(1 - rho)
    return float(np.linalg.eigvalsh(hessian(np.array([apart, -apart, 0.0]), rho))[0])
