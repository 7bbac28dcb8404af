"""The tables of docs/scale.md: what 1 to 1,024 nodes would do, by tools/scaling/model.py.

python benchmarks/scaling.py                # all of them
python benchmarks/scaling.py --write        # into docs/scale.md
"""

import argparse
import re
from dataclasses import replace
from pathlib import Path

from nettrain.tools.scaling.model import LINKS, WAYS, Work, strong, weak

PAGE = Path(__file__).parent.parent / "docs" / "scale.md"
# Seconds on the two cores of an AMD Zen 5 (numpy's engine, two threads), bytes of the gradient, batch.
NETS = {
    "AlexNet": Work(1.15, 1.60, 0.1, 243.86e6, 32),
    "LeNet": Work(0.0113, 0.0152, 0.0009, 1.724e6, 64),
    "cifar10_quick": Work(0.0218, 0.0269, 0.0003, 0.582e6, 100),
    "LSTM": Work(0.0016, 0.0017, 0.0001, 0.055e6, 16),
}
SHOWN = ("1 Gbit/s", "10 Gbit/s", "100 Gbit/s")
COUNTS = (2, 4, 16, 64, 256, 1024)
CORES = 16  # times as fast as those two is a node of 32 cores, if all it does is shared evenly
EXAMPLES = 1024  # of an update, where their number is fixed
OVERHEAD = 0.0005  # seconds of a pass that no smaller batch saves


def tables():
    """Each table by its name in the page."""
    faster = {name: replace(w, forward=w.forward / CORES, backward=w.backward / CORES) for name, w in NETS.items()}
    return {
        "reduction": reduction(),
        "weak, 2 cores": scaled(NETS, weak_times),
        "weak, 32 cores": scaled(faster, weak_times),
        "strong, 2 cores": scaled(NETS, strong_times),
        "strong, 32 cores": scaled(faster, strong_times),
    }


def reduction():
    """Milliseconds until all have the sum."""
    counts = (2, 8, 64, 1024)
    head = ["gradient", "link", *(f"{n:,} nodes" for n in counts), *(f"{way}, 1,024" for way in WAYS if way != "chain")]
    rows = []
    for name, work in NETS.items():
        for link_name in SHOWN:
            times = [WAYS["chain"](n, work.size, LINKS[link_name]) for n in counts]
            times += [formula(1024, work.size, LINKS[link_name]) for way, formula in WAYS.items() if way != "chain"]
            rows.append([f"{name}, {megabytes(work)}", link_name, *map(milliseconds, times)])
    return markdown(head, rows)


def scaled(nets, times):
    head = ["net", "link", *(f"{n:,} nodes" for n in COUNTS)]
    rows = [[name, of, *(times(n, work, LINKS[of]) for n in COUNTS)] for name, work in nets.items() for of in SHOWN]
    return markdown(head, rows)


def weak_times(n, work, link):
    return both(weak(n, work, link), weak(n, work, link, overlap=True))


def strong_times(n, work, link):
    plain, hidden = (strong(n, work, link, EXAMPLES, one, min(OVERHEAD, overhead_of(work))) for one in (False, True))
    return both(plain, hidden)


def overhead_of(work):
    """No more than a pass takes."""
    return (work.forward + work.backward) / 2


def both(plain, hidden):
    """``6.9 / 7.8``: without overlap, and with all that overlap may hide."""
    low, high = times(plain), times(max(plain, hidden))
    return low if low == high else f"{low} / {high}"


def times(number):
    return f"{number:.1f}" if number < 9.95 else f"{number:,.0f}"


def milliseconds(seconds):
    return (
        f"{1e3 * seconds:.2f}"
        if seconds < 1e-3
        else f"{1e3 * seconds:.1f}"
        if seconds < 0.1
        else f"{1e3 * seconds:,.0f}"
    )


def megabytes(work):
    return f"{work.size / 1e6:.3g} MB"


def markdown(head, rows):
    lines = [head, ["---"] * 2 + ["---:"] * (len(head) - 2), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def written(page, found):
    """The page with its tables made anew: each lies behind ``<!-- table NAME -->``."""

    def table(match):
        return f"{match[1]}\n{found[match[2]]}\n"

    return re.sub(r"(<!-- table (.+?) -->\n)\n(?:(?:\|.*\n)+\n)?", table, page)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write them into docs/scale.md")
    if parser.parse_args().write:
        PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), tables()), encoding="utf-8")
        return
    for name, text in tables().items():
        print(f"{name}\n\n{text}")


if __name__ == "__main__":
    main()
