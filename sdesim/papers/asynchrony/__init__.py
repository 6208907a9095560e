"""Figures of no one paper: protocols of asynchronous SGD set side by side."""
