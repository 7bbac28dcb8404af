"""Files that other programs write and nettrain does not read: the message says what to do."""

import io
import pickle
import zipfile
from pathlib import Path

import nettrain
import numpy as np
import pytest
from nettrain.files import wire
from nettrain.interop import refused
from nettrain.interop.convert import Options, convert
from nettrain.spec.errors import NettrainError

NET = "layers:\n- {name: x, type: Input, shape: [1, 2]}\n- {name: ip, type: InnerProduct, num_output: 1}\n"


def archive(*names):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as written:
        for name in names:
            written.writestr(name, b"")
    return file.getvalue()


def message(*fields):
    """Fields of (number, value), as the wire has them."""
    made = b""
    for number, value in fields:
        if isinstance(value, int):
            made += wire.tag_of(number, wire.NUMBER) + wire.write_varint(value)
        else:
            made += wire.tag_of(number, wire.BYTES) + wire.write_varint(len(value)) + value
    return made


FILES = {
    "new.pt": (archive("new/data.pkl", "new/data/0"), "safetensors.torch.save_file(model.state_dict()"),
    "old.pt": (pickle.dumps({"a": 1}, protocol=2), "safetensors.torch.save_file(model.state_dict()"),
    "net.keras": (archive("metadata.json", "config.json"), "export it as ONNX"),
    "net.onnx": (message((1, 8), (2, b"pytorch"), (7, b"\n\0")), "nettrain convert net.onnx --to net.yaml"),
    "it.solverstate": (message((1, 5), (2, b"net.caffemodel"), (3, b"")), "train SPEC --resume it.solverstate"),
}


@pytest.mark.parametrize("name", FILES)
def test_what_is_not_read_says_what_it_is_and_what_to_do(workdir, name):
    raw, advice = FILES[name]
    Path(name).write_bytes(raw)
    with pytest.raises(NettrainError) as spec:
        nettrain.Net(name)
    with pytest.raises(NettrainError) as weights:
        nettrain.Net(NET).copy_from(name)
    assert advice in str(spec.value)
    assert advice in str(weights.value)


def test_convert_names_them_too(workdir):
    for name in ("new.pt", "old.pt"):
        Path(name).write_bytes(FILES[name][0])
        with pytest.raises(NettrainError, match=r"is a file of torch\.save"):
            convert(name, "net.npz", Options())


def test_what_is_read_is_not_refused(workdir):
    np.savez("net.npz", **{"param/ip/0": np.ones((1, 2)), "param/ip/1": np.zeros(1)})
    for raw in (Path("net.npz").read_bytes(), NET.encode(), b"", b"\x08", message((1, 5), (2, b"x"), (100, b""))):
        assert refused.words(raw, "it") == ""
