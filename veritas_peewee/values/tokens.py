"""Tokens: an event's id and the beginning of its digest, by which a follower resumes.

Ids are given out again where a store is put back to an earlier state or another one takes its
place; the digest shows whether an id still is the same event's.
"""

from __future__ import annotations

import re

from veritas_peewee.values.plain import invalid

_TOKEN = re.compile(r"([1-9][0-9]{0,15})-([0-9a-f]{16})")


def token_of(event_id: int, digest: object) -> str:
    """The token of an event: its id, `-`, and the first 16 hexadecimal digits of its digest."""
    return f"{event_id}-{digest[:8].hex() if isinstance(digest, bytes) else '':0<16}"


def check_after(after: object) -> int | str:
    """`after`, if it can be an event's id, its token, or 0; else raises InvalidAudit."""
    if isinstance(after, str):
        if _TOKEN.fullmatch(after):
            return after
    elif not isinstance(after, bool) and isinstance(after, int) and 0 <= after < 2**63:
        return after
    raise invalid("after", "must be an event's id or token, or 0 to begin with the first", after)


def id_in(token: str) -> int:
    """The id of the event that a token names."""
    return int(token.partition("-")[0])
