"""An audit with the numbers of its rows too: what a copy of a store takes over and compares."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from peewee import SQL

from veritas_peewee.database.connection import StoreDatabase
from veritas_peewee.database.current import bound
from veritas_peewee.database.expressions import is_among
from veritas_peewee.database.failures import DRIVER_ERRORS, lacking, store_error
from veritas_peewee.database.statements import MARK, execute, per_backend, text_of
from veritas_peewee.errors import StoreError
from veritas_peewee.files.images import check_image
from veritas_peewee.ledger.checking import image_problem, problem_of
from veritas_peewee.ledger.formulas import is_unfinished
from veritas_peewee.ledger.stored import (
    AUDIT,
    SCREENSHOT,
    Row,
    StoredAudit,
    image_file,
    read_each,
)
from veritas_peewee.models import AbsentImage, Audit, AuditFinding, AuditScreenshot
from veritas_peewee.queries.images import current_images
from veritas_peewee.values.odd_text import OddText, after

_PAGE = 500
_SHA256 = SCREENSHOT.index("sha256")
_VALUES = AUDIT.index("seal")
"""How many columns of an audit's row come before its seal."""


class Whole(NamedTuple):
    """An audit, as stored, with the ids of its rows."""

    stored: StoredAudit
    findings: list[int]
    screenshots: list[int]
    absent: frozenset[int]
    """The screenshots whose image was not in the import that brought them."""


@contextmanager
def at(database: StoreDatabase) -> Iterator[None]:
    """Make a database the current one; a driver's errors are raised as the store's own."""
    try:
        with bound(database):
            yield
    except DRIVER_ERRORS as error:
        raise (store_error(error, database.location.name) or error) from error


def ids_of(database: StoreDatabase) -> Iterator[list[Any]]:
    """The ids of all audits of a database in their order, some at once."""
    last: Any = ""
    while True:
        with at(database):
            rows = execute(_ids_sql(last == ""), (last,))
        if not rows:
            return
        yield [audit_id for (audit_id,) in rows]
        last = rows[-1][0]
        if isinstance(last, OddText):
            last = after(last, len(last))


def read_wholes(database: StoreDatabase, audit_ids: Iterable[str]) -> Iterator[list[Whole]]:
    """Audits of a database in the order of their ids, some at once, all of these as of one moment
    if a snapshot of it is open; those that do not exist are left out."""
    pieces = read_each(audit_ids)
    while True:
        with at(database):
            if not (some := next(pieces, [])):
                return
            found = _with_ids(some)
        yield found


def _with_ids(some: list[StoredAudit]) -> list[Whole]:
    values = (json.dumps([one.id for one in some]),)
    findings, screenshots, absent = (_by_audit(execute(sql, values)) for sql in _row_ids_sql())
    return [
        Whole(one, findings[one.id], screenshots[one.id], frozenset(absent[one.id])) for one in some
    ]


def _by_audit(rows: list[tuple[Any, ...]]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    for audit_id, row_id in rows:
        found[audit_id].append(row_id)
    return found


def difference(ours: Whole, theirs: Whole) -> str | None:
    """What of an audit is not the same in two stores, in words; None if all is."""
    if ours == theirs:
        return None
    mine, other = ours.stored, theirs.stored
    if mine.events != other.events:
        return f"its log has {len(other.events)} events, or others, instead of {len(mine.events)}"
    if (ours.findings, mine.findings) != (theirs.findings, other.findings):
        return "its findings are not the same"
    if (ours.screenshots, mine.screenshots) != (theirs.screenshots, other.screenshots):
        return "its screenshots are not the same"
    if mine.audit[:_VALUES] != other.audit[:_VALUES]:
        return "its row is not the same"
    if mine.audit != other.audit:
        # An unfinished audit whose seal is one of an earlier version has got one of this version.
        renewed = is_unfinished(list(mine.audit[:_VALUES])) and problem_of(other) is None
        return None if renewed and problem_of(mine) else "its seal is not the same"
    return "which of its images are absent is not the same"


def read_image(database: StoreDatabase, row: Row) -> tuple[bytes | None, str | None]:
    """The image of a screenshot's row in a store, or what is wrong with it; both if it is another
    one than the row tells of."""
    with at(database):
        try:
            image = current_images().read(image_file(row))
            check_image(image, f"the image {image_file(row)}")
        except StoreError as error:
            if lacking(error):
                raise
            return None, str(error)
    return image, image_problem(row, image)


class ImageProblem(NamedTuple):
    """How an image of an audit in a copy is not that of its row, or of the store."""

    file: str
    is_the_same: bool
    """Whether it is so in the store too."""
    text: str


def image_problems(
    whole: Whole, source: StoreDatabase, target: StoreDatabase
) -> Iterator[ImageProblem]:
    """Which images of an audit in `target` are not those of its rows, or of `source`."""
    for row_id, row in zip(whole.screenshots, whole.stored.screenshots, strict=True):
        image, problem = read_image(target, row)
        if not problem and row[_SHA256] is not None:
            continue
        known, reason = read_image(source, row)
        if known != image:
            what = problem or f"the image {image_file(row)} is another one"
            yield ImageProblem(image_file(row), False, f"{what} in {target.location.name}")
        elif reason and row_id not in whole.absent:
            yield ImageProblem(image_file(row), True, f"as in {source.location.name}: {reason}")


@per_backend
def _ids_sql(first: bool) -> str:
    from_here = Audit.id >= MARK if first else Audit.id > MARK
    query = Audit.select(Audit.id).where(from_here).order_by(Audit.id)
    return text_of(query.limit(SQL(str(_PAGE))))


@per_backend
def _row_ids_sql() -> tuple[str, ...]:
    texts = []
    for model in (AuditFinding, AuditScreenshot):
        query = model.select(model.audit, model.id).where(is_among(model.audit))
        texts.append(text_of(query.order_by(model.audit, model.id)))
    query = AuditScreenshot.select(AuditScreenshot.audit, AuditScreenshot.id).join(AbsentImage)
    texts.append(text_of(query.where(is_among(AuditScreenshot.audit))))
    return tuple(texts)
