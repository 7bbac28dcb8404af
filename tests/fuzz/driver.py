"""Runs cases in processes of their own, and reports what was found.

A finding is an exception that is not a NettrainError, the death of the process, more than 5 s, more memory than 4 times
the file plus 200 MB (also when the MemoryError is turned into words), a message that does not name the file or cannot
be printed, a traceback or JSON with a NaN from the command line, a RuntimeWarning.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import importlib
import json
import math
import os
import pkgutil
import random
import re
import resource
import select
import shutil
import signal
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import nettrain.data
import nettrain.interop
import nettrain.layers
import nettrain.solver
import nettrain.tools
from click.testing import CliRunner
from nettrain.cli import main
from nettrain.compute.parallel import use_threads
from nettrain.spec.errors import NettrainError

from .kinds import Case, Kind, no_number

SECONDS = 5  # of computing, for one case
WAITING = 10  # seconds in which it computes nothing, however busy the machine
KILLED = 120  # seconds after which a case that cannot be interrupted is
DECLARED_MEMORY = 2 << 30  # for kinds that may ask for memory
BATCH = 200  # cases for one process
LONGEST_MESSAGE = 100_000
ROOT = Path(nettrain.__file__).resolve().parent
PACKAGES = ("cli.py", "commands", "spec", "files", "compute", "net", "data", "layers", "solver", "interop", "tools")
# what a terminal obeys or cannot be written
UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
RAN_OUT = re.compile(r"memory allocation failed|can't allocate|unable to allocate|out of memory|cannot allocate", re.I)


class TooLongError(BaseException):
    """Raised in the middle of a case that takes too long; a BaseException, so that no reader takes it for its own."""


@dataclass
class Finding:
    """What was wrong with a case; ``where`` is the innermost function of nettrain's."""

    what: str
    where: str
    text: str

    @property
    def key(self) -> str:
        return f"{self.what} in {self.where}"


@dataclass
class Outcome:
    """What became of a case."""

    number: int
    past: bool = False
    accepted: bool = False
    seconds: float = 0.0
    message: str = ""
    finding: Finding | None = None


def make_case(kind: Kind, seed: int, number: int) -> Case:
    """The case of this number: always the same."""
    rng = random.Random(f"{kind.name} {seed} {number}")
    return kind.mutate(rng, rng.choice(kind.seeds()))


# In the worker


def run_case(kind: Kind, case: Case, number: int, folder: Path, with_command: bool) -> Outcome:
    """Write the case into an empty folder, let nettrain read it, look at the outcome."""
    outcome = Outcome(number)
    folder.mkdir()
    try:
        case.write(folder)
        outcome.past = kind.passes_first_check(case)
        started = time.perf_counter()
        with contextlib.chdir(folder):
            _attempt(lambda: kind.execute(case, folder), kind, case, outcome)
            command = kind.command(case) if with_command and not outcome.finding else None
            if command is not None:
                _attempt(lambda: _run_command(kind, command), kind, case, outcome)
        outcome.seconds = time.perf_counter() - started
    finally:
        shutil.rmtree(folder)
    return outcome


@contextlib.contextmanager
def _limits(kind: Kind, case: Case) -> Iterator[None]:
    """Of memory and time."""
    allowed = DECLARED_MEMORY if kind.memory is None else kind.memory + 4 * case.size
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + allowed, before[1]))
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    signal.setitimer(signal.ITIMER_REAL, WAITING, WAITING)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        resource.setrlimit(resource.RLIMIT_AS, before)


def _computed_too_long(*_: object) -> None:
    raise TooLongError(f"more than {SECONDS} s of computing")


class _Waiting:
    """Called each WAITING seconds: a case that did nothing in the meantime waits for what never comes."""

    def __init__(self) -> None:
        self.computed = 0.0

    def __call__(self, *_: object) -> None:
        before, self.computed = self.computed, time.process_time()
        if self.computed - before < 0.01 * WAITING:
            raise TooLongError(f"nothing happens in {WAITING} s")


def _attempt(work: Callable[[], None], kind: Kind, case: Case, outcome: Outcome) -> None:
    """Do it, and record what came of it in the outcome."""
    try:
        with _limits(kind, case):
            work()
        outcome.accepted = not outcome.message  # of what was refused the command may end well: it says so
    except NettrainError as error:
        outcome.message = str(error)[:2000]
        outcome.finding = _look_at(error, kind, case)
    except TooLongError as error:
        outcome.finding = Finding("hang", _where(error), _text(error))
    except BaseException as error:
        shortage = _shortage(error) if kind.memory is not None else None
        what, cause = ("memory", shortage) if shortage else (type(error).__name__, error)
        outcome.finding = Finding(what, _where(cause), _text(error))


def _look_at(error: NettrainError, kind: Kind, case: Case) -> Finding | None:
    """What is wrong with a message meant for a person."""
    message = str(error)
    names = kind.names(case)
    shortage = _shortage(error) if kind.memory is not None else None
    if shortage:
        return Finding("memory", _where(shortage), _text(error))
    if not message.strip() or len(message) > LONGEST_MESSAGE or "Traceback" in message:
        return Finding("bad message", _where(error), _text(error))
    if UNPRINTABLE.search(message):
        return Finding("unprintable message", _where(error), _text(error))
    if names and not any(name in message for name in (*names, os.getcwd())):
        return Finding("no file name", _where(error), _text(error))
    return None


def _shortage(error: BaseException | None) -> BaseException | None:
    """The MemoryError from which this one was made, if any."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, MemoryError) or (not isinstance(error, NettrainError) and RAN_OUT.search(str(error))):
            return error
        error = error.__cause__ or error.__context__
    return None


def _run_command(kind: Kind, command: list[str]) -> None:
    result = CliRunner().invoke(main, command)
    error = result.exception
    if error is not None and not isinstance(error, SystemExit):
        raise error
    line = f"nettrain {' '.join(command)}"
    if result.exit_code not in kind.exit_codes or "Traceback" in result.output:
        raise AssertionError(f"{line}: exit code {result.exit_code}\n{result.output}")
    if kind.memory is not None and "not enough memory" in result.output:
        raise MemoryError(f"{line}\n{result.output}")
    if "--json" in command and result.stdout.strip():
        json.loads(result.stdout, parse_constant=no_number)


def _where(error: BaseException) -> str:
    """``data/idx.py read_idx``: the innermost frame in nettrain."""
    found = "outside of nettrain"
    for frame, _ in traceback.walk_tb(error.__traceback__):
        found = _own(frame.f_code.co_filename, frame.f_code.co_name) or found
    return found


def _own(file: str, function: str) -> str:
    """The function, if it is in nettrain itself."""
    with contextlib.suppress(ValueError):
        path = Path(file).resolve().relative_to(ROOT)
        if path.parts[0] in PACKAGES:
            return f"{path} {function}"
    return ""


def _text(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))[-6000:]


def _work(kind: Kind, make: Callable[[int], Case], numbers: range, until: float, pipe: int, folder: Path) -> None:
    """Run these cases and write the outcome of each, a line of JSON, into the pipe."""
    signal.signal(signal.SIGPROF, _computed_too_long)
    signal.signal(signal.SIGALRM, _Waiting())
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    log = (folder / "death").open("w")
    faulthandler.enable(log)
    use_threads(1)
    warnings.simplefilter("error", RuntimeWarning)
    home = folder / "cases"
    home.mkdir()

    def tell(line: dict[str, Any]) -> None:
        os.write(pipe, json.dumps(line).encode() + b"\n")

    for number in numbers:
        if time.monotonic() > until:
            break
        tell({"begin": number})
        case = make(number)
        with_command = len(numbers) == 1 or random.Random(f"command {number}").random() < kind.command_share
        outcome = run_case(kind, case, number, home / str(number), with_command)
        if number % 20 == 0:
            gc.collect()
        tell(vars(outcome) | {"finding": outcome.finding and vars(outcome.finding)})


# In the parent


def run_alone(kind: Kind, case: Case) -> Outcome:
    """The outcome of one case."""
    with tempfile.TemporaryDirectory(prefix="nettrain-fuzz-", dir=_fast_folder()) as folder:
        (outcome,) = run_batch(kind, lambda _: case, range(1), math.inf, Path(folder))
    return outcome


def run_batch(kind: Kind, make: Callable[[int], Case], numbers: range, until: float, folder: Path) -> Iterator[Outcome]:
    """The outcomes of these cases, run in a process that may die."""
    reading, writing = os.pipe()
    here = Path(tempfile.mkdtemp(dir=folder))
    child = os.fork()
    if not child:
        try:
            os.close(reading)
            _work(kind, make, numbers, until, writing, here)
        except BaseException:
            (here / "broken").write_text(traceback.format_exc())
            os._exit(1)
        os._exit(0)
    os.close(writing)
    current, began, killed = None, time.monotonic(), False
    try:
        with os.fdopen(reading, "rb") as lines:
            buffer = b""
            while True:
                if not select.select([lines], [], [], 0.5)[0]:
                    # what hangs in a library in C cannot be interrupted
                    if time.monotonic() - began > KILLED:
                        os.kill(child, signal.SIGKILL)
                        killed = True
                    continue
                chunk = os.read(lines.fileno(), 1 << 16)
                if not chunk:
                    break
                *whole, buffer = (buffer + chunk).split(b"\n")
                for line in map(json.loads, whole):
                    began = time.monotonic()
                    if "begin" in line:
                        current = line["begin"]
                    else:
                        current = None
                        finding = line.pop("finding")
                        yield Outcome(**line, finding=finding and Finding(**finding))
        _, status = os.waitpid(child, 0)
        broken = here / "broken"
        if broken.exists():
            raise RuntimeError(f"the harness itself failed in case {current} of {kind.name}:\n{broken.read_text()}")
        if current is not None:
            name = signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else f"exit {status}"
            text = (here / "death").read_text()
            what = "hang, could not be interrupted" if killed else f"death by {name}"
            yield Outcome(current, True, finding=Finding(what, _where_of_death(text), text[-6000:]))
    finally:
        shutil.rmtree(here, ignore_errors=True)


def _where_of_death(text: str) -> str:
    """The innermost frame in nettrain of what faulthandler wrote, which begins with the innermost."""
    for file, function in re.findall(r'File "([^"]+)", line \d+ in (\S+)', text):
        if found := _own(file, function):
            return found
    return "outside of nettrain"


@dataclass
class Tally:
    """What came of the cases of one kind."""

    kind: Kind
    cases: int = 0
    past: int = 0
    accepted: int = 0
    seconds: float = 0.0
    slowest: tuple[float, int] = (0.0, -1)
    findings: dict[str, tuple[int, Finding, int]] = field(default_factory=dict)  # key -> smallest case, what, how many

    def add(self, outcome: Outcome, seed: int) -> bool:
        """Count an outcome; whether it is a finding of a new sort."""
        self.cases += 1
        self.past += outcome.past
        self.accepted += outcome.accepted
        self.slowest = max(self.slowest, (outcome.seconds, outcome.number))
        if outcome.finding is None:
            return False
        key = outcome.finding.key
        if key not in self.findings:
            self.findings[key] = outcome.number, outcome.finding, 1
            return True
        number, finding, count = self.findings[key]
        if count < 50 and make_case(self.kind, seed, outcome.number).size < make_case(self.kind, seed, number).size:
            number, finding = outcome.number, outcome.finding
        self.findings[key] = number, finding, count + 1
        return False


def run(
    kinds: list[Kind], seed: int, seconds: float | None, cases: int | None, first: int, say: Callable[[str], None]
) -> list[Tally]:
    """Run cases of these kinds in turn, so that each gets the same time, until time or cases are used up."""
    tallies = [Tally(kind) for kind in kinds]
    until = time.monotonic() + (math.inf if seconds is None else seconds)
    with tempfile.TemporaryDirectory(prefix="nettrain-fuzz-", dir=_fast_folder()) as folder:
        use_threads(1)  # a process with threads is not to be forked
        _import_all()
        for kind in kinds:
            _check_seeds(kind, Path(folder))
        while open_ones := [t for t in tallies if cases is None or t.cases < cases]:
            if time.monotonic() >= until:
                break
            tally = min(open_ones, key=lambda t: t.seconds)
            started = time.monotonic()
            count = BATCH if cases is None else min(BATCH, cases - tally.cases)
            numbers = range(first + tally.cases, first + tally.cases + count)
            make = partial(make_case, tally.kind, seed)
            for outcome in run_batch(tally.kind, make, numbers, until, Path(folder)):
                if tally.add(outcome, seed) and outcome.finding:
                    say(f"{tally.kind.name} {outcome.number}: {outcome.finding.key}")
            tally.seconds += time.monotonic() - started
    return tallies


def _import_all() -> None:
    """Import what commands import when they are used: once, and not in each process again."""
    for package in (nettrain.data, nettrain.interop, nettrain.layers, nettrain.solver, nettrain.tools):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)


def _check_seeds(kind: Kind, folder: Path) -> None:
    """Raise RuntimeError when a seed is refused: what is made of it would not get far."""
    seeds = kind.seeds()
    for outcome in run_batch(kind, lambda number: kind.good(seeds[number]), range(len(seeds)), math.inf, folder):
        wrong = outcome.finding.text if outcome.finding else outcome.message
        if not outcome.past or (not outcome.accepted and not any(words in wrong for words in kind.missing)):
            raise RuntimeError(f"seed {outcome.number} of {kind.name} is not good: {wrong}")


def _fast_folder() -> str | None:
    """Where files live in memory, if there is such a place."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def table(tallies: list[Tally]) -> str:
    """Cases, how many got past the first check and were accepted, and what was found, by kind."""
    heads = f"{'past first check':>17} {'taken':>7} {'cases/s':>8} {'slowest':>8} {'findings':>9}"
    lines = [f"{'kind':<10} {'cases':>8} {heads}"]
    for t in tallies:
        share = [f"{count / max(t.cases, 1):.0%}" for count in (t.past, t.accepted)]
        rate, slow = f"{t.cases / max(t.seconds, 1e-9):.0f}", f"{t.slowest[0]:.2f} s"
        lines.append(
            f"{t.kind.name:<10} {t.cases:>8,} {share[0]:>17} {share[1]:>7} {rate:>8} {slow:>8} {len(t.findings):>9}"
        )
    cases, seconds = sum(t.cases for t in tallies), sum(t.seconds for t in tallies)
    lines.append(f"{'all':<10} {cases:>8,} {'':>17} {'':>7} {cases / max(seconds, 1e-9):>8.0f}")
    return "\n".join(lines)


def save(case: Case, finding: Finding, folder: Path) -> None:
    """Write a case, so that it can be inspected and run again."""
    folder.mkdir(parents=True)
    case.write(folder)
    (folder / "case.json").write_text(json.dumps({"what": case.what, "special": case.special}))
    (folder / "finding.txt").write_text(f"{finding.key}\n\n{finding.text}", errors="backslashreplace")


def saved(folder: Path) -> Case:
    """A case that ``save`` wrote."""
    about = json.loads((folder / "case.json").read_text())
    own = {"case.json", "finding.txt", *about["special"]}
    files = {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*"))}
    contents = {n: p.read_bytes() for n, p in files.items() if n not in own and not p.is_symlink() and p.is_file()}
    return Case(contents, about["what"], about["special"])
