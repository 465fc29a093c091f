"""Runs the measurements, the peers taking turns round by round."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import perf_counter

from benchmarks import peers
from benchmarks.cases import CASES
from benchmarks.model import Key, Metrics, Outcome, Spec

ROOT = Path(__file__).resolve().parents[1]
TIMEOUT = 300
SECONDS, QUICK_SECONDS = 0.6, 0.3
"""How long one closed loop lasts."""


class Runner:
    """Runs measurements; `run` adds to `outcomes` after each of them."""

    def __init__(
        self,
        data: Path,
        chosen: Sequence[str],
        *,
        rounds: int,
        quick: bool,
        earlier: Path | None = None,
    ) -> None:
        self.data = data
        self.earlier = earlier
        self.chosen = chosen
        self.rounds = rounds
        self.quick = quick
        self.outcomes: dict[Key, Outcome] = {}

    def params(self, case: str) -> tuple[str, ...]:
        found = CASES[case]
        return found.quick_params or found.params if self.quick else found.params

    def peers(self, case: str) -> list[str]:
        """The peers to measure in a case: its own, unless peers were asked for by name."""
        chosen = self.chosen or CASES[case].peers
        wanted = {name for name in chosen if name != peers.EARLIER}
        if self.earlier is not None and peers.OURS in wanted and CASES[case].own_file:
            wanted.add(peers.EARLIER)
        return [name for name in peers.PEERS if name in wanted]

    def run(self, cases: Sequence[str], pins: Sequence[bool]) -> None:
        begin = perf_counter()
        for case in cases:
            for turn in range(1 if CASES[case].once else self.rounds):
                for spec in self._specs(case, pins, backwards=turn % 2 == 1):
                    self._measure(spec)
            print(f"{case}: done after {perf_counter() - begin:.0f} s", file=sys.stderr)

    def _specs(self, case: str, pins: Sequence[bool], *, backwards: bool) -> Iterator[Spec]:
        names = self.peers(case)
        for pinned in pins:
            for param in self.params(case):
                for name in reversed(names) if backwards else names:
                    if param not in CASES[case].only.get(name, (param,)):
                        continue
                    seconds = QUICK_SECONDS if self.quick else SECONDS
                    source = self.earlier if name == peers.EARLIER else None
                    yield Spec(case, name, param, self.data, seconds, self.quick, pinned, source)

    def _measure(self, spec: Spec) -> None:
        key = (spec.case, spec.peer, spec.param, spec.pinned)
        outcome = self.outcomes.setdefault(key, Outcome(*key))
        if outcome.problem is not None:
            return
        outcome.problem = peers.missing(spec.peer)
        if outcome.problem is None:
            answer = measure(spec)
            if isinstance(answer, str):
                outcome.problem = answer
            else:
                outcome.rounds.append(answer)
        if outcome.problem is not None:
            print(
                f"NOT MEASURED: {spec.case} {spec.param}, {spec.peer}: {outcome.problem}",
                file=sys.stderr,
            )


def measure(spec: Spec) -> Metrics | str:
    """The metrics of one measurement, or a text that says why there are none."""
    command = [sys.executable, "-m", "benchmarks.worker", json.dumps(spec.as_json())]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        return f"took more than {TIMEOUT} s"
    try:
        answer = json.loads(done.stdout.strip().splitlines()[-1])
    except (IndexError, ValueError):
        answer = {"error": f"exit code {done.returncode}"}
    if "metrics" in answer:
        found: Metrics = answer["metrics"]
        return found
    if "unsupported" in answer:
        return f"not possible: {answer['unsupported']}"
    print(done.stderr[-2000:], file=sys.stderr)
    return f"failed: {answer['error']}"
