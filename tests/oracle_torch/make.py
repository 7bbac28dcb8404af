"""Makes the fixtures in this folder: layers that Caffe does not have, update rules, and the nets of benchmarks/,
computed by PyTorch in float64.

    pip install torch==2.13.0
    python tests/oracle_torch/make.py [TYPE …] [solver] [nets]

Each case is a layer in nettrain's spelling, its bottoms, its parameters and the same formula in PyTorch; autograd gives
the gradients. The files have the keys that ../oracle/README.md lists. The tests read them without PyTorch.
"""

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

HERE = Path(__file__).parent
BENCHMARKS = HERE.parent.parent / "benchmarks"
rng = np.random.default_rng()


def randn(*shape):
    return rng.standard_normal(shape)


def classes(count, *shape):
    return rng.integers(0, count, shape)


@dataclass
class Case:
    """``formula(*bottoms, *params)`` gives the top, or a tuple of tops, as tensors.

    Integers are bottoms without a gradient, such as labels; so are those whose index is in ``constant``.
    Of the parameters those whose index is in ``learned`` have one; left out: all.
    """

    type: str
    formula: Callable
    bottoms: Sequence[np.ndarray]
    layer: dict = field(default_factory=dict)
    params: Sequence[np.ndarray] = ()
    phase: str = "TRAIN"
    constant: Sequence[int] = ()
    loss: bool = False
    learned: Sequence[int] | None = None


def activations():
    yield Case("Sigmoid", torch.sigmoid, [4 * randn(3, 4, 5)])
    yield Case("GELU", functional.gelu, [3 * randn(3, 4, 5)])
    tanh = {"approximate": "tanh"}
    yield Case("GELU", lambda x: functional.gelu(x, **tanh), [3 * randn(3, 4, 5)], tanh)
    yield Case("GELU", functional.gelu, [np.array([-40.0, -9, -6, -1e-9, 0, 1e-9, 6, 9, 40])])
    yield Case("SiLU", functional.silu, [4 * randn(3, 4, 5)])
    yield Case("Swish", lambda x: x * torch.sigmoid(1.7 * x), [4 * randn(3, 4, 5)], {"beta": 1.7})
    yield Case("Softplus", functional.softplus, [20 * randn(3, 4, 5)])
    options = {"beta": 2.0, "threshold": 1.5}
    yield Case("Softplus", lambda x: functional.softplus(x, **options), [2 * randn(3, 4, 5)], options)
    yield Case("Mish", functional.mish, [4 * randn(3, 4, 5)])
    yield Case("Mish", functional.mish, [np.array([-700.0, -30, -1e-9, 0, 1e-9, 30, 700])])
    yield Case("LogSoftmax", lambda x: functional.log_softmax(x, 1), [5 * randn(3, 4, 5)])
    yield Case("LogSoftmax", lambda x: functional.log_softmax(x, -1), [300 * randn(3, 4)], {"axis": -1})
    yield Case("Maxout", lambda x: x.unflatten(1, (3, 2)).amax(2), [randn(2, 6, 3)], {"num_pieces": 2})
    yield Case("ELU", lambda x: functional.elu(x, 1.5), [2 * randn(3, 4, 5)], {"alpha": 1.5})
    yield Case("PReLU", functional.prelu, [randn(3, 4, 5)], params=[randn(4)])


def normalisation():
    x, w, b = randn(3, 4, 5), randn(4, 5), randn(4, 5)
    yield Case("LayerNorm", lambda x, w, b: functional.layer_norm(x, (4, 5), w, b), [x], params=[w, b])
    last = {"axis": -1, "affine": False, "eps": 0.1}
    yield Case("LayerNorm", lambda x: functional.layer_norm(x, (5,), eps=0.1), [x], last)
    w, b = randn(6), randn(6)
    for groups in (1, 2, 6):
        options = {"num_groups": groups, "eps": 1e-3}

        def group(x, w, b, groups=groups):
            return functional.group_norm(x, groups, w, b, 1e-3)

        yield Case("GroupNorm", group, [100 + randn(2, 6, 3, 2)], options, [w, b])
    instance = {"num_groups": 4, "affine": False}
    yield Case("GroupNorm", functional.instance_norm, [randn(3, 4, 5)], instance)
    statistics = [6 * randn(4), rng.uniform(2, 9, 4), np.array([3.0])]

    def batch(x, mean, variance, count, w, b):
        return functional.batch_norm(x, mean / count, variance / count, w, b, eps=1e-4)

    def batch_in_training(x, mean, variance, count, w, b):
        return functional.batch_norm(x, None, None, w, b, training=True, eps=1e-4)

    affine = {"affine": True, "eps": 1e-4}
    for phase, formula in (("TRAIN", batch_in_training), ("TEST", batch)):
        params = [*statistics, randn(4), randn(4)]
        yield Case("BatchNorm", formula, [randn(3, 4, 5)], affine, params, phase, learned=(3, 4))
    embed = {"input_dim": 6, "num_output": 3}
    table, offset = randn(6, 3), randn(3)
    yield Case("Embed", lambda i, w, b: functional.embedding(i, w) + b, [classes(6, 4, 5)], embed, [table, offset])
    for across, axes in ((True, (1, 2, 3)), (False, 1)):
        for shared in (True, False):

            def by_length(x, s, axes=axes):
                return s.view(-1, 1, 1) * x / ((x**2).sum(axes, keepdim=True) + 0.01).sqrt()

            options = {"across_spatial": across, "channel_shared": shared, "eps": 0.01}
            scale = np.array(1.7) if shared else randn(3)
            yield Case("Normalize", by_length, [randn(2, 3, 4, 2)], options, [scale])


def losses():
    def entropy(bottoms, layer=None, **options):
        layer = layer or {}

        def formula(x, t, s=None):
            if s is None:
                return functional.cross_entropy(x, t, **options)
            each = functional.cross_entropy(x, t, reduction="none", **options)
            w = options.get("weight", torch.ones(x.shape[1], dtype=x.dtype))
            per = s * w[t] if t.dtype == torch.int64 else s
            return (s * each).sum() / per.sum()

        return Case("SoftmaxWithLoss", formula, bottoms, layer, constant=(1, 2), loss=True)

    w = [0.5, 2.0, 0.1, 1.5]
    weight = torch.tensor(w, dtype=torch.float64)
    dense = randn(5, 4)
    dense = np.exp(dense) / np.exp(dense).sum(axis=1, keepdims=True)
    maps = np.exp(randn(2, 4, 3, 3))
    maps /= maps.sum(axis=1, keepdims=True)
    yield entropy([randn(5, 4), classes(4, 5)])
    yield entropy([randn(5, 4), classes(4, 5)], {"class_weight": w}, weight=weight)
    yield entropy([randn(5, 4), classes(4, 5)], {"label_smoothing": 0.1}, label_smoothing=0.1)
    both = {"class_weight": w, "label_smoothing": 0.2}
    yield entropy([randn(5, 4), classes(4, 5)], both, weight=weight, label_smoothing=0.2)
    ignoring = both | {"ignore_label": 1}
    yield entropy(
        [randn(2, 4, 3, 3), classes(4, 2, 3, 3)], ignoring, weight=weight, label_smoothing=0.2, ignore_index=1
    )
    yield entropy([randn(5, 4), dense])
    yield entropy([randn(2, 4, 3, 3), maps], both, weight=weight, label_smoothing=0.2)
    yield entropy([randn(5, 4), classes(4, 5), rng.random(5)])
    yield entropy([randn(5, 4), classes(4, 5), rng.random(5)], {"class_weight": w}, weight=weight)
    yield entropy([randn(5, 4), classes(4, 5), rng.random(5)], both, weight=weight, label_smoothing=0.2)
    yield entropy([randn(5, 4), dense, rng.random(5)], {"class_weight": w}, weight=weight)
    yield entropy([1000 * randn(5, 4), classes(4, 5)])

    def svm(x, t):
        return functional.multi_margin_loss(x, t, margin=0.7, reduction="sum") * x.shape[1] / x.shape[0]

    yield Case("MulticlassSVMLoss", svm, [randn(5, 4), classes(4, 5)], {"margin": 0.7}, loss=True)
    pair = [randn(3, 4, 2), randn(3, 4, 2)]
    yield Case("L1Loss", functional.l1_loss, pair, loss=True)
    yield Case("SmoothL1Loss", functional.smooth_l1_loss, pair, loss=True)
    yield Case("SmoothL1Loss", lambda a, b: functional.smooth_l1_loss(a, b, beta=0.3), pair, {"beta": 0.3}, loss=True)

    def sigmoid(x, t):
        return functional.binary_cross_entropy_with_logits(x, t)

    full = {"normalization": "FULL"}
    scores = [5 * randn(3, 4), rng.random((3, 4))]
    yield Case("SigmoidCrossEntropyLoss", sigmoid, scores, full, constant=(1,), loss=True)


def shapes():
    pad = functional.pad
    x = [randn(2, 3, 4, 5)]
    yield Case("Pad", lambda x: pad(x, (3, 3, 3, 3), value=1.5), x, {"pad": 3, "value": 1.5})
    yield Case("Pad", lambda x: pad(x, (4, 0, 2, 3), mode="reflect"), x, {"pad": [[2, 3], [4, 0]], "mode": "reflect"})
    yield Case("Pad", lambda x: pad(x, (6, 1, 0, 7), mode="replicate"), x, {"pad": [[0, 7], [6, 1]], "mode": "edge"})
    yield Case("Pad", lambda x: pad(x, (0, 1, 2, 2, 1, 0)), x, {"axis": 1, "pad": [[1, 0], 2, [0, 1]]})
    yield Case("MatMul", torch.matmul, [randn(4, 5), randn(5, 3)])
    yield Case("MatMul", torch.matmul, [randn(2, 1, 4, 5), randn(3, 5, 6)])
    yield Case(
        "MatMul", lambda a, b: a.mT @ b.mT, [randn(3, 5, 4), randn(6, 5)], {"transpose_a": True, "transpose_b": True}
    )
    yield Case("MatMul", lambda a, b: a @ b.mT, [randn(3, 4, 5), randn(2, 1, 6, 5)], {"transpose_b": True})
    wide = {"broadcast": True}
    three = [randn(2, 3, 4, 5), randn(3, 1, 1), randn(1, 5)]
    yield Case("Eltwise", lambda a, b, c: 2 * a - b + 3 * c, three, wide | {"coeff": [2, -1, 3]})
    yield Case("Eltwise", lambda a, b, c: a * b * c, three, wide | {"operation": "PROD"})
    yield Case("Eltwise", torch.maximum, [randn(3, 1), randn(2, 1, 4)], wide | {"operation": "MAX"})
    yield Case("Permute", lambda x: x.permute(0, 2, 3, 1), [randn(2, 3, 4, 5)], {"order": [0, 2, 3, 1]})
    yield Case("Permute", lambda x: x.permute(2, 0, 1), [randn(2, 3, 4)], {"order": [2]})
    yield Case("ShuffleChannel", lambda x: functional.channel_shuffle(x, 3), [randn(2, 6, 2, 3)], {"group": 3})


def vision():
    def transposed(convolve, x, W, b=None, **geometry):
        """A Deconvolution of N x C x (spatial axes); W is C x M/group x (kernel axes)."""
        layer = {"num_output": W.shape[1] * geometry.get("groups", 1), "kernel_size": list(W.shape[2:])}
        names = {"stride": "stride", "padding": "pad", "dilation": "dilation", "groups": "group"}
        layer |= {names[key]: value for key, value in geometry.items()} | {"bias_term": b is not None}
        params = [W] if b is None else [W, b]
        return Case("Deconvolution", lambda x, *params: convolve(x, *params, **geometry), [x], layer, params)

    one, two, three = functional.conv_transpose1d, functional.conv_transpose2d, functional.conv_transpose3d
    yield transposed(two, randn(2, 3, 4, 5), randn(3, 4, 3, 3), randn(4), stride=2, padding=1)
    yield transposed(two, randn(2, 4, 3, 4), randn(4, 3, 3, 2), randn(6), stride=(1, 3), groups=2)
    yield transposed(two, randn(2, 2, 4, 3), randn(2, 3, 3, 3), stride=2, dilation=(3, 2), padding=(2, 1))
    yield transposed(two, randn(2, 3, 4, 4), randn(3, 1, 4, 4), stride=2, padding=1, groups=3)
    yield transposed(two, randn(2, 3, 5, 6), randn(3, 2, 3, 3), randn(2), padding=1)
    yield transposed(one, randn(2, 4, 5), randn(4, 2, 4), randn(4), stride=3, groups=2, dilation=2)
    yield transposed(three, randn(1, 2, 2, 3, 2), randn(2, 2, 2, 3, 1), randn(2), stride=(2, 1, 2), padding=(0, 1, 0))

    def pooled(mode, sides, round_mode="CEIL", counted=True, kernel=(3, 2), stride=2):
        """A Pooling of 2 x 3 x 7 x 6, ``sides`` are left, right, top and bottom."""
        layer = {"pool": mode, "kernel_h": kernel[0], "kernel_w": kernel[1], "stride": stride, "round_mode": round_mode}
        layer |= {f"pad_{side}": pad for side, pad in zip("lrtb", sides, strict=True)}
        up = round_mode == "CEIL"
        layer |= {} if counted else {"count_include_pad": False}

        def pool(x):
            if mode == "MAX":
                return functional.max_pool2d(functional.pad(x, sides, value=-torch.inf), kernel, stride, ceil_mode=up)
            means = functional.avg_pool2d(functional.pad(x, sides), kernel, stride, ceil_mode=up)
            if counted:
                return means
            inside = functional.pad(torch.ones_like(x), sides)
            return means / functional.avg_pool2d(inside, kernel, stride, ceil_mode=up)

        return Case("Pooling", pool, [randn(2, 3, 7, 6)], layer)

    yield pooled("MAX", (1, 0, 0, 2))
    yield pooled("MAX", (0, 1, 2, 1), "FLOOR")
    yield pooled("AVE", (1, 0, 2, 1))
    yield pooled("AVE", (0, 1, 1, 2), "FLOOR")
    yield pooled("AVE", (1, 0, 2, 1), counted=False)
    yield Case(
        "Pooling",
        lambda x: functional.avg_pool2d(x, 3, 2, 1, ceil_mode=True, count_include_pad=False),
        [randn(2, 3, 7, 6)],
        {"pool": "AVE", "kernel_size": 3, "stride": 2, "pad": 1, "count_include_pad": False},
    )

    def resized(shape, new, mode="bilinear", corners=None):
        """An Interp; PyTorch's nearest has no corners to align."""
        options = {"mode": mode} | ({} if corners is None else {"align_corners": corners})
        layer = {"height": new[0], "width": new[1]} | options | {"align_corners": bool(corners)}
        return Case("Interp", lambda x: functional.interpolate(x, new, **options), [randn(*shape)], layer)

    for new in ((7, 9), (2, 3), (1, 1), (8, 4)):
        yield resized((2, 3, 4, 5), new, corners=True)
        yield resized((2, 3, 4, 5), new, corners=False)
        yield resized((2, 3, 4, 5), new, mode="nearest")
    repeat = torch.nn.Upsample(scale_factor=(2, 3))
    yield Case("Upsample", repeat, [randn(2, 3, 4, 5)], {"scale_h": 2, "scale_w": 3})
    pooled_from = torch.tensor(randn(2, 3, 7, 6))
    found = functional.max_pool2d(pooled_from, 2, ceil_mode=True, return_indices=True)[1]

    def unpool(x, m):
        return functional.max_unpool2d(x, m, 2, output_size=(7, 6))

    yield Case("Upsample", unpool, [randn(2, 3, 4, 3), found.numpy()], {"upsample_h": 7, "upsample_w": 6})
    yield Case("Upsample", unpool, [randn(2, 3, 4, 3), found.numpy()], {"pad_out_h": True})
    corners = np.array([[0, 1, 2, 8, 9], [1, 0, 0, 4, 3], [0, 5, 5, 5, 5], [1, 3, 1, 9, 10]], float)

    def of_regions(x, rois):
        regions = [x[n : n + 1, :, a : c + 1, b : d + 1] for n, b, a, d, c in corners.astype(int)]
        return torch.cat([functional.adaptive_max_pool2d(region, (3, 2)) for region in regions])

    bins = {"pooled_h": 3, "pooled_w": 2}
    yield Case("ROIPooling", of_regions, [randn(2, 3, 11, 10), corners], bins, constant=(1,))


def recurrent():
    T, N, D, H = 4, 3, 5, 2
    begins = rng.integers(0, 2, (T, N)).astype(float)
    x, xs, h0, c0 = randn(T, N, D), randn(N, 4), randn(1, N, H), randn(1, N, H)

    def lstm(x, cont, xs, h, c, W, b, Ws, Wh):
        h, c, outputs = h[0], c[0], []
        for t in range(len(x)):
            a = x[t] @ W.T + b + xs @ Ws.T + (cont[t][:, None] * h) @ Wh.T
            i, f, o = (torch.sigmoid(part) for part in a.split(H, 1)[:3])
            c = cont[t][:, None] * f * c + i * torch.tanh(a[:, 3 * H :])
            h = o * torch.tanh(c)
            outputs.append(h)
        return torch.stack(outputs), h[None], c[None]

    exposed = {"num_output": H, "expose_hidden": True}
    weights = [randn(4 * H, D), randn(4 * H), randn(4 * H, 4), randn(4 * H, H)]
    yield Case("LSTM", lstm, [x, begins, xs, h0, c0], exposed, weights, constant=(1,))

    def torch_lstm(x, cont, W, b, Wh):
        order = [0, 1, 3, 2]  # PyTorch: i, f, g, o

        def rows(array):
            return torch.cat([array.split(H)[k] for k in order])

        cell = torch.nn.LSTM(D, H).double()
        zero = torch.zeros(4 * H, dtype=torch.float64)
        named = {"weight_ih_l0": rows(W), "weight_hh_l0": rows(Wh), "bias_ih_l0": rows(b), "bias_hh_l0": zero}
        return torch.func.functional_call(cell, named, (x,))[0]

    whole = np.ones((T, N))
    yield Case("LSTM", torch_lstm, [x, whole], {"num_output": H}, [weights[0], weights[1], weights[3]], constant=(1,))

    def rnn(x, cont, xs, h, W, b, Ws, Wh, Wo, bo):
        h, outputs = h[0], []
        for t in range(len(x)):
            h = torch.tanh((cont[t][:, None] * h) @ Wh.T + x[t] @ W.T + b + xs @ Ws.T)
            outputs.append(torch.tanh(h @ Wo.T + bo))
        return torch.stack(outputs), h[None]

    weights = [randn(H, D), randn(H), randn(H, 4), randn(H, H), randn(H, H), randn(H)]
    yield Case("RNN", rnn, [x, begins, xs, h0], exposed, weights, constant=(1,))

    def gru(x, cont, *rest):
        """PyTorch's cell, with the state begun again where cont is 0."""
        (h,), (W, b, Wh, bh) = rest[0], rest[-4:]
        cell = torch.nn.GRUCell(D, H).double()
        named = {"weight_ih": W, "weight_hh": Wh, "bias_ih": b, "bias_hh": bh}
        outputs = []
        for t in range(len(x)):
            h = torch.func.functional_call(cell, named, (x[t], cont[t][:, None] * h))
            outputs.append(h)
        return torch.stack(outputs), h[None]

    weights = [randn(3 * H, D), randn(3 * H), randn(3 * H, H), randn(3 * H)]
    yield Case("GRU", gru, [x, begins, h0], exposed, weights, constant=(1,))
    yield Case("GRU", gru, [x[:1, :1], whole[:1, :1], h0[:, :1]], exposed, weights, constant=(1,))


def addressing():
    """What a Turing machine finds its rows by."""

    yield Case(
        "CosineSimilarity",
        lambda m, k: functional.cosine_similarity(m[:, None], k[:, :, None], dim=-1, eps=0),
        [randn(3, 4, 5), randn(3, 2, 5)],
        {"eps": 1e-30},
    )
    yield Case(
        "CosineSimilarity",
        lambda m, k: (
            (m @ k[:, :, None])[..., 0] / ((m**2).sum(-1) + 0.3).sqrt() / ((k**2).sum(-1) + 0.3).sqrt()[:, None]
        ),
        [randn(2, 3, 4), randn(2, 4)],
        {"eps": 0.3},
    )
    for shifts in (1, 3, 7):
        half = shifts // 2
        yield Case(
            "CircularConvolution",
            lambda w, s, half=half: sum(s[..., j + half, None] * torch.roll(w, j, -1) for j in range(-half, half + 1)),
            [randn(2, 3, 7), randn(2, 3, shifts)],
        )


FAMILIES = (activations, normalisation, losses, shapes, vision, recurrent, addressing)


def arrays_of(case):
    """What the fixture of a case holds."""
    seeds = np.random.default_rng(21)
    whole = [b.dtype.kind == "i" or i in case.constant for i, b in enumerate(case.bottoms)]
    bottoms = [torch.tensor(b, requires_grad=not w) for b, w in zip(case.bottoms, whole, strict=True)]
    flags = [case.learned is None or i in case.learned for i in range(len(case.params))]
    params = [torch.tensor(p, requires_grad=flag) for p, flag in zip(case.params, flags, strict=True)]
    tops = case.formula(*bottoms, *params)
    tops = tops if isinstance(tops, tuple | list) else (tops,)
    layer = {"name": "it", "type": case.type, "bottom": [f"b{i}" for i in range(len(bottoms))]}
    layer |= {"top": [f"t{i}" for i in range(len(tops))]} | case.layer
    arrays = {"spec": np.array(json.dumps({"layer": layer, "phase": case.phase, "steps": 1}))}
    diffs = [np.ones(()) if case.loss else seeds.standard_normal(top.shape) for top in tops]
    learned = [t for t in (*bottoms, *params) if t.requires_grad]
    found = []
    if learned:
        reached = [i for i, top in enumerate(tops) if top.requires_grad]
        outputs, given = [tops[i] for i in reached], [torch.tensor(diffs[i]) for i in reached]
        found = torch.autograd.grad(outputs, learned, given)
    by_id = {id(t): g.numpy() for t, g in zip(learned, found, strict=True)}
    for i, (bottom, values) in enumerate(zip(bottoms, case.bottoms, strict=True)):
        arrays[f"bottom{i}"] = values
        if id(bottom) in by_id:
            arrays[f"bottomdiff{i}"] = by_id[id(bottom)]
    for i, (tensor, values) in enumerate(zip(params, case.params, strict=True)):
        arrays[f"param{i}"] = values
        if id(tensor) in by_id:
            arrays[f"paramdiff{i}"] = by_id[id(tensor)]
    for i, (top, diff) in enumerate(zip(tops, diffs, strict=True)):
        arrays[f"top{i}"] = top.detach().numpy()
        if not case.loss:
            arrays[f"topdiff{i}"] = diff
    return arrays


# Where the formulas agree: PyTorch's momentum holds no rate, so the rate is fixed; Adam's eps stands elsewhere, so it
# is next to nothing there.
SOLVERS = [
    ({"type": "SGD", "momentum": 0.9, "weight_decay": 0.01}, torch.optim.SGD, {"momentum": 0.9, "weight_decay": 0.01}),
    ({"type": "SGD", "momentum": 0.9, "clip_gradients": 0.3}, torch.optim.SGD, {"momentum": 0.9}),
    (
        {"type": "Nesterov", "momentum": 0.9, "weight_decay": 0.01},
        torch.optim.SGD,
        {"momentum": 0.9, "weight_decay": 0.01, "nesterov": True},
    ),
    (
        {"type": "AdaGrad", "delta": 1e-6, "weight_decay": 0.01},
        torch.optim.Adagrad,
        {"eps": 1e-6, "weight_decay": 0.01},
    ),
    ({"type": "RMSProp", "rms_decay": 0.9, "delta": 1e-6}, torch.optim.RMSprop, {"alpha": 0.9, "eps": 1e-6}),
    ({"type": "AdaDelta", "momentum": 0.95, "delta": 1e-5}, torch.optim.Adadelta, {"rho": 0.95, "eps": 1e-5}),
    ({"type": "Adam", "momentum": 0.8, "momentum2": 0.95, "delta": 1e-14}, torch.optim.Adam, {"betas": (0.8, 0.95)}),
    ({"type": "Adam", "weight_decay": 0.01, "delta": 1e-14}, torch.optim.Adam, {"weight_decay": 0.01}),
    ({"type": "Adam", "amsgrad": True, "momentum2": 0.5, "delta": 1e-14}, torch.optim.Adam, {"amsgrad": True}),
    ({"type": "AdamW", "weight_decay": 0.1, "delta": 1e-3}, torch.optim.AdamW, {"weight_decay": 0.1, "eps": 1e-3}),
    (
        {"type": "AdamW", "weight_decay": 0.1, "amsgrad": True, "momentum2": 0.5},
        torch.optim.AdamW,
        {"weight_decay": 0.1, "amsgrad": True, "betas": (0.9, 0.5)},
    ),
]
ITERATIONS = 10


def solver_arrays(solver, kind, options):
    """A net of two layers, trained on random data: the keys of ../oracle/README.md."""
    if kind is torch.optim.Adam:
        options = {"betas": (0.9, solver.get("momentum2", 0.999)), "eps": 1e-14} | options
    solver = {"base_lr": 0.05} | solver
    x, y = randn(ITERATIONS, 8, 6), classes(3, ITERATIONS, 8)
    start = [0.5 * randn(5, 6), 0.1 * randn(5), 0.5 * randn(3, 5), 0.1 * randn(3)]
    params = [torch.tensor(values, requires_grad=True) for values in start]
    names = ["ip1_0", "ip1_1", "ip2_0", "ip2_1"]
    rule = kind(params, lr=solver["base_lr"], **options)
    arrays = {"spec": json.dumps({"solver": solver, "ip1_param": []}), "X": x, "Y": y}
    arrays |= {f"init_{name}": values for name, values in zip(names, start, strict=True)}
    losses = []
    for i in range(ITERATIONS):
        hidden = torch.tanh(torch.tensor(x[i]) @ params[0].T + params[1])
        loss = functional.cross_entropy(hidden @ params[2].T + params[3], torch.tensor(y[i]))
        rule.zero_grad()
        loss.backward()
        if "clip_gradients" in solver:
            torch.nn.utils.clip_grad_norm_(params, solver["clip_gradients"])
        rule.step()
        losses.append(loss.item())
        arrays |= {f"iter{i + 1}_{name}": p.detach().numpy().copy() for name, p in zip(names, params, strict=True)}
    return arrays | {"losses": np.array(losses)}


def plateau_arrays():
    """Scores and the rates that ReduceLROnPlateau gives after each."""
    scores = np.round(rng.standard_normal(60), 1)
    rule = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    policy = torch.optim.lr_scheduler.ReduceLROnPlateau(rule, "max", 0.7, patience=2, threshold=0, min_lr=0.01)
    rates = []
    for score in scores:
        policy.step(score)
        rates.append(rule.param_groups[0]["lr"])
    return {"scores": scores, "rates": np.array(rates)}


def nets_arrays():
    """Of every net of benchmarks/ the shapes of its parameters, its loss, and values of the first layer's gradient."""
    sys.path.insert(0, str(BENCHMARKS))
    import parity

    arrays = {}
    for name in parity.SHAPES:
        numbers = parity.torch_numbers(name)
        arrays |= {f"{name}_shapes": json.dumps(numbers.pop("shapes"))}
        arrays |= {f"{name}_{key}": value for key, value in numbers.items()}
    return arrays


def main(wanted):
    counts = {}
    for family in FAMILIES:
        rng.bit_generator.state = np.random.default_rng(20).bit_generator.state
        for case in family():
            counts[case.type] = counts.get(case.type, 0) + 1
            if not wanted or case.type in wanted:
                np.savez_compressed(HERE / f"layer_{case.type}_{counts[case.type]}.npz", **arrays_of(case))
    rng.bit_generator.state = np.random.default_rng(21).bit_generator.state
    for i, (solver, kind, options) in enumerate(SOLVERS, 1):
        arrays = solver_arrays(solver, kind, options)
        if not wanted or "solver" in wanted:
            np.savez_compressed(HERE / f"solver_{i}_{solver['type']}.npz", **arrays)
    if not wanted or "solver" in wanted:
        np.savez_compressed(HERE / "plateau.npz", **plateau_arrays())
    if not wanted or "nets" in wanted:
        np.savez_compressed(HERE / "nets.npz", **nets_arrays())
    print(", ".join(f"{name} {count}" for name, count in sorted(counts.items())))


if __name__ == "__main__":
    main(set(sys.argv[1:]))
