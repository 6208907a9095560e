"""What theory predicts of coupled agents, as functions that simulations are compared with."""
