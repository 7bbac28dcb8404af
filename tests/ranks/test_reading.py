"""Reading data of which others compute some batches."""

import nettrain
import numpy as np
import pytest
from helpers import layer


@pytest.mark.parametrize("ranks", [1, 2, 3])
@pytest.mark.parametrize("shuffle", [False, True])
def test_what_is_read_ahead_is_what_this_process_takes_next(ranks, shuffle, tmp_path):
    """Else each process would read, and keep, what the others compute."""
    np.savez(tmp_path / "d.npz", data=np.arange(60.0).reshape(60, 1), label=np.arange(60))
    data = layer("d", "Data", top=["data", "label"], source=str(tmp_path / "d.npz"), batch_size=4, shuffle=shuffle)
    for rank in range(ranks):
        net = nettrain.Net({"layers": [data]}, "TRAIN")
        source, told, taken = net.layers["d"], [], []
        for _ in range(9):
            net.skip(rank)
            net.forward()
            taken.append(source.indices)
            told.append(source.coming(2))
            net.skip(ranks - 1 - rank)
        for k in range(1, 7):  # before the first it has seen none left out
            assert np.array_equal(told[k], np.concatenate(taken[k + 1 : k + 3]))
