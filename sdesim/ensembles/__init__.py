"""Many simulations of many models: grids and their parts."""
