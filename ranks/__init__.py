"""Several processes that train as one: who they are, what they exchange, and what happens when one of them fails."""
