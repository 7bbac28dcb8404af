"""The net as a plain numpy program, which a person reads from top to bottom: ``write`` gives it.

``program`` puts it together; ``code`` has names and gradients, ``writers`` the table of layer types, ``rules`` the
update, ``data`` the batches, ``initial`` the first values; the other modules write the layers, a family each.
"""

from . import (
    activations,
    addressing,
    algebra,
    cells,
    channels,
    images,
    losses,
    margins,
    normalizing,
    over_time,
    resizing,
    scores,
    shapes,
)
from .program import Program, write
from .writers import covered

__all__ = [
    "Program",
    "activations",
    "addressing",
    "algebra",
    "cells",
    "channels",
    "covered",
    "images",
    "losses",
    "margins",
    "normalizing",
    "over_time",
    "resizing",
    "scores",
    "shapes",
    "write",
]
