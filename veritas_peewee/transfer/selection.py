"""Which audits an export writes, looked up page by page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, cast

from veritas_peewee.database.current import current_database, snapshot
from veritas_peewee.database.statements import MARK, execute, text_of
from veritas_peewee.errors import InvalidAudit
from veritas_peewee.models import Audit
from veritas_peewee.queries import counting, history
from veritas_peewee.queries.filters import Filters, check_names
from veritas_peewee.queries.history import Order
from veritas_peewee.values.ids import not_found
from veritas_peewee.values.moments import moment
from veritas_peewee.values.plain import invalid

_PAGE = 500
_ID = Audit._meta.sorted_field_names.index("id")


class Selection:
    """The ids of the audits to write: `ids`, or those that the history's filters select, in order.

    Audits that are added meanwhile are not among them. Raises AuditNotFound for an id that does
    not exist, InvalidAudit for ids and filters at once, and what `queries.history` raises.
    """

    def __init__(
        self, ids: Iterable[str] | None = None, order: Order = "newest", **filters: Any
    ) -> None:
        check_names(cast(Filters, filters), "export")
        filtered = order != "newest" or any(value is not None for value in filters.values())
        if ids is not None and filtered:
            raise InvalidAudit("ids: give ids, or filters and an order, not both")
        self.ids = None if ids is None else _checked(ids)
        self._order: Order = order
        # Only once: `7d` ago would be a later moment for each page.
        for name in {"since", "until"} & filters.keys():
            filters[name] = moment(name, filters[name])
        self._filters = cast(Filters, filters)
        if self.ids is not None:
            self.total = len(self.ids)
        else:
            # Raises for a bad filter or order, before anything is written.
            history.history(limit=1, order=order, **self._filters)
            self.total = counting.count(**self._filters)

    def __iter__(self) -> Iterator[str]:
        if self.ids is not None:
            return iter(self.ids)
        if self._order == "newest":
            return self._pages()
        # In these orders new audits would come last, and one whose score changes would come twice
        # or never. So all ids are looked up first, as of one moment, and stored compactly.
        with snapshot():
            pages = iter(self._pages())
            packed = []
            while page := list(islice(pages, _PAGE)):
                packed.append("\0".join(page).encode(errors="surrogatepass"))
        return (
            audit_id
            for page in packed
            for audit_id in page.decode(errors="surrogatepass").split("\0")
        )

    def _pages(self) -> Iterator[str]:
        database = current_database()
        cursor: str | None = None
        while True:
            rows, cursor = history.rows_of_page(_PAGE, cursor, self._order, self._filters)
            yield from [row[_ID] for row in rows]
            # The pages in SQLite's cache will not be read again.
            database.release_memory()
            if cursor is None:
                return


def _checked(ids: Iterable[str]) -> list[str]:
    if isinstance(ids, str | bytes) or not isinstance(ids, Iterable):
        raise invalid("ids", "must be a list of audits' ids", ids)
    text = text_of(Audit.select(Audit.id).where(Audit.id == MARK))
    wanted: dict[str, None] = {}
    for audit_id in ids:
        if not isinstance(audit_id, str):
            raise invalid("ids", "must be a list of audits' ids", audit_id)
        if not execute(text, (audit_id,)):
            raise not_found(audit_id)
        wanted[audit_id] = None
    return list(wanted)
