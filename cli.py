"""The command line: the program with all its commands. Each module of ``commands/`` adds a group of them."""

from .commands import checking, exchanging, looking, predicting, training
from .commands.app import main

__all__ = ["checking", "exchanging", "looking", "main", "predicting", "training"]
