"""Instruments: one file each, behind small interfaces."""
