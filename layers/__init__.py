"""The zoo: a folder for each family, a file for each layer type.

Every module below this folder is imported, so adding a type is adding a file.
"""

import importlib
import pkgutil

for _module in pkgutil.walk_packages(__path__, f"{__name__}."):
    importlib.import_module(_module.name)
