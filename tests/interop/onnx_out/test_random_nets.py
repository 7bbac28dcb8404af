"""Random nets, wired at random, much of it in place: what onnxruntime computes is what the net computes."""

import numpy as np
import pytest
from nettrain import Net
from nettrain.interop.onnx_out import export, verify

NEURONS = ["TanH", "Sigmoid", "ReLU", "ELU", "BNLL", "GELU", "SiLU", "Mish", "Dropout", "AbsVal"]
IN_PLACE = {"TanH", "Sigmoid", "ReLU", "SiLU", "GELU", "Dropout", "Scale", "MVN"}


def layers_of(seed):
    """Layers on blobs of N x C x 4 x 4, whose C ``channels`` knows; those that nobody reads are outputs."""
    rng = np.random.default_rng(seed)
    layers = [{"name": "x", "type": "Input", "shape": [2, 3, 4, 4]}]
    channels = {"x": 3}

    def choose(values):
        return values[int(rng.integers(len(values)))]

    def add(kind, bottoms, tops, **keys):
        name = f"l{len(layers)}"
        names = [name] if len(tops) == 1 else [f"{name}_{i}" for i in range(len(tops))]
        if kind in IN_PLACE and len(bottoms) == 1 and rng.random() < 0.5:
            names = bottoms
        layers.append({"name": name, "type": kind, "bottom": bottoms, "top": names, **keys})
        channels.update(zip(names, tops, strict=True))

    for _ in range(14):
        x = choose([*channels, *list(channels)[-2:]])
        C = channels[x]
        alike = [name for name in channels if channels[name] == C]
        what = choose(["neuron", "neuron", "conv", "sum", "scale", "norm", "flat", "concat", "slice", "pool", "share"])
        if what == "neuron":
            add(choose(NEURONS), [x], [C])
        elif what == "conv":
            add("Convolution", [x], [4], num_output=4, kernel_size=3, pad=1, axis=choose([1, -3]))
        elif what == "share":
            names = [{"name": f"w{C}"}, {"name": f"b{C}"}]
            add("Convolution", [x], [4], num_output=4, kernel_size=1, param=names, bias_filler="gaussian")
        elif what == "sum":
            coeff = {"coeff": [2, -1]} if rng.random() < 0.4 else {}
            add("Eltwise", [x, choose(alike)], [C], operation="SUM", **coeff)
        elif what == "scale":
            add("Scale", [x], [C], bias_term=True, filler="gaussian", bias_filler="gaussian", axis=choose([1, -3, 2]))
        elif what == "norm":
            add(choose(["MVN", "LRN"]), [x], [C])
        elif what == "flat":
            add("Flatten", [x], [0])
            flat = layers[-1]["name"]
            del channels[flat]
            layers.append({"name": f"l{len(layers)}", "type": "Reshape", "bottom": flat, "shape": [0, C, 4, 4]})
            channels[layers[-1]["name"]] = C
        elif what == "concat" and C < 9:
            other = choose(list(channels))
            add("Concat", [x, other], [C + channels[other]])
        elif what == "slice" and C > 1:
            add("Slice", [x], [1, C - 1], slice_point=[1])
        elif what == "pool":
            add("Pooling", [x], [C], pool=choose(["MAX", "AVE"]), kernel_size=3, stride=1, pad=1)
    return layers


@pytest.mark.parametrize("seed", range(40))
def test_a_random_net(seed):
    net = Net({"layers": layers_of(seed)}, phase="TEST", seed=seed, dtype="float64" if seed % 4 == 3 else "float32")
    model = export(net)
    assert len(model.outputs) == len(net.outputs)
    assert verify(model, net).difference < 1e-4  # a norm may bring out the rounding of what is before it
