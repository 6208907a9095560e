"""What theory predicts of coupled agents, as functions that simulations are compared with.

bounds: Boffi and Slotine's results, each with its assumptions checked, and the exact laws of linear systems.
curvature: the constants of a loss and of a noise law that the bounds need, certified or estimated.
meanfield: the limit of infinitely many agents in one dimension, and how finitely many fluctuate about it.
"""

from sdesim.theory import bounds, curvature, meanfield

__all__ = ["bounds", "curvature", "meanfield"]
