"""Stores: sweeps as folders of small files that no kill, no second machine and no full disk can spoil.

Nothing here imports JAX, knows what a simulation is, or runs anything but what it is handed: a store keeps the files of
numbered tasks, whatever these are.
"""
