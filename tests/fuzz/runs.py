"""What runs leave behind: snapshots, and lines of metrics."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import random
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from nettrain.files import seal
from nettrain.solver.finding import find_snapshot
from nettrain.solver.runs import Run
from nettrain.solver.solver import Solver
from nettrain.tools import plot, training

from .arrays import Member, bad_npy, is_zip, npy, pack_zip
from .kinds import Case, Kind, make_special, no_number
from .mutations import change_data, damage, edit_text, encode, integer, junk, pick

MLP = [
    {"name": "d", "type": "Data", "source": "digits", "batch_size": 4, "top": ["d", "l"]},
    {"name": "ip", "type": "InnerProduct", "num_output": 10, "bottom": "d"},
    {"name": "norm", "type": "BatchNorm"},
    {"name": "drop", "type": "Dropout"},
    {"name": "loss", "type": "SoftmaxWithLoss", "bottom": ["drop", "l"]},
    {"name": "acc", "type": "Accuracy", "bottom": ["drop", "l"], "include": "TEST"},
]
SOLVERS: list[dict[str, Any]] = [
    {"type": "SGD", "base_lr": 0.1, "momentum": 0.9, "max_iter": 4, "test_iter": 1, "test_interval": 2, "snapshot": 2},
    {
        "type": "Adam",
        "base_lr": 0.01,
        "max_iter": 4,
        "average_loss": 3,
        "test_iter": 1,
        "test_interval": 2,
        "snapshot": 2,
    }
    | {"lr_policy": "plateau", "gamma": 0.5, "plateau_patience": 3},
    {"type": "RMSProp", "base_lr": 0.01, "max_iter": 4, "test_interval": 0, "snapshot": 2, "display": 1},
]


@functools.lru_cache(maxsize=1)
def finished_runs() -> list[tuple[dict[str, Any], dict[str, bytes]]]:
    """(spec, files) of some short runs."""
    found = []
    for solver in SOLVERS:
        spec = {"name": "run", "layers": MLP, "solver": {"random_seed": 1, **solver}}
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            one = Solver(spec, out="run")
            one.solve()
            found.append((spec, {path.name: path.read_bytes() for path in sorted(Path("run").iterdir())}))
    return found


def arrays_of(raw: bytes) -> dict[str, np.ndarray]:
    """The arrays of a snapshot."""
    with tempfile.NamedTemporaryFile(suffix=".npz") as file:
        Path(file.name).write_bytes(raw)
        with np.load(file.name) as archive:
            return dict(archive)


def sealed(raw: bytes) -> bytes:
    """An archive without a comment, with its checksum as the comment."""
    file = io.BytesIO(raw)
    seal.add(file)
    return file.getvalue()


class Snapshots(Kind):
    """Snapshots whose checksum is right and whose content is not; now and then the newest of several."""

    name = "snapshots"

    def seeds(self):
        return finished_runs()

    def good(self, seed):
        spec, files_ = seed
        return Case({"run/iter_4.npz": files_["iter_4.npz"]}, {"spec": spec})

    @functools.lru_cache  # noqa: B019
    def _arrays(self, number: int) -> dict[str, np.ndarray]:
        return arrays_of(self.seeds()[number][1]["iter_4.npz"])

    def mutate(self, rng, seed):
        files_ = seed[1]
        case = self.good(seed)
        if rng.random() < 0.02:
            return make_special(rng, case)
        arrays = self._arrays(self.seeds().index(seed))
        raw = damage(rng, files_["iter_4.npz"]) if rng.random() < 0.1 else self._sealed(rng, arrays)
        case.files["run/iter_4.npz"] = raw
        case.what["with_spec"] = rng.random() < 0.7
        case.what["folder"] = rng.random() < 0.4
        if rng.random() < 0.3:
            case.files["run/iter_2.npz"] = files_["iter_2.npz"]
            case.what["before"] = True
            case.what["folder"] = True
        if rng.random() < 0.3:
            case.files["run/metrics.jsonl"] = files_["metrics.jsonl"]
        return case

    def _sealed(self, rng: random.Random, arrays: Mapping[str, np.ndarray]) -> bytes:
        members = {name: npy(array) for name, array in arrays.items()}
        state = json.loads(str(arrays["state"]))
        for _ in range(rng.choice([1, 1, 2])):
            name = rng.choice(list(members)) if members else "state"
            match pick(rng, "state state state state state part part text array array name drop add"):
                case "state":
                    state = change_data(rng, state)
                case "part" if isinstance(state, dict) and state:  # what is on top, more often
                    key = rng.choice(list(state))
                    state[key] = junk(rng) if rng.random() < 0.5 else change_data(rng, state[key], 1)
                case "array" if members:
                    with contextlib.suppress(ValueError, SyntaxError):
                        members[name] = bad_npy(rng, members[name])
                case "name" if members:
                    other = pick(rng, "param/x/0 history/99 history/x history/ param/ip/7 state2 state")
                    members[other] = members.pop(name)
                case "drop":
                    members.pop(name, None)
                case "add":
                    other = rng.choice(["history/1", "history/5", "param/ip/2", "param/other/0", "more"])
                    members[other] = npy(rng.choice([np.zeros(3), np.array("x"), np.zeros((0, 2)), np.array(5)]))
                case "text":
                    text = rng.choice(
                        ["", "null", "[" * 100_000, '{"iter": 1e400}', "{" * 500, "[]", '"x"', "{}", "\0"]
                    )
                    members["state"] = npy(np.array(rng.choice([text, text.encode(), [text], 5, [1, 2]])))
                    return sealed(pack_zip(Member(f"{n}.npy".encode(), m) for n, m in members.items()))
        if "state" in members and rng.random() < 0.95:
            text = _json(rng, state)
            members["state"] = npy(np.array(text))
        return sealed(pack_zip(Member(f"{n}.npy".encode("utf-8", "replace"), m) for n, m in members.items()))

    def passes_first_check(self, case):
        raw = case.files.get("run/iter_4.npz", b"")
        try:
            return is_zip(raw) and seal.check(io.BytesIO(raw))
        except ValueError:
            return False

    def execute(self, case, folder):
        where = "run" if case.what.get("folder") else "run/iter_4.npz"
        if case.what.get("before"):
            find_snapshot(Path(where))  # one of them is good
        if case.what.get("with_spec", True):
            solver = Solver(case.what["spec"], out=case.what.get("out"))
            solver.resume(where)
        else:
            solver = training.prepare(None, (), lambda text: None, resume=where)
        solver.max_iter = min(solver.max_iter, solver.iter + 2)
        solver.step(2)
        for line in solver.run.path("metrics.jsonl").read_text().splitlines() if solver.run.folder else ():
            json.loads(line, parse_constant=no_number)

    def command(self, case):
        return ["train", "--resume", "run/iter_4.npz", "--set", "solver.max_iter=5"]

    def names(self, case):
        return ["run", "spec"]


def _json(rng: random.Random, state: Any) -> str:
    """The state as text; now and then with numbers that JSON does not have, or that Python reads as other numbers."""
    text = json.dumps(state)
    if rng.random() < 0.1:
        numbers = [match.span() for match in re.finditer(r"-?\d+(\.\d+)?", text)]
        if numbers:
            first, last = rng.choice(numbers)
            text = (
                text[:first]
                + rng.choice(["1e400", "-1e400", "NaN", "9" * 5000, "[" * 2000 + "]" * 2000, "1.0"])
                + text[last:]
            )
    return text


LINES = ["", "{}", "[]", "null", "5", '"x"', "{", "[" * 100_000, '{"iter": 1e400}', '{"iter": "3"}', '{"iter": -1}']
LINES += ['{"iter": 3, "test": 5}', '{"iter": 3, "test": [[1, 2]]}', '{"iter": 3, "test": {"a": true}}']
LINES += ['{"iter": true}']
LINES += ['{"iter": 3, "train_loss": 1e400}', '{"iter": 1e300, "train_loss": 1}', '{"iter": 3, "train_loss": NaN}']
LINES += ['{"iter": 3, "train_loss": ' + "9" * 400 + "}", '{"iter": ' + "9" * 400 + ', "train_loss": 1}', "\0"]
LINES += ["\ufeff"]
LINES += ['{"iter": ' + "9" * 5000 + "}", '{"iter": 3, "test": {"$x$": 1, "": 2, "\\ud800": 3}}']
LINES += ['{"iter": NaN}', '{"iter": 2.5}']
LINES += ['{"iter": 3, "test": {"' + "a" * 5000 + '": 1}}', '{"iter": 3, "test": {"loss": "1"}}']
LINES += ['{"iter": 3, "iter": 4}']


class Metrics(Kind):
    """metrics.jsonl, as plot reads it and as a resumed run does."""

    name = "metrics"

    def seeds(self):
        import matplotlib.backends.backend_agg
        import matplotlib.backends.backend_svg
        import matplotlib.figure  # noqa: F401

        return [(files_["metrics.jsonl"], files_["iter_4.npz"], spec) for spec, files_ in finished_runs()]

    def good(self, seed):
        lines, snapshot, spec = seed
        return Case({"run/metrics.jsonl": lines, "run/iter_4.npz": snapshot}, {"spec": spec})

    def mutate(self, rng, seed):
        case = self.good(seed)
        if rng.random() < 0.02:
            case = make_special(rng, case)
            case.what["way"] = rng.choice(["plot", "continue"])
            return case
        lines = seed[0].decode().splitlines()
        for _ in range(rng.randint(1, 3)):
            at = rng.randrange(len(lines))
            match pick(rng, "data data line text token"):
                case "data":
                    with contextlib.suppress(ValueError, RecursionError):
                        lines[at] = json.dumps(change_data(rng, json.loads(lines[at])))
                case "line":
                    lines.insert(at, rng.choice(LINES))
                case "text":
                    lines[at] = edit_text(rng, lines[at], ' ,":{}')
                case "token":
                    found = [match.span() for match in re.finditer(r"-?\d+(\.\d+)?", lines[at])]
                    if found:
                        first, last = rng.choice(found)
                        new = rng.choice(
                            ["1e400", "-1e400", "NaN", "Infinity", "null", "true", "9" * 400, str(integer(rng))]
                        )
                        lines[at] = lines[at][:first] + new + lines[at][last:]
        text = rng.choice(["\n", "\n", "\n", "\r\n", "\n\n"]).join(lines) + rng.choice(["\n", "\n", ""])
        case.files["run/metrics.jsonl"] = encode(rng, text)
        case.what["way"] = rng.choice(["plot"] * 3 + ["continue"] * 3 + ["resume"])
        return case

    def passes_first_check(self, case):
        for line in case.files.get("run/metrics.jsonl", b"").splitlines():
            with contextlib.suppress(ValueError, RecursionError):
                if isinstance(json.loads(line), dict):
                    return True
        return False

    def execute(self, case, folder):
        match case.what.get("way", "plot"):
            case "plot":
                plot.read_run("run")
            case "continue":
                Run("", folder=folder / "run").continue_from(Run("", folder=folder / "run"), 3)
            case "resume":
                solver = Solver(case.what["spec"])
                solver.resume("run")
                solver.step(1)

    def command(self, case):
        return ["plot", "run", "--out", "run.png"]

    def names(self, case):
        return ["run"]
