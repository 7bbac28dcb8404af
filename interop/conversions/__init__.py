"""What `nettrain convert` does, a module for each family of targets."""
