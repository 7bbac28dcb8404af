"""Layers over oneDNN: a class for each type that overrides the passes of the formula's class, and falls back to them."""
