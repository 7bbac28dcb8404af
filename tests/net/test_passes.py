"""One pass over the data of a net that reads several sets: that of the longest, while the others go round."""

import nettrain
import numpy as np
import pytest


@pytest.mark.parametrize("other_batch_size", [None, 1, 4])
@pytest.mark.parametrize("longest", ["a", "b"])
@pytest.mark.parametrize(
    ("long", "short", "batch_size", "batches"),
    [(7, 4, 3, [3, 3, 1]), (5, 3, 2, [2, 2, 1]), (9, 4, 4, [4, 4, 1]), (6, 1, 2, [2, 2, 2]), (3, 2, 5, [3])],
)
def test_a_pass_is_one_over_the_longest_of_several_sets(
    workdir, longest, long, short, batch_size, batches, other_batch_size
):
    layers = []
    for name in "ab":
        count = long if name == longest else short
        np.savez(f"{name}.npz", data=np.zeros((count, 1)), label=np.arange(count))
        top = [f"{name}_data", f"{name}_label"]
        size = batch_size if name == longest else other_batch_size or batch_size
        layers.append({"name": name, "type": "Data", "top": top, "source": f"{name}.npz", "batch_size": size})
    net = nettrain.Net({"layers": layers}, "TEST")
    sizes, seen = [], []
    for examples, _ in net.passes():
        sizes.append(examples)
        seen += net.blobs[f"{longest}_label"].data.tolist()
    assert sizes == batches
    assert seen == list(range(long))
