"""The wheel holds what git holds, no more and no less, and works without the repository."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def tracked():
    listing = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in listing.stdout.splitlines() if (ROOT / name).exists()]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel built from a copy of the tracked files."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in tracked():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", out, source]
    subprocess.run(build, check=True, cwd=out)
    (path,) = out.glob("*.whl")
    return path


def test_the_wheel_has_every_module_and_config_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        shipped = {name.removeprefix("nettrain/") for name in archive.namelist() if name.startswith("nettrain/")}
    folders = ("commands/", "spec/", "files/", "compute/", "net/", "layers/", "engines/", "data/", "interop/")
    folders += ("ranks/", "serving/", "solver/", "tools/")
    expected = {n for n in tracked() if n.endswith(".py") and (n.startswith(folders) or "/" not in n)}
    expected |= {n for n in tracked() if n.startswith("configs/") and n.endswith(".yaml")}
    expected |= {
        "py.typed",
        "data/digits.npz",
        "interop/caffe/fields.json",
        *(n for n in tracked() if n.startswith("tools/") and n.endswith(".html")),
    }
    assert shipped == expected


def test_an_installed_package_trains_a_bundled_config(wheel, tmp_path):
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    work = tmp_path / "work"
    work.mkdir()
    environment = os.environ | {"PYTHONPATH": str(site)}
    code = "import nettrain, sys; sys.exit(not nettrain.__file__.startswith(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", code, str(site)], cwd=work, env=environment, check=True)
    command = [sys.executable, "-m", "nettrain", "train", "configs/mlp.yaml", "--set", "solver.max_iter=20"]
    done = subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True, check=True)
    assert "done: 20 iterations" in done.stdout


def test_versions_agree():
    import nettrain

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == nettrain.__version__
    assert sorted(d.split(">")[0] for d in project["dependencies"]) == ["click", "numpy", "pyyaml", "tqdm"]


def test_extras_that_are_named_are_there():
    from nettrain.tools.environment import EXTRAS

    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert EXTRAS.keys() == extras.keys()
    files = [ROOT / ".ci" / "run", ROOT / ".ci" / "versions", *ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
    files += [
        path
        for path in ROOT.glob("*/*.py")
        if path.parent.name in ("data", "engines", "layers", "net", "serving", "solver", "tools")
    ]
    for path in files:
        for names in re.findall(r"""(?:nettrain|['"]\.)\[([a-z0-9,]+)\]""", path.read_text()):
            assert extras.keys() >= set(names.split(",")), path


def test_every_layer_is_in_the_changelog():
    import nettrain

    text = (ROOT / "CHANGELOG.md").read_text()
    assert [name for name in nettrain.layer_type_list() if name not in text] == []


def test_every_library_comes_from_an_extra_that_env_looks_for():
    from nettrain.tools.environment import EXTRAS

    files = [ROOT / name for name in tracked() if name.endswith(".py") and not name.startswith("tests/")]
    asked = {names for path in files for names in re.findall(r'\bextra\("([\w.]+)", "(\w+)"', path.read_text())}
    assert {name for _, name in asked} == EXTRAS.keys() - {"onednn", "bench", "dev"}
    for module, name in asked:
        assert module.startswith(EXTRAS[name]) or EXTRAS[name].startswith(f"{module}.")
