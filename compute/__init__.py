"""What a formula runs on: memory, threads, matrix products."""
