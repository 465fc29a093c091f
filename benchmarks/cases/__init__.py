"""All cases, by name."""

from __future__ import annotations

from benchmarks.cases import finding, follow, processes, reads, recording, taking, together, writes
from benchmarks.model import Case

CASES: dict[str, Case] = {
    case.name: case
    for case in (
        *recording.CASES,
        *writes.CASES,
        *reads.CASES,
        *finding.CASES,
        *taking.CASES,
        *together.CASES,
        *follow.CASES,
        *processes.CASES,
    )
}
