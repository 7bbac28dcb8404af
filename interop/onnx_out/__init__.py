"""A net leaves as an ONNX model, which anything can serve: ``export``, ``verify``, ``save``."""

from .export import Model, export, save
from .verify import Verified, verify

__all__ = ["Model", "Verified", "export", "save", "verify"]
