"""The helpers themselves: no process outlives the test that started it, and each thing that is shared stands once."""

import ast
from collections import Counter
from pathlib import Path

import helpers
import pytest
from helpers import start

HERE = Path(__file__).parent
TESTS = sorted(path for path in HERE.rglob("*.py") if path.parent.name not in ("fuzz", "helpers", "oracle_torch"))


def test_what_a_test_leaves_behind_is_ended():
    process = start("-c", "print('ready', flush=True); input()", program=(), stdin=-1)
    assert process.stdout.readline() == "ready\n"
    helpers.end_processes()
    assert process.returncode == -9
    assert all(pipe.closed for pipe in (process.stdin, process.stdout, process.stderr))
    assert helpers._started == []


def test_waiting_ends_with_the_process():
    process = start("-c", "raise SystemExit('no file will come')", program=())
    with pytest.raises(AssertionError, match="no file will come"):
        helpers.wait_for("nowhere", process)


@pytest.mark.parametrize("path", TESTS, ids=lambda path: str(path.relative_to(HERE)))
def test_processes_and_shared_names_come_from_the_helpers(path):
    """A Popen of a test's own would outlive a failure; a second ``layer`` would come to mean something else."""
    shared = {name for name, found in vars(helpers).items() if getattr(found, "__module__", "") == "helpers"}
    tree = ast.parse(path.read_text())
    attributes = Counter(node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute))
    assert attributes["Popen"] == 0
    assert {node.name for node in tree.body if isinstance(node, ast.FunctionDef)} & shared == set()
