"""The arguments of Caffe's command line: ``caffe train -solver x.prototxt -gpu 0`` becomes what nettrain takes."""

from __future__ import annotations

from collections.abc import Iterator

from .streams import say

_COMMANDS = ("train", "test", "time")
_FILES = ("solver", "model")  # what a command is about, which is an argument here
_GPU = "nettrain runs on the CPU"
_LOGGING = "messages go to stderr, results to stdout"  # glog's, of every program of Caffe's
_GONE = {
    "gpu": _GPU,
    **dict.fromkeys(("logtostderr", "alsologtostderr", "colorlogtostderr"), _LOGGING),
    **dict.fromkeys(("stderrthreshold", "minloglevel", "v", "vmodule", "log_dir"), _LOGGING),
}
_SWITCHES = ("logtostderr", "alsologtostderr", "colorlogtostderr")  # no value follows them
_SAME = ("weights", "snapshot", "iterations", "level", "stage", "phase", "sigint_effect", "sighup_effect")
_ALL = (*_FILES, *_GONE, *_SAME)


def translated(args: list[str]) -> list[str]:
    """The arguments of a command in nettrain's words; those of others, and nettrain's own, as they are."""
    if args[:1] == ["device_query"]:
        say(f"device_query: {_GPU}; `nettrain env` says what computes here")
        return ["env"]
    if not args or args[0] not in _COMMANDS or not any(map(_word, args)):
        return args
    return [args[0], *_translated(args[0], iter(args[1:]))]


def _translated(command: str, rest: Iterator[str]) -> Iterator[str]:
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
        if word == "phase" and command == "test":
            value = value if has_value else next(rest, "")
            say(f"--phase {value} is left out: the net is tested in phase TEST, as by Caffe")
            continue
        if word in _SAME:
            yield f"--{word}{has_value}{value}"
            continue
        if not has_value and word not in _SWITCHES:
            value = next(rest, "")
        if word in _GONE:
            say(f"{f'--{word} {value}'.rstrip()} is left out: {_GONE[word]}")
        else:
            yield value


def _word(arg: str) -> str:
    """The name of one of Caffe's options, with one dash or two; nothing where it is none."""
    name = arg.partition("=")[0].lstrip("-")
    dashes = len(arg) - len(arg.lstrip("-"))
    known = _ALL if dashes == 1 else (*_FILES, *_GONE)
    return name if dashes in (1, 2) and name in known else ""
