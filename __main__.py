"""The `nettrain` command, and `python -m nettrain`.

Ctrl-C may come while numpy and others are being imported, and they make errors of their own of what is raised in their
first lines. Until this module's first line it is Python itself that starts, and what it says is not ours.
"""

# The part of `signal` that is there already, which stubs do not know: the rest takes milliseconds to import.
import _signal as signal  # type: ignore[import-not-found]
import os

IMPORTING = "<frozen importlib._bootstrap>"


def _stop(number, frame):
    """Ctrl-C: KeyboardInterrupt, as ever, but while modules are imported the end, without further ado."""
    while frame is not None:
        if frame.f_code.co_filename == IMPORTING:
            _end()
        frame = frame.f_back
    raise KeyboardInterrupt


def _end():
    try:
        os.write(2, b"interrupted\n")
    finally:
        os._exit(130)


# Here and not in `main`, so that nothing comes between. Where it is ignored, as in a script's background, it stays so.
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, _stop)


def main() -> None:
    """Run the command line, ready for Ctrl-C from the first moment to the last."""
    try:
        from .cli import main as command_line

        command_line()
    except KeyboardInterrupt:
        _end()
    finally:
        if signal.getsignal(signal.SIGINT) is _stop:  # while Python ends, what is raised would be a traceback
            signal.signal(signal.SIGINT, signal.SIG_DFL)


if __name__ == "__main__":
    main()
