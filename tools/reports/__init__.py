"""Results in words that are longer than a table."""
