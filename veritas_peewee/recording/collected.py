"""The JSON columns of an audit's row to which events add: `errors` and `security_results`.

An audit can have thousands of errors, each reported by an event of its own. To read and to encode
all of them for each would take most of the time, so what is added is put after the text that this
connection has stored before.
"""

from __future__ import annotations

from typing import Any

from veritas_peewee.database.current import current_database
from veritas_peewee.errors import InvalidAudit
from veritas_peewee.ledger.memory import remembered
from veritas_peewee.models import Audit
from veritas_peewee.values.plain import MAX_DEPTH, MAX_TEXT, encode_json

KINDS: dict[str, type] = {"errors": list, "security_results": dict}
"""The columns, and what each contains."""
LONG = 2000
"""Characters from which on a text is remembered: a shorter one is read as fast."""
MOST_REMEMBERED = 16_000_000
"""The most characters of all texts that a connection remembers."""

Known = tuple[str, set[str] | None]
"""A text that was stored, and the keys of the object that it is."""


class Collected:
    """One such column of one audit while events are applied."""

    def __init__(self, audit_id: str, name: str, stored: Any) -> None:
        """`stored` is the value in the column now."""
        self._name, self._kind = name, KINDS[name]
        self._key = audit_id, name
        self._stored = stored
        self._value: Any = None
        # Taken out, and put back as the newest. Should the write be undone, the keys are too many
        # at most, and the text is another one.
        known = _remembered().pop(self._key, None)
        self._keys = None if known is None else known[1]
        self._parts = [known[0][:-1]] if known is not None and known[0] == stored else None
        """The text but for its last bracket; None if it has to be made of the value."""

    def replace(self, value: Any) -> None:
        """An event sets the column."""
        self._value, self._parts = value, None

    @property
    def value(self) -> Any:
        """The list or dict; what is added later is added to it in place."""
        if self._value is None:
            text = self._stored if self._parts is None else self.text()
            value = Audit._meta.fields[self._name].python_value(text)
            # In a file that was edited by hand it can be anything.
            self._value = value if isinstance(value, self._kind) else self._kind()
        return self._value

    def add(self, items: Any) -> None:
        """Add a list's items, or a dict's, which replace those of the same keys."""
        value = self._value
        if self._parts is None or (self._keys and not self._keys.isdisjoint(items)):
            value, self._parts = self.value, None
        else:
            self._parts += _texts(self._name, items)
            if self._keys is not None:
                self._keys.update(items)
        if isinstance(value, dict):
            value.update(items)
        elif value is not None:
            value.extend(items)

    def text(self) -> str:
        """What is to be stored; raises InvalidAudit if that is too long."""
        if self._parts is None:
            return encode_json(self.value, self._name)
        text = ",".join(self._parts) + ("}" if self._kind is dict else "]")
        if len(text) > MAX_TEXT:
            raise InvalidAudit(f"{self._name}: has {len(text)} characters, the limit is {MAX_TEXT}")
        return text

    def remember(self, text: str) -> None:
        """The text is stored now."""
        if len(text) < LONG:
            return
        keys = None
        if self._kind is dict:
            keys = set(self.value) if self._parts is None else self._keys
        texts = _remembered()
        texts[self._key] = text, keys
        total = sum(len(known) for known, _ in texts.values())
        while total > MOST_REMEMBERED:
            total -= len(texts.pop(next(iter(texts)))[0])


def _remembered() -> dict[tuple[str, str], Known]:
    return remembered(current_database()).texts


def _texts(name: str, items: Any) -> list[str]:
    """The items as JSON, as they are inside the whole text."""
    if isinstance(items, dict):
        return [encode_json({key: item}, name)[1:-1] for key, item in items.items()]
    return [encode_json(item, name, MAX_DEPTH - 1) for item in items]
