"""Measurements in one long table, and where runs are kept."""
