"""Data sets and transforms that the data layers read from."""
