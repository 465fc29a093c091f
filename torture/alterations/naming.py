"""Whether `verify` names a change, and whether it is right if it does not."""

from __future__ import annotations

from pathlib import Path

from torture.alterations.change import Change
from torture.alterations.specimens import Specimen, searched
from torture.alterations.verdict import (
    AGAINST,
    NAMED,
    NOT_NAMED,
    NOTED,
    WITHIN,
    Verdict,
    error_text,
)
from torture.hostile import no_hang
from veritas_peewee import StoreError, connect, sync
from veritas_peewee.maintenance.verify import verify


def name_change(verdict: Verdict, specimen: Specimen, change: Change, path: Path) -> None:
    """Find out how the change is named, and put it into the verdict with what is said."""
    problems, notes = told(verdict, specimen, path)
    if problems:
        verdict.state, verdict.texts = NAMED, sorted(problems)[:3]
        return
    problems, _ = told(verdict, specimen, path, specimen.head)
    if problems:
        verdict.state, verdict.texts = AGAINST, sorted(problems)[:3]
        return
    _check_new_head(verdict, specimen, path)
    _check_search(verdict, specimen, change, path)
    verdict.state, verdict.texts = NOTED if notes else NOT_NAMED, sorted(notes)[:3]


def told(
    verdict: Verdict, specimen: Specimen, path: Path, head: str | None = None
) -> tuple[set[str], set[str]]:
    """The problems and notes of `verify` that the specimen does not have."""
    try:
        with no_hang(WITHIN), connect(path, read_only=True):
            report = verify(against=head)
        return set(report.problems) - specimen.told, set(report.notes) - specimen.notes
    except StoreError as error:
        return {error_text(error)}, set()
    except Exception as error:
        what = "verify" if head is None else "verify --against"
        verdict.crashes.append(f"{what}: {error_text(error)}")
        return set(), set()


def _check_new_head(verdict: Verdict, specimen: Specimen, path: Path) -> None:
    """A head that is printed now, of a store that is called sound, must not accuse it later."""
    try:
        with no_hang(WITHIN), connect(path, read_only=True):
            head = str(sync.head())
    except Exception as error:
        verdict.crashes.append(f"head: {error_text(error)}")
        return
    problems, _ = told(verdict, specimen, path, head)
    if problems:
        verdict.crashes.append(f"the head that is printed now accuses: {min(problems)}")


def _check_search(verdict: Verdict, specimen: Specimen, change: Change, path: Path) -> None:
    """A store that is called sound finds the same audits as before, but for a removed one."""
    try:
        with no_hang(WITHIN), connect(path, read_only=True):
            found = searched()
    except Exception as error:
        verdict.crashes.append(f"search: {error_text(error)}")
        return
    for word, audits in specimen.found.items():
        if found[word] - change.audits != audits - change.audits:
            verdict.crashes.append(f"search finds other audits by {word}")
