"""Figures of the methods that people train with now, and of whether their SDEs are right."""
