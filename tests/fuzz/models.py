"""Other programs' models: Caffe's weights, solver states and means, safetensors, ONNX.

One file, as all of them are given to the same commands, and most hold the same parameters.
"""

from __future__ import annotations

import contextlib
import functools
import json
import random
import struct
from pathlib import Path
from typing import Any

import numpy as np
from nettrain.files.reading import read_bytes
from nettrain.interop.caffe import binary, weights
from nettrain.interop.caffe.classes import classes
from nettrain.interop.caffe.message import Message, message
from nettrain.interop.caffe.solver_state import restore_state, write_state
from nettrain.interop.convert import Options, convert
from nettrain.net.net import Net
from nettrain.net.netspec import load
from nettrain.solver.solver import Solver

from .databases import hdf5, odd_dataset
from .kinds import Case, read_batches, train_spec
from .mutations import change_data, damage, integer, pick
from .prototxts import Model, parses
from .wires import bad_message

# Weights

NET = {
    "name": "weights",
    "layers": [
        {"name": "data", "type": "Input", "shape": [2, 3, 5, 5]},
        {"name": "conv", "type": "Convolution", "num_output": 4, "kernel_size": 3},
        {"name": "bn", "type": "BatchNorm"},
        {"name": "ip", "type": "InnerProduct", "num_output": 2},
    ],
}


@functools.lru_cache(maxsize=1)
def parameters() -> dict[str, np.ndarray]:
    """Those of the net above."""
    rng, net = np.random.default_rng(1), Net(NET, "TEST")  # type: ignore[arg-type]
    return {
        f"param/{name}/{i}": rng.random(blob.shape, dtype=np.float32) + 1
        for name, blobs in net.params.items()
        for i, blob in enumerate(blobs)
    }


def generations() -> list[bytes]:
    """The parameters as each generation of Caffe wrote them."""
    second = b"".join(weights.caffemodel(parameters(), "net"))
    typed = classes()["NetParameter"].FromString(second)
    for layer, kind in zip(typed.layer, ("Convolution", "BatchNorm", "InnerProduct"), strict=True):
        layer.type = kind
    blobs: dict[str, list[Message]] = {}
    for key, array in parameters().items():
        blob = weights.blob_of(array)
        blob.take("shape")
        sizes = (1,) * (4 - array.ndim) + array.shape
        for name, size in zip(("num", "channels", "height", "width"), sizes, strict=True):
            blob.add(name, size)
        blobs.setdefault(weights.layer_of(key)[0], []).append(blob)
    first, zeroth = message("NetParameter", name="net"), message("NetParameter", name="net")
    for name, own in blobs.items():
        first.add("layers", message("V1LayerParameter", name=name, type="CONVOLUTION", blobs=own))
        inner = message("V0LayerParameter", name=name, type="conv", blobs=own)
        zeroth.add("layers", message("V1LayerParameter", layer=inner))
    return [second, typed.SerializeToString(), *(b"".join(binary.write(net)) for net in (first, zeroth))]


class Weights(Model):
    """A file of weights, which a net takes or which becomes another one."""

    exit_codes = (0, 2, 3, 4)  # 4: with weights that are not finite no two libraries agree
    ways = ("load", "load", "npz", "h5", "safetensors", "caffemodel", "yaml", "prototxt", "onnx")

    def good(self, seed):
        return Case({self.main: seed, "net.yaml": json.dumps(NET).encode()})

    def execute(self, case, folder):
        way = case.what.get("way", "load")
        if way == "load":
            net = Net(NET, "TEST")  # type: ignore[arg-type]
            net.copy_from(self.main)
            with np.errstate(all="ignore"):
                net.run_forward()
        elif way in ("prototxt", "onnx"):
            convert("net.yaml", f"out.{way}", Options(weights=self.main))
        else:
            self.convert(case, way)

    def command(self, case):
        way = case.what.get("way", "load")
        if way == "load":
            return ["test", "net.yaml", "--weights", self.main]
        if way in ("prototxt", "onnx"):
            return ["convert", "net.yaml", "--weights", self.main, "--to", f"out.{way}"]
        return [
            "summary" if way == "yaml" else "convert",
            self.main,
            *([] if way == "yaml" else ["--to", f"out.{way}"]),
        ]

    def names(self, case):
        return [self.main, "out."]


class Caffemodel(Weights):
    """Of all generations."""

    name = "caffemodel"
    main = "w.caffemodel"

    @functools.lru_cache  # noqa: B019
    def seeds(self):
        return generations()

    def damaged(self, rng, raw, seed):
        return damage(rng, raw) if rng.random() < 0.1 else bad_message(rng, raw)

    def passes_first_check(self, case):
        return parses(classes()["NetParameter"], case.files.get(self.main, b""))


def bad_hdf5(rng: random.Random, raw: bytes, fill: Any, places: list[str]) -> bytes:
    """A file with bytes damaged, or with something else in one of these places."""
    if rng.random() < 0.4:
        return damage(rng, raw, 2, start=rng.choice([0, 8, 100, 500]))

    def odd(file: Any) -> None:
        fill(file)
        for _ in range(rng.choice([1, 1, 2])):
            name = rng.choice(places)
            near = [name] * 3 + [f"{name}x", f"{name.rpartition('/')[0]}/7", "a/" * 30 + "0", "data/é/0"]
            new = rng.choice(near) if rng.random() < 0.9 else ""
            with contextlib.suppress(Exception):  # h5py's, whatever they are: what was made before is in the way
                if name in file:
                    del file[name]
                if new:
                    odd_dataset(rng, file, new)

    return hdf5(odd)


class H5Weights(Weights):
    """Caffe's weights in HDF5."""

    name = "caffemodel.h5"
    main = "w.caffemodel.h5"

    def fill(self, file: Any) -> None:
        for key, array in parameters().items():
            file[key.replace("param", "data")] = array

    def packed(self, file: Any) -> None:
        for key, array in parameters().items():
            file.create_dataset(key.replace("param", "data"), data=array, compression="gzip", shuffle=True)

    @functools.lru_cache  # noqa: B019
    def seeds(self):
        return [hdf5(self.fill), hdf5(self.packed), hdf5(self.fill, libver="latest")]

    def damaged(self, rng, raw, seed):
        places = [key.replace("param", "data") for key in parameters()] + ["data", "data/conv"]
        return bad_hdf5(rng, raw, rng.choice([self.fill, self.packed]), places)

    def passes_first_check(self, case):
        return case.files.get(self.main, b"").startswith(b"\x89HDF\r\n\x1a\n")


def safetensors(header: Any, body: bytes, length: int | None = None) -> bytes:
    """A file whose header's length is right, unless another one is given."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode("utf-8", "replace")
    return struct.pack("<Q", (len(raw) if length is None else length) % 2**64) + raw + body


class Safetensors(Weights):
    """Weights by PyTorch's names."""

    name = "safetensors"
    main = "w.safetensors"

    @functools.lru_cache  # noqa: B019
    def seeds(self):
        import safetensors.numpy as library

        def of(names: dict[str, str], dtype: str = "f4") -> bytes:
            return library.save({new: parameters()[f"param/{old}"].astype(dtype) for new, old in names.items()})

        plain = {"conv.weight": "conv/0", "conv.bias": "conv/1", "ip.weight": "ip/0", "ip.bias": "ip/1"}
        norm = {"bn.running_mean": "bn/0", "bn.running_var": "bn/1"}
        whole = of(plain | norm)
        half = of(plain, "f2")
        size = int.from_bytes(half[:8], "little")
        brain = safetensors(half[8 : 8 + size].replace(b'"F16"', b'"BF16"'), half[8 + size :])
        numbered = of(
            {key.removeprefix("param/").replace("/", "."): key.removeprefix("param/") for key in parameters()}
        )
        return [whole, half, brain, of(plain, "f8"), numbered]

    def damaged(self, rng, raw, seed):
        size = int.from_bytes(raw[:8], "little")
        header, body, length = json.loads(raw[8 : 8 + size]), raw[8 + size :], None
        match pick(rng, "header header header entry entry entry entry rename text bytes length body"):
            case "header":
                header = change_data(rng, header)
            case "entry":
                entry = header[rng.choice(list(header))]
                match pick(rng, "dtype shape shape offsets offsets"):
                    case "dtype":
                        entry["dtype"] = rng.choice(
                            ["F64", "F16", "BF16", "I64", "I32", "BOOL", "U8", "F8_E5M2", "x", 5]
                        )
                    case "shape":
                        entry["shape"] = rng.choice([[], [integer(rng)], [*entry["shape"], 1], [0, 2**62], [2**32] * 2])
                    case "offsets":
                        at = rng.randrange(2)
                        entry["data_offsets"][at] = rng.choice([integer(rng), entry["data_offsets"][at] + 4])
            case "rename":
                names = [
                    "conv.weight",
                    "conv.2",
                    "x",
                    ".weight",
                    "bn.weight_ih_l0",
                    "a.b.weight",
                    "é.weight",
                    "\x1b.bias",
                ]
                header[rng.choice([*names, "__metadata__", "\ud800.weight"])] = header.pop(rng.choice(list(header)))
            case "text":
                new = [b"{}", b"[]", b"null", b"{", b'{"a":' * 5000, b'{"x": 1e400}', b"{\xff}", b" " * 1000 + b"{}"]
                return safetensors(rng.choice(new), body)
            case "bytes":
                return damage(rng, raw)
            case "length":
                length = integer(rng) if rng.random() < 0.5 else size + rng.choice([-1, 1, 8])
            case "body":
                body = rng.choice([body[:-1], body + b"x", b"", damage(rng, body)])
        return safetensors(header, body, length)

    def passes_first_check(self, case):
        raw = case.files.get(self.main, b"")
        try:
            return isinstance(json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")]), dict)
        except (ValueError, RecursionError, OverflowError, MemoryError):
            return False


# Solver states


TRAINED = train_spec({"type": "Data", "source": "spiral", "batch_size": 6})
TRAINED["solver"] |= {"momentum": 0.9, "max_iter": 8, "test_interval": 0}


@functools.lru_cache(maxsize=1)
def left_by_caffe() -> tuple[bytes, bytes]:
    """A state after two iterations, and the weights that it names."""
    import tempfile

    solver = Solver(TRAINED)
    solver.step(2)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "it.solverstate"
        write_state(solver, path, "it.caffemodel")
        arrays = {f"param/ip/{i}": blob.data for i, blob in enumerate(solver.net.params["ip"])}
        return read_bytes(path), b"".join(weights.caffemodel(arrays))


class State(Model):
    """Where Caffe's solver was, and the weights that are named there."""

    name = "solverstate"
    main = "it.solverstate"
    ways = ("resume",)

    @functools.lru_cache  # noqa: B019
    def seeds(self):
        return [left_by_caffe()]

    def good(self, seed):
        state, model = seed
        return Case({self.main: state, "it.caffemodel": model, "net.yaml": json.dumps(TRAINED).encode()})

    def damaged(self, rng, raw, seed):
        return damage(rng, raw) if rng.random() < 0.1 else bad_message(rng, raw)

    def mutate(self, rng, seed):
        case = super().mutate(rng, seed)
        if rng.random() < 0.1 and "it.caffemodel" in case.files:
            case.files["it.caffemodel"] = bad_message(rng, case.files["it.caffemodel"])
        return case

    def passes_first_check(self, case):
        return parses(classes()["SolverState"], case.files.get(self.main, b""))

    def execute(self, case, folder):
        solver = Solver(TRAINED)
        restore_state(solver, Path(self.main))
        solver.max_iter = min(solver.max_iter, solver.iter + 1)
        with np.errstate(all="ignore"):
            solver.step(1)

    def command(self, case):
        return ["train", "net.yaml", "--resume", self.main]

    def names(self, case):
        return ["it.", "diverged", "net.yaml"]


class H5State(State):
    """The same in HDF5."""

    name = "solverstate.h5"
    main = "it.solverstate.h5"

    def fill(self, file: Any) -> None:
        state = classes()["SolverState"].FromString(left_by_caffe()[0])
        file["iter"], file["current_step"] = np.array([state.iter], np.int32), np.array([0], np.int32)
        file["learned_net"] = np.bytes_("it.caffemodel")
        for i, blob in enumerate(state.history):
            file[f"history/{i}"] = np.array(blob.data, np.float32).reshape(tuple(blob.shape.dim))

    @functools.lru_cache  # noqa: B019
    def seeds(self):
        return [(hdf5(self.fill), left_by_caffe()[1])]

    def damaged(self, rng, raw, seed):
        return bad_hdf5(rng, raw, self.fill, ["iter", "learned_net", "history", "history/0", "history/1"])

    def passes_first_check(self, case):
        return case.files.get(self.main, b"").startswith(b"\x89HDF\r\n\x1a\n")


# Means


class Mean(Model):
    """A mean image of Caffe's."""

    name = "binaryproto"
    main = "mean.binaryproto"
    ways = ("load", "npy")

    @functools.lru_cache  # noqa: B019
    def seeds(self):
        made = []
        for legacy in (True, False):
            blob = classes()["BlobProto"](data=np.arange(64.0))
            if legacy:
                blob.num, blob.channels, blob.height, blob.width = 1, 1, 8, 8
            else:
                blob.shape.dim[:] = [1, 8, 8]
            made.append(blob.SerializeToString())
        return [
            *made,
            classes()["BlobProto"](double_data=np.ones(64), num=1, channels=1, height=8, width=8).SerializeToString(),
        ]

    def good(self, seed):
        return Case({self.main: seed})

    def damaged(self, rng, raw, seed):
        return damage(rng, raw) if rng.random() < 0.1 else bad_message(rng, raw)

    def passes_first_check(self, case):
        return parses(classes()["BlobProto"], case.files.get(self.main, b""))

    def layer(self) -> dict[str, Any]:
        return {"type": "Data", "source": "digits", "batch_size": 2, "transform": {"mean_file": self.main}}

    def execute(self, case, folder):
        if case.what.get("way") == "npy":
            self.convert(case, "npy")
        else:
            read_batches(self.layer(), folder, batches=1)

    def command(self, case):
        if case.what.get("way") == "npy":
            return ["convert", self.main, "--to", "mean.npy"]
        Path("net.yaml").write_text(json.dumps(train_spec(self.layer())))
        return ["check", "net.yaml"]


# ONNX

FIXTURES = Path(__file__).resolve().parent.parent / "interop" / "onnx_in" / "fixtures"


class Onnx(Model):
    """Models of several exporters, which become a spec and weights."""

    name = "onnx"
    main = "model.onnx"

    @functools.lru_cache  # noqa: B019
    def seeds(self):
        return [path.read_bytes() for path in sorted(FIXTURES.glob("*.onnx")) if path.stat().st_size < 8000]

    def good(self, seed):
        return Case({self.main: seed})

    def damaged(self, rng, raw, seed):
        return damage(rng, raw) if rng.random() < 0.1 else bad_message(rng, raw)

    def passes_first_check(self, case):
        import onnx

        return parses(onnx.ModelProto, case.files.get(self.main, b""))

    def execute(self, case, folder):
        self.convert(case, "yaml")
        Net(load("out.yaml"), "TEST")

    def command(self, case):
        return ["convert", self.main, "--to", "again.yaml"]
