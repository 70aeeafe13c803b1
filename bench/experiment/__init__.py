"""Reads an experiment, composes the parts, and writes the run."""
