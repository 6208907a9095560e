"""Figures after Yu, Chen and Poor, "Distributed stochastic gradient descent with staleness" (arXiv 2406.11159)."""
