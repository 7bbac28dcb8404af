"""`nettrain predict`: what a trained net says of files, row by row as it is found."""

from __future__ import annotations

import csv
import io
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import IO, Any

import numpy as np

from ...files import plain_json
from ...files.arrays import write_npz
from ...serving.loading import load
from ...serving.model import Answers, Model
from ...serving.named import PICTURES, count
from ...solver.evaluate import shown
from ...spec.errors import NettrainError, why
from ..table import columns

STDIN, TABLE = "-", "stdin.csv"
Cells = dict[str, Any]  # heading -> a text, a number or a list of numbers


class Predicting:
    """Predictions of files by a model, in the form that was asked for.

    ``top`` is how many classes are shown of each example. ``exit_code`` says whether all could be read: that of the
    first file that could not, else 0.
    """

    def __init__(self, model: Model, form: str, top: int, tell: Callable[[str], None]):
        self.model, self.form, self.top, self.tell = model, form, top, tell
        self.exit_code = 0
        self.kept: list[Answers] = []
        self.widths: list[int] | None = None  # of the columns, once there are some
        self.width, self.kept_stdin = 0, ""  # of the longest name; the file that stdin is kept in, where it is read

    def run(self, names: Sequence[str], stdin: IO[bytes]) -> Iterator[tuple[str, int]]:
        """Lines of output and how many examples they are of, batch by batch."""
        self.width = max([4, *map(len, names)]) if count_of(names) is not None else 4
        remark = ""
        with tempfile.TemporaryDirectory() as folder:
            self.kept_stdin = os.path.join(folder, TABLE) if STDIN in names else ""
            for answers in self.model.answer_named(given_by(names, stdin, Path(folder)), self.refuse):
                if not answers.names:  # none of them could be read
                    continue
                if answers.remark not in ("", remark):
                    self.tell(self.without_folder(answers.remark))
                remark = answers.remark
                answers.names = [self.without_folder(name) for name in answers.names]
                yield self.lines(answers), len(answers)

    def refuse(self, file: str, error: NettrainError) -> None:
        """Name a file that could not be read."""
        said = str(error)
        named = said if file in said else f"{file}: {said}"
        self.tell(self.without_folder(named))
        self.exit_code = self.exit_code or error.exit_code

    def without_folder(self, text: str) -> str:
        """A text in which the file that stdin was kept in is called stdin."""
        return text.replace(self.kept_stdin, "stdin") if self.kept_stdin else text

    def lines(self, answers: Answers) -> str:
        """A batch in the form asked for; nothing where it is kept for a file."""
        if self.form == "npz":
            self.kept.append(answers)
            return ""
        ranked = {output: self.ranked(output, values) for output, values in answers.outputs.items()}
        rows = [self.cells(answers, i, ranked) for i in range(len(answers))]
        if self.form == "json":
            return "\n".join(plain_json.text(row, indent=None) for row in rows)
        is_first, head = self.widths is None, ["name"]
        head += list(next(iter(rows), {}))[1:]
        if self.form == "csv":
            self.widths = []
            text = io.StringIO()
            csv.writer(text, lineterminator="\n").writerows(
                [head] * is_first + [[exactly(cell) for cell in row.values()] for row in rows]
            )
            return text.getvalue().removesuffix("\n")
        shown = [[in_short(name, cell) for name, cell in row.items()] for row in rows]
        if self.widths is None:
            self.widths = [max(map(len, column)) for column in zip(head, *shown, strict=True)]
            self.widths[0] = max(self.widths[0], min(self.width, (columns() or 200) // 2))
        numbers = [is_number(cell) for cell in next(iter(rows), {}).values()]
        return "\n".join(
            "  ".join(
                cell.rjust(width) if right else cell.ljust(width)
                for cell, width, right in zip(row, self.widths, numbers, strict=True)
            ).rstrip()
            for row in [head] * is_first + shown
        )

    def ranked(self, output: str, values: np.ndarray) -> list[list[int]]:
        """The likeliest classes of each example of a batch, where they are listed: all at once, since that is quick."""
        if values.ndim != 2 or self.model.meanings[output].kind in ("values", "Sigmoid"):
            return []
        ranks: list[list[int]] = np.argsort(-values, axis=1, kind="stable")[:, : self.top].tolist()
        return ranks

    def cells(self, answers: Answers, i: int, ranked: dict[str, list[list[int]]]) -> Cells:
        """What is said of an example, by heading."""
        row: Cells = {"name": answers.names[i]}
        for output in self.model.outputs:
            before = f"{output}." if len(self.model.outputs) > 1 else ""
            ranks = ranked[output][i] if ranked[output] else []
            for name, cell in self.said(output, answers.outputs[output][i], ranks).items():
                row[before + name] = cell
        return row

    def said(self, output: str, values: np.ndarray, ranks: list[int]) -> Cells:
        """What one output says of an example; ``ranks`` are its likeliest classes."""
        meaning = self.model.meanings[output]
        if meaning.kind == "values" or (meaning.kind != "Sigmoid" and values.shape[meaning.axis - 1] < 2):
            flat = values.reshape(-1)
            if self.form == "json":
                return {"value": values.item()} if values.size == 1 else {"values": values}
            if values.ndim > 1 and values.size > 1:
                return {"values": shape_of(values)}
            return {"value" if flat.size == 1 else f"value_{i}": float(one) for i, one in enumerate(flat)}
        if meaning.kind == "Sigmoid":
            return self.yes_or_no(values)
        if values.ndim > 1:
            best = values.argmax(axis=meaning.axis - 1)
            return {"classes": self.model.named(best) if self.form == "json" else shape_of(best)}
        is_score = meaning.kind == "scores"
        found: Cells = {}
        for rank, i in enumerate(ranks):
            after = f"_{rank + 1}" if rank else ""
            found[f"class{after}"] = self.model.label(i)
            found[f"{'score' if is_score else 'probability'}{after}"] = float(values[i])
        return found

    def yes_or_no(self, values: np.ndarray) -> Cells:
        """The class of one probability; or the labels whose probability is over one half."""
        flat = values.reshape(-1)
        if flat.size == 1:
            yes = flat[0] > 0.5
            return {"class": self.model.label(int(yes)), "probability": float(flat[0] if yes else 1 - flat[0])}
        if self.form == "csv" and values.ndim == 1:
            return {str(self.model.label(i)): float(one) for i, one in enumerate(flat)}
        if values.ndim > 1:
            return {"labels": (values > 0.5).astype(int) if self.form == "json" else shape_of(values)}
        labels = {str(self.model.label(i)): float(one) for i, one in enumerate(flat) if one > 0.5}
        if self.form == "json":
            return {"labels": labels}
        return {"labels": ", ".join(f"{name} {in_short('probability', one)}" for name, one in labels.items())}

    def write(self, path: Path) -> str:
        """Write what was kept to an .npz; returns a line on it. Raises NettrainError when it cannot be written."""
        if not self.kept:
            raise NettrainError(f"nothing was predicted; {path} is not written", exit_code=self.exit_code or 1)
        arrays: dict[str, np.ndarray] = {"name": np.array([name for answers in self.kept for name in answers.names])}
        for output in self.model.outputs:
            arrays[output] = np.concatenate([answers.outputs[output] for answers in self.kept])
        if self.model.classes:
            arrays["classes"] = np.array(self.model.classes)
        try:
            write_npz(path, arrays)
        except OSError as error:
            raise NettrainError(f"cannot write {path}: {why(error)}", exit_code=1) from None
        return f"{path}: {len(arrays['name']):,} examples · {', '.join(arrays)}"


def prepare(
    run: str, weights: str | None, settings: Iterable[str], say: Callable[[str], None], allow_python: bool
) -> Model:
    """The model of a run, or of a spec and weights; ``say`` gets notes for the user. Raises NettrainError."""
    model = load(run, weights=weights, settings=settings, allow_python=allow_python)
    for note in model.notes:
        say(note)
    return model


def count_of(names: Sequence[str]) -> int | None:
    """How many examples there will be, where the names tell."""
    return None if STDIN in names else count(names)


def given_by(names: Iterable[str], stdin: IO[bytes], folder: Path) -> Iterator[str]:
    """The files that are named; those in stdin where its first line is one, else a table of what is there."""
    for name in names:
        if name != STDIN:
            yield name
            continue
        first = stdin.readline()
        path = text_of(first)
        if path.lower().endswith(PICTURES) or os.path.isfile(path):
            yield from (found for line in chain([first], stdin) if (found := text_of(line)))
        else:
            table = folder / TABLE
            with table.open("wb") as file:
                file.writelines(chain([first], stdin))
            yield str(table)


def text_of(line: bytes) -> str:
    return line.decode("utf-8", "surrogateescape").rstrip("\r\n")


def exactly(cell: Any) -> Any:
    """A cell of a CSV: as many digits as tell the number from its neighbours."""
    return f"{cell:.9g}" if isinstance(cell, float) else cell


def in_short(heading: str, cell: Any) -> str:
    if not isinstance(cell, float):
        return str(cell)
    return shown(cell, is_share=True) if "probability" in heading else f"{cell:.6g}"


def is_number(cell: Any) -> bool:
    return isinstance(cell, float)


def shape_of(values: np.ndarray) -> str:
    return " x ".join(map(str, values.shape))
