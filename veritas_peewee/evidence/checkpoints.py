"""Checkpoints (C2SP `tlog-checkpoint`): the size and the root of the log's tree, signed.

The store's head is on a line of its own, so that one text is enough for `verify --against`.
"""

from __future__ import annotations

import logging
import os
import re
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

from veritas_peewee.database.current import current_database, snapshot
from veritas_peewee.errors import NotProven, ReadOnlyStore, StoreError
from veritas_peewee.evidence import blocks, keys, notes, statements
from veritas_peewee.evidence.blocks import Block
from veritas_peewee.evidence.keys import PublicKey, SigningKey
from veritas_peewee.evidence.tree import Tree
from veritas_peewee.files.platform import open_to_others
from veritas_peewee.ledger import continued
from veritas_peewee.ledger.heads import Head, newest_head, parse_head
from veritas_peewee.values.plain import shown

_logger = logging.getLogger("veritas_peewee")
_SIZE = re.compile(r"0|[1-9]\d{0,17}")
LONGEST = 100_000
"""The most bytes that a checkpoint has."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What the store's log was when it was signed."""

    origin: str
    """Whose log it is: the name of the key that signed it."""
    size: int
    """How many leaves the tree has: the events so far, removed ones among them."""
    root: str
    """The tree's root, in base64."""
    head: Head | None
    """The store's head at that moment; None if the checkpoint has none that this version reads."""
    note: str
    """The whole text with its signatures, as a file has it."""

    @property
    def root_hash(self) -> bytes:
        """The tree's root, in 32 bytes."""
        return b64decode(self.root)

    def __str__(self) -> str:
        return self.note


@overload
def head(*, key: None = None, name: None = None) -> Head: ...


@overload
def head(*, key: str | os.PathLike[str], name: str | None = None) -> Checkpoint: ...


def head(
    *, key: str | os.PathLike[str] | None = None, name: str | None = None
) -> Head | Checkpoint:
    """What the current database holds, in short: its head, or with a `key` a signed checkpoint.

    Keep it where this machine cannot lose it: `veritas-peewee verify --against` then reports what
    is gone, the newest writes too. `key` is the file of a private key (`veritas-peewee keygen`),
    `name` its name if the file does not say it. Where the database can be written, each audit that
    has ended since the last checkpoint gets an event that states its rows (`audit_sealed`). The
    first checkpoint of a store reads the digest of each event, later ones those that came since.
    What is signed is on disk. Raises StoreError for a file that is not such a key, in a transaction
    that can still be undone, and while an import or a copy is not complete; InvalidAudit for a name
    that is missing or wrong; DatabaseCorrupt if events are not what they were at the last
    checkpoint.
    """
    if key is None:
        return newest_head()
    if current_database().role != "script":
        return signed(key, name)[0]
    for some in to_state(key, name):
        statements.state(some)
    made, new_blocks = signed(key, name)
    remember(new_blocks)
    return made


def to_state(key: str | os.PathLike[str], name: str | None = None) -> list[list[str]]:
    """The ids of the audits whose rows are to be stated before a checkpoint is signed, as many
    together as one transaction takes. Raises the errors of `head`."""
    keys.signing_key(key, name)
    _check_committed()
    _check_complete()
    ids, most = statements.to_state(), statements.AT_ONCE
    return [ids[start : start + most] for start in range(0, len(ids), most)]


def _bring_to_disk() -> None:
    """Wait until what is to be signed is on disk. With `durability="normal"` a power cut can lose
    the newest commits, and whoever signed them would sign another log afterwards."""
    database = current_database()
    try:
        if database.file.has_wal():
            database.sync_commits()
    except ReadOnlyStore:
        if database.role != "viewer":  # who may not write it signs what is there
            raise


def _check_committed() -> None:
    """Raise StoreError in a transaction that can write."""
    database = current_database()
    if database.transaction_is_open and database.writes(database.role) and not database.reading:
        raise StoreError(
            "a checkpoint is signed of what is committed, and a transaction can still be undone: "
            "sign outside of it, and in a store by `await store.head(key=…)`"
        )


def _check_complete() -> None:
    if blocks.is_importing():
        raise StoreError(
            "an import or a copy is not complete, so events can still come among those that are "
            "there: run it again (an import with --skip-existing), then sign"
        )


def remember(new_blocks: Sequence[Block]) -> None:
    """Store what makes the next checkpoint quick. If that fails, the log says so, and the next one
    takes longer."""
    try:
        blocks.store(new_blocks)
    except StoreError as error:
        _logger.warning("what makes the next checkpoint quick could not be stored: %s", error)


def signed(
    key: str | os.PathLike[str], name: str | None = None
) -> tuple[Checkpoint, Sequence[Block]]:
    """A checkpoint as `head` makes it, and what to give to `remember` where it can be written."""
    signer = keys.signing_key(key, name)
    _check_committed()
    if mode := open_to_others(signer.path):
        _logger.warning(
            "%s: its mode is %s, so others than its owner may read this private key and sign with "
            "it: chmod 600, and a new key if they did",
            signer.path,
            mode,
        )
    with snapshot():
        _check_complete()
        _warn_after_restore(signer)
        tree, now = Tree(), newest_head()
        tree.check_stored()
        root = b64encode(tree.root()).decode()
        _bring_to_disk()
    text = f"{signer.name}\n{tree.size}\n{root}\n{now}\n"
    made = Checkpoint(signer.name, tree.size, root, now, notes.signed(text, signer))
    return made, tree.new_blocks()


def _warn_after_restore(signer: SigningKey) -> None:
    """Warn before the first checkpoint since a restore that left out events."""
    left_out = max(continued.marks(), default=0)
    if left_out > blocks.signed_upto():
        _logger.warning(
            "%s: a restore has left out events that the store had before, up to %d: if %s has "
            "signed a checkpoint of them, this one contradicts it, and whoever has both sees a log "
            "that was altered; sign under a new key and name, and say why",
            current_database().name,
            left_out,
            signer.name,
        )


def is_checkpoint(text: str | bytes) -> bool:
    """Whether a text is meant as a signed checkpoint, and not as a head."""
    return len(text.split()) > 1


def read_checkpoint(note: str | bytes, key: PublicKey | None) -> Checkpoint:
    """The checkpoint that a text is; its signature is checked unless `key` is None.

    Raises NotProven for a text that is not a checkpoint, is not signed by the key, or was altered,
    and says which.
    """
    data = note.encode() if isinstance(note, str) else note
    text, signer = (notes.split(data)[0], None) if key is None else notes.checked(data, key)
    origin, *rest = text.removesuffix("\n").split("\n")
    if "" in (origin, *rest) or len(rest) < 2:
        raise NotProven("it is not a checkpoint: that begins with origin, size and root")
    if signer not in (None, origin):
        raise NotProven(f"it is of {shown(origin)}, and signed as {shown(signer)}")
    size, root, *more = rest
    if not _SIZE.fullmatch(size):
        raise NotProven(f"{shown(size)} is not the size of a tree")
    if not _is_root(root):
        raise NotProven(f"{shown(root)} is not the root of a tree")
    return Checkpoint(origin, int(size), root, _head_in(more), data.decode())


def _is_root(text: str) -> bool:
    try:
        data = b64decode(text, validate=True)
    except ValueError:
        return False
    return len(data) == 32 and b64encode(data).decode() == text


def _head_in(lines: list[str]) -> Head | None:
    for line in lines:
        try:
            return parse_head(line)
        except StoreError:
            continue
    return None
