"""What people write: specs, --set, formulas, tables, lists of files."""

from __future__ import annotations

import contextlib
import copy
import functools
import io
import json
import math
import random
from pathlib import Path
from typing import Any

import nettrain
import numpy as np
from nettrain.commands.streams import show
from nettrain.net import registry
from nettrain.net.net import Net
from nettrain.net.netspec import load
from nettrain.net.records import Common
from nettrain.solver.parameters import SolverParameters
from nettrain.spec.errors import Problems, printable
from nettrain.spec.reading import read_text
from nettrain.tools import explanation
from nettrain.tools.check import check

from .kinds import Case, Kind, data_spec, make_special, no_number, read_batches, train_spec
from .mutations import edit_text, encode, integer, junk, pick, places, word

CONFIGS = Path(nettrain.__file__).parent / "configs"
LARGE = ("alexnet.yaml", "googlenet.yaml", "resnet18.yaml", "resnet20.yaml", "squeezenet.yaml")  # a pass takes too long
BLOCKS = """\
blocks:
  part:
    parameters: {n: , m: 2 * $n, f: ReLU, word: MAX}
    inputs: [in, skip]
    outputs: [sum]
    layers:
    - {name: ip, type: InnerProduct, num_output: $m + 1, param: {name: $name/w}}
    - {name: act, type: $f, top: ip, include: train}
    - {name: back, type: InnerProduct, num_output: 2}
    - {name: sum, type: Eltwise, bottom: [back, skip], operation: $word}
  whole:
    parameters: {copies: 2}
    layers:
    - {name: part, type: part, bottom: [in, in], n: [2, 3], repeat: $copies, exclude: {stage: none}}
layers:
- {name: data, type: Data, source: spiral, generate: {classes: 2}, batch_size: 4, top: [data, label]}
- {name: a, type: whole, bottom: data, engine: numpy}
- {name: b, type: part, bottom: [a, data], n: 3, m: 5, f: TanH, top: out}
- {name: loss, type: SoftmaxWithLoss, bottom: [out, label]}
"""


def check_spec(source: Any, settings: tuple[str, ...] = ()) -> None:
    """All that `nettrain check` does, and a forward pass. Raises NettrainError."""
    problems = Problems()
    spec = load(source, settings, problems)
    check(spec, problems)
    with np.errstate(all="ignore"):  # as in training, where the loss is checked instead
        Net(spec, "TRAIN").run_forward()


def spec_of_example(cls: Any, example: Any) -> dict[str, Any]:
    """A net of an example of a layer type."""
    names = [f"b{i}" for i in range(len(example.bottoms))]
    least = cls.num_tops if isinstance(cls.num_tops, int) else cls.num_tops[0]
    tops = [f"t{i}" for i in range(least if example.tops is None else example.tops)]
    inputs = [
        {"name": name, "type": "Input", "shape": list(shape)}
        for name, shape in zip(names, example.bottoms, strict=True)
    ]
    layer = {"name": "it", "type": cls.__name__, "bottom": names, "top": tops, **copy.deepcopy(dict(example.params))}
    return {"layers": [*inputs, layer]}


@functools.lru_cache(maxsize=1)
def config_texts() -> dict[str, str]:
    paths = sorted(path for path in CONFIGS.rglob("*.yaml") if path.name not in LARGE)
    return {path.name: path.read_text(encoding="utf-8") for path in paths} | {"blocks.yaml": BLOCKS}


@functools.lru_cache(maxsize=1)
def good_specs() -> dict[str, dict[str, Any]]:
    """The bundled ones, and one for each example of each layer type."""
    found = {name: read_text(text, name).to_python() for name, text in config_texts().items()}
    for name, cls in registry.types().items():
        found |= {f"{name} {number}": spec_of_example(cls, example) for number, example in enumerate(cls.examples)}
    return found


@functools.lru_cache(maxsize=1)
def keys() -> list[str]:
    """Every key that a spec may have."""
    found = {*Common.names(), *SolverParameters.names(), "layers", "solver", "std", "dim", "phase", "train", "stage"}
    return sorted(found.union(*(cls.Parameters.names() for cls in registry.types().values())))


WORDS = ["data", "label", "it", "b0", "t0", "ReLU", "Data", "digits", "spiral", "xavier", "TEST", "x"]
NUMBERS = [0, 1, 2, 3, 5, 64, 300, -1, -2, 0.5, 1.5, -0.1, 1e-300, 1e300, 1e-3]
ABSURD = [10**10, 2**31, 2**63, 10**30, -(2**63) - 1, 10**400, math.nan, math.inf]
SOME_TEXT = ["", "é", "\0", "\ud800", "\n", ": ", "²", "#", "a b", "%", "\x1b", "٣", "🙂", "_", "~", "0x", "1e"]


def value(rng: random.Random, depth: int = 0) -> Any:
    """A value for a key of a spec: of any type, sometimes a sensible one."""
    if depth < 3 and rng.random() < 0.25:
        inner = [value(rng, depth + 1) for _ in range(rng.randrange(4))]
        return inner if rng.random() < 0.5 else {rng.choice(keys()): item for item in inner}
    return rng.choice(rng.choice([WORDS, NUMBERS, ABSURD, [None, True, False], SOME_TEXT]))


def change_spec(rng: random.Random, spec: Any) -> Any:
    """A copy with keys and values dropped, renamed, repeated, replaced, added."""
    spec = copy.deepcopy(spec)
    for _ in range(rng.choice([1, 1, 2, 3])):
        found = places(spec)
        if not found:
            break
        box, key = rng.choice(found)
        match pick(rng, "drop rename repeat replace add"):
            case "drop":
                del box[key]
            case "replace":
                box[key] = value(rng)
            case "rename" if isinstance(box, dict):
                box[rng.choice(keys())] = box.pop(key)
            case "repeat" if isinstance(box, dict):
                box[f"{key}s"] = box[key]
            case what if isinstance(box, list):
                box.insert(key, copy.deepcopy(box[key]) if what == "repeat" else value(rng))
            case _:
                box[rng.choice(keys())] = value(rng)
    return spec


# No digits: 64 becomes 6464646, which really takes gigabytes.
CHARACTERS = ["{", "}", "[", "]", ":", ": ", "- ", ", ", "\n", "\t", "#", "&a ", "*a", "!!", "!x ", "|", ">"]
CHARACTERS += ["'", '"', "%", "<<: "]
CHARACTERS += ["---\n", "...\n", "? ", "@", "`", "\\", "é", "\x85", "\u2028", "\ufeff", "\0", "\x07", "~", "="]
CHARACTERS += ["<", "a", "x", ".", " "]
CHARACTERS += ["[" * 200, "{a: " * 60, "[" * 5000, "- " * 3000, '"\\ud800"', '"\\0"', "&a [*a]"]
CHARACTERS += ["!!python/object:os.system ", "\r", "\ud800"]


def slip(rng: random.Random, text: str) -> str:
    """A text after a few slips of the keyboard."""
    for _ in range(rng.choice([1, 1, 2, 3])):
        at, more = rng.randrange(len(text) + 1), rng.choice(CHARACTERS)
        match pick(rng, "cut put put delete double"):
            case "cut":
                text = text[:at]
            case "put":
                text = text[:at] + more + text[at:]
            case "delete":
                text = text[:at] + text[at + rng.randint(1, 3) :]
            case "double":
                lines = text.split("\n")
                line = rng.randrange(len(lines))
                text = "\n".join([*lines[: line + 1], *lines[line:]])
    return text


class Yaml(Kind):
    """Specs: mappings with wrong keys and values, text with slips of the keyboard."""

    name = "yaml"
    memory = None
    missing = ("not found", "has no data yet", "allow it with --allow-python")

    def seeds(self):
        return sorted(good_specs())

    def good(self, seed):
        return Case({"spec.yaml": json.dumps(good_specs()[seed]).encode()})

    def mutate(self, rng, seed):
        if rng.random() < 0.01:
            return make_special(rng, self.good(seed))
        if seed in config_texts() and rng.random() < 0.7:
            return Case({"spec.yaml": encode(rng, slip(rng, config_texts()[seed]) + "\n")})
        spec = change_spec(rng, good_specs()[seed])
        if rng.random() < 0.7:
            return Case({}, {"spec": spec})
        return Case({"spec.yaml": slip(rng, json.dumps(spec)).encode("utf-8", "replace")})

    def passes_first_check(self, case):
        if "spec" in case.what:
            return True
        import yaml

        try:
            return yaml.compose(case.files["spec.yaml"].decode(), Loader=yaml.SafeLoader) is not None
        except (KeyError, yaml.YAMLError, UnicodeDecodeError, RecursionError):
            return False

    def execute(self, case, folder):
        check_spec(case.what.get("spec", "spec.yaml"))

    def command(self, case):
        return None if "spec" in case.what else ["check", "spec.yaml", "--json"]

    def names(self, case):
        return ["spec"]


class Set(Kind):
    """Options --set of a good spec."""

    name = "set"
    memory = None

    def seeds(self):
        return ["mlp.yaml", "spiral.yaml", "lstm_copy.yaml"]

    def good(self, seed):
        return Case({}, {"spec": seed, "settings": ["solver.base_lr=0.1"]})

    def mutate(self, rng, seed):
        return Case({}, {"spec": seed, "settings": [self.option(rng, seed) for _ in range(rng.choice([1, 1, 1, 2]))]})

    def option(self, rng: random.Random, seed: str) -> str:
        spec = good_specs()[seed]
        layer = rng.choice(spec["layers"])
        named = f"{layer['name']}.{rng.choice(list(layer))}", f"solver.{rng.choice(list(spec['solver']))}"
        target = rng.choice([*named * 3, "solver", "layers", layer["name"], "layers.0", "name"])
        if rng.random() < 0.4:
            target += rng.choice([f".{rng.choice(keys())}", ".0", ".99999", ".x", ".²", "..", "." * 300, ".std.x.0"])
        text = value(rng) if rng.random() < 0.5 else rng.choice(NUMBERS)
        shown = text if isinstance(text, str) else json.dumps(text)
        if rng.random() < 0.2:
            shown = slip(rng, shown)
        if rng.random() < 0.05:
            return slip(rng, f"{target}={shown}")
        return f"{target}={shown}"

    def passes_first_check(self, case):
        return all("=" in option for option in case.what["settings"])

    def execute(self, case, folder):
        # the text of the spec stands for the file, which is one of nettrain's
        check_spec(config_texts()[case.what["spec"]], tuple(case.what["settings"]))

    def command(self, case):
        spec = str(next(CONFIGS.rglob(case.what["spec"])))
        return ["check", spec, *(part for option in case.what["settings"] for part in ("--set", option))]

    def names(self, case):
        return ["--set", "spec"]


# Formulas

FUNCTIONS = ["exp", "log", "sqrt", "abs", "max", "pow", "sigmoid", "tanh", "relu"]
CONSTANTS = ["0", "1", "2", "3", "0.5", "-1", "1e308", "1e-308", "1e400", "10", "0.0", "1.5", "100", "1_0"]
CONSTANTS += ["0x10", "1j", "1e6", "True"]
VALUES = ["0", "1", "-1", "2", "0.5", "-2", "1e6", "-1e6", "1e-300", "1e300", "1,2,3", "-1,0,1", "0,0,0"]
VALUES += ["1,2", "nan", "inf", "1000", "-1000"]


def formula(rng: random.Random, depth: int = 0) -> str:
    """A formula, mostly right."""
    if depth > rng.choice([1, 2, 3, 4]):
        return rng.choice(["x", "y", "z", rng.choice(CONSTANTS)])
    parts = [formula(rng, depth + 1) for _ in range(2)]
    match pick(rng, "sum sum power power divide call call minus"):
        case "sum":
            return f"({parts[0]} {rng.choice('+-*')} {parts[1]})"
        case "power":
            exponent = rng.choice(["2", "3", "-1", "0.5", "-2", "0", "1e9", "-0.5", parts[1]])
            return f"({parts[0]}) ** {exponent}"
        case "divide":
            return f"({parts[0]}) / ({parts[1]})"
        case "minus":
            return f"-{parts[0]}"
    name = rng.choice(FUNCTIONS)
    count = {"max": rng.choice([2, 2, 3, 1]), "pow": 2}.get(name, 1)
    return f"{name}({', '.join(formula(rng, depth + 1) for _ in range(count))})"


TOKENS = ["^", "//", "%", "**", "(", ")", "[0]", ".a", " if x else ", "lambda: ", "=", ":=", "@", "é", "x"]
TOKENS += ["xyz", ",", "'s'", "f'{x}'", "_"]
TOKENS += ["(" * 150, "-" * 300, "x+" * 600, "\0", "\n", "#", "\\", "²", "9" * 400, "9" * 5000, "\ud800"]
TOKENS += ["class", "...", "max()", "*x", "x=1"]


class Expr(Kind):
    """Formulas of explain --expr, and values of their variables."""

    name = "expr"
    memory = None

    def seeds(self):
        return [["x=1", "y=2", "z=3"], ["x=-2", "y=5", "z=-4"], ["x=1,2,3", "y=4", "z=0,0,1"]]

    def good(self, seed):
        return Case({}, {"expr": "(x + y) * z", "assignments": seed})

    def mutate(self, rng, seed):
        text = formula(rng)
        if rng.random() < 0.2:
            at = rng.randrange(len(text) + 1)
            text = text[:at] + rng.choice(TOKENS) + text[at + rng.choice([0, 0, 1]) :]
        values = [f"{one[0]}={rng.choice(VALUES)}" if rng.random() < 0.5 else one for one in seed]
        values = [one for one in values if one[0] in text or rng.random() < 0.03]
        if values and rng.random() < 0.05:
            odd = ["x", "x=", "=1", "x=1=2", "x=a", "x=1,,2", "é=1", "x=1" + ",1" * 5000, "\ud800=1"]
            values[0] = rng.choice([*odd, word(rng), "x=" + word(rng)])
        ways = {"html": rng.random() < 0.1, "sample": rng.choice([None] * 9 + [0])}
        return Case({}, {"expr": text, "assignments": values, **ways})

    def passes_first_check(self, case):
        import ast

        try:
            ast.parse(case.what["expr"].strip(), mode="eval")
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return False
        return True

    def execute(self, case, folder):
        asked = explanation.Question(
            None,
            tuple(case.what["assignments"]),
            case.what["expr"],
            html="page.html" if case.what.get("html") else None,
            sample=case.what.get("sample"),
        )
        answer = explanation.answer(asked, lambda path: load(path))
        answer.report().encode()
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            show(answer.as_json(), True, None)
        json.loads(printed.getvalue(), parse_constant=no_number)

    def command(self, case):
        try:
            case.what["expr"].encode()
        except UnicodeEncodeError:
            return None
        return ["explain", "--expr", case.what["expr"], "--json", "--", *case.what["assignments"]]

    def names(self, case):
        return []


# Tables


class Csv(Kind):
    """Tables with and without a header."""

    name = "csv"

    def seeds(self):
        rows = [f"{i},{i * i / 4},{i % 3}" for i in range(8)]
        columns = [None, None, None, None, "2", "x"]
        heads = ["a,b,label", "a,label,c", "", '"a","b","c"', "\ufeffa,b,label"]
        return [("\n".join([head, *rows] if head else rows) + "\n", column) for head in heads for column in columns]

    def good(self, seed):
        return Case({"t.csv": seed[0].encode()}, {"column": None})

    def mutate(self, rng, seed):
        text, column = seed
        case = Case({"t.csv": text.encode()}, {"column": column})
        if rng.random() < 0.02:
            return make_special(rng, case)
        lines = text.split("\n")
        for _ in range(rng.choice([1, 1, 2, 3])):
            at = rng.randrange(len(lines))
            cells = lines[at].split(",")
            match pick(rng, "cell cell cell cell cell row text column long"):
                case "cell":
                    cells[rng.randrange(len(cells))] = word(rng)
                    lines[at] = ",".join(cells)
                case "row":
                    rows = ["", " ", ",", ",,", "# x", "label", "a,b,label", "1,2", '"1', '"1\n2",3,4']
                    lines.insert(at, rng.choice(rows))
                case "text":
                    lines[at] = edit_text(rng, lines[at], ",", 1)
                case "column":
                    extra = word(rng)
                    lines = [f"{line},{extra}" if line else line for line in lines]
                case "long":
                    more = [",1" * rng.choice([100, 5000]), "1" * rng.choice([5000, 140_000])]
                    lines[at] += rng.choice(more)
        ends = rng.choice(["\n", "\n", "\n", "\r\n", "\r", "\n\n"])
        case.files["t.csv"] = encode(rng, ends.join(lines))
        return case

    def passes_first_check(self, case):
        try:
            return "," in case.files["t.csv"].decode()
        except (UnicodeDecodeError, KeyError):
            return False

    def layer(self, case):
        column = {} if case.what["column"] is None else {"label_column": case.what["column"]}
        return {"type": "Data", "source": "t.csv", "batch_size": 1, **column}

    def execute(self, case, folder):
        read_batches(self.layer(case), folder, batches=3)

    def command(self, case):
        Path("net.yaml").write_text(json.dumps(train_spec(self.layer(case))))
        return ["train", "net.yaml"]


# Lists

NAMES = ["a.png", "b.png", "nothing.png", ".", "..", "/", "/dev/zero", "/dev/null", "/etc/passwd", "fifo"]
NAMES += ["sub", "a.png\0", "\0", "~"]
NAMES += ["x" * 300, "x/" * 3000, "list.txt", "a.h5", "b.h5", "c:\\a.png", "a.png 0", "./a.png", "é.png"]
NAMES += ["\ud800", "*", "loop", "-1", "/proc/self/mem"]


class Lists(Kind):
    """The lists that ImageData, WindowData and HDF5Data read, and what they name."""

    name = "lists"

    @functools.lru_cache  # noqa: B019
    def seeds(self):
        from PIL import Image

        from .databases import _plain, hdf5

        pictures = {}
        for name, size in (("a.png", (8, 6)), ("b.png", (8, 6))):
            buffer = io.BytesIO()
            Image.new("RGB", size, (10, 20, 30)).save(buffer, "png")
            pictures[name] = buffer.getvalue()
        tables = {"a.h5": hdf5(_plain), "b.h5": hdf5(_plain)}
        windows = ["# 0", "a.png", "3", "6", "8", "3", "1 0.9 1 1 4 4", "1 0.1 0 0 7 5", "2 0.2 3 2 6 5"]
        windows += ["# 1", "b.png", "3", "6", "8", "1", "1 0.7 0 0 3 3"]
        return [
            ("ImageData", "a.png 0\nb.png 1\na.png 2\n", pictures),
            ("WindowData", "\n".join(windows) + "\n", pictures),
            ("HDF5Data", "a.h5\nb.h5\n", tables),
        ]

    def good(self, seed):
        kind, text, others = seed
        return Case({"list.txt": text.encode(), **others}, {"type": kind})

    def mutate(self, rng, seed):
        _, text, _ = seed
        case = self.good(seed)
        if rng.random() < 0.02:
            return make_special(rng, case)
        if rng.random() < 0.1:
            case.special["fifo"] = "fifo"
            case.special["loop"] = "link loop"
            case.special["sub"] = "folder"
        lines = text.split("\n")
        for _ in range(rng.choice([1, 1, 2, 3])):
            at = rng.randrange(len(lines))
            words = lines[at].split(" ")
            match pick(rng, "name name word word word line text"):
                case "name":
                    named = [i for i, line in enumerate(lines) if ".png" in line or ".h5" in line] or [at]
                    at = rng.choice(named)
                    words = lines[at].split(" ")
                    words[0] = rng.choice(NAMES)
                    lines[at] = " ".join(words)
                case "word":
                    words[rng.randrange(len(words))] = word(rng) if rng.random() < 0.5 else str(integer(rng))
                    lines[at] = " ".join(words)
                case "line":
                    others = ["", "#", "# 2", "a.png", "a.png 1", "5", "1 0.5 0 0 1 1", str(junk(rng))]
                    lines.insert(at, rng.choice(others))
                case "text":
                    lines[at] = edit_text(rng, lines[at], " ", 1)
        case.files["list.txt"] = encode(rng, rng.choice(["\n", "\n", "\r\n", "\r"]).join(lines))
        case.what["phase"] = rng.choice(["TRAIN", "TEST"])
        return case

    def passes_first_check(self, case):
        try:
            return bool(case.files["list.txt"].decode().strip())
        except (UnicodeDecodeError, KeyError):
            return False

    def layer(self, case):
        more = {
            "ImageData": {"batch_size": 1},
            "WindowData": {"batch_size": 4, "context_pad": 1, "transform": {"crop_size": 5, "mirror": True}},
            "HDF5Data": {"batch_size": 2},
        }
        return {"type": case.what["type"], "source": "list.txt", **more[case.what["type"]]}

    def execute(self, case, folder):
        read_batches(self.layer(case), folder, (case.what.get("phase", "TRAIN"),), batches=3)

    def command(self, case):
        Path("net.yaml").write_text(json.dumps(data_spec(self.layer(case))))
        return ["check", "net.yaml"]

    def names(self, case):
        """Besides these, what the list names: the wrong file may have any name."""
        text = case.files.get("list.txt", b"").decode("utf-8", "replace")
        return [*case.files, *case.special, *(printable(name) for name in text.split())]
