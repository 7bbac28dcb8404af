"""The solver: its parameters, update rules, learning-rate policies, the training loop and snapshots."""
