"""Whatever is done to a spec, checking it succeeds or raises NettrainError: quickly, and with a message to print.

What passes the check also runs a batch. Memory and time are limited, so that an absurd size shows as a failure here
and not as a machine that swaps.
"""

import contextlib
import copy
import itertools
import resource
import signal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nettrain.net import registry
from nettrain.net.errors import NettrainError, Problems
from nettrain.net.net import Net
from nettrain.net.netspec import Common, load
from nettrain.net.spec import read_text
from nettrain.solver.parameters import SolverParameters
from nettrain.tools.check import check

CONFIGS = Path(__file__).parent.parent / "configs"
SECONDS = 5  # of computing for one spec; the slowest good one takes 0.1
HEADROOM = 2 << 30  # bytes that checking may take beyond what the process has


def fuzz(examples):
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]
    return settings(max_examples=examples, derandomize=True, deadline=None, database=None, suppress_health_check=checks)


@pytest.fixture(autouse=True, scope="module")
def limited_memory():
    """Allocating more than HEADROOM raises MemoryError (where the system knows such a limit)."""
    statm = Path("/proc/self/statm")
    if not statm.exists():
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_AS)
    limit = int(statm.read_text().split()[0]) * resource.getpagesize() + HEADROOM
    resource.setrlimit(resource.RLIMIT_AS, (limit, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.fixture(autouse=True, scope="module")
def an_empty_folder(tmp_path_factory):
    with contextlib.chdir(tmp_path_factory.mktemp("fuzz")):
        yield


@contextlib.contextmanager
def at_most(seconds):
    def too_long(*_):
        raise AssertionError(f"took longer than {seconds} s")

    before = signal.signal(signal.SIGPROF, too_long)  # counts computing, not waiting for a busy machine
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def outcome(source, options=()):
    """The error message, or "" when the spec is fine; every other exception is a failure of the test."""
    with at_most(SECONDS):
        problems = Problems()
        try:
            spec = load(source, options, problems)
            check(spec, problems)
            with np.errstate(all="ignore"):  # as in training, where the loss is looked at instead
                Net(spec, "TRAIN").run_forward()
        except NettrainError as error:
            message = str(error)
            message.encode()  # half a character could not be printed
            assert message.strip()
            assert len(message) < 100_000
            assert "Traceback" not in message
            return message
    return ""


# Good specs to start from: the bundled ones, and one for each example of each layer type.


def spec_of_example(cls, example):
    names = [f"b{i}" for i in range(len(example.bottoms))]
    least = cls.num_tops if isinstance(cls.num_tops, int) else cls.num_tops[0]
    tops = [f"t{i}" for i in range(least if example.tops is None else example.tops)]
    inputs = [
        {"name": name, "type": "Input", "shape": list(shape)}
        for name, shape in zip(names, example.bottoms, strict=True)
    ]
    layer = {"name": "it", "type": cls.__name__, "bottom": names, "top": tops, **copy.deepcopy(dict(example.params))}
    return {"layers": [*inputs, layer]}


LARGE = ("alexnet.yaml",)  # 61 million parameters take longer to fill than a spec may take here
TEXTS = {
    path.name: path.read_text(encoding="utf-8") for path in sorted(CONFIGS.rglob("*.yaml")) if path.name not in LARGE
}
SPECS = {name: read_text(text, name).to_python() for name, text in TEXTS.items()}
SPECS |= {
    f"{name} {number}": spec_of_example(cls, example)
    for name, cls in registry.types().items()
    for number, example in enumerate(cls.examples)
}
KEYS = {*Common.names(), *SolverParameters.names(), "layers", "solver", "std", "dim", "phase", "train", "stage"}
KEYS = sorted(KEYS.union(*(cls.Parameters.names() for cls in registry.types().values())))


@pytest.mark.parametrize("name", SPECS)
def test_the_specs_to_start_from_are_good(name):
    message = outcome(SPECS[name])
    fine = ("not found", "has no data yet", "allow it with --allow-python")
    assert not message or any(words in message for words in fine)


# Mutations

words = st.sampled_from(["data", "label", "it", "b0", "t0", "ReLU", "Data", "digits", "spiral", "xavier", "TEST", "x"])
numbers = st.sampled_from([0, 1, 2, 3, 5, 64, 300, -1, -2, 0.5, 1.5, -0.1, 1e-300, 1e300, 1e-3])
absurd = st.sampled_from([10**10, 2**31, 2**63, 10**30, -(2**63) - 1, 10**400, float("nan"), float("inf")])
scalars = st.one_of(words, numbers, absurd, st.none(), st.booleans(), st.text(max_size=6))
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3),
    max_leaves=8,
)
changes = st.lists(
    st.tuples(st.sampled_from(["drop", "rename", "repeat", "replace", "add"]), st.integers(0, 999), values),
    min_size=1,
    max_size=3,
)


def containers(value):
    """Every mapping and list below a value."""
    if isinstance(value, dict | list):
        yield value
        for item in value.values() if isinstance(value, dict) else value:
            yield from containers(item)


def change(spec, kind, where, value):
    """Do one thing to one place of plain data; ``where`` chooses the place."""
    places = [(box, key) for box in containers(spec) for key in (box if isinstance(box, dict) else range(len(box)))]
    if not places:
        return
    box, key = places[where % len(places)]
    if kind == "drop":
        del box[key]
    elif kind == "replace":
        box[key] = value
    elif isinstance(box, list):
        box.insert(key, copy.deepcopy(box[key]) if kind == "repeat" else value)
    elif kind == "rename":
        box[KEYS[where % len(KEYS)]] = box.pop(key)
    elif kind == "repeat":
        box[f"{key}s"] = box[key]
    else:
        box[KEYS[where % len(KEYS)]] = value


@fuzz(300)
@given(st.sampled_from(sorted(SPECS)), changes)
def test_a_spec_with_wrong_keys_and_values_is_good_or_an_error(name, changes):
    spec = copy.deepcopy(SPECS[name])
    for kind, where, value in changes:
        change(spec, kind, where, copy.deepcopy(value))
    outcome(spec)


# No digits: 64 becomes 6464646 and takes gigabytes, in earnest.
characters = st.text(st.characters(exclude_categories=["Nd", "Cs"]), min_size=1, max_size=3) | st.sampled_from(
    [
        "{",
        "}",
        "[",
        "]",
        ":",
        ": ",
        "- ",
        ", ",
        "\n",
        "\t",
        "#",
        "&a ",
        "*a",
        "!!",
        "|",
        ">",
        "'",
        '"',
        "%",
        "<<: ",
        "---\n",
    ]
)
edits = st.lists(
    st.tuples(st.sampled_from(["cut", "insert", "delete", "double"]), st.integers(0, 9999), characters),
    min_size=1,
    max_size=3,
)


def edit(text, kind, where, characters):
    """Do one thing to a text, as a slip of the keyboard would."""
    at = where % (len(text) + 1)
    if kind == "cut":
        return text[:at]
    if kind == "insert":
        return text[:at] + characters + text[at:]
    if kind == "delete":
        return text[:at] + text[at + len(characters) :]
    lines = text.split("\n")
    line = where % len(lines)
    return "\n".join([*lines[: line + 1], *lines[line:]])


@fuzz(150)
@given(st.sampled_from(sorted(TEXTS)), edits)
def test_a_text_with_slips_of_the_keyboard_is_good_or_an_error(name, edits):
    text = TEXTS[name]
    for kind, where, characters in edits:
        text = edit(text, kind, where, characters)
    outcome(text + "\n")


targets = st.sampled_from(
    ["solver", "solver.base_lr", "ip1", "ip1.num_output", "digits.top.0", "ip1.param.0.lr_mult", "layers"]
)
options = st.builds(
    lambda target, more, value: f"{target}{more}={value}",
    targets,
    st.sampled_from(["", ".", ".0", ".x", ".²", "..", ".std"]),
    scalars.map(str) | characters,
) | st.text(max_size=8)


@fuzz(100)
@given(options)
def test_any_setting_is_good_or_an_error(option):
    outcome(TEXTS["mlp.yaml"], [option])


# What the mutations found, or would rarely find


@pytest.mark.parametrize(
    "layer",
    [
        {"type": "Pooling", "kernel_size": 100_000, "stride": 1_000_000},
        {"type": "Pooling", "kernel_size": 100_000, "stride": 1_000_000, "pool": "AVE", "pad": 3},
        {"type": "Pooling", "kernel_size": 3, "stride": 2**62},
        {"type": "Convolution", "kernel_size": 3, "num_output": 2, "pad": 10**6},
        {"type": "Convolution", "kernel_size": 3, "num_output": 2, "stride": 2**62},
        {"type": "InnerProduct", "num_output": 2, "weight_filler": 1e300},
        {"type": "InnerProduct", "num_output": 2, "weight_filler": {"type": "gaussian", "std": 1e300}},
        {"type": "InnerProduct", "num_output": 2, "weight_filler": {"type": "uniform", "min": -1e308, "max": 1.7e308}},
        {"type": "InnerProduct", "num_output": 2, "weight_filler": {"type": "gaussian", "sparse": 10**12}},
        {"type": "Input", "shape": [1] * 70, "bottom": []},
        {"type": "Reshape", "shape": [1] * 70},
        {"type": "DummyData", "shape": [0, 3], "data_filler": "xavier", "bottom": []},
        {"type": "DummyData", "shape": [3, 0], "data_filler": "msra", "bottom": []},
        {"type": "DummyData", "shape": [], "data_filler": "positive_unitball", "bottom": []},
    ],
    ids=str,
)
def test_odd_layers_are_good_or_an_error(layer):
    data = {"name": "data", "type": "Input", "shape": [2, 1, 4, 4]}
    outcome({"layers": [data, {"name": "it", **layer}]})


@pytest.mark.parametrize("size", [10**8, 10**10, 10**12, 2**62])
@pytest.mark.parametrize("key", ["examples", "shape"])
def test_generated_data_too_large_for_memory_is_an_error_with_a_place(size, key):
    generate = {"examples": size, "test_examples": 8} if key == "examples" else {"shape": size}
    layer = {"name": "d", "type": "Data", "source": "randn", "batch_size": 8, "generate": generate}
    assert outcome({"layers": [layer]}).startswith("spec.layers[0].generate: Data `d`: ")


def test_an_exception_that_is_a_bug_fails_the_test(monkeypatch):
    def broken(*_, **__):
        raise IndexError("list index out of range")

    monkeypatch.setattr(registry.types()["ReLU"], "reshape", broken)
    with pytest.raises(IndexError):
        outcome(SPECS["ReLU 0"])


def test_a_check_that_does_not_end_fails_the_test():
    with pytest.raises(AssertionError, match="took longer"), at_most(0.05):
        any(number < 0 for number in itertools.count())


def test_memory_is_limited():
    with pytest.raises(MemoryError):
        np.ones(HEADROOM // 4)  # of 8 bytes each
