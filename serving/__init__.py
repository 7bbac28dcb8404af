"""A trained net at work: what of it serves, what it predicts, how good that is."""
