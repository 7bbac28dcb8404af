"""caffe.io, Classifier and Detector: known values, and what they refuse."""

import io

import nettrain.interop.pycaffe as caffe
import numpy as np
import pytest
from nettrain import NettrainError
from PIL import Image

pb = caffe.proto.caffe_pb2

CLASSIFIER = """input: "data" input_shape { dim: 4 dim: 3 dim: 2 dim: 2 }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 3 } }
layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" }
"""


@pytest.fixture
def model(workdir):
    (workdir / "deploy.prototxt").write_text(CLASSIFIER)
    net = caffe.Net("deploy.prototxt", caffe.TEST)
    net.params["ip"][0].data[...] = np.random.default_rng(0).normal(size=(3, 12))
    net.save("w.caffemodel")
    return "deploy.prototxt", "w.caffemodel", net


def picture(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def test_load_image_gives_red_green_blue_from_0_to_1(workdir):
    pixels = picture(3, 5)
    Image.fromarray(pixels).save("a.png")
    found = caffe.io.load_image("a.png")
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, pixels / 255, rtol=1e-6)
    grey = caffe.io.load_image("a.png", color=False)
    np.testing.assert_allclose(grey[..., 0], pixels @ [0.2125, 0.7154, 0.0721] / 255, rtol=1e-5)
    with open("a.png", "rb") as file:  # as the web demo gives what was uploaded
        np.testing.assert_array_equal(caffe.io.load_image(io.BytesIO(file.read())), found)
    Image.fromarray(pixels[..., 0]).save("grey.png")
    np.testing.assert_allclose(caffe.io.load_image("grey.png", color=False)[..., 0], pixels[..., 0] / 255, rtol=1e-6)
    Image.fromarray(np.dstack([pixels, np.full((3, 5), 9, np.uint8)])).save("alpha.png")
    np.testing.assert_allclose(caffe.io.load_image("alpha.png"), pixels / 255, rtol=1e-6)
    with pytest.raises(NettrainError, match=r"there is no file none\.png"):
        caffe.io.load_image("none.png")


def test_pictures_are_resized_between_the_centres_of_pixels_with_their_smallest_value_around_them():
    """The numbers are scikit-image's, mode='constant'."""
    image = np.random.default_rng(0).normal(size=(4, 5, 3)).astype(np.float32)
    found, framed = caffe.io.resize_image(image, (7, 3)), np.pad(image, ((1, 1), (1, 1), (0, 0)))
    for edge in (framed[0], framed[-1], framed[:, 0], framed[:, -1]):
        edge[...] = image.min()
    for i in range(7):
        for j in range(3):
            y, x = (i + 0.5) * 4 / 7 + 0.5, (j + 0.5) * 5 / 3 + 0.5
            weights = [(1 - abs(y - k)) * (1 - abs(x - m)) for k in range(6) for m in range(7)]
            near = [abs(y - k) < 1 and abs(x - m) < 1 for k in range(6) for m in range(7)]
            wanted = sum(w * v for w, v, n in zip(weights, framed.reshape(-1, 3), near, strict=True) if n)
            np.testing.assert_allclose(found[i, j], wanted, rtol=1e-4, atol=1e-6)
    same = caffe.io.resize_image(image, (4, 5))
    np.testing.assert_array_equal(same, image)
    assert not np.shares_memory(same, image)
    ramp = np.arange(4, dtype=float).reshape(1, 4, 1)
    np.testing.assert_array_equal(caffe.io.resize_image(ramp, (1, 2), interp_order=0)[0, :, 0], [1, 3])
    with pytest.raises(NettrainError, match="interp_order must be 0"):
        caffe.io.resize_image(image, (2, 2), interp_order=3)


def test_arrays_of_other_channels_are_resized_corner_on_corner():
    """The numbers are scipy's zoom."""
    ramp = np.repeat(np.arange(4, dtype=float), 2).reshape(1, 4, 2)
    np.testing.assert_allclose(caffe.io.resize_image(ramp, (1, 7))[0, :, 1], np.arange(7) / 2)
    np.testing.assert_allclose(caffe.io.resize_image(ramp, (3, 2))[2, :, 0], [0, 3])
    np.testing.assert_array_equal(caffe.io.resize_image(ramp, (1, 3), interp_order=0)[0, :, 0], [0, 2, 3])


def test_oversample_takes_corners_and_middle_and_their_mirror_images():
    images = [np.arange(36, dtype=float).reshape(6, 6, 1) + 100 * i for i in range(2)]
    crops = caffe.io.oversample(images, (2, 4))
    assert crops.shape == (20, 2, 4, 1)
    assert crops[:5, 0, 0, 0].tolist() == [0, 2, 24, 26, 13]
    np.testing.assert_array_equal(crops[5:10], crops[:5, :, ::-1])
    np.testing.assert_array_equal(crops[10:], crops[:10] + 100)
    with pytest.raises(NettrainError, match="a crop of 7 x 2 does not fit into images of 6 x 6"):
        caffe.io.oversample(images, (7, 2))


def test_a_transformer_does_its_steps_in_caffes_order():
    transformer = caffe.io.Transformer({"data": (1, 3, 2, 2)})
    transformer.set_transpose("data", (2, 0, 1))
    transformer.set_channel_swap("data", (2, 1, 0))
    transformer.set_raw_scale("data", 255)
    transformer.set_mean("data", np.array([10, 20, 30]))
    transformer.set_input_scale("data", 0.5)
    image = np.random.default_rng(0).uniform(size=(2, 2, 3))
    found = transformer.preprocess("data", image)
    for channel, mean in enumerate((10, 20, 30)):
        np.testing.assert_allclose(found[channel], (255 * image[:, :, 2 - channel] - mean) / 2, rtol=1e-4)
    assert found.dtype == np.float32
    np.testing.assert_allclose(transformer.deprocess("data", found[None]), image, rtol=1e-4)
    assert transformer.preprocess("data", np.ones((5, 7, 3))).shape == (3, 2, 2)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda t: t.preprocess("dta", 1), "`dta` is not one of the inputs"),
        (lambda t: t.set_transpose("data", (1, 0)), "needs 3 axes, got 2"),
        (lambda t: t.set_channel_swap("data", (1, 0)), "has 3 channels, got an order of 2"),
        (lambda t: t.set_mean("data", np.ones(2)), r"must have 3 channels, or C x H x W, got \(2,"),
        (lambda t: t.set_mean("data", np.ones((1, 3, 4, 4))), r"must have 3 channels, .* got \(1, 3, 4, 4\)"),
    ],
)
def test_a_transformer_refuses_what_does_not_fit_its_input(call, words):
    with pytest.raises(ValueError, match=words):
        call(caffe.io.Transformer({"data": (1, 3, 2, 2)}))


def test_a_mean_image_is_resized_to_the_input():
    """classify.py gives the whole mean of ImageNet, 256 x 256, to a net that takes 227 x 227."""
    transformer = caffe.io.Transformer({"data": (1, 3, 2, 2), "grey": (1, 1, 2, 2)})
    transformer.set_mean("data", np.arange(48.0).reshape(3, 4, 4))
    wanted = np.array([[2.5, 4.5], [10.5, 12.5]]) + np.array([0, 16, 32])[:, None, None]
    np.testing.assert_allclose(transformer.mean["data"], wanted)
    transformer.set_mean("data", np.arange(3.0).reshape(3, 1, 1))
    np.testing.assert_array_equal(transformer.mean["data"].ravel(), [0, 1, 2])
    transformer.set_mean("grey", np.ones((2, 2)))
    transformer.set_transpose("grey", (2, 0, 1))
    np.testing.assert_array_equal(transformer.preprocess("grey", np.ones((2, 2, 1))), np.zeros((1, 2, 2)))


def test_blobs_as_messages_and_back():
    values = np.arange(6, dtype=np.float32).reshape(1, 2, 3)
    blob = caffe.io.array_to_blobproto(values, diff=2 * values)
    np.testing.assert_array_equal(caffe.io.blobproto_to_array(blob), values)
    np.testing.assert_array_equal(caffe.io.blobproto_to_array(blob, return_diff=True), 2 * values)
    assert caffe.io.blobproto_to_array(pb.BlobProto(data=[1, 2], channels=2, num=1, height=1, width=1)).shape == (
        1,
        2,
        1,
        1,
    )
    assert caffe.io.blobproto_to_array(pb.BlobProto(double_data=[1.5])) == 1.5
    with pytest.raises(ValueError, match="reshape"):
        caffe.io.blobproto_to_array(pb.BlobProto(data=[1, 2]))
    several = [values, np.float32(3)]
    back = caffe.io.blobprotovector_str_to_arraylist(caffe.io.arraylist_to_blobprotovector_str(several))
    for mine, theirs in zip(several, back, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_data_as_messages_and_back():
    pixels = np.arange(12, dtype=np.uint8).reshape(3, 2, 2)
    datum = caffe.io.array_to_datum(pixels, label=3)
    assert (datum.label, datum.data, len(datum.float_data)) == (3, pixels.tobytes(), 0)
    np.testing.assert_array_equal(caffe.io.datum_to_array(datum), pixels)
    floats = caffe.io.array_to_datum(pixels / 8)
    assert not floats.HasField("label")
    np.testing.assert_array_equal(caffe.io.datum_to_array(floats), pixels / 8)
    with pytest.raises(ValueError, match=r"C x H x W, got \(2,\)"):
        caffe.io.array_to_datum(np.ones(2))
    with pytest.raises(ValueError, match="encoded"):
        caffe.io.datum_to_array(pb.Datum(encoded=True, data=b"x"))


def test_a_classifier_is_the_mean_over_ten_crops(model):
    file, weights, net = model
    mean = np.array([0.1, 0.2, 0.3])
    classifier = caffe.Classifier(file, weights, image_dims=(4, 4), mean=mean, raw_scale=2, channel_swap=(2, 1, 0))
    images = [picture(4, 4, seed) / 255 for seed in range(3)]
    found = classifier.predict(images)
    for image, row in zip(images, found, strict=True):
        expected = []
        for y, x in ((0, 0), (0, 2), (2, 0), (2, 2), (1, 1)):
            crop = image[y : y + 2, x : x + 2]
            for one in (crop, crop[:, ::-1]):
                values = 2 * one.transpose(2, 0, 1)[::-1] - mean[:, None, None]
                scores = net.params["ip"][0].data @ values.ravel()
                expected.append(np.exp(scores) / np.exp(scores).sum())
        np.testing.assert_allclose(row, np.mean(expected, axis=0), rtol=1e-4)
    middle = classifier.predict(images, oversample=False)
    assert middle.shape == (3, 3)
    values = 2 * images[1][1:3, 1:3].transpose(2, 0, 1)[::-1] - mean[:, None, None]
    scores = net.params["ip"][0].data @ values.ravel()
    np.testing.assert_allclose(middle[1], np.exp(scores) / np.exp(scores).sum(), rtol=1e-4)


def test_a_detector_looks_at_windows(model):
    file, weights, _ = model
    Image.fromarray(picture(8, 8)).save("a.png")
    detector = caffe.Detector(file, weights)
    windows = np.array([[0, 0, 4, 4], [2, 3, 8, 8], [1, 1, 3, 3]])
    found = detector.detect_windows([("a.png", windows)])
    image = caffe.io.load_image("a.png")
    plain = caffe.Classifier(file, weights)
    for entry, (top, left, bottom, right) in zip(found, windows, strict=True):
        wanted = plain.predict([image[top:bottom, left:right]], oversample=False)[0]
        np.testing.assert_allclose(entry["prediction"], wanted, rtol=1e-5)
        assert entry["filename"] == "a.png"
    assert detector.detect_windows([]) == []
    with pytest.raises(NettrainError, match="a program in MATLAB"):
        detector.detect_selective_search(["a.png"])


def test_surroundings_outside_of_the_image_are_the_mean(workdir):
    (workdir / "d.prototxt").write_text(CLASSIFIER.replace("dim: 2 dim: 2", "dim: 8 dim: 8"))
    caffe.Net("d.prototxt", caffe.TEST).save("w")
    detector = caffe.Detector("d.prototxt", "w", mean=np.array([1.0, 2, 3]), context_pad=2)
    image = np.full((20, 20, 3), 9, np.float32)
    inside = detector.crop(image, np.array([6, 6, 12, 12]))
    assert inside.shape == (8, 8, 3)
    np.testing.assert_array_equal(inside, np.full((8, 8, 3), 9))
    corner = detector.crop(image, np.array([0, 0, 6, 6]))
    assert corner.shape == (8, 8, 3)
    for edge in (corner[:2], corner[:, :2]):
        np.testing.assert_allclose(edge, np.broadcast_to([1, 2, 3], edge.shape))
    np.testing.assert_array_equal(corner[2:, 2:], np.full((6, 6, 3), 9))
    near = detector.crop(image, np.array([1, 1, 5, 5]))  # box -2 to 8, its 11 pixels on 8: one of mean
    np.testing.assert_allclose(near[0], np.broadcast_to([1, 2, 3], (8, 3)))
    np.testing.assert_array_equal(near[1:, 1:], np.full((7, 7, 3), 9))


def test_a_mean_that_a_program_wrote_is_read_by_a_data_layer(workdir):
    """As scripts that compute means write it: a new BlobProto of four axes."""
    mean = np.arange(12, dtype=np.float32).reshape(1, 3, 2, 2)
    (workdir / "mean.binaryproto").write_bytes(caffe.io.array_to_blobproto(mean).SerializeToString())
    Image.fromarray(picture(2, 2)).save("a.png")
    (workdir / "list.txt").write_text("a.png 1\n")
    (workdir / "net.prototxt").write_text(
        'layer { name: "d" type: "ImageData" top: "data" top: "label" transform_param { mean_file: "mean.binaryproto" }'
        ' image_data_param { source: "list.txt" batch_size: 1 } }'
    )
    found = caffe.Net("net.prototxt", caffe.TEST).forward()["data"][0]
    np.testing.assert_array_equal(found, picture(2, 2)[..., ::-1].transpose(2, 0, 1) - mean[0])
