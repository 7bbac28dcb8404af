"""Fuzzing: damaged and hostile input of every kind that nettrain reads. ``run.py`` is the command."""
