"""Libraries that are not required are asked for by the names that people install them by."""

import pytest
from nettrain.files.extras import MissingExtraError, extra


@pytest.mark.parametrize(("module", "called"), [("PIL.Nothing", "pillow"), ("sklearn.nothing", "scikit-learn")])
def test_a_missing_library_is_called_what_people_install(module, called):
    with pytest.raises(MissingExtraError, match=f"^a sheet needs {called}; to get it: pip install "):
        extra(module, "images", "a sheet")
