"""`nettrain convert`: what a file is becomes what the name of the new one says."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..files.arrays import read_npy, write_npz
from ..files.reading import read_bytes
from ..files.writing import write_atomically
from ..net.net import Net
from ..net.netspec import load
from ..net.parameter_files import open_parameters
from ..net.records import LayerSpec, NetSpec
from ..net.spec_file import find
from ..solver.snapshot import SnapshotError, read_snapshot
from ..spec.errors import NettrainError, Problem, Problems, why
from . import torch_names
from .caffe import weights as caffe_weights
from .kinds import kind_of_file
from .yaml_out import Remark, Remarks, to_yaml

SPECS, WEIGHTS = ("yaml", "prototxt", "net"), ("npz", "hdf5", "safetensors", "caffe")
_SUFFIXES = {
    ".yaml": "yaml",
    ".yml": "yaml",
    ".prototxt": "prototxt",
    ".npz": "npz",
    ".caffemodel": "caffe",
    ".h5": "hdf5",
    ".safetensors": "safetensors",
    ".binaryproto": "blob",
    ".npy": "npy",
    ".onnx": "onnx",
    ".py": "program",
}
LARGEST_DIFFERENCE = 1e-4  # between nettrain's outputs and onnxruntime's, relative to the largest


@dataclass
class Options:
    """What the command line may ask for."""

    weights: str | None = None
    until: str = ""
    inference: bool = False
    flat: bool = False
    keep_logits: bool = False
    cont: str = "input"
    batch: int = 1
    force: bool = False
    allow_python: bool = False
    settings: tuple[str, ...] = ()


@dataclass
class Converted:
    """What was written, and what a person should know of it."""

    written: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    difference: float | None = None  # of a model from the net it was made of, where a runtime could tell


def convert(source: str, target: str, options: Options) -> Converted:
    """Write ``target`` from ``source``. Raises NettrainError for what cannot be said in the other format."""
    return _Conversion(source, Path(target), options).run()


class _Conversion:
    def __init__(self, source: str, target: Path, options: Options):
        self.path, _ = find(source)
        self.name, self.target, self.options, self.result = source, target, options, Converted()
        self.kind = _kind_of(self.path)
        self.to = _SUFFIXES.get(target.suffix.lower(), "")
        if not self.to:
            raise NettrainError(f"{target}: what to write is told by its ending: {', '.join(_SUFFIXES)}")
        if target.exists() and os.path.samefile(target, self.path):
            raise NettrainError(f"{target} is the file that is read; give the new one another name")

    def run(self) -> Converted:
        writer = self._writer()
        writer()
        return self.result

    def _writer(self) -> Callable[[], None]:
        is_spec, is_weights = self.kind in SPECS, self.kind in WEIGHTS
        if self.kind == "onnx" and self.to == "yaml":
            return self._from_onnx
        if self.to in ("blob", "npy") and self.kind in ("blob", "npy"):
            return self._mean
        if self.to == "yaml" and (is_spec or self.kind == "caffe"):
            return self._yaml
        if self.to == "prototxt" and is_spec:
            return self._prototxt
        if self.to in WEIGHTS and (is_weights or (is_spec and self.options.weights)):
            return self._weights
        if self.to in ("onnx", "program") and is_spec:
            return self._onnx if self.to == "onnx" else self._program
        if self.to in WEIGHTS and is_spec:
            raise NettrainError(f"{self.name} is a spec, without weights; give them: --weights FILE")
        if self.to in ("onnx", "program", "prototxt") and is_weights:
            raise NettrainError(
                f"{self.name} holds weights; give the net, and them: nettrain convert SPEC --weights {self.name} …"
            )
        raise NettrainError(f"{self.name} is {_WORDS[self.kind]}; it cannot become {self.target.name}")

    # Specs

    def _yaml(self) -> None:
        text, arrays = self._as_yaml(), None
        if self.options.weights or self.kind == "caffe":
            arrays = self._arrays()
        self._write(self.target, text.encode())
        if arrays is not None:
            self._write_npz(arrays)

    def _as_yaml(self) -> str:
        if self.kind == "yaml":
            spec = self._spec()
            root = spec.flat if self.options.flat else spec.root
            return to_yaml(root)
        from .blocks import with_blocks
        from .caffe.specs import read_spec

        problems = Problems()
        imported = read_spec(
            read_bytes(self.path), self.path, self.name, problems, self.options.until, self.target.parent
        )
        problems.raise_if_any()
        self.result.notes += [_said(note) for note in imported.notes]
        self.result.warnings += [_said(warning) for warning in imported.warnings]
        remarks = Remarks(
            [Remark(file, one.line, one.text) for file, found in imported.comments.items() for one in found],
            imported.ends,
        )
        root = imported.root if self.options.flat else with_blocks(imported.root)
        text = to_yaml(root, remarks)
        load(text, allow_python=True)  # whatever is wrong with it is told before it is written
        return text

    def _spec(self) -> NetSpec:
        spec = load(self.path, self.options.settings, allow_python=self.options.allow_python)
        self.result.warnings += [_said(warning) for warning in spec.warnings]
        return spec

    def _prototxt(self) -> None:
        from .caffe.out import to_caffe
        from .caffe.text_out import to_text

        spec = self._spec()
        files = to_caffe(spec, self._write_data)
        self._write(self.target, to_text(files.net).encode())
        if files.solver is not None:
            path = self.target.with_name(f"{self.target.stem.removesuffix('_train_test')}_solver.prototxt")
            text = to_text(files.solver.__class__("SolverParameter").add("net", str(self.target)))
            self._write(path, (text + to_text(files.solver)).encode())
        self.result.notes += files.notes
        if self.options.weights:
            self.target = self.target.with_suffix(".caffemodel")
            self.to = "caffe"
            self._weights()

    def _write_data(self, layer: LayerSpec, source: str, split: str) -> str:
        from ..data.sources import load as load_data
        from .caffe.lmdb_out import write_lmdb

        p: Any = layer.parameters
        found = load_data(source, split, layer_folder(self.path), p.generate, p.label_column, p.backend)
        folder = self.target.with_name(f"{self.target.stem}_{layer.name}_{split}_lmdb")
        if not folder.exists() or self.options.force:
            write_lmdb(found, folder, over=self.options.force)
            self.result.written.append(folder)
        return str(folder)

    # Weights

    def _weights(self) -> None:
        arrays = self._arrays()
        if self.to == "npz":
            self._write_npz(arrays)
            return
        spec = self._spec_of_weights()
        types = {layer.name: layer.cls.__name__ for layer in spec.layers} if spec else {}
        if self.to == "safetensors":
            self._write_safetensors(torch_names.to_torch(arrays, types))
            return
        layers: Mapping[str, Any] | None = None
        if spec is not None:
            from .caffe.out import to_caffe

            arrays = caffe_weights.without_affine(arrays, types)
            with contextlib.suppress(NettrainError):  # what Caffe has no equal of still has names and numbers
                layers = to_caffe(spec, lambda *_: "data").of_layer
        if self.to == "hdf5":
            names = list(dict.fromkeys(key.removeprefix("param/").rpartition("/")[0] for key in arrays))
            self._write(self.target, caffe_weights.write_h5(arrays, list(layers or names), self.target))
            return
        pieces = caffe_weights.caffemodel(arrays, spec.name if spec else "", layers)
        self._write(self.target, *pieces)

    def _arrays(self) -> dict[str, np.ndarray]:
        """The parameters of the file of weights, copied out of it; those of a net's are given its own layers' names."""
        path = Path(self.options.weights) if self.options.weights else self.path
        with open_parameters(path, "weights file") as stored:
            arrays = {key: np.array(stored[key]) for key in stored if key.startswith("param/")}
            others = [key for key in stored if not key.startswith("param/")]
        if not arrays:
            raise NettrainError(f"{path} holds no parameters of a net (it has {', '.join(others[:5]) or 'nothing'})")
        if others:
            self.result.notes.append(f"only the parameters of {path} are taken, not the solver's state")
        return arrays

    def _spec_of_weights(self) -> NetSpec | None:
        """The net that weights belong to: the one given with them, or the one in a snapshot."""
        if self.kind in SPECS:
            return self._spec()
        if self.kind == "npz":
            with contextlib.suppress(SnapshotError):
                return read_snapshot(self.path).spec(allow_python=self.options.allow_python)
        return None

    def _write_npz(self, arrays: Mapping[str, np.ndarray]) -> None:
        path = self.target if self.to == "npz" else self.target.with_suffix(".npz")
        self._check_free(path)
        try:
            write_npz(path, arrays)
        except OSError as error:
            raise NettrainError(f"cannot write {path}: {why(error)}", exit_code=1) from None
        self.result.written.append(path)

    def _write_safetensors(self, arrays: Mapping[str, np.ndarray]) -> None:
        from ..files.extras import extra

        library = extra("safetensors.numpy", "safetensors", f"writing {self.target}")
        whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        self._write(self.target, library.save(whole, metadata={"format": "pt"}))

    def _mean(self) -> None:
        from ..data.blob_file import read_blob
        from .caffe import binary

        if self.kind == self.to:
            raise NettrainError(f"{self.name} is {_WORDS[self.kind]} already")
        if self.to == "npy":
            import io

            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, read_blob(self.path, "mean"), allow_pickle=False)
            self._write(self.target, buffer.getvalue())
            return
        array = read_npy(self.path, "mean")
        if array.dtype.kind not in "fiub" or not 1 <= array.ndim <= 4:
            raise NettrainError(f"{self.name} holds no mean: numbers, C x H x W")
        blob = caffe_weights.blob_of(array.astype(np.float32))
        blob.take("shape")
        sizes = (1,) * (4 - array.ndim) + array.shape
        for name, size in zip(("num", "channels", "height", "width"), sizes, strict=True):
            blob.add(name, int(size))
        self._write(self.target, *binary.write(blob))

    # Other programs

    def _net(self) -> Net:
        net = Net(self._spec(), phase="TEST")
        if self.options.weights:
            report = net.copy_from(self.options.weights)
            self.result.notes += [f"{name}: {state}" for name, state in report.rows() if state != "loaded"]
        elif net.parameters:
            self.result.warnings.append("the weights are those a net begins with; to take trained ones: --weights FILE")
        return net

    def _onnx(self) -> None:
        from . import onnx_out

        net = self._net()
        model = onnx_out.export(net, keep_logits=self.options.keep_logits, cont=self.options.cont)
        self._check_free(self.target)
        self.result.notes += model.notes
        found = onnx_out.verify(model, net)
        if found is None:
            self.result.notes.append("not compared with onnxruntime, which is not installed: pip install onnxruntime")
        else:
            self.result.difference = found.difference
            self.result.notes.append(
                f"largest difference from {found.by}: {found.difference:.1e} of the largest value, batches of "
                f"{' and '.join(map(str, found.batches))}"
            )
            if not found.difference <= LARGEST_DIFFERENCE:
                raise NettrainError(
                    f"{found.by} computes other values of the model than nettrain: they differ by {found.difference:.1e} "
                    f"of the largest, more than {LARGEST_DIFFERENCE:.0e}; nothing was written",
                    exit_code=4,
                )
        onnx_out.save(model, self.target)
        self.result.written.append(self.target)

    def _from_onnx(self) -> None:
        from .onnx_in import read

        found = read(self.path, self.name, batch=self.options.batch)
        text = to_yaml(found.root)
        load(text)
        self.result.notes += found.notes
        self._write(self.target, text.encode())
        if found.arrays:
            self._write_npz(found.arrays)

    def _program(self) -> None:
        from .program import write

        arrays = self._arrays() if self.options.weights else None
        program = write(self._spec(), inference=self.options.inference, arrays=arrays)
        self._check_free(self.target)
        if program.arrays:
            self._write_npz(program.arrays)
        self._write(self.target, program.text.encode())
        self.result.notes += program.notes

    # Files

    def _check_free(self, path: Path) -> None:
        if path.exists() and not self.options.force:
            raise NettrainError(f"{path} is there already; to write over it: --force")

    def _write(self, path: Path, *pieces: bytes | memoryview) -> None:
        self._check_free(path)

        def write(file: Any) -> None:
            for piece in pieces:
                file.write(piece)

        try:
            write_atomically(path, write)
        except OSError as error:
            raise NettrainError(f"cannot write {path}: {why(error)}", exit_code=1) from None
        self.result.written.append(path)


def _kind_of(path: Path) -> str:
    kind = kind_of_file(path)
    if kind:
        return kind
    raise NettrainError(f"{path} is neither a spec, weights, a mean nor a model that is known")


_WORDS = {
    "yaml": "a spec",
    "prototxt": "a net or solver of Caffe's",
    "net": "a net of Caffe's",
    "npz": "weights",
    "hdf5": "weights",
    "safetensors": "weights",
    "caffe": "weights",
    "npy": "an array",
    "blob": "a mean of Caffe's",
    "state": "the state of a solver of Caffe's",
    "onnx": "an ONNX model",
}


def layer_folder(path: Path) -> Path:
    """Where the files that a spec names are looked for first."""
    return path.parent


def _said(problem: Problem) -> str:
    return f"{problem.place}: {problem.message}" if problem.place.file else problem.message
