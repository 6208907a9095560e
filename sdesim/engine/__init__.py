"""The machine under a run: what is compiled, for how many lanes at a time, on which path."""

ROUNDING = "2"
"""Another where the same program is rounded otherwise than before: a store that was begun with one is told."""
