"""HDF5Output: blobs written to a file."""

from __future__ import annotations

import os
from pathlib import Path

from ...files.extras import extra
from ...net.example import Example
from ...net.layer import Layer
from ...net.registry import register
from ...spec.declare import Declared, param
from ...spec.errors import NettrainError, ShapeError, format_shape


@register
class HDF5Output(Layer):
    """Writes its two bottoms to an HDF5 file, as the datasets ``data`` and ``label``.

    bottom[0]: data, N x ….    bottom[1]: label, N x ….    No top.
    The first forward pass creates the file anew, each later one appends its N rows (in Caffe it fails). After each the
    file is complete on disk.
    Needs h5py: pip install "nettrain[hdf5]".
    Errors: different numbers of rows; a file that cannot be written; rows that change their shape.
    Source: Caffe's HDF5Output.
    """

    class Parameters(Declared):
        file_name: str = param(doc="the .h5 file to write")

        aliases = {"hdf5_output_param": "write file_name beside type"}

    num_bottoms = 2
    answers = (0, 1)
    writes_files = True
    num_tops = 0
    no_gradient = "all"
    examples = (
        Example(
            [(2, 3), (2,)],
            {"file_name": "out.h5"},
            prepare=lambda layer: setattr(layer, "path", layer.folder / "out.h5"),
            files=lambda folder: None,
        ),
    )

    def setup(self, bottom, top):
        self.library = extra("h5py", "hdf5", "HDF5Output")
        self.started = False
        self.path = Path(self.p.file_name)
        if os.path.isdir(self.path):
            raise NettrainError(f"cannot write {self.path}: it is a folder", key="file_name")
        if not os.path.isdir(self.path.parent):
            raise NettrainError(f"cannot write {self.path}: there is no folder {self.path.parent}", key="file_name")

    def reshape(self, bottom, top):
        if not bottom[0].shape or bottom[0].shape[:1] != bottom[1].shape[:1]:
            shapes = " and ".join(format_shape(blob.shape) for blob in bottom)
            raise ShapeError(f"both bottoms need the same number of rows, got {shapes}")

    def Forward_cpu(self, bottom, top):
        try:
            with self.library.File(self.path, "a" if self.started else "w") as file:
                named = dict(zip(("data", "label"), bottom, strict=True))
                for name, blob in named.items():  # before anything is written: both keep the same number of rows
                    if name in file and file[name].shape[1:] != blob.shape[1:]:
                        raise NettrainError(
                            f"{self.path}: rows of `{name}` were {format_shape(file[name].shape[1:])}, "
                            f"now {format_shape(blob.shape[1:])}"
                        )
                for name, blob in named.items():
                    if name not in file:
                        file.create_dataset(name, data=blob.data, maxshape=(None, *blob.shape[1:]), chunks=True)
                        continue
                    rows = file[name]
                    rows.resize(len(rows) + len(blob.data), axis=0)
                    rows[len(rows) - len(blob.data) :] = blob.data
        except NettrainError:
            raise
        except Exception as error:  # h5py raises whatever its library's error looks like
            raise NettrainError(f"cannot write {self.path}: {error}", exit_code=1) from None
        self.started = True
