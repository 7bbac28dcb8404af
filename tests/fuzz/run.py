"""Damages input of every kind and checks that nettrain refuses it in words.

    python tests/fuzz/run.py --seconds 60                            every kind
    python tests/fuzz/run.py --seconds 3600 --kind npz --seed 5      one kind
    python tests/fuzz/run.py --kind npz --seed 5 --case 1234         one case again, with its traceback
    python tests/fuzz/run.py --kind npz --replay fuzz-findings/npz-1

Exit code 1 when something was found; the smallest case of each finding is kept in ``--out``.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"  # a process with threads is not to be forked
sys.path[0] = str(Path(__file__).resolve().parent.parent)

from fuzz import arrays, databases, driver, images, models, prototxts, runs, texts  # noqa: E402, F401
from fuzz.kinds import Kind  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", action="append", choices=sorted(Kind.all), help="default all; may be repeated")
    parser.add_argument("--seconds", type=float, help="time for all kinds together")
    parser.add_argument("--cases", type=int, help="cases of each kind")
    parser.add_argument("--seed", type=int, default=1, help="another seed, other cases; default 1")
    parser.add_argument("--first", type=int, default=0, help="number of the first case; default 0")
    parser.add_argument("--case", type=int, help="run this case only")
    parser.add_argument("--replay", type=Path, help="run a case that was kept")
    parser.add_argument("--out", type=Path, default=Path("fuzz-findings"), help="folder for findings")
    asked = parser.parse_args()
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    kinds = [Kind.all[name] for name in asked.kind or Kind.all]
    if asked.case is not None or asked.replay is not None:
        return again(kinds[0], asked)
    if asked.seconds is None and asked.cases is None:
        parser.error("give --seconds or --cases")
    limits = asked.seconds, asked.cases, asked.first
    tallies = driver.run(kinds, asked.seed, *limits, lambda text: print(text, flush=True))
    print(driver.table(tallies))
    found = [(tally.kind, *of) for tally in tallies for of in tally.findings.values()]
    for kind, number, finding, count in found:
        folder = free(asked.out, kind.name)
        driver.save(driver.make_case(kind, asked.seed, number), finding, folder)
        print(f"\n{finding.key}: {count} case{'s' if count > 1 else ''}; kept in {folder}")
        print(f"  {finding.text.strip().splitlines()[-1][:200] if finding.text.strip() else ''}")
        print(f"  again: python tests/fuzz/run.py --kind {kind.name} --seed {asked.seed} --case {number}")
    return 1 if found else 0


def again(kind: Kind, asked: argparse.Namespace) -> int:
    """One case, and what came of it."""
    case = driver.saved(asked.replay) if asked.replay is not None else driver.make_case(kind, asked.seed, asked.case)
    outcome = driver.run_alone(kind, case)
    print(f"{kind.name}: files of {case.size:,} bytes: {', '.join([*case.files, *case.special]) or 'none'}")
    print(f"{'past the first check' if outcome.past else 'not past the first check'}, {outcome.seconds:.2f} s")
    if outcome.finding is None:
        print("taken" if outcome.accepted else f"refused: {outcome.message}")
        return 0
    print(f"{outcome.finding.key}\n\n{outcome.finding.text}")
    return 1


def free(out: Path, name: str) -> Path:
    """The next folder that is not there."""
    number = 1
    while (out / f"{name}-{number}").exists():
        number += 1
    return out / f"{name}-{number}"


if __name__ == "__main__":
    sys.exit(main())
