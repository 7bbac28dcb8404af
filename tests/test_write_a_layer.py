"""docs/write-a-layer.md, followed word by word."""

import re
import shlex
from pathlib import Path

PAGE = (Path(__file__).parent.parent / "docs" / "write-a-layer.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"(?:<!-- ([^>]*) -->\n)?```(\w+)\n(.*?)```", re.DOTALL)


def without_seconds(text):
    return re.sub(r" in \d+\.\d s$", " in … s", text, flags=re.MULTILINE)


def test_every_step(nettrain_cli, workdir):
    said, output = [], None
    for note, kind, text in BLOCK.findall(PAGE):
        if note.startswith("file "):
            (workdir / note.removeprefix("file ")).write_text(text)
        elif note.startswith("add to "):
            with (workdir / note.removeprefix("add to ")).open("a") as file:
                file.write(text)
        elif kind == "sh":
            code = int(note.removeprefix("exit code ")) if note.startswith("exit code") else 0
            for line in text.strip().splitlines():
                program, *arguments = shlex.split(line)
                assert program == "nettrain"
                output = nettrain_cli(*arguments, exit_code=code).output
                said.append(output)
        elif kind == "text" and output is not None:
            assert without_seconds(text.strip()) in without_seconds(output)
            output = None
    assert len(said) == len(re.findall(r"^nettrain ", PAGE, re.MULTILINE)) >= 9
    accuracy = float(re.search(r"best accuracy ([\d.]+)%", "".join(said))[1])
    assert accuracy >= 96.5


def test_every_file_it_writes_is_used():
    files = re.findall(r"<!-- file (\S+) -->", PAGE)
    for name in files:
        assert PAGE.count(name) > 1
