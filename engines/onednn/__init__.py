"""Layers over oneDNN: a class for each type, with passes of its own that fall back to those of the formula's class."""
