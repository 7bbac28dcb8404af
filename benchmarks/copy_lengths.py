"""How well nets that learned to copy do it for sequences of other lengths: the share of wrong bits, as a table.

python benchmarks/copy_lengths.py configs/ntm_copy.yaml=runs/ntm_copy/001/best.npz
python benchmarks/copy_lengths.py SPEC=WEIGHTS SPEC=WEIGHTS --lengths 10,20,30,50 --out lengths.svg
"""

import argparse

from nettrain.net.netspec import load
from nettrain.tools import plot, testing
from nettrain.tools.table import table

LENGTHS = (1, 5, 10, 15, 20, 25, 30, 40, 50, 60, 80, 100, 120)
BATCHES = 8


def wrong_bits(spec, weights, length):
    """The share, over BATCHES of the spec's test batches."""
    settings = [f"test.min_length={length}", f"test.max_length={length}"]
    return 1 - testing.measure_file(load(spec, settings), weights, BATCHES)["scores"]["right"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("nets", nargs="+", metavar="SPEC=WEIGHTS")
    parser.add_argument("--lengths", type=lambda text: [int(n) for n in text.split(",")], default=list(LENGTHS))
    parser.add_argument("--out", help="also draw it, as .svg, .png or .pdf")
    options = parser.parse_args()
    found = {}
    for net in options.nets:
        spec, _, weights = net.partition("=")
        found[spec] = [wrong_bits(spec, weights, length) for length in options.lengths]
    rows = [[name, *(f"{share:.2%}" for share in shares)] for name, shares in found.items()]
    print(table(["wrong bits", *map(str, options.lengths)], rows, right=range(1, len(options.lengths) + 1)))
    if options.out:
        plot.lines(
            {name: (options.lengths, shares) for name, shares in found.items()},
            "length of the sequence",
            "share of wrong bits",
            options.out,
        )


if __name__ == "__main__":
    main()
