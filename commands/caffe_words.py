"""The arguments of Caffe's command line: ``caffe train -solver x.prototxt -gpu 0`` becomes what nettrain takes."""

from __future__ import annotations

from collections.abc import Iterator

from .streams import say

_COMMANDS = ("train", "test", "time")
_FILES = ("solver", "model")  # what a command is about, which is an argument here
_GONE = ("gpu",)
_SAME = ("weights", "snapshot", "iterations", "level", "stage", "phase", "sigint_effect", "sighup_effect")
_ALL = (*_FILES, *_GONE, *_SAME)


def translated(args: list[str]) -> list[str]:
    """The arguments of a command in nettrain's words; those of others, and nettrain's own, as they are."""
    if not args or args[0] not in _COMMANDS or not any(map(_word, args)):
        return args
    return [args[0], *_translated(iter(args[1:]))]


def _translated(rest: Iterator[str]) -> Iterator[str]:
    for arg in rest:
        if arg == "--":
            yield arg
            yield from rest
            return
        word = _word(arg)
        if not word:
            yield arg
            continue
        _, has_value, value = arg.partition("=")
        if word in _SAME:
            yield f"--{word}{has_value}{value}"
            continue
        if not has_value:
            value = next(rest, "")
        if word in _GONE:
            say(f"--{word} {value} is left out: nettrain runs on the CPU")
        else:
            yield value


def _word(arg: str) -> str:
    """The name of one of Caffe's options, with one dash or two; nothing where it is none."""
    name = arg.partition("=")[0].lstrip("-")
    dashes = len(arg) - len(arg.lstrip("-"))
    known = _ALL if dashes == 1 else (*_FILES, *_GONE)
    return name if dashes in (1, 2) and name in known else ""
