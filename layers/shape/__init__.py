"""Values that move, unchanged: cut, joined, chosen, repeated, reshaped."""
