"""Products, sums and comparisons of blobs with each other and with parameters."""
