"""The changes that `verify` does not name, each with its reason: the list of GUARANTEES.md."""

from __future__ import annotations

import re
from typing import NamedTuple


class Unnamed(NamedTuple):
    """Changes that are not named, by a regular expression of their whole text, and why."""

    pattern: str
    reason: str


UNNAMED: tuple[Unnamed, ...] = ()


def listed(change: str) -> Unnamed | None:
    """The entry of the list that a change belongs to; None if it must be named."""
    return next((one for one in UNNAMED if re.fullmatch(one.pattern, change)), None)
