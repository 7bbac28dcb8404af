"""Of several runs: the list of those that there are, what differs between two, the folds of one spec."""
