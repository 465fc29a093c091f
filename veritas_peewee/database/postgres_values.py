"""Values that psycopg gives and takes in another form than the store has them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from psycopg.adapt import AdaptersMap, Dumper, Loader

from veritas_peewee.values.moments import format_datetime


class _WholeNumber(Loader):
    """A `numeric`, such as the sum of many whole numbers, as the number that it is."""

    def load(self, data: Any) -> int | float:
        text = bytes(data).decode()
        return int(text) if text.lstrip("-").isdecimal() else float(text)


class _Moment(Dumper):
    """A datetime in a caller's own SQL, as the text that the store's columns of times have.

    The server takes it for whatever type is wanted there; in a session in UTC it is the same time.
    """

    def dump(self, obj: datetime) -> bytes:
        return (obj.isoformat(" ") if obj.tzinfo is None else format_datetime(obj)).encode()


def register(adapters: AdaptersMap) -> None:
    """Have a connection give and take values so."""
    adapters.register_loader("numeric", _WholeNumber)
    adapters.register_dumper(datetime, _Moment)
