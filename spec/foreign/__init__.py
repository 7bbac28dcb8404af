"""Words of Caffe's forks, PyTorch, Keras, TensorFlow, ONNX and darknet, each with advice on what to write here instead.

The modules hold pairs: advice, and the words that it is given for.
"""

from __future__ import annotations

from ..advice import Table, table
from . import arithmetic_layers, choices, data_layers, image_layers, keys, loss_layers

TYPES: Table = table(*image_layers.TYPES, *arithmetic_layers.TYPES, *loss_layers.TYPES, *data_layers.TYPES)
KEYS: Table = table(*keys.KEYS)  # of layers
TOP: Table = table(*keys.TOP)  # of a whole spec
CHOICES: Table = table(*choices.CHOICES)
DATA_SETS = frozenset(data_layers.DATA_SETS.split())
