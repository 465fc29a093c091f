"""What the store does with a changed file: does it name the change, does it go on recording?"""

from __future__ import annotations

import json
import logging
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path

from torture.alterations.cells import SameValue
from torture.alterations.change import Change
from torture.alterations.naming import name_change, told
from torture.alterations.specimens import Specimen, living
from torture.alterations.verdict import (
    AGAINST,
    AT_ITS_END,
    IMPOSSIBLE,
    NAMED,
    NOT_NAMED,
    NOTED,
    WITHIN,
    Verdict,
    error_text,
)
from torture.command_line import program, program_apart
from torture.hostile import Hung, no_hang
from torture.programs.record import finding, log_entry, shot
from veritas_peewee import StoreError, connect, sync
from veritas_peewee.database.failures import DRIVER_ERRORS, store_error
from veritas_peewee.database.sqlite_errors import driver

OWN_ERROR = "an error of the program"


def judge(
    specimen: Specimen, change: Change, folder: Path, *, thorough: bool = True, apart: bool = False
) -> Verdict:
    """Make the change in a copy of the specimen, and look at everything that may come of it.

    Unless `thorough`, the program's commands are left out; `apart` runs one in a process too.
    """
    path = specimen.copy(folder)
    verdict = Verdict(str(change), specimen.name)
    try:
        with closing(driver.connect(path, isolation_level=None)) as connection:
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute("PRAGMA foreign_keys = OFF")
            change.act(connection, path.parent / "screenshots")
    except (driver.Error, driver.Warning, SameValue, FileNotFoundError, OverflowError) as error:
        verdict.state = IMPOSSIBLE
        verdict.texts.append(f"{type(error).__name__}: {error}")
        return verdict
    with _sessions(path), _silence():
        name_change(verdict, specimen, change, path)
        if apart:
            _verify_apart(verdict, specimen, path)
        if thorough or verdict.state == NOT_NAMED:
            _read(verdict, specimen, change, path)
        _record(verdict, specimen, change, path)
        _end(verdict, specimen, change, path)
    return verdict


@contextmanager
def _silence() -> Iterator[None]:
    """The store's warnings of what it finds in the file would be thousands of lines."""
    logger = logging.getLogger("veritas_peewee")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


@contextmanager
def _sessions(path: Path) -> Iterator[None]:
    try:
        lives = living(path)
        lives.__enter__()
    except (driver.Error, TypeError, ValueError, OSError):
        yield  # the table of the runners is not what it was
        return
    try:
        yield
    finally:
        lives.__exit__(None, None, None)


# ---- what other commands make of it ----


def _verify_apart(verdict: Verdict, specimen: Specimen, path: Path) -> None:
    """`verify` in a process of its own says by its exit code what it says here."""
    args = ("verify", "--against", specimen.head, "--database", path)
    try:
        done = program_apart(*args)
    except subprocess.TimeoutExpired:
        verdict.crashes.append("verify apart: it has not come back")
        return
    sound = verdict.state in (NOT_NAMED, NOTED) and not specimen.told
    if done.returncode != (0 if sound else 1) or OWN_ERROR in done.stderr:
        verdict.crashes.append(f"verify apart: {done.returncode}: {done.stderr.strip()[:200]}")


def _read(verdict: Verdict, specimen: Specimen, change: Change, path: Path) -> None:
    others = sorted(set(specimen.audits) - change.audits)
    wanted = [*sorted(change.audits & set(specimen.audits))[:1], *others[:1]]
    commands: list[tuple[str, tuple[object, ...]]] = [
        ("verify", ("verify", "--against", specimen.head, "--json")),
        ("doctor", ("doctor", "--json")),
        ("history", ("history", "--json", "--limit", "50")),
        ("search", ("search", "nags", "--json")),
        ("stats", ("stats", "--json")),
        ("export", ("export",)),
        ("prune", ("prune", "--keep", "1", "--dry-run")),
    ]
    commands += [("show", ("show", audit, "--json")) for audit in wanted]
    commands += [("report", ("export", "--format", "html", audit)) for audit in wanted[:1]]
    for name, args in commands:
        try:
            with no_hang(WITHIN):
                _, out, err = program(*args, "--database", path)
        except Exception as error:
            verdict.crashes.append(f"{name}: {error_text(error)}")
            continue
        if name == "verify" and verdict.state == NOT_NAMED:
            _count_noted(verdict, specimen, out)
        if OWN_ERROR in err or "Traceback" in err:
            verdict.crashes.append(f"{name}: {err.strip()[:200]}")
        elif name in ("history", "export") and not change.refusable:
            ids = _ids(name, out)
            if missing := [one for one in others if one not in ids]:
                verdict.stopped.append(
                    f"{name}: {len(missing)} of {len(others)} other audits are not there: "
                    f"{err.strip()[:160]}"
                )


def _count_noted(verdict: Verdict, specimen: Specimen, out: str) -> None:
    """The program looks at more files than `verify` of the package."""
    with suppress(ValueError):
        if noted := set(json.loads(out)["notes"]) - specimen.notes:
            verdict.state, verdict.texts = NOTED, sorted(noted)[:3]


def _ids(name: str, out: str) -> set[str]:
    with suppress(ValueError, KeyError, TypeError):
        if name == "history":
            return {one["id"] for one in json.loads(out)["items"]}
    found = set()
    for line in out.splitlines():
        with suppress(ValueError, KeyError, TypeError):
            found.add(json.loads(line)["audit"]["id"])
    return found


# ---- recording beside it ----


def _record(verdict: Verdict, specimen: Specimen, change: Change, path: Path) -> None:
    running = [one for one, status in specimen.audits.items() if status == "running"]
    try:
        with no_hang(WITHIN), connect(path):
            _try(verdict, change, "a new audit", None, _whole)
            for audit in running:
                note = f"running audit {'it is about' if audit in change.audits else 'beside it'}"
                _try(verdict, change, note, audit, partial(_more, audit))
    except (StoreError, *DRIVER_ERRORS, Hung) as error:
        _count_refusal(verdict, change, "open for writing", None, error)
    except Exception as error:
        verdict.crashes.append(f"open for writing: {error_text(error)}")


def _whole() -> None:
    audit = sync.create("https://example.com/after").id
    sync.update_status(audit, "running")
    sync.record(audit, finding(1))
    sync.record_many(audit, [log_entry(1), finding(2), shot(5), log_entry(2)])
    sync.record(audit, {"type": "audit_complete", "elapsed": 1})
    if (found := sync.get(audit)).status != "completed" or len(found.findings) != 2:
        raise AssertionError(f"it is {found.status} with {len(found.findings)} findings")
    sync.ingest({"url": "https://example.com/ingested", "status": "completed"})
    sync.delete(audit)


def _more(audit: str) -> None:
    sync.record(audit, log_entry(3))
    sync.record_many(audit, [finding(77), log_entry(4), shot(10)])


def _try(
    verdict: Verdict, change: Change, what: str, audit: str | None, fn: Callable[[], object]
) -> None:
    try:
        fn()
    except (StoreError, *DRIVER_ERRORS, Hung, AssertionError) as error:
        _count_refusal(verdict, change, what, audit, error)
    except Exception as error:
        verdict.crashes.append(f"{what}: {error_text(error)}")


def _count_refusal(
    verdict: Verdict, change: Change, what: str, audit: str | None, error: BaseException
) -> None:
    # Outside a store's facade these are the driver's errors, which it turns into ours.
    error = store_error(error, "") or error
    text = f"{what}: {error_text(error)}"
    if not isinstance(error, StoreError):
        verdict.crashes.append(text)
    elif change.refusable or (audit is not None and audit in change.audits):
        verdict.refused.append(text)
    else:
        verdict.stopped.append(text)


def _end(verdict: Verdict, specimen: Specimen, change: Change, path: Path) -> None:
    """End the running audits that it is about; then it must still be named, or be now."""
    running = [one for one in change.audits if specimen.audits.get(one) == "running"]
    if running:
        with suppress(Exception), no_hang(WITHIN), connect(path):
            for audit in running:
                with suppress(StoreError, *DRIVER_ERRORS):
                    sync.record(audit, {"type": "audit_complete", "elapsed": 1})
    problems, _ = told(verdict, specimen, path, specimen.head)
    if verdict.state in (NOT_NAMED, NOTED) and problems and running:
        verdict.state, verdict.texts = AT_ITS_END, sorted(problems)[:3]
    elif verdict.state in (NAMED, AGAINST) and not problems:
        verdict.forgotten = True
