"""`python -m benchmarks`: measure, and write results.json, results.md and results.png."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks import charts, files, machine, peers, report
from benchmarks.cases import CASES
from benchmarks.cases.taking import SIZES, quick_size
from benchmarks.runner import Runner


def _arguments() -> argparse.Namespace:
    told = "cases:\n" + "\n".join(f"  {name:4} {case.title}" for name, case in CASES.items())
    told += "\n\npeers:\n" + "\n".join(
        f"  {name:17} {one.title}" for name, one in peers.PEERS.items()
    )
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure the store against its peers, on this machine.",
        epilog=f"{told}\n\nexample: python -m benchmarks --case W1,R2 --peer ours,aiosqlite",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--case", type=_names(CASES), default=list(CASES),
                        help="cases, separated by commas (default: all)")  # fmt: skip
    parser.add_argument("--peer", type=_names(peers.PEERS), default=[],
                        help="peers, separated by commas (default: each case's own)")  # fmt: skip
    parser.add_argument("--against", type=_checkout, metavar="FOLDER",
                        help="a checkout of an earlier commit: the cases that begin with a new "
                        "file (MIX, E1, TR) measure it beside the present one")  # fmt: skip
    parser.add_argument("--rounds", type=int, help="rounds (default: 3; with --quick 1)")
    parser.add_argument("--quick", action="store_true",
                        help="one round, shorter loops, no history of a million")  # fmt: skip
    parser.add_argument("--pin", action="store_true",
                        help="measure everything a second time, pinned to one core")  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path("benchmark-results"),
                        help="folder of the results (default: %(default)s)")  # fmt: skip
    parser.add_argument("--data", type=Path,
                        default=Path(tempfile.gettempdir(), "veritas-benchmarks"),
                        help="folder of database files, kept (default: in the temporary folder); "
                        "a history of a million audits takes 4 GB")  # fmt: skip
    return parser.parse_args()


def _names(known: Mapping[str, object]) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        names = [name.strip() for name in text.split(",") if name.strip()]
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(f"there is no {name!r}")
        return names

    return parse


def _checkout(text: str) -> Path:
    folder = Path(text).absolute()
    if not (folder / "veritas_peewee" / "__init__.py").is_file():
        raise argparse.ArgumentTypeError(f"there is no package veritas_peewee in {text!r}")
    return folder


def main() -> int:
    chosen = _arguments()
    rounds = chosen.rounds or (1 if chosen.quick else 3)
    data = chosen.data.absolute()
    for name in chosen.peer or peers.PEERS:
        if reason := peers.missing(name):
            print(f"NOT MEASURED: {name}: {reason}", file=sys.stderr)
    source = machine.source_key()
    runner = Runner(data, chosen.peer, rounds=rounds, quick=chosen.quick, earlier=chosen.against)
    _prepare(runner, chosen.case, data)
    runner.run(chosen.case, (False, True) if chosen.pin else (False,))
    facts = machine.facts()
    facts["source"] = source
    if chosen.against is not None:
        before = machine.source_key(chosen.against / "veritas_peewee")
        facts["source"] = f"{source}, earlier {before}"
    if machine.source_key() != source:
        facts["source"] = "CHANGED DURING THE RUN: the figures are of several versions"
        print(facts["source"], file=sys.stderr)
    chosen.out.mkdir(parents=True, exist_ok=True)
    text = report.as_markdown(facts, runner.outcomes, rounds)
    (chosen.out / "results.md").write_text(text + "\n")
    (chosen.out / "results.json").write_text(report.as_json(facts, runner.outcomes, rounds))
    if reason := charts.draw(runner.outcomes, chosen.out / "results.png"):
        print(f"NO PICTURE: {reason}", file=sys.stderr)
    print(text)
    return 0


def _prepare(runner: Runner, cases: list[str], data: Path) -> None:
    sizes = {
        int(size)
        for case in ("R2", "R3", "R4", "R5", "R6", "MEM")
        if case in cases
        for size in runner.params(case)
        if size.isdigit()
    }
    if "L1" in cases:
        sizes.add(100_000)
    if "S1" in cases:
        sizes.add(1000)
    files.prepare(
        data,
        sorted(sizes),
        audits=bool({"R1", "M1"} & set(cases)),
        results=bool({"W3", "TR"} & set(cases)),
        findings="R5" in cases,
        lines={
            sort: quick_size(sort) if runner.quick else size
            for sort, size in (SIZES.items() if "TR" in cases else ())
        },
    )


if __name__ == "__main__":
    sys.exit(main())
