"""The machine under a run: what is compiled, for how many lanes at a time, on which path."""
