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


UNNAMED: tuple[Listed, ...] = (
    # ---- notes ----
    Listed(
        r"removed_audits\.(created_at|removed_at): .*",
        "When a removed audit was made and removed is a note: no digest covers it, and only what "
        "is no moment at all is named.",
        always=False,
    ),
    Listed(
        r"rows of removed_audits: (forged|doubled at the end) \(removed\)",
        "A note of one removal more than there were: nothing else records that an audit of which "
        "nothing was recorded was there.",
        always=False,
    ),
    Listed(
        r"(removed_audits\.id|rows of removed_audits): .*, its order kept .*",
        "The number of a note of a removal means nothing; only one that SQLite never gives is "
        "named.",
        always=False,
    ),
    Listed(
        r"audit_runners\.session: .*|rows of audit_runners: .*",
        "Which process runs an audit is a note: if it is lost, the audit is called disconnected "
        "or stays as it is, and nothing of it is lost.",
        always=False,
    ),
    Listed(
        r"veritas_migrations\.(id|applied): .*|rows of veritas_migrations: (numbered anew|order "
        r"changed|contents exchanged|doubled).*",
        "When the file was upgraded is a note; only the names of the upgrades count.",
        always=False,
    ),
    Listed(
        r"(table|index) veritas_migrations\w*: .*",
        "The record of migrations is looked at by its columns and what it holds; it is made by "
        "Peewee, and what else its table or index has means nothing.",
        always=False,
    ),
    Listed(
        r"store_changes\.(number|id): .*|rows of store_changes: (doubled|numbered anew).*",
        "How often rows were changed is a count that no log records: a larger one cannot be told "
        "from more changes.",
        always=False,
    ),
    Listed(
        r"import_heads\.open: off by one",
        "Whether an import was complete is a note: at most, the next one goes on where it ended.",
    ),
    # ---- numbers that another store would give anew ----
    Listed(
        r"audit_findings\.id: .*, its order kept .*",
        "The number of a finding or screenshot is not covered, for another store gives it another "
        "one; their order is.",
    ),
    Listed(
        r"audit_screenshots\.id: .*, its order kept .*",
        "The same; but where a note says that the image is absent, it says so of that number.",
        always=False,
    ),
    Listed(
        r"rows of (audit_findings|audit_screenshots): numbered anew, its order kept .*",
        "The same, with a number above all others; a note about it names the new number.",
        always=False,
    ),
    Listed(
        r"rows of sqlite_sequence: numbered anew.*",
        "SQLite finds its counters by their names, whatever their place.",
        always=False,
    ),
    Listed(
        r"rows of audits: numbered anew.*",
        "SQLite numbers the rows of a table with another key by itself.",
    ),
    Listed(
        r"audit_catalog\.id: .*|rows of audit_catalog: numbered anew.*",
        "An entry of the catalog is the same under another number.",
        always=False,
    ),
    Listed(
        r"(rows of )?sqlite_sequence.*\(audit_catalog.*",
        "SQLite's counter of the catalog's entries: they can be made again as a whole. Renamed, it "
        "is a second counter of events, which is named.",
        always=False,
    ),
    # ---- what can be made again ----
    Listed(
        r"(rows of )?search_index.*",
        "The full-text index is compared by what is found with it: a change after which each word "
        "is found in the same audits is none.",
        always=False,
    ),
    Listed(
        r"rows of store_heads: .*|store_heads\..*",
        "A stored head that is missing is computed from the events when it is needed.",
        always=False,
    ),
    # ---- what is allowed ----
    Listed(
        r"the (newest|oldest) audit: removed as the library does",
        "A program that removes an audit and obeys the file's triggers leaves what a removal by "
        "this library leaves.",
    ),
    Listed(
        r"rows of audits: removed \(\w+\)",
        "The same, for an audit that has nothing but its row.",
        always=False,
    ),
    Listed(
        r"table \w+: made anew with its triggers",
        "A table that was made anew as it was, with its triggers and indexes, is the same.",
    ),
    Listed(
        r"table \w+: made anew without its triggers",
        "The same, for a table without triggers.",
        always=False,
    ),
    Listed(
        r"file: (another (user_version|application_id)|no WAL)|table: of SQLite's statistics",
        "The store gives no meaning to these numbers, sets the WAL when it opens the file, and "
        "knows the tables of ANALYZE and of Litestream by their names.",
    ),
    Listed(
        r"images: their folder is a link",
        "Where the folder of all images is, is for its owner to say.",
    ),
)
"""Changes that `verify` does not name, with a head or without."""

MENDED: tuple[Listed, ...] = (
    Listed(
        r"(trigger|index|view) \w+: .*|table (audit_catalog|audit_counts|audit_patterns|"
        r"search_index): .*|table \w+: made anew without its triggers",
        "A part of ours that is lost or altered is made again when the file is opened for "
        "writing, and the log says so.",
    ),
    Listed(
        r"veritas_migrations\.name: .*|(rows of|table) veritas_migrations: .*",
        "What the file was upgraded by is seen from its parts, and named again when it is opened "
        "for writing.",
    ),
    Listed(
        r"(rows of )?sqlite_sequence.*",
        "SQLite gives its counter anew with the next event.",
    ),
    Listed(
        r"audits\.screenshots_count: .*\(running\)",
        "The screenshots are counted anew with the next one.",
    ),
    Listed(
        r"store_changes\.number: .*",
        "If rows are changed after some changes were lost, their number can be right again.",
    ),
    Listed(
        r"audits\.host: .*\(running\)",
        "The host is derived from the url with each change of the audit.",
    ),
    Listed(
        r"rows of audits: removed past the triggers \(queued\)",
        "An audit without any event is counted in a head, and the next new audit makes the count "
        "right again.",
    ),
    Listed(
        r"rows of absent_images: (doubled at the end|forged).*",
        "That the image of a screenshot to come is absent is no more than a note once that "
        "screenshot is there with its image; `verify --fix` removes it.",
    ),
    Listed(
        r"(rows of )?search_index.*|(rows of )?audit_(catalog|patterns|counts).*",
        "What an audit is found and counted by is made anew with each change of it.",
    ),
)
"""Changes that are named until something is recorded, because recording makes the value anew."""

STOPPING: tuple[Listed, ...] = (
    Listed(
        r"(rows of )?search_index_(data|config).*",
        "Where FTS5 cannot read its index, searching and deleting are DatabaseCorrupt, which names "
        "the remedy, `verify --fix`. All else is recorded.",
    ),
)
"""Changes beside which not everything can be recorded or read: the errors say why."""


def listed(entries: tuple[Listed, ...], change: str) -> Listed | None:
    """The entry to which a change belongs; None if it belongs to none of them."""
    return next((one for one in entries if re.fullmatch(one.changes, change, re.DOTALL)), None)
