"""Measure every promise of speed on real packages, beside the incumbents, and say which are kept.

    python scripts/bench.py [--quick] [--work DIR]

Exits 1 when a target is missed, 2 when the benchmark cannot run. It needs aria2, dpkg-dev, apt-utils, dnf and
createrepo-c. The packages (some 850 MB) are fetched once through this machine's apt and stay in the work folder; the
rest runs on loopback.
"""

import argparse
import shutil
import sys
import time
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from bench_lab import LATENCY, RATE, BenchError, open_lab
from bench_rows import all_rows
from bench_rpm import rpm_rows
from bench_values import Row

_TOOLS = ("apt-get", "apt-ftparchive", "aria2c", "dpkg-scanpackages", "dnf", "createrepo_c")
_HEADER = Row(what="what", ours="ours", peer="peer", ratio="ratio", target="target", is_met=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path(".bench"), help="where packages stay")
    parser.add_argument("--quick", action="store_true", help="some hundred files instead of six hundred")
    options = parser.parse_args()
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        print(
            f"not installed: {', '.join(missing)}; apt-get install aria2 dpkg-dev apt-utils dnf createrepo-c",
            file=sys.stderr,
        )
        return 2
    begun = time.monotonic()
    rows: list[Row] = []
    try:
        with open_lab(options.work.resolve(), is_quick=options.quick) as lab:
            for row in chain(all_rows(lab), rpm_rows(lab.run)):
                rows.append(row)
                print(f"  {row.what}: {row.ours}", file=sys.stderr, flush=True)
    except BenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    _print_table(rows)
    missed = sum(not row.is_met for row in rows)
    model = f"WAN model: {LATENCY * 1000:.0f} ms, {RATE / 1e6:.0f} MB/s a connection"
    print(f"{model}; {time.monotonic() - begun:.0f} s in all; {missed or 'no'} targets missed")
    return 1 if missed else 0


def _print_table(rows: Sequence[Row]) -> None:
    lines = [(row.what, row.ours, row.peer, row.ratio, row.target) for row in (_HEADER, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    verdicts = ["", *("pass" if row.is_met else "FAIL" for row in rows)]
    for line, verdict in zip(lines, verdicts, strict=True):
        cells = "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        print(f"{cells}  {verdict}".rstrip())


if __name__ == "__main__":
    sys.exit(main())
