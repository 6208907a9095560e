"""Figures after Regatti et al., "Distributed SGD generalizes well under asynchrony" (arXiv 1909.13391)."""
