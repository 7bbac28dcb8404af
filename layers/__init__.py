"""The zoo: one file per layer type. Every module of this folder is imported, so adding a type is adding a file."""

import importlib
import pkgutil

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
