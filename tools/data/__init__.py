"""What `nettrain data` does with people's own data."""
