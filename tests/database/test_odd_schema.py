"""A schema that cannot be read makes a typed error, wherever the connection meets it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.database_files import by_hand
from veritas_peewee import DatabaseCorrupt, connect
from veritas_peewee.cli.app import run

NAME = b"idx_audits_trust_score"


@pytest.mark.parametrize("read_only", [True, False])
def test_a_byte_of_a_name_that_is_no_text_is_a_damaged_file(path: Path, read_only: bool) -> None:
    with connect(path):
        pass
    by_hand(path, "PRAGMA wal_checkpoint(TRUNCATE)")
    whole = path.read_bytes()
    # The name of the index, before that of its table, wherever it is: a page can also have what
    # SQLite has moved from there.
    places = [found.start() for found in re.finditer(NAME + b"audits", whole)]
    # In the name, and in the statement that makes it.
    for offset in (0, len(NAME) + 8):
        damaged = bytearray(whole)
        for at in places:
            damaged[at + offset] = 0xB8
        path.write_bytes(damaged)
        with (
            pytest.raises(DatabaseCorrupt, match="damaged"),
            connect(path, read_only=read_only),
        ):
            pass
        assert run(["verify", "--database", str(path)]) == 1
