"""What subtracts a mean and divides by a standard deviation."""
