"""Hostile values, and what must be read back for each."""

from __future__ import annotations

import enum
import json
import math
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any

MAX_DEPTH = 200
"""The deepest JSON that the store takes; deeper ones are refused."""


class Rude(Exception):
    """The error that the hostile classes raise; it must not come out of the store."""


class RudeText(str):
    """A text whose own methods fail."""

    def _fail(self, *_: object) -> Any:
        raise Rude

    __eq__ = __ne__ = __str__ = __repr__ = __len__ = __hash__ = _fail


class RudeNumber(int):
    def _fail(self, *_: object) -> Any:
        raise Rude

    __str__ = __repr__ = __float__ = __int__ = __hash__ = _fail


class RudeDict(dict[Any, Any]):
    def _fail(self, *_: object) -> Any:
        raise Rude

    __eq__ = __repr__ = __len__ = get = keys = values = items = __iter__ = _fail


class RudeObject:
    def _fail(self, *_: object) -> Any:
        raise Rude

    __eq__ = __str__ = __repr__ = __bool__ = __len__ = __iter__ = _fail
    __hash__ = object.__hash__


class RudeList(list[Any]):
    def _fail(self, *_: object) -> Any:
        raise Rude

    __eq__ = __repr__ = __len__ = _fail


class Liar:
    """An object that claims another class."""

    def __init__(self, kind: type) -> None:
        self.kind = kind

    def __getattribute__(self, name: str) -> Any:
        return object.__getattribute__(self, "kind" if name == "__class__" else name)


class PlainDict(dict[Any, Any]):
    pass


class Colour(enum.StrEnum):
    RED = "red"


class Number(enum.IntEnum):
    ONE = 1


class Lost(tzinfo):
    """A time zone that does not know its offset."""

    def utcoffset(self, when: datetime | None) -> timedelta | None:
        return None

    def dst(self, when: datetime | None) -> timedelta | None:
        return None

    def tzname(self, when: datetime | None) -> str | None:
        return None


class RudeZone(Lost):
    def utcoffset(self, when: datetime | None) -> timedelta | None:
        raise Rude


def nested(depth: int, kind: type, leaf: object = 1) -> Any:
    found = leaf
    for _ in range(depth):
        found = [found] if kind is list else {"d": found}
    return found


def within_itself(leaf: object) -> Any:
    found: dict[str, Any] = {"leaf": leaf}
    found["self"] = found
    return found


TEXTS = (
    "", " ", "plain", "'; DROP TABLE audits; --", '" OR 1=1 --', "NEAR(a b, 5)", '"unclosed',
    "a* AND -b ^c {x y}:z", "%_\\", "?1 :name @x $y", "\u202egnp.exe\u202c", "\u200f\u2066\u2069",
    "e\u0301\u0327" * 20, "\U0001f469\u200d\U0001f680", "\ufeffbom", "\ufffd\uffff\U0010ffff",
    "a\0b", "\0", "\ud800", "\udfff\ud800", "x\udcff", "\x1b[2J\x1b]0;x\x07", "\r\n\t\v\f",
    "\u2028\u2029\x85", "\u0130\u0131\u1e9e\ufb03", "NaN", "null", "../../etc/passwd", "{" * 50,
    '{"type": "x"}', "\\u0000", "\\ud800", "1e999", "true", "x" * 300, "https://example.com/\u202e",
    "##PROGRESS:{}", "vrts_", "-", "--help", "$.finding.id", "${HOME}", "<script>", "%s%n", "0x10",
)  # fmt: skip
NUMBERS = (
    0, 1, -1, True, False, 2**31, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 10**400,
    -(10**400), 10**5000, 0.0, -0.0, 0.1, 5e-324, 1.7976931348623157e308, math.nan, math.inf,
    -math.inf, 100, 100.0000001, -1e-9, Number.ONE, 2**64,
)  # fmt: skip
MOMENTS = (
    datetime(2026, 1, 1), datetime(2026, 1, 1, tzinfo=UTC), datetime.min, datetime.max,
    datetime.min.replace(tzinfo=timezone(timedelta(hours=23))),
    datetime.max.replace(tzinfo=timezone(timedelta(hours=-23))),
    datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    datetime(2026, 1, 1, tzinfo=Lost()), datetime(2026, 1, 1, tzinfo=RudeZone()),
)  # fmt: skip


def scalar(chance: random.Random) -> Any:
    """A random value that is not a plain container."""
    makers: tuple[Callable[[], Any], ...] = (
        lambda: chance.choice(TEXTS),
        lambda: chance.choice(TEXTS) + chance.choice(TEXTS),
        lambda: "".join(chr(chance.randrange(0x110000)) for _ in range(chance.randrange(1, 20))),
        lambda: chance.choice(NUMBERS),
        lambda: chance.getrandbits(chance.randrange(1, 200)) - chance.getrandbits(100),
        lambda: chance.choice(MOMENTS),
        lambda: None,
        lambda: chance.choice((b"", b"\xff\0", bytearray(b"x"), {1, 2}, frozenset(), 1j, ..., int)),
        lambda: chance.choice((RudeObject(), RudeText("rude"), RudeNumber(5), Colour.RED)),
        lambda: Liar(chance.choice((str, int, float, dict, list, datetime))),
        lambda: chance.choice((RudeDict(a=1), RudeList([1]), PlainDict(a=1), (1, (2,)), range(3))),
    )
    return chance.choice(makers)()


def value(chance: random.Random, depth: int = 0) -> Any:
    """A random value of any kind, at times a container."""
    pick = chance.random()
    if depth > 3 or pick < 0.6:
        return scalar(chance)
    if pick < 0.75:
        return {key(chance): value(chance, depth + 1) for _ in range(chance.randrange(5))}
    if pick < 0.9:
        return [value(chance, depth + 1) for _ in range(chance.randrange(5))]
    if pick < 0.93:
        return within_itself(chance.choice((1, math.nan, RudeObject())))
    depths = (100, MAX_DEPTH - 10, MAX_DEPTH + 1, 900, 990, 100_000)
    return nested(chance.choice(depths), chance.choice((list, dict)), scalar(chance))


def key(chance: random.Random) -> Any:
    return chance.choice(
        (chance.choice(TEXTS), chance.choice(TEXTS), 5, 1.5, None, True, (1,), b"k", math.nan)
    )


class Unstorable(Exception):
    """A value that strict JSON cannot hold."""


def as_stored(found: object, depth: int = 0) -> Any:
    """What must be read back for a value, worked out here without the store's own code."""
    kind = type(found)
    if depth >= MAX_DEPTH and kind in (dict, PlainDict, list, tuple):
        raise Unstorable
    if kind in (dict, PlainDict):
        assert isinstance(found, dict)
        return {_key(name): as_stored(item, depth + 1) for name, item in found.items()}
    if kind in (list, tuple):
        assert isinstance(found, list | tuple)
        return [as_stored(item, depth + 1) for item in found]
    if kind is str or kind is Colour:
        return _text(str(found))
    if kind is float and math.isfinite(found):  # type: ignore[arg-type]
        return found
    if kind in (int, Number) and abs(found) < 10**4300:  # type: ignore[arg-type]
        return int(found)  # type: ignore[call-overload]
    if found is None or kind is bool:
        return found
    raise Unstorable


def _text(text: str) -> str:
    if "\0" in text or any("\ud800" <= one <= "\udfff" for one in text):
        raise Unstorable
    return text


def _key(name: object) -> str:
    if type(name) is str:
        return _text(name)
    if name is None or type(name) in (bool, int, float):
        return str(json.dumps(name, allow_nan=False)) if name == name else _refuse()
    raise Unstorable


def _refuse() -> str:
    raise Unstorable


def may_be_either(found: object, depth: int = 0) -> bool:
    """Whether a value has an object of a misbehaving class: it may be stored plain, or refused."""
    if isinstance(found, RudeText | RudeNumber | RudeDict | RudeList):
        return True
    if depth > MAX_DEPTH:
        return False
    if type(found) in (dict, PlainDict):
        assert isinstance(found, dict)
        return any(may_be_either(item, depth + 1) for item in found.values())
    if type(found) in (list, tuple):
        assert isinstance(found, list | tuple)
        return any(may_be_either(item, depth + 1) for item in found)
    return False


def same(left: object, right: object) -> bool:
    """Equal, and of the same types all through."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[k], right[k]) for k in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    return left == right
