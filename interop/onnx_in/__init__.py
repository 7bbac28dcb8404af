"""ONNX's models as specs and parameters: ``read`` is all that others need.

Nothing of a model is run, and no library reads it: its bytes are taken apart by ``messages`` and ``tensors``, ``graph``
writes functions out, ``converter`` goes through the nodes with the operations of ``folding``, ``shapes``, ``elements``,
``products``, ``images`` and ``sequences``, and ``builder`` holds what was made. ``reading`` puts them together.
"""

from .reading import Read, read

__all__ = ["Read", "read"]
