"""docs/write-a-layer.md, followed word by word."""

import re
from pathlib import Path

PAGE = (Path(__file__).parent.parent / "docs" / "write-a-layer.md").read_text(encoding="utf-8")


def test_every_step(follow):
    outputs = follow(PAGE)
    assert len(outputs) == len(re.findall(r"^nettrain ", PAGE, re.MULTILINE)) >= 9
    trained = outputs["nettrain train gated.yaml --allow-python"]
    assert float(re.search(r"best accuracy ([\d.]+)%", trained)[1]) >= 96.5


def test_every_file_it_writes_is_used():
    for name in re.findall(r"<!-- file (\S+) -->", PAGE):
        assert PAGE.count(name) > 1
