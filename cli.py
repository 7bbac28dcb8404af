"""The command line: the program with all its commands. Each module of ``commands/`` adds a group of them."""

from .commands import checking, data, exchanging, looking, training
from .commands.app import main

__all__ = ["checking", "data", "exchanging", "looking", "main", "training"]
