"""docs/net-surgery.md does what it says."""

import re
from pathlib import Path

TEXT = (Path(__file__).parent.parent / "docs" / "net-surgery.md").read_text()


def test_the_program_runs(workdir, capsys):
    (program,) = re.findall(r"```python\n(.*?)```", TEXT, re.S)
    exec(compile(program, "net-surgery.md", "exec"), {})
    printed = capsys.readouterr().out.split("\n")
    assert printed[:2] == ["(1, 10, 13, 17)", "True"]
    assert (workdir / "anywhere.npz").exists()
