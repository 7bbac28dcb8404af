"""Products and vector sums by direct calls of BLAS: against plain numpy in float64, and with any number of threads."""

import ctypes
import itertools
import subprocess
import sys

import numpy as np
import pytest
from nettrain.compute import blas, openblas, parallel

SHAPES = [
    (3, 4, 5),
    (64, 784, 512),
    (512, 64, 784),
    (1, 5000, 2000),
    (5000, 2000, 1),
    (2001, 1, 3003),
    (333, 127, 1001),
]
WAYS = [
    *itertools.product(("plain", "transposed"), repeat=3),
    ("inside", "inside", "inside"),
    ("strided", "plain", "plain"),
    ("plain", "plain", "strided"),
]


@pytest.fixture
def threads():
    before = parallel.threads()
    yield parallel.use_threads
    parallel.use_threads(before)


@pytest.fixture(params=["OpenBLAS", "numpy alone"])
def either(request, monkeypatch):
    """With OpenBLAS's own calls, where it is there, and as if it were not."""
    if request.param == "numpy alone":
        monkeypatch.setattr(openblas, "function", lambda name, result=None: None)


NUMBERS = np.random.default_rng(0).standard_normal(100_003)  # a prime: no two rows of a matrix are the same


def numbers(rng, *shape):
    """Random numbers over and over again: to make as many as these matrices have takes longer than the products."""
    return np.resize(np.roll(NUMBERS, rng.integers(len(NUMBERS))), shape)


def matrix(rng, rows, columns, how, dtype):
    if how == "plain":
        return numbers(rng, rows, columns).astype(dtype)
    if how == "transposed":
        return numbers(rng, columns, rows).astype(dtype).T
    if how == "inside":
        return numbers(rng, rows + 2, columns + 3).astype(dtype)[1:-1, 2:-1]
    return numbers(rng, rows, 2 * columns).astype(dtype)[:, ::2]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_products_of_matrices_however_they_lie(shape, dtype, either, threads):
    threads(2)
    rng = np.random.default_rng(0)
    m, k, n = shape
    for ways in WAYS if m * n < 2**21 else WAYS[::3]:
        sizes = ((m, k), (k, n), (m, n))
        a, b, out = (matrix(rng, *size, how, dtype) for size, how in zip(sizes, ways, strict=True))
        before, right = out.astype("float64"), a.astype("float64") @ b.astype("float64")
        bound = (1e-6 if dtype == "float32" else 1e-14) * (np.abs(a) @ np.abs(b) + 1)
        blas.matmul(a, b, out)
        assert np.all(np.abs(out - right) <= bound), ways
        out[...] = before
        blas.matmul(a, b, out, add=True)
        assert np.all(np.abs(out - (before + right)) <= 2 * bound), ways


def test_a_product_overwrites_what_is_not_a_number(either):
    a, b = np.ones((512, 64), np.float32), np.ones((64, 512), np.float32)
    out = np.full((512, 512), np.nan, np.float32)
    blas.matmul(a, b, out)
    assert np.all(out == 64)


def test_products_have_the_same_bits_with_any_number_of_threads(either, threads):
    rng = np.random.default_rng(0)
    for m, k, n in SHAPES:
        a, b = matrix(rng, m, k, "plain", "float32"), matrix(rng, k, n, "transposed", "float32")
        found = []
        for count in (1, 2, 3):
            threads(count)
            out = np.empty((m, n), np.float32)
            with parallel.session():
                blas.matmul(a, b, out)
            found.append(out)
        np.testing.assert_array_equal(found[0], found[1])
        np.testing.assert_array_equal(found[0], found[2])


def test_what_a_product_is_given_may_move(either):
    """The arguments are kept from call to call: never those of other arrays."""
    rng = np.random.default_rng(0)
    for _ in range(5):
        a, b = matrix(rng, 300, 300, "plain", "float32"), matrix(rng, 300, 300, "plain", "float32")
        for left, right in ((a, b), (b, a), (a.T, b), (a, b.T)):
            out = np.empty((300, 300), np.float32)
            blas.matmul(left, right, out)
            np.testing.assert_allclose(out, left @ right, atol=1e-3)


@pytest.mark.parametrize(
    ("shape", "pieces"),
    [((64, 64, 64), 1), ((64, 784, 512), 2), ((256, 784, 512), 4), ((1024, 1024, 1024), 8), ((16, 10**6, 16), 1)],
)
def test_pieces_cover_the_product_and_depend_on_its_shape_alone(shape, pieces):
    m, k, n = shape
    cuts = blas.cuts_of(m, n, k)
    assert len(cuts) == pieces
    covered = np.zeros((m, n), int)
    for cut in cuts:
        covered[cut] += 1
    assert np.all(covered == 1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("alpha", "beta"), [(0.5, 0.9), (-1, 1), (3, 0.25)])
@pytest.mark.parametrize("size", [1, 37, 100_003])
def test_sums_of_vectors(dtype, alpha, beta, size, either):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal(size).astype(dtype), rng.standard_normal(size).astype(dtype)
    right = alpha * x.astype("float64") + beta * y.astype("float64")
    before = x.copy()
    blas.axpby(alpha, x, beta, y)
    np.testing.assert_allclose(y, right, atol=1e-6 if dtype == "float32" else 1e-15)
    np.testing.assert_array_equal(x, before)


@pytest.mark.skipif(not openblas.libraries(), reason="numpy has another BLAS here")
class TestOpenBLAS:
    def test_its_batch_is_used(self, monkeypatch):
        """Without it products would be right as well, but slower."""
        if openblas.function("cblas_sgemm_batch") is None:
            version = np.show_config(mode="dicts")["Build Dependencies"]["blas"]["version"]
            assert tuple(map(int, version.split(".")[:3])) < (0, 3, 29)
            return
        monkeypatch.setattr(parallel, "run", lambda *_: pytest.fail("numpy's products on nettrain's threads"))
        a = np.ones((512, 512), np.float32)
        blas.matmul(a, a, np.empty_like(a))

    @pytest.mark.parametrize(
        "first",
        [
            "import numpy, nettrain; nettrain.Net('configs/mlp.yaml')",
            "import nettrain; nettrain.Net('configs/mlp.yaml')",
            "from nettrain.commands.app import hold_blas; hold_blas()",
        ],
    )
    def test_its_threads_sleep_soon_after_their_work(self, first):
        if "hold" not in first and not any(hasattr(one, "openblas_read_env") for one in openblas.libraries()):
            version = np.show_config(mode="dicts")["Build Dependencies"]["blas"]["version"]
            assert tuple(map(int, version.split(".")[:3])) >= (0, 3, 32)  # they hide it
            return
        code = f"""{first}
import os, time, numpy as np
from nettrain.compute import openblas
openblas.set_threads(2)
a = np.ones((1000, 1000), np.float32)
a @ a
before = time.process_time()
time.sleep(0.1)
print(time.process_time() - before, os.environ.get("OPENBLAS_THREAD_TIMEOUT"))"""
        out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
        assert float(out[0]) < 0.05
        assert out[1] == ("16" if "hold" in first else "None")

    def test_a_function_that_is_not_there(self):
        assert openblas.function("no_such") is None
        assert openblas.function("get_num_threads", ctypes.c_int)() >= 1


@pytest.mark.parametrize("kernels", ["SkylakeX", "Haswell", None])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("transposed", [True, False])
@pytest.mark.parametrize(
    ("rows", "k", "columns"), [(16, 256, 1024), (16, 1024, 256), (5, 7, 30), (1, 300, 4001), (0, 8, 64), (33, 2000, 96)]
)
def test_products_of_a_step_whatever_the_kernels(monkeypatch, kernels, dtype, transposed, rows, k, columns):
    monkeypatch.setattr(openblas, "kernels", lambda: kernels)
    rng = np.random.default_rng(0)
    b = (
        rng.standard_normal((columns, k)).astype(dtype).T
        if transposed
        else rng.standard_normal((k, columns)).astype(dtype)
    )
    out = np.full((rows, columns), np.nan, dtype)
    multiply = blas.step_product(b, out)
    for _ in range(2):
        a = rng.standard_normal((rows, k)).astype(dtype)
        assert multiply(a) is out
        exact = a.astype("float64") @ b.astype("float64")
        np.testing.assert_allclose(out, exact, rtol=1e-5 if dtype == "float32" else 1e-12, atol=1e-5 * np.sqrt(k))


def test_products_of_a_step_are_cut_where_that_saves_packing(monkeypatch):
    """Pieces of at most a million multiply-adds, and of 1,200 values when the weights are transposed."""
    seen = []
    monkeypatch.setattr(np, "matmul", lambda a, b, out: seen.append((b.shape, out.shape)))
    monkeypatch.setattr(openblas, "kernels", lambda: "SkylakeX")
    weights = np.zeros((1024, 256), "f")
    blas.step_product(weights.T, np.zeros((16, 1024), "f"))(np.zeros((16, 256), "f"))
    blas.step_product(weights, np.zeros((16, 256), "f"))(np.zeros((16, 1024), "f"))
    assert seen == [((16, 256, 64), (16, 16, 64)), ((8, 1024, 32), (8, 16, 32))]


@pytest.mark.parametrize("seed", range(20))
def test_no_piece_of_a_batch_is_as_small_as_what_makes_openblas_crash(seed):
    rng = np.random.default_rng(seed)
    for _ in range(500):
        m, n, k = (int(size) for size in 2 ** rng.uniform(0, 14, 3))
        cuts = blas.cuts_of(m, n, k)
        if len(cuts) > 1:
            for rows, columns in cuts:
                assert len(range(m)[rows]) * len(range(n)[columns]) * k > blas.UNPACKED
