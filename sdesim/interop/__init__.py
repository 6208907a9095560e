"""Models and rules in the terms of other libraries: optax transformations, diffrax terms."""
