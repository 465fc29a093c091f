"""What is not as it should be beside a change, each with its reason: the list of GUARANTEES.md.

The lists are exact: `torture/faults/alterations` fails for a change that belongs to none of them
and should, and for an entry to which no change belongs any more.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class Listed(NamedTuple):
    """Changes, by a regular expression of their whole text, and a reason."""

    changes: str
    reason: str
    always: bool = True
    """Whether all such changes are not named; else what they are about decides."""


UNNAMED: tuple[Listed, ...] = ()
"""Changes that `verify` does not name, with a head or without."""

MENDED: tuple[Listed, ...] = ()
"""Changes that are named until something is recorded, because recording makes the value anew."""

STOPPING: tuple[Listed, ...] = ()
"""Changes beside which not everything can be recorded or read: the errors say why."""


def listed(entries: tuple[Listed, ...], change: str) -> Listed | None:
    """The entry to which a change belongs; None if it belongs to none of them."""
    return next((one for one in entries if re.fullmatch(one.changes, change)), None)
