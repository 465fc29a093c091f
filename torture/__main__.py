"""`python -m torture`: put the store through faults, and print one table."""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path

from torture import faults, report
from torture.model import FAULTS, OK, Row

assert faults  # imported for what it registers


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m torture",
        description="Put the store through faults and print what was lost.",
        epilog=f"{_listed()}\n\nexample: python -m torture --fault kill,damage --rounds 20",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--fault", type=_names, default=list(FAULTS), metavar="NAME,…",
                        help="faults, separated by commas (default: all)")  # fmt: skip
    parser.add_argument("--rounds", type=_positive, metavar="N",
                        help="rounds of each (default: its own number)")  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="few rounds of each")
    parser.add_argument("--seed", type=int, default=None,
                        help="of the random numbers (default: another one each time)")  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the results as JSON too")
    parser.add_argument("--allow-missing", action="store_true",
                        help="a fault that cannot be run here is no failure")  # fmt: skip
    parser.add_argument("--list", action="store_true", help="list the faults and end")
    return parser.parse_args()


def _listed() -> str:
    return "faults (rounds at most, with --quick):\n" + "\n".join(
        f"  {one.name:9} {one.rounds:5} {one.quick:4}   {one.title}" for one in FAULTS.values()
    )


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in FAULTS:
            raise argparse.ArgumentTypeError(f"there is no {name!r}: see --list")
    return names


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 on, got {text!r}")
    return int(text)


def main() -> int:
    chosen = _arguments()
    if chosen.list:
        print(_listed())
        return 0
    seed = random.randrange(1_000_000) if chosen.seed is None else chosen.seed
    rows: list[Row] = []
    try:
        for name in chosen.fault:
            one = FAULTS[name]
            rounds = chosen.rounds or (one.quick if chosen.quick else one.rounds)
            print(f"{name}: {one.title}, {rounds} rounds, seed {seed}", file=sys.stderr)
            rows += one.run(rounds, seed)
    finally:  # a run of hours that is broken off has found something too
        if chosen.out:
            chosen.out.write_text(report.as_json(rows, seed))
        print(report.as_table(rows))
    bad = [row for row in rows if row.verdict != OK]
    if chosen.allow_missing:
        bad = [row for row in bad if not row.not_run]
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
