"""Choosing w*: which parameters are worth training under the memory budget of the weakest board."""
