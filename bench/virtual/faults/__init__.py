"""Faults on purpose, at the wire: nothing above the board layer can tell them from real ones."""
