"""Figures of Boffi and Slotine, "A continuous-time analysis of distributed stochastic gradient" (arXiv 1812.10995)."""
