"""LSTM and GRU over oneDNN: the formulas' numbers whatever the sequences do, batch after batch."""

import nettrain
import numpy as np
import pytest
from helpers import layer, layer_net
from nettrain.compute import parallel
from nettrain.engines.onednn.recurrent import ByPrimitives

KINDS = ("LSTM", "GRU")
STATES = {"LSTM": 2, "GRU": 1}
NEW = "new"  # a sequence begins with the batch, and none inside
ON = "on"  # the batch before goes on
SOME = "some"  # of the sequences begin with the batch
SHARES = "shares"  # of the states before are kept
INSIDE = "inside"  # sequences begin at later steps too
ONE = "one"  # a single sequence begins at a later step
PATTERNS = (NEW, ON, SOME, SHARES, INSIDE, ONE)
ONE_PIECE = {NEW, ON, SOME, SHARES}


def cont(pattern, T, N, rng):
    made = np.ones((T, N))
    made[0] = {NEW: 0, ON: 1, ONE: 0, SHARES: rng.random(N)}.get(pattern, rng.random(N) < 0.5)
    if pattern == INSIDE:
        made[1:] = rng.random((T - 1, N)) < 0.6
        made[-1, 0] = 0
    if pattern == ONE:
        made[-1, -1] = 0
    return made


class Twins:
    """The same layer computed by the formulas and by oneDNN, given the same batches."""

    def __init__(self, kind, T=5, N=6, D=7, H=8, exposed=False, static=0, seed=0, weights=0.5, **params):
        self.rng = rng = np.random.default_rng(seed)
        states = STATES[kind] * exposed
        shapes = [(T, N, D), (T, N), *[(N, static)] * bool(static), *[(1, N, H)] * states]
        tops = [f"y{i}" for i in range(1 + states)]
        self.nets = {
            engine: layer_net(
                kind,
                *shapes,
                dtype="float32",
                engine=engine,
                num_output=H,
                top=tops,
                expose_hidden=exposed,
                **params,
            )
            for engine in ("numpy", "onednn")
        }
        self.shapes, self.T, self.N = shapes, T, N
        self.steps = {engine: net.steps[-1] for engine, net in self.nets.items()}
        self.mine, self.theirs = self.steps["onednn"].layer, self.steps["numpy"].layer
        assert isinstance(self.mine, ByPrimitives)
        for blob, other in zip(self.mine.blobs, self.theirs.blobs, strict=True):
            blob.data[...] = other.data[...] = rng.standard_normal(blob.shape) * weights

    def batch(self, pattern, change=None, clear=False, change_dy=None):
        """Both passes over one batch; returns everything they made, by engine."""
        given = [self.rng.standard_normal(shape).astype(np.float32) for shape in self.shapes]
        given[1] = cont(pattern, self.T, self.N, self.rng)
        if change:
            change(given)
        dys = [self.rng.standard_normal(blob.shape).astype(np.float32) for blob in self.steps["numpy"].top]
        if change_dy:
            change_dy(dys)
        made = {}
        for engine, net in self.nets.items():
            step = self.steps[engine]
            for i, one in enumerate(given):
                net.blobs[f"x{i}"].data[...] = one
            if clear:
                for blob in step.layer.blobs:
                    blob.clear_diff()
            net.run_forward()
            for blob, dy in zip(step.top, dys, strict=True):
                blob.diff[...] = dy
            net.run_backward(len(net.steps) - 1)
            bottoms = [blob.diff for i, blob in enumerate(step.bottom) if i != 1]
            made[engine] = [blob.data.copy() for blob in step.top]
            made[engine] += [one.copy() for one in (*bottoms, *(blob.diff for blob in step.layer.blobs))]
        return made


def close(made, tolerance=1e-5):
    for mine, theirs in zip(made["onednn"], made["numpy"], strict=True):
        scale = max(1.0, float(np.abs(theirs).max(initial=0)))
        np.testing.assert_allclose(mine / scale, theirs / scale, rtol=0, atol=tolerance)


@pytest.mark.parametrize("exposed", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_batches_in_a_row_equal_the_formulas_wherever_sequences_begin(kind, exposed):
    twins = Twins(kind, exposed=exposed)
    for pattern in (*PATTERNS, ON, INSIDE, ON, NEW, ONE, ON, SHARES, SOME, INSIDE, INSIDE, ON):
        close(twins.batch(pattern))  # states go on, and gradients are added to those of the batches before
        assert twins.mine.as_formulas == (pattern not in ONE_PIECE), pattern


@pytest.mark.parametrize(
    ("T", "N", "D", "H"),
    [(1, 1, 1, 1), (1, 5, 3, 4), (7, 1, 5, 3), (20, 32, 128, 256), (9, 50, 33, 65), (3, 35, 9, 64)],
)
@pytest.mark.parametrize("kind", KINDS)
def test_larger_and_odd_cases_equal_the_formulas(kind, T, N, D, H):
    twins = Twins(kind, T, N, D, H, weights=0.5 / H**0.5)
    for pattern in (NEW, ON, SHARES):
        close(twins.batch(pattern), 3e-5)
        assert not twins.mine.as_formulas
    assert (len(twins.mine.shares) > 1) == (N >= 32)  # enough sequences for several threads


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_added_or_written_over_what_is_cleared(kind):
    twins = Twins(kind)
    first = twins.batch(NEW, clear=True)
    close(first)
    close(twins.batch(NEW))
    close(twins.batch(ON, clear=True))
    twins.mine.blobs[0].diff[...] = twins.theirs.blobs[0].diff[...] = 1000  # one that is not cleared, others are
    for one in (twins.mine, twins.theirs):
        for blob in one.blobs[1:]:
            blob.clear_diff()
    close(twins.batch(ON))


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_frozen_gets_no_gradient(kind):
    count = len(Twins(kind).mine.blobs)
    for frozen in range(count):
        twins = Twins(kind)
        for one in (twins.mine, twins.theirs):
            one.param_propagate_down[:] = [k != frozen for k in range(count)]
            one.blobs[frozen].diff[...] = 7
        close(twins.batch(NEW))
        assert not twins.mine.as_formulas
        assert (twins.mine.blobs[frozen].diff == 7).all()


@pytest.mark.parametrize("kind", KINDS)
def test_what_nobody_asks_for_is_left_alone(kind):
    twins = Twins(kind, exposed=True)
    for net in twins.nets.values():
        step = net.steps[-1]
        step.propagate_down[:] = [False] * len(step.bottom)
        for blob in step.bottom:
            blob.diff[...] = 3
    made = twins.batch(ON)
    close(made)
    assert all((blob.diff == 3).all() for blob in twins.steps["onednn"].bottom)


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_layer_above_does_to_its_top_does_not_change_the_gradient(kind):
    twins = Twins(kind)
    for engine, net in twins.nets.items():
        net.run_forward()
        step = twins.steps[engine]
        step.top[0].data[...] = 99  # in place
        step.top[0].diff[...] = 1
        net.run_backward(len(net.steps) - 1)
    for a, b in zip(twins.mine.blobs, twins.theirs.blobs, strict=True):
        np.testing.assert_allclose(a.diff, b.diff, rtol=1e-4, atol=1e-4)


def same_pattern(made):
    """NaN where the formulas have NaN, infinity where they have it, and the numbers elsewhere."""
    for mine, theirs in zip(made["onednn"], made["numpy"], strict=True):
        np.testing.assert_array_equal(np.isnan(mine), np.isnan(theirs))
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-4, equal_nan=True)


@pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
@pytest.mark.parametrize("kind", KINDS)
def test_nan_and_infinity_in_x_come_out_as_in_the_formulas(kind, value):
    twins = Twins(kind)

    def spoil(given):
        given[0][2, 3, 1] = value

    same_pattern(twins.batch(NEW, spoil))
    same_pattern(twins.batch(ON))  # a state may be NaN now
    same_pattern(twins.batch(NEW))


@pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_nan_in_a_single_gate_is_not_hidden(kind):
    for blob in range(len(Twins(kind).mine.blobs)):
        for row in (0, 9, 17):  # of the first, second and third gate
            twins = Twins(kind)
            for one in (twins.mine, twins.theirs):
                one.blobs[blob].data[row] = np.nan
            made = twins.batch(NEW)
            same_pattern(made)
            assert np.isnan(made["onednn"][0]).any()


@pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("kind", KINDS)
def test_nan_and_infinity_in_dy_come_out_as_in_the_formulas(kind, value):
    def spoil(dys):
        dys[0][2, 3, 1] = value

    twins = Twins(kind)
    made = twins.batch(NEW, change_dy=spoil)
    assert not twins.mine.as_formulas
    for mine, theirs in zip(made["onednn"], made["numpy"], strict=True):
        np.testing.assert_array_equal(np.isfinite(mine), np.isfinite(theirs))


@pytest.mark.parametrize("kind", KINDS)
def test_large_sums_are_saturated_as_in_the_formulas(kind):
    twins = Twins(kind)
    b = 10.0 ** twins.rng.uniform(0, 6, twins.mine.blobs[1].shape) * twins.rng.choice(
        [-1, 1], twins.mine.blobs[1].shape
    )
    twins.mine.blobs[1].data[...] = twins.theirs.blobs[1].data[...] = b
    close(twins.batch(NEW))
    assert not twins.mine.as_formulas


@pytest.mark.parametrize("kind", KINDS)
def test_a_static_input_is_left_to_the_formulas(kind):
    twins = Twins(kind, static=3)
    assert twins.mine.uncovered == "a static input"
    close(twins.batch(NEW))
    close(twins.batch(INSIDE))


@pytest.mark.parametrize("kind", KINDS)
def test_few_sequences_with_many_weights_are_left_to_the_formulas(kind):
    assert Twins(kind, 2, 2, 200, 200).mine.uncovered == ""
    twins = Twins(kind, 2, 1, 300, 300, weights=0.05)
    assert twins.mine.uncovered == "few sequences for so many weights"
    close(twins.batch(NEW))


@pytest.mark.parametrize("kind", KINDS)
def test_the_bits_do_not_depend_on_the_number_of_threads(kind):
    found = set()
    before = parallel.threads()
    for threads in (1, 2, 3, 5):
        parallel.use_threads(threads)
        try:
            with parallel.session():
                twins = Twins(kind, 6, 68, 40, 256, weights=0.05)
                made = [twins.batch(pattern)["onednn"] for pattern in (NEW, ON, INSIDE, SHARES)]
        finally:
            parallel.use_threads(before)
        assert len(twins.mine.shares) > 2
        found.add(b"".join(one.tobytes() for batch in made for one in batch))
    assert len(found) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_other_lengths_and_numbers_of_sequences(kind):
    twins = Twins(kind)
    for T, N in ((3, 6), (5, 6), (5, 2), (1, 9), (5, 6)):
        twins.T, twins.N = T, N
        twins.shapes = [(T, N, 7), (T, N)]
        for net in twins.nets.values():
            for i, shape in enumerate(twins.shapes):
                net.blobs[f"x{i}"].reshape(shape)
            net.reshape()
        close(twins.batch(ON))
        assert not twins.mine.as_formulas


@pytest.mark.parametrize("kind", KINDS)
def test_a_snapshot_of_states_goes_on_under_the_other_engine(kind):
    twins = Twins(kind)
    twins.batch(NEW)
    mine, theirs = twins.mine.state(), twins.theirs.state()
    twins.mine.set_state(theirs)
    twins.theirs.set_state(mine)
    close(twins.batch(ON))


def test_rnn_is_computed_by_the_formulas():
    data = layer("data", "Input", top=["x", "cont"], shape=[[3, 2, 4], [3, 2]])
    net = nettrain.Net({"layers": [data, layer("h", "RNN", ["x", "cont"], num_output=3)]}, engine="onednn")
    assert net.layers["h"].computed_by == "numpy"
