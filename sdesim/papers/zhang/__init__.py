"""Figures of Zhang, "Distributed stochastic optimization for deep learning" (arXiv 1605.02216)."""
