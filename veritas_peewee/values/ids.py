"""Ids of audits: new ones, and checks of ids that callers give."""

from __future__ import annotations

import os
import re

from veritas_peewee.errors import AuditNotFound, InvalidAudit
from veritas_peewee.values.plain import check_text, invalid, plain_text, shown

_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"
_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,15}")


def new_audit_id() -> str:
    """A new id: `vrts_` and 11 random digits and letters."""
    base = len(_ALPHABET)
    number, text = int.from_bytes(os.urandom(16)) % base**11, "vrts_"
    for _ in range(11):
        number, digit = divmod(number, base)
        text += _ALPHABET[digit]
    return text


def check_id(value: object) -> str:
    """The text of `value`, if it can be an audit's id; else raises InvalidAudit.

    An id is 1 to 16 letters, digits, `_`, `-` or `.`, and does not begin with `.`.
    """
    text = plain_text(value)
    if text is None or not _ID.fullmatch(text):
        raise invalid(
            "id", "must be 1 to 16 letters, digits, '_', '-' or '.', not beginning with '.'", value
        )
    return text


def not_found(audit_id: object) -> AuditNotFound:
    """The error for an id that no audit has."""
    return AuditNotFound(f"there is no audit {shown(audit_id)}")


def key_of(audit_id: object) -> str:
    """The text of `audit_id`, for a lookup; raises AuditNotFound if no database can hold it."""
    try:
        return check_text("id", audit_id)
    except InvalidAudit as error:
        raise not_found(audit_id) from error
