"""Nets over time: the cells with their loops, and cells that are written out in a spec."""
