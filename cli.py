"""The command line: the program with all its commands. Each module of ``commands/`` adds a group of them."""

from .commands import beginning, checking, data, exchanging, looking, predicting, training
from .commands.app import main

__all__ = ["beginning", "checking", "data", "exchanging", "looking", "main", "predicting", "training"]
