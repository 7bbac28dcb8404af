"""The table of a training run keeps its columns, whatever the numbers are."""

import itertools

import nettrain
import pytest
from nettrain.solver.solver import Row
from nettrain.tools.progress import Rows, fitted


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.07712, "0.0771"),
        (-3.5, "-3.5000"),
        (12718.3379, "12718.3"),
        (123456.789, "123457"),
        (7.75e35, "7.75e+35"),
        (-7.7512e35, "-7.75e+35"),
        (1.26e300, "1.26e+300"),
        (-1.26e300, "-1.3e+300"),
        (float("inf"), "inf"),
    ],
)
def test_a_number_takes_the_room_it_has(value, shown):
    assert fitted(value, 9) == shown


def test_columns_stay_where_they_are(workdir):
    data = {"name": "d", "type": "Data", "top": ["data", "label"], "source": "spiral", "batch_size": 3}
    ip = {"name": "ip", "type": "InnerProduct", "bottom": "data", "num_output": 3}
    loss = {"name": "loss", "type": "SoftmaxWithLoss", "bottom": ["ip", "label"]}
    spec = {"solver": {"base_lr": 0.1, "max_iter": 10_000_000}, "layers": [data, ip, loss]}
    rows = Rows(nettrain.get_solver(spec, out="run"))
    numbers = [0, 0.5, 12718.3379, 7.75e35, -1.234567e-200, float("nan"), float("inf")]
    for iteration, loss, test, rate in itertools.product([0, 9_999_999], numbers, numbers, [0, 0.5, 12345]):
        line = rows.line(Row(iteration, iteration / 100, loss, 1e-5, rate, {"loss": test}))
        assert len(line) == len(rows.head()), line
