"""What theory predicts of coupled agents, as functions that simulations are compared with.

bounds: Boffi and Slotine's results, each with its assumptions checked, and the exact laws of linear systems.
curvature: the constants of a loss and of a noise law that the bounds need, certified or estimated.
"""

from sdesim.theory import bounds, curvature

__all__ = ["bounds", "curvature"]
