"""The registry: a type is found by its name alone, and only its file is read."""

import subprocess
import sys

import nettrain
import pytest
from nettrain import SpecError, layers
from nettrain.net import registry
from nettrain.spec.declare import Declared, param


def test_every_type_lies_in_a_file_of_its_name():
    for name, cls in registry.types().items():
        assert layers.files()[name.lower()] == cls.__module__


def test_a_net_imports_only_the_files_of_its_own_types():
    code = """
import sys, nettrain
nettrain.Net("layers: [{name: x, type: Input, shape: [2, 3]}, {name: y, type: TanH}]\\n")
print(*sorted(name for name in sys.modules if name.startswith("nettrain.layers.") and name.count(".") == 3))
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    of_input = ["nettrain.layers.data.given", "nettrain.layers.data.input", "nettrain.layers.shape.shapes"]
    assert found == ["nettrain.layers.activation.tanh", *of_input]


def test_a_type_of_the_zoo_cannot_be_taken_before_it_is_used():
    code = """
import nettrain
try:
    @nettrain.register
    class ReLU(nettrain.Layer):
        "Mine."
        examples = (nettrain.Example([(2, 3)]),)
except TypeError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "nettrain.layers.activation.relu has already registered a layer type of this name" in done.stdout


@pytest.mark.parametrize("name", ["relu", "RELU", "Swish2", "functions", "", "a.b", "../relu", "x" * 100_000])
def test_what_is_not_a_type(name):
    assert registry.layer_type(name) is None


@pytest.mark.parametrize(("count", "owners"), [(1, "T0"), (4, "T0, T1, T2, T3"), (5, "T0, T1, T2, T3 …")])
def test_a_key_of_other_types_is_said_to_be_theirs(count, owners):
    for i in range(count):

        class Parameters(Declared):
            warmth: float = param(default=1, doc="how warm")

        members = {"Parameters": Parameters, "__doc__": "A type.", "examples": (nettrain.Example([(2, 3)]),)}
        nettrain.register(type(f"T{i}", (nettrain.Layer,), members))
    layers = [{"name": "x", "type": "Input", "shape": [2]}, {"name": "y", "type": "ReLU", "warmth": 3}]
    with pytest.raises(SpecError) as error:
        nettrain.Net({"layers": layers})
    assert f"ReLU has no key `warmth`; it belongs to {owners}\n" in str(error.value) + "\n"
