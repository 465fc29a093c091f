"""Whether an audit is as it was written: its chain, its rows' digests and its seal, computed again.

Only this module does so, and from stored values: `verify` passes it rows of the database, an
import the values of an exported line, an export and a report the audit that they have read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterable, Iterator
from typing import Any, Literal, NamedTuple

from veritas_peewee.ledger.children import Digests, totals
from veritas_peewee.ledger.digests import digest_of
from veritas_peewee.ledger.formulas import (
    is_ended_seal,
    is_older_seal,
    is_running_seal,
    is_unfinished,
)
from veritas_peewee.ledger.log import link
from veritas_peewee.ledger.stored import AUDIT, SCREENSHOT, Row, StoredAudit, image_file

_ID, _COUNT = AUDIT.index("id"), AUDIT.index("screenshots_count")
_SIZE, _SHA256 = SCREENSHOT.index("file_size_bytes"), SCREENSHOT.index("sha256")

Part = Literal["event", "finding", "screenshot", "count", "log", "row"]


class Flaw(NamedTuple):
    """One part of an audit that is not as it was written."""

    part: Part
    """`event`, `finding` or `screenshot`: one was altered. `count`: `screenshots_count` is not the
    number of screenshots. `log`: its end is missing. `row`: the audit's own row was altered, or a
    finding or screenshot is missing."""
    number: int = 0
    """Which event, finding or screenshot was altered, counted from 1; for `count` how many
    screenshots there are, for `log` how many events are missing, for `row` 0."""
    unsealed: bool = False
    """The part has no digest or no seal: this library did not write it."""


def flaws(
    audit: Row,
    findings: Iterable[Row],
    screenshots: Iterable[Row],
    events: Iterable[Row],
    *,
    older: bool = False,
) -> Iterator[Flaw]:
    """The flaws of an audit, by the stored values of its rows; see `StoredAudit`.

    They come in this order: events (after a break in the chain, only unsealed ones), the log's
    end, findings, screenshots, the row and its seal, the count of screenshots. Each iterable is
    read once, and only when its turn comes. With `older` an unfinished audit may have the seal
    that earlier versions gave it.
    """
    *values, seal, sealed_events = audit
    sealed = sealed_events if isinstance(sealed_events, int) else None
    at_seal, count = yield from _chain(str(audit[_ID]), events, sealed)
    if sealed is not None and sealed > count:
        yield Flaw("log", sealed - count)
    digests = (
        (yield from _digests("finding", findings)),
        (yield from _digests("screenshot", screenshots)),
    )
    if seal is None:
        yield Flaw("row", unsealed=True)
    elif not _is_sealed(values, seal, digests, sealed_events, at_seal, older):
        yield Flaw("row")
    if audit[_COUNT] != len(digests[1]):
        yield Flaw("count", len(digests[1]))


def _is_sealed(
    values: list[Any],
    seal: object,
    digests: Digests,
    sealed_events: object,
    at_seal: bytes | None,
    older: bool,
) -> bool:
    if not is_unfinished(values):
        return is_ended_seal(seal, values, digests, sealed_events, at_seal)
    if is_running_seal(seal, values, totals(None, digests), sealed_events):
        return True
    return older and is_older_seal(seal, values, sealed_events)


def _chain(
    audit_id: str, events: Iterable[Row], sealed: int | None
) -> Generator[Flaw, None, tuple[bytes | None, int]]:
    """The flaws of the events; returns the digest of the last event that the seal covers, and the
    number of events."""
    before, at_seal, count, whole = audit_id.encode(errors="surrogatepass"), None, 0, True
    for count, (_, kind, data, moment, digest) in enumerate(events, 1):
        if digest is None:
            yield Flaw("event", count, unsealed=True)
        else:
            # `link` takes nothing, NULL, for an empty text: neither column ever has one.
            odd = (not moment and moment is not None) or (not data and data is not None)
            if whole and (odd or link(before, kind, moment, data) != digest):
                whole = False
                yield Flaw("event", count)
            before = digest
        if count == sealed:
            at_seal = digest
    return at_seal, count


def _digests(
    part: Literal["finding", "screenshot"], rows: Iterable[Row]
) -> Generator[Flaw, None, list[bytes | None]]:
    """The flaws of findings or screenshots; returns the stored digests, which the seal covers."""
    digests = []
    for number, (*values, digest) in enumerate(rows, 1):
        if digest is None:
            yield Flaw(part, number, unsealed=True)
        elif digest_of(values) != digest:
            yield Flaw(part, number)
        digests.append(digest)
    return digests


_ORDER: tuple[Part, ...] = ("event", "finding", "screenshot", "count", "log", "row")
"""The order in which `problem_of` looks for the one flaw that it names: the most definite first."""


def problem_of(stored: StoredAudit, *, older: bool = False) -> str | None:
    """The most definite flaw of an audit, in words for a message; None if it has no flaw.

    With `older` as `flaws`.
    """
    found = min(flaws(*stored, older=older), key=lambda flaw: _ORDER.index(flaw.part), default=None)
    if found is None:
        return None
    if found.part == "event":
        return f"event {found.number} of its log was altered, or one before it is missing"
    if found.part in ("finding", "screenshot"):
        return f"{found.part} {found.number} was altered"
    if found.part == "count":
        return f"its screenshots_count is not {found.number}"
    *values, _, sealed_events = stored.audit
    if not is_unfinished(values) and (
        not isinstance(sealed_events, int) or sealed_events > len(stored.events)
    ):
        return "the end of its log is missing, or it was never sealed"
    return "its row was altered, or a finding or screenshot of it is missing"


def is_other_image(image: bytes, size: int | None, sha256: str | None) -> bool:
    """Whether an image differs from the size and digest in its row, as far as the row has them."""
    return (size is not None and len(image) != size) or (
        sha256 is not None and hashlib.sha256(image).hexdigest() != sha256
    )


def image_problem(screenshot: Row, image: bytes) -> str | None:
    """How an image differs from its screenshot's row, in words for a message; None if not."""
    if is_other_image(image, screenshot[_SIZE], screenshot[_SHA256]):
        return f"the image {image_file(screenshot)} is not the one that its row tells of"
    return None
