"""What training makes small, and the scores that say how good it is."""
