"""What forks of Caffe wrote: each layer and field computes what the fork does, or is refused by name."""

from pathlib import Path

import nettrain
import numpy as np
import pytest
from nettrain.interop.caffe.message import message
from nettrain.interop.caffe.weights import caffemodel
from nettrain.net import netspec
from nettrain.spec.errors import Problems, SpecError

pytestmark = pytest.mark.usefixtures("workdir")

INPUT = 'layer {{ name: "x" type: "Input" top: "x" input_param {{ shape {{ {} }} }} }}\n'


def given(*shapes):
    names = "xyz"
    lines = [
        INPUT.format(" ".join(f"dim: {n}" for n in shape)).replace('"x"', f'"{names[i]}"')
        for i, shape in enumerate(shapes)
    ]
    return "".join(lines)


def array(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def run(text, *inputs, top="y", phase="TEST", change=None):
    """The blob that a net's text gives for its inputs."""
    net = nettrain.Net(given(*[x.shape for x in inputs]) + text, phase, dtype="float64")
    if change:
        change(net)
    for name, x in zip("xyz", inputs, strict=False):
        net.blobs[name].data[...] = x
    net.forward()
    return net.blobs[top].data.copy()


def part(kind, fields="", bottom=("x",), top="y"):
    bottoms = " ".join(f'bottom: "{name}"' for name in bottom)
    return f'layer {{ name: "l" type: "{kind}" {bottoms} top: "{top}" {fields} }}\n'


def entries(text):
    """The layers of a text as plain mappings, after its input, and what was said on the way."""
    spec = netspec.load(given((1, 4, 6, 6)) + text)
    return spec.root.to_python()["layers"][1:]


def refused(text, shapes=((1, 4, 6, 6),)):
    with pytest.raises(SpecError) as caught:
        netspec.load(given(*shapes) + text)
    return [problem.message for problem in caught.value.problems]


def test_relu6():
    x = 5 * array(2, 3)
    expected = np.minimum(np.maximum(x, 0), 6)
    assert np.array_equal(run(part("ReLU6"), x), expected)
    assert np.array_equal(run(part("ReLU", "relu_param { relu6: true }"), x), expected)
    assert np.array_equal(run(part("ReLU", "relu_param { relu6: false }"), x), np.maximum(x, 0))


@pytest.mark.parametrize("kind", ["HardSwish", "HSwish"])
@pytest.mark.parametrize("top", ["v", "y"])
def test_hard_swish(kind, top):
    x = 4 * array(2, 3)
    found = run(part("Power", top="v") + part(kind, bottom="v", top=top).replace('"l"', '"h"'), x, top=top)
    assert np.allclose(found, x * np.clip(x + 3, 0, 6) / 6)


def test_selu():
    x = array(2, 3)
    assert np.allclose(run(part("SELU"), x), 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(x)))
    found = run(part("SeLU", "selu_param { alpha: 2 lambda: 3 }"), x)
    assert np.allclose(found, 3 * np.where(x > 0, x, 2 * np.expm1(x)))


@pytest.mark.parametrize(
    ("axes", "shape"), [((0, 2), (3, 4)), ((2, 0), (3, 4)), ((-2, -4), (3, 4)), ((0,), (3, 1, 4)), ((-2,), (1, 3, 4))]
)
def test_squeeze(axes, shape):
    x = array(1, 3, 1, 4)
    fields = " ".join(f"axis: {axis}" for axis in axes)
    assert np.array_equal(run(part("Squeeze", f"squeeze_param {{ {fields} }}"), x), x.reshape(shape))


def test_squeeze_that_depends_on_sizes_is_refused():
    assert "write a Reshape" in refused(part("Squeeze"))[0]
    assert "all from the end" in refused(part("Squeeze", "squeeze_param { axis: 0 axis: -1 }"))[0]


def test_arithmetic():
    x, y, z = array(2, 3, 4, 4), array(2, 3, 1, 1, seed=1), array(2, 3, 4, 4, seed=2)
    assert np.allclose(run(part("Mul", bottom="xy", top="out"), x, y, top="out"), x * y)
    assert np.allclose(run(part("BroadcastAdd", bottom="xy", top="out"), x, y, top="out"), x + y)
    assert np.allclose(run(part("Axpy", bottom="yxz", top="out"), x, y, z, top="out"), y * x + z)
    assert "three bottoms" in refused(part("Axpy"))[0]


def ones(net):
    for blobs in net.params.values():
        for blob in blobs:
            blob.data[...] = np.random.default_rng(blob.data.size).standard_normal(blob.data.shape)


def test_depthwise_convolutions():
    x, fields = array(1, 4, 6, 6), "convolution_param { num_output: 4 kernel_size: 3 %s bias_term: false }"
    expected = run(part("Convolution", fields % "group: 4"), x, change=ones)
    for kind in ("ConvolutionDepthwise", "DepthwiseConvolution", "ConvolutionDepthWise"):
        assert np.array_equal(run(part(kind, fields % ""), x, change=ones), expected)
    assert entries(part("DepthwiseConvolution", fields.replace("4 k", "8 k") % "group: 4"))[0]["group"] == 4


@pytest.mark.parametrize("sides", [(1, 1, 2, 2), (0, 1, 0, 1), (2, 1, 0, 2), (0, 0, 0, 0)])
@pytest.mark.parametrize("kind", ["Convolution", "MAX", "AVE", "AVE_EXC_PAD"])
def test_sides_of_their_own(kind, sides):
    """As the same on an image that is padded before."""
    x = array(1, 4, 6, 6)
    left, right, top, bottom = sides
    fields = f"kernel_size: 3 pad_l: {left} pad_r: {right} pad_t: {top} pad_b: {bottom} "
    around = ((0, 0), (0, 0), (top, bottom), (left, right))
    if kind == "Convolution":
        fields, plain = "num_output: 2 bias_term: false " + fields, "num_output: 2 bias_term: false kernel_size: 3"
        text = part("Convolution", "convolution_param { %s }")
        expected = run(text % plain, np.pad(x, around), change=ones)
        assert np.allclose(run(text % fields, x, change=ones), expected)
        return
    text = part("Pooling", f"pooling_param {{ pool: {kind} %s }}")
    found = run(text % fields, x)
    padded = np.pad(x, around, constant_values={"MAX": -np.inf, "AVE": 0, "AVE_EXC_PAD": np.nan}[kind])
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    reduce = {"MAX": np.max, "AVE": np.mean, "AVE_EXC_PAD": np.nanmean}[kind]
    assert np.allclose(found, reduce(windows, axis=(4, 5)))


def test_sides_of_zero_leave_the_pad():
    fields = "convolution_param { num_output: 2 kernel_size: 3 pad: 1 pad_l: 0 pad_r: 0 pad_t: 0 pad_b: 0 }"
    assert run(part("Convolution", fields), array(1, 4, 6, 6)).shape == (1, 2, 6, 6)


def test_different_sides_of_a_deconvolution_are_refused():
    fields = "convolution_param { num_output: 2 kernel_size: 3 pad_l: 1 }"
    (message,) = refused(part("Deconvolution", fields))
    assert "only a Convolution" in message


def test_ceil_mode():
    x = array(1, 4, 6, 6)
    text = part("Pooling", "pooling_param { kernel_size: 3 stride: 2 ceil_mode: %s }")
    assert run(text % "false", x).shape == (1, 4, 2, 2)
    assert run(text % "true", x).shape == (1, 4, 3, 3)


def statistics(net):
    for _name, blobs in net.params.items():
        ones(net)
        if len(blobs) == 5:
            blobs[1].data[...] = np.abs(blobs[1].data)
            blobs[2].data[...] = 1
    return net


def test_batch_norm_with_factors():
    x = array(2, 3, 4, 4)
    text = part("BatchNorm", "batch_norm_param { scale_bias: true eps: 0.1 %s }")
    net = nettrain.Net(given(x.shape) + text % "", dtype="float64")
    assert len(net.params["l"]) == 5
    statistics(net)
    net.blobs["x"].data[...] = x
    net.forward()
    mean, variance, _, factor, offset = (blob.data.reshape(-1) for blob in net.params["l"])
    moved = (x - mean[:, None, None]) / np.sqrt(variance[:, None, None] + 0.1)
    assert np.allclose(net.blobs["y"].data, moved * factor[:, None, None] + offset[:, None, None])
    for fields in ('scale_filler { type: "constant" value: 1 }', "bias_filler { value: 0 }"):
        assert entries(part("BatchNorm", f"batch_norm_param {{ {fields} }}"))[0]["affine"] is True
    assert "another" not in refused(text % "add_eps_before_sqrt: false")[0]


def test_pspnets_batch_norm():
    """Mean and variance of the batch, running ones with ``momentum``; ``frozen`` rests factor and offset too."""
    x = array(4, 4, 6, 6)
    fields = "bn_param { slope_filler { value: 1 } bias_filler { value: 0 } momentum: 0.75 eps: 0.1 %s } "
    specs = "param { lr_mult: 2 decay_mult: 0 } param { lr_mult: 3 } param { lr_mult: 0 } param { lr_mult: 0 }"
    net = nettrain.Net(given(x.shape) + part("BN", fields % "" + specs), "TRAIN", dtype="float64")
    factor, offset = (blob.data for blob in net.params["l"][3:])
    factor[...], offset[...] = array(2, 4)
    for scale in (1, 2):
        net.blobs["x"].data[...] = scale * x
        net.forward()
    mean, _, count = (blob.data for blob in net.params["l"][:3])
    assert np.allclose(mean / count, x.mean((0, 2, 3)) * (0.75 * 1 + 2) / 1.75)
    hat = (2 * x - 2 * x.mean((0, 2, 3), keepdims=True)) / np.sqrt(4 * x.var((0, 2, 3), keepdims=True) + 0.1)
    assert np.allclose(net.blobs["y"].data, hat * factor[:, None, None] + offset[:, None, None])
    arrays = {f"param/l/{i}": array(1, 4, 1, 1, seed=i) ** 2 for i in range(4)}  # as its caffemodels have them
    raw = b"".join(caffemodel(arrays, layers={"l": message("LayerParameter", name="l", type="BN")}))
    Path("bn.caffemodel").write_bytes(raw)
    net = nettrain.Net(given(x.shape) + part("BN", fields % ""), dtype="float64")
    net.copy_from("bn.caffemodel")
    net.blobs["x"].data[...] = x
    net.forward()
    factor, offset, mean, variance = arrays.values()
    assert np.allclose(net.blobs["y"].data, (x - mean) / np.sqrt(variance + 0.1) * factor + offset)
    (plain,), (frozen,) = entries(part("BN", fields % "" + specs)), entries(part("BN", fields % "frozen: true" + specs))
    rest = {"lr_mult": 0, "decay_mult": 0}
    assert plain["param"] == [rest, rest, rest, {"lr_mult": 2, "decay_mult": 0}, {"lr_mult": 3}]
    assert frozen == {"name": "l", "type": "BatchNorm", "bottom": "x", "top": "y", "affine": True} | {
        "use_global_stats": True,
        "eps": 0.1,
        "param": [rest] * 5,
    }
    assert entries(part("BN"))[0]["moving_average_fraction"] == 0.9
    spec = netspec.load(given((1, 4, 6, 6)) + part("BN", "bn_param { slope_filler { value: 0.5 } }"))
    assert [warning.message for warning in spec.warnings] == ["`slope_filler` is left out: factors begin as 1 here"]


def test_segnets_batch_norm():
    x = array(2, 3, 4, 4)
    fillers = 'scale_filler { type: "constant" value: 2 } shift_filler { type: "constant" value: 0.5 }'
    folded = part("BN", f"bn_param {{ {fillers} bn_mode: INFERENCE }}")
    assert np.allclose(run(folded, x), 2 * x + 0.5)
    learned = part("BN", f"bn_param {{ {fillers} }} param {{ lr_mult: 1 decay_mult: 1 }} param {{ lr_mult: 1 }}")
    each = (x - x.mean((0, 2, 3), keepdims=True)) / np.sqrt(x.var((0, 2, 3), keepdims=True) + 1e-9)
    for phase in ("TRAIN", "TEST"):  # in SegNet both
        assert np.allclose(run(learned, x, phase=phase), 2 * each + 0.5)
    assert np.allclose(run(part("BN", "bn_param { bn_mode: INFERENCE }"), x), 0)  # as its fillers begin
    net = nettrain.Net(given(x.shape) + learned)
    assert [blob.shape for blob in net.params["l"]] == [(3,), (3,)]  # as its caffemodels have them


def test_upsample():
    x = array(1, 2, 2, 3)
    for kind, fields in (("Upsample", "scale: 2"), ("Upsample", "stride: 2"), ("UpsampleDarknet", "stride: 2")):
        field = "upsample_darknet_param" if "Darknet" in kind else "upsample_param"
        found = run(part(kind, f"{field} {{ {fields} }}"), x)
        assert np.array_equal(found, x.repeat(2, axis=2).repeat(2, axis=3))


def test_segnets_upsample():
    pool = (
        'layer { name: "p" type: "Pooling" bottom: "x" top: "p" top: "m" pooling_param { kernel_size: 2 stride: 2 } }'
    )
    up = part("Upsample", "upsample_param { scale: 2 upsample_w: 5 upsample_h: 5 }", bottom=("p", "m"))
    x = np.abs(array(1, 2, 5, 5))
    found = run(pool + up, x)
    assert found.shape == x.shape
    kept = found != 0
    assert kept.sum() == 2 * 9  # 3 x 3 windows of each channel
    assert np.array_equal(found[kept], x[kept])


@pytest.mark.parametrize(
    ("fields", "height"),
    [
        ("height: 7 width: 9", 7),
        ("zoom_factor: 2", 9),
        ("zoom_factor: 2 height: 7 width: 9", 9),
        ("shrink_factor: 2 height: 7 width: 9", 3),
        ("shrink_factor: 2 zoom_factor: 2", 5),
        ("shrink_factor: 2 zoom_factor: 2 height: 7 width: 9", 7),
        ("zoom_factor: 2 pad_beg: -1 pad_end: -1", 5),
    ],
)
def test_interp(fields, height):
    """One size counts when several are given. Values are held by the layer's own tests; here a plane stays one."""
    x = np.arange(5.0)[:, None] * np.ones((1, 1, 5, 5))
    found = run(part("Interp", f"interp_param {{ {fields} }}"), x)
    assert found.shape[2] == height
    ends = (1, 3) if "pad" in fields else (0, 4)
    assert np.allclose(found[0, 0, :, 0], np.linspace(*ends, height))


def test_interp_to_another_blobs_size():
    text = part("Interp", "interp_param { use_blob_size: true }", bottom="xy", top="out")
    assert run(text, array(1, 2, 3, 3), array(1, 4, 5, 7), top="out").shape == (1, 2, 5, 7)


def test_images_of_another_size():
    x = array(1, 2, 3, 3)
    fields = "resize_nearest_neighbor_param { output_height: 6 output_width: 6 }"
    assert np.array_equal(run(part("ResizeNearestNeighbor", fields), x), x.repeat(2, 2).repeat(2, 3))
    fields = "resize_bilinear_param { output_height: 5 output_width: 5 align_corners: true }"
    assert np.allclose(run(part("ResizeBilinear", fields), x)[..., ::2, ::2], x)


def test_permute_shuffle_and_normalize():
    x = array(2, 4, 3, 5)
    found = run(part("Permute", "permute_param { order: 0 order: 2 order: 3 order: 1 }"), x)
    assert np.array_equal(found, x.transpose(0, 2, 3, 1))
    found = run(part("ShuffleChannel", "shuffle_channel_param { group: 2 }"), x)
    assert np.array_equal(found, x[:, [0, 2, 1, 3]])
    filler = 'scale_filler { type: "constant" value: 20 }'
    found = run(part("Normalize", f"norm_param {{ across_spatial: false {filler} channel_shared: false }}"), x)
    assert np.allclose(found, 20 * x / np.sqrt((x**2).sum(1, keepdims=True)))


def test_pooling_of_regions():
    x = np.arange(36.0).reshape(1, 1, 6, 6)
    fields = "roi_pooling_param { pooled_w: 2 pooled_h: 2 spatial_scale: 0.5 }"
    regions = np.array([[0, 0, 0, 10, 10]])
    found = run(part("ROIPooling", fields, bottom="xy", top="out"), x, regions, top="out")
    assert np.array_equal(found[0, 0], [[14, 17], [32, 35]])


def test_boxes():
    prior = """layer { name: "p" type: "PriorBox" bottom: "x" bottom: "y" top: "p" prior_box_param {
      min_size: 4 max_size: 9 aspect_ratio: 2 flip: true clip: false
      variance: 0.1 variance: 0.1 variance: 0.2 variance: 0.2 offset: 0.5 } }"""
    boxes = run(prior, array(1, 3, 1, 1), array(1, 3, 8, 8), top="p")
    assert boxes.shape == (1, 2, 4 * 4)
    assert np.allclose(boxes[0, 0, :8], [0.25, 0.25, 0.75, 0.75, 1 / 8, 1 / 8, 7 / 8, 7 / 8])
    assert np.allclose(boxes[0, 1, :4], [0.1, 0.1, 0.2, 0.2])
    output = """layer { name: "d" type: "DetectionOutput" bottom: "x" bottom: "y" bottom: "z" top: "d"
      include { phase: TEST } detection_output_param {
        num_classes: 2 share_location: true background_label_id: 0 code_type: CENTER_SIZE keep_top_k: 10
        confidence_threshold: 0.25 nms_param { nms_threshold: 0.45 top_k: 3 }
        save_output_param { output_directory: "/elsewhere" label_map_file: "/no/file" } } }"""
    (entry,) = [entry for entry in entries(output) if entry["name"] == "d"]
    assert {key: entry[key] for key in ("nms_threshold", "top_k", "code_type", "keep_top_k")} == {
        "nms_threshold": 0.45,
        "top_k": 3,
        "code_type": "CENTER_SIZE",
        "keep_top_k": 10,
    }
    found = run(output, np.zeros((1, 16)), np.tile([0.1, 0.9], (1, 4)), boxes, top="d")
    assert found.shape[-1] == 7
    assert np.allclose(found[0, 0, 0, :3], [0, 1, 0.9])


@pytest.mark.parametrize(("sigma", "beta"), [("", 1), ("smooth_l1_loss_param { sigma: 3 }", 1 / 9)])
def test_smooth_losses_are_divided_by_examples(sigma, beta):
    x, y = array(4, 3), array(4, 3, seed=1)
    d = np.abs(x - y)
    expected = np.where(d < beta, d**2 / (2 * beta), d - beta / 2).sum() / 4
    assert np.isclose(run(part("SmoothL1Loss", sigma, bottom="xy", top="out"), x, y, top="out"), expected)


def test_fast_rcnns_loss_has_weights_inside_and_outside():
    a, b, u, v = (array(4, 3, seed=i) for i in range(4))
    u, v = np.abs(u) * (u > -0.5), np.abs(v)
    inputs = "".join(INPUT.format("dim: 4 dim: 3").replace('"x"', f'"{name}"') for name in "abuv")
    text = part("SmoothL1Loss", "smooth_l1_loss_param { sigma: 2 } loss_weight: 3", bottom="abuv", top="out")
    net = nettrain.Net(inputs + text, "TRAIN", dtype="float64", settings=["force_backward=true"])
    for name, x in zip("abuv", (a, b, u, v), strict=True):
        net.blobs[name].data[...] = x
    net.forward()
    net.backward()
    d = u * (a - b)
    near = np.abs(d) < 1 / 4
    assert np.isclose(net.blobs["out"].data, (v * np.where(near, 2 * d**2, np.abs(d) - 1 / 8)).sum() / 4)
    slope = u * v * np.where(near, 4 * d, np.sign(d)) * 3 / 4
    assert np.allclose(net.blobs["a"].diff, slope)
    assert np.allclose(net.blobs["b"].diff, -slope)
    inside = part("SmoothL1Loss", bottom="xyz", top="out")  # SSD's
    d = np.abs(u * (a - b))
    assert np.isclose(run(inside, a, b, u, top="out"), np.where(d < 1, d**2 / 2, d - 0.5).sum() / 4)


def test_normalize_of_the_face_nets():
    """Of the channels of each place, and nothing is learned: happynear's."""
    x = array(2, 3, 2, 2)
    length = np.sqrt((x**2).sum(1, keepdims=True) + 1e-6)
    text = part("Normalize", 'normalize_param { normalize_type: "L2" }')
    assert np.allclose(run(text, x), x / length, rtol=1e-12)
    assert entries(text)[0]["param"] == {"lr_mult": 0, "decay_mult": 0}
    assert "L2 norm" in refused(text.replace("L2", "L1"))[0]
    assert "forks differ" in netspec.load(given((1, 4)) + part("Normalize")).warnings[0].message


def test_dropout_that_scales_in_tests():
    """Fast R-CNN's ``scale_train: false``: values are kept or 0 in training, times 1 - p in tests."""
    x = 1 + array(50, 40) ** 2
    text = part("Dropout", "dropout_param { dropout_ratio: 0.2 scale_train: false }")
    found = run(text, x, phase="TRAIN")
    assert np.allclose(found[found != 0], x[found != 0])
    assert 0.1 < (found == 0).mean() < 0.3
    assert np.allclose(run(text, x), 0.8 * x)


def test_intels_and_nvidias_fields():
    x = array(1, 4, 6, 6)
    text = part("Pooling", "pooling_param { pool: AVE kernel_size: 3 pad: 1 avg_include_pad: %s }")
    same = part("Pooling", "pooling_param { pool: %s kernel_size: 3 pad: 1 }")
    assert np.allclose(run(text % "false", x), run(same % "AVE_EXC_PAD", x))
    assert np.allclose(run(text % "true", x), run(same % "AVE", x))
    norm, scale = part("BatchNorm", "batch_norm_param { filler { value: 1 } }"), part("Scale", bottom="y")
    assert "affine" not in entries(norm + scale.replace('"l"', '"s"'))[0]
    assert "write a Scale behind it" in refused(norm)[0]
    assert entries(part("BatchNorm", "batch_norm_param { scale_bias: true eps: 1e-8 }"))[0]["eps"] == 1e-5
    assert "slope below 0" in refused(part("ReLU6", "relu_param { negative_slope: 0.1 }"))[0]


def test_losses_of_segnet():
    scores, labels = array(2, 3, 2, 2), np.array([0, 1, 2, 0, 1, 1, 2, 2.0]).reshape(2, 1, 2, 2)
    fields = "loss_param { weight_by_label_freqs: %s class_weighting: 0.5 class_weighting: 1 class_weighting: 3 %s }"
    text = part("SoftmaxWithLoss", fields, bottom="xy", top="out")
    log_p = scores - np.log(np.exp(scores).sum(1, keepdims=True))
    chosen = -np.take_along_axis(log_p, labels.astype(int), 1)
    weighted = chosen * np.array([0.5, 1, 3])[labels.astype(int)]
    assert np.isclose(run(text % ("true", ""), scores, labels, top="out"), weighted.mean())
    assert np.isclose(run(text % ("true", "normalize: false"), scores, labels, top="out"), weighted.sum() / 2)
    assert np.isclose(run(text % ("false", ""), scores, labels, top="out"), chosen.mean())
    assert "number of pixels" in refused(text % ("true", "ignore_label: 2"))[0]


def test_a_fixed_divisor():
    scores, labels = array(4, 3), np.array([0, 1, 2, 0.0])
    fields = "loss_param { normalization: PRE_FIXED pre_fixed_normalizer: 8 } loss_weight: 2"
    text = part("SoftmaxWithLoss", fields, bottom="xy", top="out")
    net = nettrain.Net(
        given(scores.shape, labels.shape) + text, "TRAIN", dtype="float64", settings=["force_backward=true"]
    )
    net.blobs["x"].data[...], net.blobs["y"].data[...] = scores, labels
    net.forward()
    net.backward()
    p = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    assert np.allclose(net.blobs["x"].diff, (p - np.eye(3)[labels.astype(int)]) * 2 / 8)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (part("PSROIPooling"), "R-FCN's pooling of regions"),
        (part("MultiBoxLoss"), "SSD's loss of boxes and classes"),
        (part("Dropout", "dropout_param { sample_weights_test: true }"), "SegNet's Bayesian nets"),
    ],
)
def test_what_has_no_equal_is_one_error_that_says_what_it_is(text, words):
    """Whatever stands above or below it, and also when data of training are there."""
    data = 'layer { name: "d" type: "DummyData" top: "x" dummy_data_param { shape { dim: 1 dim: 3 } } }\n'
    after = 'layer { name: "after" type: "ReLU" bottom: "y" top: "z" }\n'
    with pytest.raises(SpecError) as caught:
        nettrain.Net(data + text + after)
    (problem,) = caught.value.problems
    assert words in problem.message
    assert problem.place.line == 2


def test_what_only_trains_is_left_out_of_nets_to_use():
    text = part("ReLU") + part("MultiBoxLoss", bottom="y", top="loss") + part("SeLuDropout", bottom="y", top="y")
    assert [entry["type"] for entry in entries(text)] == ["ReLU"]


def test_fields_that_change_no_number_are_taken():
    text = part("Dropout", "dropout_param { sample_weights_test: false scale_train: true }")
    assert [entry["type"] for entry in entries(text)] == ["Dropout"]
    problems = Problems()
    netspec.load(
        'base_lr: 0.1 eval_type: "detection" ap_version: "11point" net_param { ' + given((1, 2)) + "}\n",
        problems=problems,
    )
    assert problems.found == []


def test_fields_of_machines_are_left_out_and_those_that_learn_are_named():
    problems = Problems()
    layer = part("ReLU", 'engine: "MKL2017" forward_type: FLOAT relu_param { engine: MKLDNN }')
    layer += part(
        "Convolution", "quantization_param { bw_params: 8 } convolution_param { num_output: 1 kernel_size: 1 }"
    )
    fields = 'source: "s" batch_size: 1 shuffle: %s cache: true threads: 2'
    data = f'layer {{ name: "data" type: "Data" top: "d" data_param {{ {fields} }} }}'
    text = "base_lr: 0.1 richness: 100 larc: true warmup_iter: 5 nonsense: 1 net_param { "
    spec = netspec.load(text + given((1, 1, 2, 2)) + layer.replace('"y"', '"z"', 1) + "}", problems=problems)
    assert [problem.message for problem in problems.found] == [
        "`larc` is not a field of Caffe's solvers; it is NVIDIA's: rates by layer",
        "`warmup_iter` is not a field of Caffe's solvers; it is Intel's, which changes momentum too; `warmup_iter` and "
        "`warmup_lr` in YAML do not",
        "`nonsense` is not a field of Caffe's solvers",
    ]
    assert "8 bits" in "".join(warning.message for warning in spec.warnings)
    assert entries(data % "true")[0]["shuffle"] is True


def test_types_that_nobody_knows_have_a_way_out():
    (message,) = refused(part("Fancy"))
    assert message.startswith("unknown layer type `Fancy`; ")
    assert "--until LAYER" in message
    with pytest.raises(SpecError, match="CROP is FCN's first"):
        nettrain.Net('layers {\n name: "c" type: CROP bottom: "x" bottom: "y" top: "z"\n}')


def test_a_net_that_was_moved_with_its_solver_is_found(tmp_path):
    (tmp_path / "net.prototxt").write_text(given((1, 2)) + part("ReLU"))
    solver = tmp_path / "solver.prototxt"
    solver.write_text('net: "/elsewhere/models/net.prototxt"\nbase_lr: 0.1\nlr_policy: "fixed"\nmax_iter: 1\n')
    spec = netspec.load(solver)
    assert [layer.name for layer in spec.layers] == ["x", "l"]
    assert [(warning.place.line, warning.message) for warning in spec.warnings] == [
        (1, "/elsewhere/models/net.prototxt is not there; net.prototxt beside the solver is read in its place")
    ]


def test_long_texts_are_read(tmp_path):
    """A YAML spec is at most 1 MB; nets with a scale for each channel are longer."""
    path = tmp_path / "long.prototxt"
    path.write_text(given((1, 2)) + part("ReLU") + "# long\n" * 200_000)
    assert [layer.cls.__name__ for layer in netspec.load(path).layers] == ["Input", "ReLU"]
