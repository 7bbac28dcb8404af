"""The command line. Each command reads its arguments, calls one function and prints what it returns."""

from __future__ import annotations

import codecs
import contextlib
import errno
import io
import os
import sys
import time
from typing import Any, TextIO

import click

from . import __version__
from .spec.errors import NettrainError

EXAMPLES = """\
  nettrain train configs/mlp.yaml     train it (data included)
  nettrain check configs/mlp.yaml     everything but training
  nettrain gradcheck                  check every layer's backward pass
  nettrain explain configs/lecture/add_mul.yaml
"""
GROUPS = {
    "Train": ["train", "test"],
    "Check": ["check", "gradcheck"],
    "Look": ["summary", "explain", "plot", "worksheet", "time", "layers"],
    "Exchange": ["schema", "env"],
}


class App(click.Group):
    """Help with examples first and commands in groups; errors of ours become one message and an exit code."""

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write(f"nettrain – {(self.help or '').strip()}\n\n{EXAMPLES}")
        for group, names in GROUPS.items():
            shown = [(name, self.commands[name].get_short_help_str(70)) for name in names]
            with formatter.section(group):
                formatter.write_dl(shown)
        formatter.write("\nEvery command has --help. Shell completion: see README.md.\n")

    def main(self, args: Any = None, prog_name: Any = None, complete_var: Any = None, *_: Any, **extra: Any) -> Any:
        """Run a command and exit. Whatever is printed, by click too, may fail: that is an error of its own."""
        _prepare_streams()
        streams = sys.stdout, sys.stderr
        try:
            code = super().main(args, prog_name, complete_var, **extra | {"standalone_mode": False})
            sys.stdout.flush()
        except click.ClickException as error:
            with contextlib.suppress(OSError):  # nobody can be told
                error.show()
            code = error.exit_code
        except (click.Abort, KeyboardInterrupt):
            say("interrupted")
            code = 130
        except OSError as error:  # of our own files every one is a NettrainError
            if error.filename is not None:
                raise
            code = self.cannot_write(error)
        except SystemExit:
            if sys.stdout is streams[0]:
                raise
            sys.stdout, sys.stderr = streams  # which click replaces, and ends, when nobody reads its output any more
            code = self.cannot_write(BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE)))
        sys.exit(code)

    @staticmethod
    def cannot_write(error: OSError) -> int:
        """Say so; returns the exit code."""
        _look_away(sys.stdout)
        why = "stdout is closed" if error.errno == errno.EBADF else error.strerror or str(error)
        say(f"the output cannot be written: {why}")
        return 1

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except NettrainError as error:
            if ctx.meta.get("debug"):
                raise
            say(f"{error}")
            ctx.exit(error.exit_code)
        except MemoryError as error:
            if ctx.meta.get("debug"):
                raise
            say(f"not enough memory: {error}")
            ctx.exit(1)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a SystemExit of a user's file too, which would end this without a word
            from .net.user_code import blame

            words = blame(error)
            if words is None:
                raise
            if ctx.meta.get("debug"):
                raise words from error
            say(f"{words}")
            ctx.exit(words.exit_code)


# What a stream's encoding lacks is written as these, or else as `?`.
PLAIN = {
    "·": "-",
    "–": "-",
    "—": "-",
    "…": "...",
    "×": "x",
    "→": "->",
    "✓": "ok",
    "“": '"',
    "”": '"',
    "≥": ">=",
    "≤": "<=",
}


def _plainly(error: UnicodeError) -> tuple[str | bytes, int]:
    """For encoders: characters that cannot be encoded, in others that can; bytes of a file's name as they were."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    if all("\udc80" <= character <= "\udcff" for character in text):
        return text.encode("ascii", "surrogateescape"), error.end
    return "".join(PLAIN.get(character, "?") for character in text), error.end


def _prepare_streams() -> None:
    """Make stdout and stderr something that can be written to, in whatever encoding.

    Where one was closed (``>&-``), the next file that is opened would get its number, and with it what is printed: so
    something is put there. What is written to a closed stderr is lost; writing to a closed stdout is an error.
    """
    codecs.register_error("nettrain", _plainly)
    for number, mode in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, mode)  # gets the lowest free number
    sys.stdout, sys.stderr = sys.stdout or _stream(1), sys.stderr or _stream(2)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            with contextlib.suppress(OSError, ValueError):
                stream.reconfigure(errors="nettrain")


def _stream(number: int) -> TextIO:
    return io.TextIOWrapper(io.BufferedWriter(io.FileIO(number, "w", closefd=False)), "utf-8", line_buffering=True)


def _look_away(*streams: TextIO) -> None:
    """What is written from now on goes nowhere; and so does what is still in the buffers."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in streams:
        with contextlib.suppress(OSError, ValueError):  # no file of the system
            os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def say(text: str) -> None:
    """To a person, on stderr, if there is anybody."""
    try:
        click.echo(text, err=True)
    except OSError:
        _look_away(sys.stderr)


def show(data: Any, as_json: bool, report: Any) -> None:
    """A result, on stdout: one JSON object, or as ``report`` words it."""
    from .files import plain_json

    context = click.get_current_context(silent=True)
    stdout = context.meta.get("stdout") if context else None  # without one it is called by a program
    click.echo(plain_json.text(data) if as_json else report(data), file=stdout)


class Name(click.Path):
    """A path, or what else names something: never empty, as it is where a shell's variable was not set."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, str) and not value.strip():
            self.fail("it is empty", param, ctx)
        try:
            return super().convert(value, param, ctx)
        except (UnicodeError, ValueError):  # a character that no name has
            self.fail(f"{value!a} is no name of a file", param, ctx)


def _remember_debug(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    ctx.meta["debug"] = ctx.meta.get("debug") or value


def _allow_python(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    ctx.meta["allow_python"] = value


def _keep_stdout_for_json(ctx: click.Context, _: click.Parameter, value: bool) -> bool:
    """While JSON is asked for, stdout holds that alone: what a user's code prints goes to stderr."""
    if value:
        ctx.meta["stdout"] = sys.stdout
        ctx.with_resource(contextlib.redirect_stdout(sys.stderr))
    return value


def python_is_allowed() -> bool:
    """Whether this command line has --allow-python."""
    return click.get_current_context().meta.get("allow_python", False)


def _use_threads(_: click.Context, __: click.Parameter, value: int | None) -> None:
    if value is not None:
        from .compute.parallel import use_threads

        use_threads(value)


def _hold_blas_to_one_thread() -> None:
    """For BLAS libraries that read these when numpy is first imported; OpenBLAS is asked while a net runs."""
    if "numpy" not in sys.modules:
        for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
            os.environ[name] = "1"


debug_option = click.option(
    "--debug", is_flag=True, expose_value=False, callback=_remember_debug, help="Show the traceback of an error."
)
json_option = click.option(
    "--json",
    "as_json",
    is_flag=True,
    callback=_keep_stdout_for_json,
    help="Print one JSON object instead of text; NaN and infinity are null.",
)
set_option = click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override a key: solver.base_lr=0.1, conv1.num_output=32.",
)
level_option = click.option("--level", default=0, help="Level that include and exclude rules look at.")
stage_option = click.option("--stage", "stages", multiple=True, help="Stage that include and exclude rules look at.")
threads_option = click.option(
    "--threads",
    type=click.IntRange(1),
    callback=_use_threads,
    expose_value=False,
    help="Threads; default all cores. The results are the same, to the bit.",
)
python_option = click.option(
    "--allow-python",
    is_flag=True,
    expose_value=False,
    callback=_allow_python,
    help="Let layers of type Python run the code they name.",
)
spec_argument = click.argument("spec", type=Name())
phase_option = click.option(
    "--phase",
    type=click.Choice(["TRAIN", "TEST"], case_sensitive=False),
    default="TRAIN",
    help="Which net; default TRAIN.",
)


def read(spec: str, settings: tuple[str, ...], problems: Any = None) -> Any:
    """Load a spec, saying so when it is a bundled one."""
    from .net.netspec import load

    if os.path.isdir(spec) or spec.endswith(".npz"):
        from .tools.training import check_spec

        check_spec(spec)
    loaded = load(spec, settings, problems, python_is_allowed())
    if loaded.note:
        say(loaded.note)
    return loaded


@click.group(cls=App, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, "-V", "--version", prog_name="nettrain")
@debug_option
def main() -> None:
    """train neural networks from a YAML file, on a CPU, and see how they learn."""
    _hold_blas_to_one_thread()


def _comma_separated(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    names = tuple(name for value in values for name in value.split(","))
    if not all(name.strip() for name in names):
        raise click.BadParameter("a name between the commas is empty")
    return names


def _effect_option(name: str, default: str, what: str) -> Any:
    """What a signal does; Caffe's names with underscores work too."""
    return click.option(
        f"--{name}-effect",
        f"--{name}_effect",
        f"{name}_effect",
        type=click.Choice(["stop", "snapshot", "none"]),
        default=default,
        show_default=True,
        help=f"What {what} does.",
    )


@main.command()
@click.argument("spec", type=Name(), required=False)
@set_option
@python_option
@click.option(
    "--weights",
    multiple=True,
    type=Name(),
    metavar="FILE[,FILE…]",
    callback=_comma_separated,
    help="Start from the parameters in these .npz, by layer name.",
)
@click.option(
    "--resume",
    "--snapshot",
    "resume",
    type=Name(),
    metavar="RUN_OR_FILE",
    help="Go on with a run (its folder), or from one of its snapshots.",
)
@click.option("--out", type=Name(), help="Folder for snapshots and metrics instead of runs/NAME/NUMBER.")
@level_option
@stage_option
@threads_option
@_effect_option("sigint", "stop", "Ctrl-C")
@_effect_option("sigterm", "stop", "SIGTERM")
@_effect_option("sighup", "snapshot", "SIGHUP")
@debug_option
def train(spec: str | None, settings: tuple, weights: tuple, resume: str | None, stages: tuple, **options: Any) -> None:
    """Train a net.

    \b
    nettrain train configs/mlp.yaml
    nettrain train configs/mlp.yaml --set solver.base_lr=0.02 --set ip1.num_output=128
    nettrain train configs/mlp.yaml --weights other.npz --set 'solver.freeze=conv*'
    nettrain train --resume runs/mlp/001
    nettrain train --resume runs/mlp/001 --set solver.max_iter=2000

    The `solver:` part of the spec says how. Rows of progress go to stdout and to metrics.jsonl, a bar to stderr when
    that is a terminal. Ctrl-C writes a snapshot and stops, a second one stops at once (within half a second two count
    as one). Exit codes: 0 done, 1 failed, 2 wrong spec or data, 3 training diverged, 130 interrupted, 143 by SIGTERM.
    """
    from .tools import training

    if weights and resume:
        raise click.UsageError("--weights starts a run and --resume goes on with one; give one of them")
    effects = {name.upper(): options.pop(f"{name}_effect") for name in ("sigint", "sigterm", "sighup")}
    options |= {"weights": weights, "stages": stages, "allow_python": python_is_allowed()}
    solver = training.prepare(spec, settings, say, resume, **options)
    screen = _Screen(solver.max_iter, solver.iter)
    screen.write(training.banner(solver))
    started = time.perf_counter()
    with screen:
        training.run(solver, screen.write, screen.say, screen.advance, effects)
    screen.write(training.ending(solver, time.perf_counter() - started))


class _Screen:
    """Where training is shown: lines on stdout, a bar on stderr when that is a terminal.

    Nobody needs to look: when the terminal is closed, or the program at the other end of a pipe is gone, training goes
    on, and its rows are in metrics.jsonl.
    """

    def __init__(self, total: int, done: int):
        from tqdm import tqdm

        hidden = not sys.stderr.isatty() or os.environ.get("TERM") == "dumb"
        self.bar = tqdm(
            total=total, initial=done, file=sys.stderr, disable=hidden, unit="it", leave=False, dynamic_ncols=True
        )

    def __enter__(self) -> _Screen:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.bar.close()
        except OSError:
            self._look_away()

    def write(self, text: str, stream: Any = None) -> None:
        try:
            self.bar.write(text, file=stream or sys.stdout)
            (stream or sys.stdout).flush()
        except OSError:
            self._look_away()

    def say(self, text: str) -> None:
        self.write(text, sys.stderr)

    def advance(self, loss: float) -> None:
        try:
            self.bar.set_postfix_str(f"loss={loss:.4g}", refresh=False)
            self.bar.update()
        except OSError:
            self._look_away()

    def _look_away(self) -> None:
        self.bar.disable = True
        _look_away(sys.stdout, sys.stderr)


@main.command()
@click.argument("spec", metavar="SPEC_OR_RUN", type=Name())
@click.option("--weights", type=Name(), help="The .npz with the parameters; default a run's best.")
@click.option(
    "--iterations",
    type=click.IntRange(1),
    help="Batches to run; default the solver's test_iter, or the whole test set once.",
)
@set_option
@python_option
@level_option
@stage_option
@threads_option
@json_option
@debug_option
def test(spec: str, settings: tuple, as_json: bool, **options: Any) -> None:
    """Test trained weights: the mean of every output over the test data, as training does.

    A solver with several test nets (test_state) has as many tests; --stage or --level asks for one net alone.

    \b
    nettrain test runs/mlp/001                    its best weights, with the spec it was trained with
    nettrain test runs/mlp/001/iter_400.npz
    nettrain test configs/mlp.yaml --weights runs/mlp/001/best.npz
    """
    from .tools import testing

    options |= {"settings": settings, "allow_python": python_is_allowed()}
    result = testing.run(spec, read=lambda path: read(path, settings), say=say, **options)
    show(result, as_json, testing.report)
    sys.exit(result["exit_code"])


@main.command()
@spec_argument
@set_option
@python_option
@level_option
@stage_option
@json_option
@debug_option
def check(spec: str, settings: tuple, level: int, stages: tuple, as_json: bool) -> None:
    """Do everything but training, and report all errors at once.

    The spec, the shapes of both nets, the solver, the data files and their labels, the folders to be written.

    \b
    nettrain check configs/mlp.yaml
    """
    from .spec.errors import Problems
    from .tools import check as checking

    problems = Problems()
    try:
        loaded = read(spec, settings, problems)
        show(checking.check(loaded, problems, level=level, stages=stages), as_json, checking.report)
    except NettrainError as error:
        if not as_json:
            raise
        show(checking.as_json(error), True, None)
        sys.exit(error.exit_code)


@main.command()
@click.argument("what", required=False)
@set_option
@python_option
@click.option("--layer", "layers", multiple=True, help="Only this layer type.")
@phase_option
@json_option
@debug_option
def gradcheck(what: str | None, settings: tuple, layers: tuple, phase: str, as_json: bool) -> None:
    """Compare backward passes with numerical gradients.

    \b
    nettrain gradcheck                       every example of every layer type
    nettrain gradcheck --layer Pooling       of one type
    nettrain gradcheck configs/mlp.yaml      a whole net, on its own data
    nettrain gradcheck my_layers.py          layers of your own, each class of that file (which is run)
    nettrain gradcheck my_layers.py:Swish2   one of them

    All in float64. Exit code 4 when a gradient is wrong, or a layer of your own breaks its contract or raises; what
    would repair it is said. Entries at a kink, at the end of a domain or at an infinite slope are counted as kinks: at
    a kink a value between the slopes of the two sides is right, at the others nothing is compared.
    """
    from .tools import gradcheck as checking

    started = time.perf_counter()
    checks, first = checking.run(what, layers, phase, lambda spec: read(spec, settings))
    seconds = time.perf_counter() - started
    show(checking.as_json(checks), as_json, lambda _: checking.report(checks, seconds, first))
    if not all(check.ok for check in checks):
        sys.exit(4)


@main.command()
@spec_argument
@set_option
@python_option
@phase_option
@level_option
@stage_option
@json_option
@debug_option
def summary(spec: str, settings: tuple, phase: str, level: int, stages: tuple, as_json: bool) -> None:
    """Show layers, shapes, parameters, multiply-adds, memory.

    \b
    nettrain summary configs/lenet.yaml
    """
    from .net.net import Net
    from .tools import summary as summing

    net = Net(read(spec, settings), phase.upper(), level=level, stages=stages)
    show(summing.summarise(net), as_json, summing.report)


@main.command()
@click.argument("spec", type=Name(), required=False)
@click.argument("assignments", metavar="[NAME=VALUE]…", nargs=-1)
@click.option("--expr", metavar="FORMULA", help="Explain this formula of + - * / ** exp log max sigmoid tanh relu …")
@click.option("--blob", "blobs", multiple=True, help="Only this blob, whole.")
@click.option("--layer", "layers", multiple=True, help="Only this layer, with what it reads and makes, whole.")
@click.option("--sample", type=click.IntRange(0), help="Only this example of the batch, counted from 0.")
@click.option("--html", type=Name(), help="Write a page with the graph drawn, to be stepped through.")
@click.option("--weights", type=Name(), help="The .npz with the parameters; else they are as initialised.")
@set_option
@python_option
@phase_option
@level_option
@stage_option
@json_option
@debug_option
def explain(spec: str | None, assignments: tuple, expr: str | None, as_json: bool, **options: Any) -> None:
    """Show every value and gradient of one forward and one backward pass.

    \b
    nettrain explain configs/lecture/add_mul.yaml
    nettrain explain --expr "(x + y) * z" x=-2 y=5 z=-4          x=1,2,3 is a vector
    nettrain explain configs/mlp.yaml --layer ip2 --sample 3
    nettrain explain configs/lecture/sigmoid_gates.yaml --html gates.html

    Along each wire a gradient is the gate's local gradient times the one from above (upstream). All in float64.
    A formula may have + - * / **, exp, log, sqrt, abs, max, pow, sigmoid, tanh, relu. It is compared with numerical
    gradients too; exit code 4 when they differ. Where there is no gradient that is said, with the reason, and is no
    failure: a part is no number (log(-1), 1/0); the end of a domain or an infinite slope (sqrt(x) at 0); a kink (|x|,
    relu(x) at 0), where the gradient shown is one between the slopes of its two sides.
    """
    from .tools import explanation

    asked = explanation.Question(spec, assignments, expr, **options)
    answer = explanation.answer(asked, lambda path: read(path, asked.settings))
    show(answer.as_json(), as_json, lambda _: answer.report())
    if not answer.ok:
        sys.exit(4)


@main.command()
@click.argument("runs", metavar="[RUN]…", nargs=-1, type=Name())
@click.option("--activations", is_flag=True, help="Draw activation functions and their derivatives instead.")
@click.option("--metric", "metrics", multiple=True, help='Only this one, such as "test accuracy"; default all.')
@click.option("--out", type=Name(), help="The file: .svg, .png or .pdf; default curves.svg or activations.svg.")
@debug_option
def plot(runs: tuple, activations: bool, metrics: tuple, out: str | None) -> None:
    """Draw the curves of runs, or the activation functions.

    \b
    nettrain plot runs/mlp/001                            losses and scores over the iterations
    nettrain plot runs/mlp/001 runs/mlp/002 --out two.png
    nettrain plot --activations

    Needs matplotlib: pip install "nettrain[plot]".
    """
    from .tools import plot as plotting

    click.echo(plotting.plot(runs, metrics, activations, out))


@main.command()
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Another seed, another graph.")
@click.option("--gates", type=click.IntRange(1, 12), default=4, show_default=True, help="Operations in the graph.")
@click.option("--html", type=Name(), help="Write a page to print: the graph with blanks, then the answers.")
@json_option
@debug_option
def worksheet(seed: int, gates: int, html: str | None, as_json: bool) -> None:
    """Make an exercise: a small graph with blanks for values and gradients, and its answer key.

    \b
    nettrain worksheet --seed 7
    nettrain worksheet --seed 7 --gates 6 --html sheet.html
    """
    from .tools import worksheet as making

    sheet = making.make(seed, gates, html)
    show(sheet.as_json(), as_json, lambda _: sheet.report())


@main.command("time")
@spec_argument
@click.option("--iterations", type=click.IntRange(1), default=20, help="Batches to time; default 20.")
@set_option
@python_option
@phase_option
@level_option
@stage_option
@threads_option
@json_option
@debug_option
def time_layers(
    spec: str, iterations: int, settings: tuple, phase: str, level: int, stages: tuple, as_json: bool
) -> None:
    """Time each layer, the update and a whole step.

    \b
    nettrain time configs/mlp.yaml
    nettrain time configs/lenet.yaml --threads 1

    Medians of forward and backward passes, and GFLOP/s of the layers that consist of matrix products.
    """
    from .tools import timing

    loaded = read(spec, settings)
    result = timing.measure(loaded, phase.upper(), iterations, level=level, stages=stages)
    show(result, as_json, timing.report)


@main.command()
@click.argument("type_name", metavar="[TYPE]", required=False)
@click.option("--markdown", is_flag=True, help="Print all types as one page.")
@json_option
@debug_option
def layers(type_name: str | None, markdown: bool, as_json: bool) -> None:
    """List the layer types, or explain one.

    \b
    nettrain layers
    nettrain layers Convolution
    nettrain layers --markdown > layers.md     all of them, to read or print
    """
    from .tools import catalogue

    if markdown:
        click.echo(catalogue.markdown(), nl=False)
    elif type_name is None:
        show(catalogue.listing(), as_json, catalogue.report_list)
    else:
        show(catalogue.details(type_name), as_json, catalogue.report_details)


@main.command()
def schema() -> None:
    """Print a JSON schema of specs, for editors."""
    from .tools import schema as making

    show(making.schema(), True, None)


@main.command()
@json_option
def env(as_json: bool) -> None:
    """Print versions, BLAS, threads and extras, for bug reports."""
    from .tools import environment

    show(environment.environment(), as_json, environment.report)
