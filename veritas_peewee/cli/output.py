"""JSON on standard output, for other programs."""

from __future__ import annotations

import json

from veritas_peewee.cli.text import say
from veritas_peewee.presentation.data import as_dict


def print_json(value: object) -> None:
    """Write `value` on standard output."""
    # ASCII only: no control character and no encoding can get in the way.
    say(json.dumps(as_dict(value), indent=2))


def print_line(value: object) -> None:
    """Write `value` as one line on standard output."""
    say(json.dumps(as_dict(value)))
