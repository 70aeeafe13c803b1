"""Exact placement: a branch and bound in C++ (solver.hpp says how it works), compiled on first use.

library.py drives it; minimise.py searches for the lowest peak with it.
"""
