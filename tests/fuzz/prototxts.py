"""Nets and solvers of Caffe's, as text of all generations and in binary.

Each kind gives its files to the commands that a person gives them to; most cases call the functions below those.
"""

from __future__ import annotations

import contextlib
import functools
import random
import re
from pathlib import Path
from typing import Any

from nettrain.interop.caffe import binary, specs, text, text_out
from nettrain.interop.caffe.binding import Binder
from nettrain.interop.caffe.classes import classes
from nettrain.interop.caffe.message import Message
from nettrain.interop.caffe.out import to_caffe
from nettrain.interop.caffe.schema import messages
from nettrain.interop.convert import Options, convert
from nettrain.net import registry
from nettrain.net.netspec import load
from nettrain.spec.errors import NettrainError, Problems

from .kinds import Case, Kind, make_special
from .mutations import damage, edit_text, encode, pick
from .texts import check_spec, slip, spec_of_example, value
from .wires import bad_message

# Nets and solvers as text

V2 = """\
name: "second"  # a comment
state { phase: TRAIN stage: "easy" }
layer { name: "data" type: "DummyData" top: "data" top: "label"
  dummy_data_param { shape { dim: 4 dim: 3 dim: 8 dim: 8 } shape { dim: 4 }
    data_filler { type: "gaussian" std: 1 } data_filler { type: "constant" value: 1 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" param { name: "w" lr_mult: 1 } param { lr_mult: 2 }
  convolution_param { num_output: 4 kernel_size: 3 pad: 1 stride: 2 weight_filler { type: "xavier" } } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" batch_norm_param { use_global_stats: false } }
layer { name: "scale" type: "Scale" bottom: "conv" top: "conv" scale_param { bias_term: true axis: 1 } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" relu_param { negative_slope: 0.1 } }
layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool" pooling_param { pool: AVE kernel_size: 2 stride: 2 } }
layer { name: "split" type: "Slice" bottom: "pool" top: "a" top: "b" slice_param { axis: 1 slice_point: 2 } }
layer { name: "join" type: "Concat" bottom: "a" bottom: "b" top: "join" concat_param { axis: 1 } }
layer { name: "sum" type: "Eltwise" bottom: "join" bottom: "pool" top: "sum" eltwise_param { coeff: 1 coeff: -1 } }
layer { name: "ip" type: "InnerProduct" bottom: "sum" top: "ip" inner_product_param { num_output: 3 } }
layer { name: "drop" type: "Dropout" bottom: "ip" top: "ip" include { phase: TRAIN not_stage: "hard" } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" loss_weight: 1
  loss_param { ignore_label: 2 normalize: true } }
layer { name: "acc" type: "Accuracy" bottom: "ip" bottom: "label" top: "acc" include { phase: TEST } }
"""
V1 = """\
name: 'first'
input: "data" input_dim: 2 input_dim: 3 input_dim: 8 input_dim: 8
layers { name: "conv" type: CONVOLUTION bottom: "data" top: "conv" blobs_lr: 1 blobs_lr: 2 weight_decay: 1
  convolution_param { num_output: 4 kernel_size: 3 weight_filler: < type: "gaussian", std: 0.01 > } };
layers { name: "relu" type: RELU bottom: "conv" top: "conv" }
layers { name: "norm" type: LRN bottom: "conv" top: "norm" lrn_param { local_size: 3 alpha: 1e-4 norm_region: 1 } }
layers { name: "pool" type: POOLING bottom: "norm" top: "pool" pooling_param { pool: MAX kernel_size: 3 stride: 2 } }
layers { name: "ip" type: INNER_PRODUCT bottom: "pool" top: "ip" inner_product_param { num_output: 0x3 } }
layers { name: "prob" type: SOFTMAX bottom: "ip" top: "prob" }
"""
V0 = """\
name: "zeroth"
input: "data"
input_dim: 2
input_dim: 3
input_dim: 8
input_dim: 8
layers { layer { name: "pad" type: "padding" pad: 1 } bottom: "data" top: "pad" }
layers { layer { name: "conv" type: "conv" num_output: 4 kernelsize: 3 group: 1 stride: 1
  weight_filler { type: "xavier" } bias_filler { type: "constant" value: 0.2 } blobs_lr: 1. weight_decay: 0. }
  bottom: "pad" top: "conv" }
layers { layer { name: "relu" type: "relu" } bottom: "conv" top: "conv" }
layers { layer { name: "pool" type: "pool" pool: MAX kernelsize: 2 stride: 2 } bottom: "conv" top: "pool" }
layers { layer { name: "ip" type: "innerproduct" num_output: 3 biasterm: true } bottom: "pool" top: "ip" }
layers { layer { name: "prob" type: "softmax" } bottom: "ip" top: "prob" }
"""
FORK = """\
name: "fork"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: [1, 4, 8, 8] } } }
layer { name: "dw" type: "ConvolutionDepthwise" bottom: "data" top: "dw" convolution_param {
  num_output: 4 kernel_size: 3 pad: 1 } }
layer { name: "bn" type: "BN" bottom: "dw" top: "bn" bn_param { bn_mode: INFERENCE } }
layer { name: "relu6" type: "ReLU6" bottom: "bn" top: "relu6" }
layer { name: "pool" type: "Pooling" bottom: "relu6" top: "pool" pooling_param { kernel_size: 2 ceil_mode: false } }
layer { name: "shuffle" type: "ShuffleChannel" bottom: "pool" top: "shuffle" shuffle_channel_param { group: 2 } }
layer { name: "order" type: "Permute" bottom: "shuffle" top: "order" permute_param { order: [0, 2, 3, 1] } }
layer { name: "up" type: "Interp" bottom: "shuffle" top: "up" interp_param { height: 7 width: 7 } }
"""
SOLVER = """\
net: "net.prototxt"
base_lr: 0.01 momentum: 0.9 weight_decay: 5e-4
lr_policy: "multistep" gamma: 0.1 stepvalue: 5 stepvalue: 8
max_iter: 10 test_iter: 1 test_interval: 5 display: 2 snapshot: 5 snapshot_prefix: "it"
test_state { stage: "easy" } solver_mode: CPU type: "SGD" random_seed: 3
"""
SOLVER_WITHIN = (
    f'train_net_param {{ {V2} }} base_lr: 0.1 lr_policy: "fixed" max_iter: 2 solver_type: ADAM momentum2: 0.99'
)


@functools.lru_cache(maxsize=1)
def nets() -> dict[str, str]:
    """Texts of all generations, and of the first example of each type of layer that Caffe has too."""
    found = {"v2": V2, "v1": V1, "v0": V0, "fork": FORK}
    for name, cls in registry.types().items():
        with contextlib.suppress(NettrainError):  # Caffe has no equal, or reads files
            written = text_out.to_text(to_caffe(load(spec_of_example(cls, cls.examples[0])), lambda *_: "data").net)
            specs.read_spec(written.encode(), Path("net"), "net", problems := Problems())
            problems.raise_if_any()
            if "source:" not in written:
                found[name] = written
    return found


def as_message(written: str, kind: str = "NetParameter") -> Message:
    """The message of a text."""
    problems = Problems()
    document = text.parse(written, "net", problems)
    made = Binder(problems, []).message(kind, document.fields, document.fields[0].place)
    problems.raise_if_any()
    return made


@functools.lru_cache(maxsize=1)
def field_names() -> list[str]:
    """All that may stand before a colon."""
    return sorted({name for fields in messages().values() for name in fields})


MARKS = ["{", "}", "<", ">", "[", "]", ":", ",", ";", '"', "'", "#", "\\", "\n", "{}", "[]", "- ", "-", "\0", "\x1b[2J"]
MARKS += ["layer {}", "layer { name: 1 }", "include { phase: X }", "{ " * 60, "a { " * 300, "[" * 300, '"\\777\\xff"']
MARKS += ['"\\ud800"', '"a" "b"', "1e400", "nan", "inf", "-inf", "0x", "0777", "1f", "1.f", "9" * 400, "9" * 5000, "é"]
MARKS += ["[a.b.c]: 1", "\ufeff", "\r", "\u2028", "true", "TRUE", "t", "MAX", "item { }", "!", "@", "$x", "//"]


FIELD = re.compile(r"""(\w+)\s*(?::\s*("[^"\n]*"|'[^'\n]*'|[^\s{}<>\[\],;"']+)|(?=[:\s]*[{<]))""")


def bad_text(rng: random.Random, written: str) -> str:
    """A text with other names, values, marks and lines."""
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        fields = list(FIELD.finditer(written))
        one = rng.choice(fields) if fields else None
        match pick(rng, "value value value value value value name name mark edit slip drop twice"):
            case "value" if one and one[2]:
                written = written[: one.start(2)] + other_value(rng, one[2]) + written[one.end(2) :]
            case "name" if one:
                near = [one[1] for one in fields] if rng.random() < 0.5 else field_names()
                written = written[: one.start(1)] + rng.choice(near) + written[one.end(1) :]
            case "mark" if one:
                at = rng.choice([one.start(), one.end()])
                written = written[:at] + rng.choice(MARKS) + written[at:]
            case "edit":
                written = edit_text(rng, written, " \n:{}", 1)
            case "slip":
                written = slip(rng, written)
            case "drop" if one:
                written = written[: one.start()] + written[one.end() :]
            case "twice" if one:
                at = rng.choice(fields).start()
                copied = written[one.start() : one.end() + rng.choice([0, 0, 0, 30, 200])]
                written = f"{written[:at]}{copied} {written[at:]}"
    return written


def other_value(rng: random.Random, old: str) -> str:
    """Another value, of the same kind more often than not; no number that really asks for gigabytes."""
    new = value(rng, 3)
    if rng.random() < 0.1:
        return rng.choice(MARKS)
    if old[0] in "\"'":
        texts = re.findall(r'"[A-Za-z0-9]*"', V2 + V1 + FORK)
        return rng.choice(texts) if rng.random() < 0.6 else f'"{new}"'
    if old[0].isalpha():
        return rng.choice(["TRAIN", "TEST", "MAX", "AVE", "true", "false", "SUM", "PROD", "RELU", "0", "1", str(new)])
    return rng.choice(["0", "1", "2", "3", "-1", "0.5", "1e-3", "8", "9", "300", str(new)])


class Model(Kind):
    """What all kinds of this module share: they go to commands more often, which must end with the right code."""

    command_share = 0.2
    exit_codes = (0, 2, 3)
    main: str  # the file that is damaged

    def mutate(self, rng, seed):
        case = self.good(seed)
        if rng.random() < 0.01:
            return make_special(rng, case)
        case.what["way"] = rng.choice(self.ways)
        case.files[self.main] = self.damaged(rng, case.files[self.main], seed)
        return case

    ways: tuple[str, ...] = ("load",)

    def damaged(self, rng: random.Random, raw: bytes, seed: Any) -> bytes:
        raise NotImplementedError

    def convert(self, case: Case, target: str, options: Options | None = None) -> None:
        convert(self.main, f"out.{target}", options or Options())


class Prototxt(Model):
    """Nets and solvers of Caffe's as text."""

    name = "prototxt"
    memory = None
    main = "main.prototxt"
    ways = ("load", "load", "yaml", "summary", "prototxt")
    missing = ("allow it with --allow-python", "has no data yet", "not found", "no such")

    @functools.lru_cache  # noqa: B019
    def seeds(self):
        return [*nets().values(), SOLVER, SOLVER_WITHIN, V2, V1, V0, FORK, V2, V1, V0, FORK]

    def good(self, seed):
        return Case({self.main: seed.encode(), "net.prototxt": V2.encode()})

    def damaged(self, rng, raw, seed):
        return encode(rng, bad_text(rng, seed))

    def mutate(self, rng, seed):
        case = super().mutate(rng, seed)
        if seed == SOLVER and rng.random() < 0.3:
            case.files["net.prototxt"] = encode(rng, bad_text(rng, V2))
        return case

    def passes_first_check(self, case):
        try:
            written = case.files.get(self.main, b"").decode()
        except UnicodeDecodeError:
            return False
        return written.count("{") == written.count("}") > 0 or "base_lr" in written

    def execute(self, case, folder):
        match case.what.get("way", "load"):
            case "yaml" | "prototxt" as target:
                self.convert(case, target, Options(force=True))
            case _:
                check_spec(self.main)

    def command(self, case):
        way = case.what.get("way", "load")
        if way in ("yaml", "prototxt"):
            return ["convert", self.main, "--to", f"out.{way}"]
        return ["summary", self.main, "--json"] if way == "summary" else ["check", self.main, "--json"]

    def names(self, case):
        return ["main", "net"]


class BinaryNet(Prototxt):
    """Nets of Caffe's in binary, without weights."""

    name = "binarynet"
    main = "main.binary"
    ways = ("load", "load", "yaml", "summary")

    @functools.lru_cache  # noqa: B019
    def seeds(self):
        texts = {name: one for name, one in nets().items() if name != "fork"}  # whose fields have no numbers
        return [b"".join(binary.write(as_message(one))) for one in [*texts.values(), V2, V1, V0, V2, V1, V0]]

    def good(self, seed):
        return Case({self.main: seed})

    def damaged(self, rng, raw, seed):
        return damage(rng, raw) if rng.random() < 0.1 else bad_message(rng, raw)

    def mutate(self, rng, seed):
        return Model.mutate(self, rng, seed)

    def passes_first_check(self, case):
        return parses(classes()["NetParameter"], case.files.get(self.main, b""))


def parses(kind: Any, raw: bytes) -> bool:
    """Whether protobuf takes these bytes for such a message."""
    try:
        kind.FromString(raw)
    except Exception:  # protobuf's own
        return False
    return bool(raw)
