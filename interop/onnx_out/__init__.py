"""A net leaves as an ONNX model, which anything can serve: ``export``, ``verify``, ``save``."""

from .exporting import Model, export, save
from .verifying import Verified, verify

__all__ = ["Model", "Verified", "export", "save", "verify"]
