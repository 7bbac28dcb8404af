"""The layers of a Turing machine and of its task: by hand, and at the edges. PyTorch's numbers are in oracle_torch/."""

import numpy as np
import pytest
from helpers import layer_net
from nettrain import NettrainError


def forward(net, *arrays):
    return net.forward(**{f"x{i}": np.asarray(a) for i, a in enumerate(arrays)})["y"].copy()


def test_cosines_by_hand():
    net = layer_net({"type": "CosineSimilarity", "eps": 1e-30}, (1, 4, 2), (1, 2))
    rows = [[[3, 4], [-6, -8], [4, -3], [0, 5]]]
    np.testing.assert_allclose(forward(net, rows, [[3, 4]]), [[1, -1, 0, 0.8]], atol=1e-15)


@pytest.mark.parametrize("size", [1e-150, 1.0, 1e150])
def test_cosines_do_not_depend_on_lengths(size):
    net = layer_net({"type": "CosineSimilarity", "eps": 1e-320 if size < 1 else 1e-12}, (1, 1, 2), (1, 2))
    np.testing.assert_allclose(forward(net, [[[3 * size, 4 * size]]], [[0, 7]]), [[0.8]], rtol=1e-6)


def test_a_row_of_zeros_is_like_nothing_and_has_a_gradient():
    net = layer_net({"type": "CosineSimilarity"}, (1, 2, 3), (1, 3))
    assert forward(net, np.zeros((1, 2, 3)), np.zeros((1, 3))).tolist() == [[0, 0]]
    net.backward(y=np.ones((1, 2)))
    assert all(np.isfinite(net.blobs[name].diff).all() for name in ("x0", "x1"))


def test_shifts_by_hand():
    """s_-1 moves to the left, s_1 to the right, round the circle."""
    net = layer_net({"type": "CircularConvolution"}, (3, 4), (3, 3))
    w = [[1, 2, 3, 4]] * 3
    assert forward(net, w, np.eye(3)).tolist() == [[2, 3, 4, 1], [1, 2, 3, 4], [4, 1, 2, 3]]


def test_shifts_as_wide_as_the_row_and_shares_that_add_up():
    net = layer_net({"type": "CircularConvolution"}, (1, 3), (1, 3))
    assert forward(net, [[1, 10, 100]], [[1, 1, 1]]).tolist() == [[111, 111, 111]]
    rng = np.random.default_rng(0)
    w, s = (a / a.sum() for a in rng.random((2, 1, 3)))
    assert forward(net, w, s).sum() == pytest.approx(1, rel=1e-12)


def test_binary_accuracy_by_hand():
    net = layer_net({"type": "BinaryAccuracy", "ignore_label": -1}, (2, 3), (2, 3))
    x, t = [[1, -1, 0], [1000, -1000, np.nan]], [[1, 1, 0], [0, -1, 1]]
    assert forward(net, x, t) == pytest.approx(2 / 5)  # right: 1 and, not above the threshold, 0
    assert forward(net, x, np.full((2, 3), -1)) == 0
    half = layer_net({"type": "BinaryAccuracy", "threshold": 0.5}, (3,), (3,))
    assert forward(half, [0.4, 0.5, 0.6], [0, 0, 1]) == 1


def copy_net(phase="TRAIN", seed=1701, **params):
    return layer_net(
        {"type": "CopyTask", "batch_size": 3} | params, top=["y", "wanted", "cont"], phase=phase, seed=seed
    )


def test_the_copy_task():
    net = copy_net(bits=2, min_length=4, max_length=4)
    net.forward()
    x, wanted, cont = (net.blobs[name].data for name in ("y", "wanted", "cont"))
    assert (x.shape, wanted.shape, cont.shape) == ((9, 3, 3), (9, 3, 2), (9, 3))
    assert set(np.unique(x[:4, :, :2])) <= {0, 1}
    assert not x[:4, :, 2].any()
    assert x[4].tolist() == [[0, 0, 1]] * 3  # the sign
    assert not x[5:].any()
    assert (wanted[:5] == -1).all()
    np.testing.assert_array_equal(wanted[5:], x[:4, :, :2])
    assert cont[0].tolist() == [0, 0, 0]
    assert (cont[1:] == 1).all()


def test_lengths_of_the_copy_task_are_all_drawn_and_bits_are_even():
    net, lengths, bits = copy_net(min_length=2, max_length=6), set(), []
    for _ in range(100):
        net.forward()
        length = (len(net.blobs["y"].data) - 1) // 2
        lengths.add(length)
        bits.append(net.blobs["y"].data[:length, :, :8].mean())
    assert lengths == {2, 3, 4, 5, 6}
    assert np.mean(bits) == pytest.approx(0.5, abs=0.02)


def test_every_test_sees_the_same_sequences_and_training_never_twice():
    def batches(net, count=3):
        found = []
        for _ in range(count):
            net.forward()
            found.append(net.blobs["y"].data.tobytes())
        return found

    net = copy_net("TEST", min_length=5, max_length=5)
    first = batches(net)
    net.layers["y"].start_pass()
    assert batches(net) == first
    assert len(set(first)) == 3
    train = copy_net(min_length=5, max_length=5)
    seen, state = batches(train), train.layer_states()
    more = batches(train)
    assert not set(seen) & set(more)
    train.set_layer_states(state)
    assert batches(train) == more
    assert batches(copy_net(min_length=5, max_length=5, seed=2)) != seen


def test_lengths_the_wrong_way_round():
    with pytest.raises(NettrainError, match="must be at most max_length = 3, got 4"):
        copy_net(min_length=4, max_length=3)
