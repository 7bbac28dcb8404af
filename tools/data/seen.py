"""`nettrain data SPEC`: what the data layers of a spec give to the net, in numbers and as a sheet of pictures."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...files.extras import extra
from ...files.writing import write_atomically
from ...net.net import Net
from ...net.netspec import NetSpec
from ...net.step import Step
from ...net.user_code import ask
from ...solver.finding import stands_for_a_run
from ...solver.looking import remarks
from ...solver.snapshot import is_snapshot
from ...spec.errors import NettrainError, SpecError, format_shape, why
from ..table import table

BATCHES = 4  # whose values are measured
FAR, WIDE = 3.0, 5.0  # a mean further from 0, or a deviation larger than these is worth a note
CELL, GAP, LINE, TITLE = 80, 8, 12, 22  # pixels of a sheet: the least side of a picture, between, a label, a heading
COLUMNS = 8
PAPER, INK = (255, 255, 255), (30, 30, 30)
MOST_SHOWN = 12  # classes in a line


def is_run(what: str) -> bool:
    """Whether this is a run, or a snapshot of one: arrays in other files are data themselves."""
    where = Path(what)
    return stands_for_a_run(where) and (where.suffix != ".npz" or is_snapshot(where))


def look(
    spec: NetSpec, sheet: str | None = None, examples: int = 32, *, level: int = 0, stages: Sequence[str] = ()
) -> dict:
    """What each data layer of each phase gives, as data: sizes, classes, values after the transform.

    With ``sheet`` the first ``examples`` of each that are images are drawn into this PNG file.
    Raises NettrainError, also when there is no data layer or a sheet is asked for and nothing is an image.
    """
    if sheet is not None and not sheet.lower().endswith(".png"):
        raise NettrainError(f"--sheet {sheet}: the name must end in .png")
    layers: list[dict] = []
    pictures: list[tuple[str, list[tuple[np.ndarray, str]]]] = []
    nets = _nets(spec, level, tuple(stages))
    for net in nets:
        for step in net.steps:
            if step.bottom or step.layer.pass_size is None:
                continue
            about, seen = _measure(step, examples if sheet else 0)
            layers.append(about)
            pictures += [(f"{about['phase']}: {about['name']}, {about['origin']}", seen)] if seen else []
    if not layers:
        raise NettrainError("no layer of this spec reads a data set")
    if sheet is not None:
        if not pictures:
            name, shape = next(iter(layers[0]["tops"].items()))
            raise NettrainError(
                f"--sheet {sheet}: nothing here is an image of 1 or 3 channels; `{name}` is {format_shape(shape)}"
            )
        _draw(pictures, sheet)
    return {"layers": layers, "remarks": remarks(nets), "sheet": sheet}


def _nets(spec: NetSpec, level: int, stages: tuple[str, ...]) -> list[Net]:
    """The net of each phase that has layers; the one for tests knows what was found in the training data."""
    train = Net(spec, "TRAIN", level=level, stages=stages)
    try:
        return [train, Net(spec, "TEST", level=level, stages=stages, fitted=train.fitted())]
    except SpecError as error:
        if all("no layer is in the TEST net" in problem.message for problem in error.problems):
            return [train]
        raise


def _measure(step: Step, examples: int) -> tuple[dict, list[tuple[np.ndarray, str]]]:
    """What a data layer gives in some batches, and its first examples as pictures with their labels."""
    layer, names = step.layer, [key[0] for key in step.top_keys]
    classes = layer.fitted.get("classes", ())
    values: list[np.ndarray] = []
    pictures: list[tuple[np.ndarray, str]] = []
    taken, size = 0, layer.pass_size or 0
    in_test = layer.phase == "TEST"
    if in_test:
        ask(layer, "start_pass")
    while len(values) < BATCHES or taken < examples:
        step.forward()
        if len(values) < BATCHES:
            values.append(step.top[0].data.astype(float).ravel())
        for k in range(min(layer.batch_count, examples - taken)):
            picture = ask(layer, "picture", k, step.top)
            if picture is not None:
                pictures.append((picture, _label(step, k, classes)))
        taken += layer.batch_count
        if taken >= size:
            break
    shapes = {name: list(blob.shape[1:]) for name, blob in zip(names, step.top, strict=True)}
    if in_test:
        ask(layer, "end_pass")
    both = np.concatenate(values)
    measured = {name: float(getattr(both, name)()) for name in ("min", "max", "mean", "std")}
    is_image = bool(pictures) or ask(layer, "picture", 0, step.top) is not None
    about = {
        "phase": layer.phase,
        "name": step.spec.name,
        "type": step.spec.cls.__name__,
        "origin": layer.origin,
        "examples": size,
        "batch_size": layer.batch_size,
        "tops": shapes,
        "classes": dict(ask(layer, "class_counts")),
        "values": measured | {"batches": len(values)},
        "note": _note(measured, is_image, "table" in layer.fitted),
    }
    return about, pictures


def _note(values: dict[str, float], is_image: bool, is_table: bool) -> str:
    """What a person should know of values that a net learns badly from."""
    if values["std"] == 0:
        return f"every value is {values['min']:g}: there is nothing to learn from"
    if abs(values["mean"]) <= FAR and values["std"] <= WIDE:
        return ""
    way = "transform: {normalize: true}" if is_image else "transform: {mean_value: …, scale: …}"
    ways = ["standardize: true" if is_table else way]
    ways += ["for bytes transform: {scale: 0.003922}"] * (64 < values["max"] <= 255 and values["min"] >= 0)
    return (
        f"values from {values['min']:.4g} to {values['max']:.4g}: nets learn well from values around 0, of about -2 to "
        f"2; write {', or '.join(ways)}"
    )


def _label(step: Step, k: int, classes: Sequence[str]) -> str:
    """An example's label in words: its class, or with probabilities the two largest."""
    if len(step.top) < 2:
        return ask(step.layer, "name_of", k)

    def name(i: int) -> str:
        return classes[i] if 0 <= i < len(classes) else str(i)

    row = step.top[1].data[k].ravel()
    if row.size == 1:
        return name(int(row[0])) if float(row[0]).is_integer() else f"{row[0]:.4g}"
    if row.min() < 0 or abs(row.sum() - 1) > 1e-3:
        return ask(step.layer, "name_of", k)
    largest = [int(i) for i in np.argsort(-row)[:2] if row[i] > 0.005]
    return name(largest[0]) if len(largest) == 1 else ", ".join(f"{name(i)} {row[i]:.0%}" for i in largest)


def _draw(pictures: list[tuple[str, list[tuple[np.ndarray, str]]]], file: str) -> None:
    """Write the sheet: for each layer a heading, then its pictures in rows with their labels below."""
    library, drawing = (extra(f"PIL.{name}", "images", "a sheet") for name in ("Image", "ImageDraw"))
    top = max(float(picture.max()) for _, seen in pictures for picture, _ in seen)
    white = 1.0 if top <= 1 else 255.0 if 64 < top <= 255 else top
    height = width = 0
    for _, seen in pictures:
        h, w = _cell(seen)
        height += TITLE + -(-len(seen) // COLUMNS) * (h + LINE + GAP)
        width = max(width, min(COLUMNS, len(seen)) * (w + GAP) + GAP)
    sheet = library.new("RGB", (max(width, 420), height + GAP), PAPER)
    draw = drawing.Draw(sheet)
    y = GAP
    for title, seen in pictures:
        h, w = _cell(seen)
        draw.text((GAP, y), _plain(title), INK)
        y += TITLE
        for i, (picture, label) in enumerate(seen):
            row, column = divmod(i, COLUMNS)
            at = GAP + column * (w + GAP), y + row * (h + LINE + GAP)
            pixels = np.rint(np.clip(picture / white, 0, 1) * 255).astype(np.uint8)
            times = max(1, h // picture.shape[0])
            large = np.repeat(np.repeat(np.broadcast_to(pixels, (*pixels.shape[:2], 3)), times, 0), times, 1)
            sheet.paste(library.fromarray(np.ascontiguousarray(large)), at)
            draw.text((at[0], at[1] + h), _plain(label)[: max(4, w // 6)], INK)
        y += -(-len(seen) // COLUMNS) * (h + LINE + GAP)
    try:
        write_atomically(Path(file), lambda out: sheet.save(out, "PNG"))
    except OSError as error:
        raise NettrainError(f"--sheet {file} cannot be written: {why(error)}", exit_code=1) from None


def _cell(seen: list[tuple[np.ndarray, str]]) -> tuple[int, int]:
    """Height and width of a picture on the sheet: small ones are shown several times as large."""
    height, width = seen[0][0].shape[:2]
    times = max(1, -(-CELL // max(height, width)))
    return height * times, width * times


def _plain(text: str) -> str:
    """Text in the letters that pillow's own font has."""
    return os.fspath(text).encode("latin-1", "replace").decode("latin-1")


def report(found: dict) -> str:
    """In words."""
    parts = []
    for one in found["layers"]:
        values = one["values"]
        rows = [
            ["examples", f"{one['examples']:,} of {one['origin']}, {one['batch_size']:,} in a batch"],
            *([f"top `{name}`", format_shape(shape) if shape else "a number"] for name, shape in one["tops"].items()),
        ]
        if one["classes"]:
            counts = one["classes"]
            some = ", ".join(f"{name}: {count:,}" for name, count in list(counts.items())[:MOST_SHOWN])
            rest = f", and {len(counts) - MOST_SHOWN:,} more" if len(counts) > MOST_SHOWN else ""
            rows.append([f"{len(counts):,} classes", some + rest])
        batches = f"of {values['batches']} batch{'es' if values['batches'] > 1 else ''}"
        measured = ", ".join(f"{name} {values[key]:.4g}" for name, key in _NAMES)
        rows.append([f"values {batches}", f"{measured}, as the net sees them"])
        rows += [["note", one["note"]]] if one["note"] else []
        parts.append(table([one["phase"], f"{one['name']} ({one['type']})"], rows))
    parts += ["\n".join(found["remarks"])] if found["remarks"] else []
    if found["sheet"]:
        parts.append(f"written: {found['sheet']}")
    return "\n\n".join(parts)


_NAMES = (("min", "min"), ("max", "max"), ("mean", "mean"), ("deviation", "std"))
