"""Code of the user's: Python files that are run only when this is allowed, and what to say when one raises.

An exception in a layer of the user's own becomes a UserCodeError: the line that raised it, in which method of which
layer, with which shapes. So does what is not an Exception, such as SystemExit of ``sys.exit()``, which would end the
program without a word; KeyboardInterrupt alone stays what it is. An exception of nettrain's own layers does too, with
a note.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import linecache
import os
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib.abc import SourceLoader
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

from ..spec.errors import NettrainError, Place, Problem, nearest

ALLOW = "if you trust it, allow it with --allow-python (allow_python=True in Python)"
LONGEST = 500  # characters of an exception's message
_ran: set[str] = set()  # the folders of the files that were run
_layer_files: dict[str, ModuleType] = {}  # by path, those that were run for their layer types


class UserCodeError(NettrainError):
    """An exception that a layer or file of the user's own raised; it is the ``__cause__``.

    ``problem`` has its place in the user's file, the words, and below them the layer and its shapes.
    """

    knows_its_place = True

    def __init__(self, problem: Problem):
        super().__init__(str(problem))
        self.problem = problem


@contextmanager
def neighbours_of(folder: Path) -> Iterator[None]:
    """Within this context, modules are looked for in this folder first."""
    entry = str(folder.resolve())  # Python remembers what it found under a relative one, also in another folder
    sys.path.insert(0, entry)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        if entry in sys.path:
            sys.path.remove(entry)


def run_file(path: Path, name: str) -> ModuleType:
    """Run a Python file as the module ``name``; what it imports may lie beside it."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert isinstance(spec.loader, SourceLoader)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    _ran.add(str(path.parent.resolve()))
    linecache.checkcache()  # the file may have changed since it was run before
    with neighbours_of(path.parent):
        # compiled here: Python's cache takes a file of the same size and second for the one it has seen
        exec(spec.loader.source_to_code(spec.loader.get_data(str(path)), str(path)), vars(module))
    return module


def run_layer_file(path: Path) -> ModuleType:
    """Run a file with layer types, which registers them. Raises NettrainError when it is not there or does not load.

    Its module has a name of its own, so that a file called random.py is in nobody's way.
    """
    if path.suffix != ".py":
        raise NettrainError(f"{path} is not a Python file")
    if not os.path.isfile(path):
        raise NettrainError(f"{path}: no such file")
    with loading(str(path)):
        module = _layer_files[str(path.resolve())] = run_file(path, f"nettrain_layers_{path.stem}")
    return module


def class_in_layer_files(name: str) -> type | None:
    """The class of this name, or nearly, in a file with layer types, the last one first."""
    found: dict[str, type] = {}
    for module in _layer_files.values():
        found |= {key: value for key, value in vars(module).items() if _is_class_of(module, value)}
    near = name if name in found else nearest(name, found)
    return None if near is None else found[near]


def _is_class_of(module: ModuleType, value: Any) -> bool:
    return isinstance(value, type) and value.__module__ == module.__name__


@contextmanager
def loading(what: str) -> Iterator[None]:
    """Around the first run of a user's file or module: what it raises becomes a UserCodeError."""
    try:
        yield
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise does_not_load(what, error) from error


def does_not_load(what: str, error: BaseException) -> UserCodeError:
    """For a file or module that raised while it was loaded: the line that did."""
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        text = error.text or linecache.getline(error.filename, error.lineno)
        column = error.offset or 1
        length = (error.end_offset or 0) - column if error.end_lineno == error.lineno else 1
        place = Place(_shown(error.filename), error.lineno, max(1, column), max(1, length), text.rstrip("\n"))
        said = f"{type(error).__name__}: {error.msg}"
    else:
        frames = _users_frames(error)
        place = _place(frames[-1]) if frames else Place(what)
        said = _said(error)
    return UserCodeError(Problem(place, f"{what} does not load: {said}"))


def is_users(cls: type) -> bool:
    """Whether a class is not one of nettrain's own."""
    return not _is_ours(cls.__module__)


def blame(
    error: BaseException, cls: type | None = None, method: str = "", details: Iterable[str] = ()
) -> UserCodeError | None:
    """The exception in words, when it comes from code of the user's; else None.

    ``cls`` is the class of the layer whose ``method`` was called. What a layer of the user's own raises is the
    user's, even where the last of their lines is a call of nettrain's. Without ``cls`` the exception must come from a
    file that ``run_file`` ran, or from one beside it.
    """
    frames = _users_frames(error, cls)
    if cls is None:
        frames = [frame for frame in frames if str(Path(frame[0].f_code.co_filename).resolve().parent) in _ran]
        if not frames:
            return None
    elif not is_users(cls):
        return None
    more = [*map(str, getattr(error, "__notes__", ())), *details]
    if frames:
        place, title = _place(frames[-1]), _title(frames[0])
        if _title(frames[-1]) != title:
            title = (
                f"{_title(frames[-1])}, called by {title} ({_shown(frames[0][0].f_code.co_filename)}:{frames[0][1]})"
            )
    else:  # the call itself failed, or what it inherits did
        assert cls is not None
        place, title = place_of(cls, method), f"{cls.__name__}.{method}"
    return UserCodeError(Problem(place, f"{_said(error)}, in {title}", tuple(more)))


@contextmanager
def calling(layer: Any, method: str, circumstances: Callable[[], str] | None = None) -> Iterator[None]:
    """Around a call of a method of a layer, or of a class that makes one: an exception in a layer of the user's own
    becomes a UserCodeError. ``circumstances`` gives the line below it, by default the layer's name."""
    try:
        yield
    except (NettrainError, KeyboardInterrupt):
        raise
    except BaseException as error:
        whose, called = (layer, method) if isinstance(layer, type) else author(layer, method)
        words = blame(error, whose, called, [circumstances() if circumstances else f"layer `{layer.name}`"])
        if words is None:
            raise
        raise words from error


def ask(layer: Any, method: str, *arguments: Any) -> Any:
    """What a method of a layer gives, called as ``calling`` has it. Whatever a user's layer may override is called so,
    except for what a step runs itself."""
    with calling(layer, method):
        return getattr(layer, method)(*arguments)


def ask_each(layer: Any, method: str, values: Iterable[Any]) -> list[Any]:
    """What a method of a layer gives for each of many values: ``ask`` takes longer than a short method."""
    with calling(layer, method):
        function = getattr(layer, method)
        return [function(value) for value in values]


def author(layer: Any, method: str = "") -> tuple[type, str]:
    """The class and the method of the user's that a layer runs: its own, or those a layer of type Python has found."""
    return (type(layer), method) if layer.user_class is None else (layer.user_class, layer.called)


def place_of(cls: type, method: str = "") -> Place:
    """Where a method of a class is written; where the class is, if it inherits the method."""
    found = vars(cls).get(method)
    for thing in (inspect.unwrap(found) if callable(found) else None, cls):
        try:
            lines, start = inspect.getsourcelines(thing)  # type: ignore[arg-type]
            file = inspect.getsourcefile(thing)  # type: ignore[arg-type]
        except (OSError, TypeError):
            continue
        heads = (i for i, line in enumerate(lines) if line.lstrip().startswith(("def ", "class ", "async ")))
        at = next(heads, 0)  # a lambda has none
        text = lines[at].rstrip("\n")
        stripped = text.lstrip()
        return Place(_shown(file or "?"), start + at, len(text) - len(stripped) + 1, len(stripped), text)
    return Place(cls.__qualname__)


Frame = tuple[FrameType, int, int]  # a frame, its line, and the instruction in it


def _users_frames(error: BaseException, cls: type | None = None) -> list[Frame]:
    """The frames an exception passed through that are neither nettrain's nor a library's, the innermost last.

    The module of ``cls`` is the user's wherever it lies.
    """
    found, tb = [], error.__traceback__
    while tb is not None:
        module = tb.tb_frame.f_globals.get("__name__", "")
        library = _is_library(tb.tb_frame.f_code.co_filename) and module != getattr(cls, "__module__", None)
        if not (_is_ours(module) or library):
            found.append((tb.tb_frame, tb.tb_lineno, tb.tb_lasti))
        tb = tb.tb_next
    return found


def _is_ours(module: str) -> bool:
    package = __package__.partition(".")[0]
    return module == package or module.startswith(f"{package}.")


def _is_library(file: str) -> bool:
    """Python's own, or installed."""
    if file.startswith("<frozen") or {"site-packages", "dist-packages"}.intersection(Path(file).parts):
        return True
    return any(file.startswith(folder + os.sep) for folder in _LIBRARIES)


_LIBRARIES = {sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib")}


def _place(frame: Frame) -> Place:
    """The line of a frame, and the part of it that was running."""
    code, line, instruction = frame[0].f_code, frame[1], frame[2]
    text = linecache.getline(code.co_filename, line, frame[0].f_globals).rstrip("\n")
    stripped = len(text) - len(text.lstrip())
    begin, end = stripped, len(text)
    positions = list(code.co_positions())[instruction // 2] if instruction >= 0 else (None,) * 4
    start_line, end_line, start, stop = positions
    if start_line == line and start is not None and stop is not None:
        raw = text.encode()
        begin = len(raw[:start].decode(errors="replace"))
        end = len(raw[:stop].decode(errors="replace")) if end_line == line else len(text)
    return Place(_shown(code.co_filename), line, begin + 1, max(1, end - begin), text)


def _title(frame: Frame) -> str:
    """``Swish.Forward_cpu``"""
    return frame[0].f_code.co_qualname.rpartition("<locals>.")[2]


def _said(error: BaseException) -> str:
    """``ValueError: …``, as a traceback ends."""
    try:
        said = " ".join(str(error).split())
    except Exception as other:  # a __str__ of the user's
        said = f"its message cannot be shown ({type(other).__name__})"
    text = f"{type(error).__name__}: {said}" if said else type(error).__name__
    return text if len(text) <= LONGEST else text[:LONGEST] + "…"


def _shown(file: str) -> str:
    """A path as a person here would type it."""
    try:
        relative = os.path.relpath(file)
    except ValueError:  # on another drive
        return file
    return file if file.startswith("<") or relative.startswith("..") else relative
