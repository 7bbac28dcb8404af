"""ONNX's models as specs and parameters: ``read`` is all that others need.

Nothing of a model is run, and no library reads it: its bytes are taken apart by ``messages`` and ``tensors``,
``graph`` writes functions out, ``converter`` goes through the nodes, and ``builder`` holds the layers; ``names`` has
what they are called, ``sharing`` which have parameters in common, ``metadata`` what nettrain said when it exported.
What a kind of node becomes is in ``folding`` (constants), ``shapes``, ``parts``, ``reductions``, ``activations``,
``arithmetic``, ``products``, ``images``, ``resizing``, ``normalizations``, ``sequences``, ``loops`` and ``gated``.
``reading`` puts all together.
"""

from .reading import Read, read

__all__ = ["Read", "read"]
