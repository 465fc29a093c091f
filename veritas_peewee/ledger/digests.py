"""Digests: how they are computed, and the one form in which they are read from the file."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from hashlib import sha256
from typing import Any

import peewee

from veritas_peewee.database.expressions import blob_as_read
from veritas_peewee.models import Audit

_KEPT_APART = frozenset(("id", "digest"))
# The host is derived from the url, which is covered.
_SEAL = frozenset(("seal", "sealed_events", "host"))

Total = tuple[int, bytes]
"""How many rows there are, and a digest over theirs, in the order of their ids."""
NO_ROWS: Total = (0, b"")


def digest_of(values: Iterable[Any]) -> bytes:
    """SHA-256 over values in the form in which they are on disk: text, numbers, bytes, None."""
    return sha256(marked(values)).digest()


def marked(values: Iterable[Any]) -> bytes:
    """What a digest over values is made of."""
    # The `s` distinguishes the text "1" from the number 1, at a third of the cost of JSON.
    texts = [
        f"s{value}" if type(value) is str else "None" if value is None else repr(value)
        for value in values
    ]
    return "\0".join(texts).encode(errors="surrogatepass")


def grown(total: Total, digests: Iterable[bytes | None]) -> Total:
    """The total once rows with these digests have been added."""
    count, whole = total
    for digest in digests:
        count, whole = count + 1, sha256(whole + (digest or b"?")).digest()
    return count, whole


@functools.cache
def covered(model: type[peewee.Model]) -> tuple[str, ...]:
    """The names of the fields that a row's digest covers, in their order.

    The id of a finding or screenshot is not covered: in another store the row gets another id.
    """
    left_out = _SEAL if model is Audit else _KEPT_APART
    return tuple(name for name in model._meta.sorted_field_names if name not in left_out)


def fields_of(model: Any, names: Iterable[str]) -> list[Any]:
    """Columns for a query, by the names of their fields; a digest in the form of `blob_as_read`."""
    fields = model._meta.fields
    return [blob_as_read(fields[name]) if name == "digest" else fields[name] for name in names]
