"""Text, numbers and JSON that every database can hold: one rule for all values, from any source."""

from __future__ import annotations

import json
import math
import re
import reprlib
from collections.abc import Callable, Iterator
from typing import Any, NoReturn, cast

from veritas_peewee.errors import InvalidAudit
from veritas_peewee.values.nesting import MAX_DEPTH as MAX_DEPTH
from veritas_peewee.values.nesting import is_deeper, items_of

_SURROGATE = re.compile("[\ud800-\udfff]")
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
MAX_TEXT = 200_000_000
"""The most characters in one text. SQLite's default limit is 1,000,000,000 bytes
(SQLITE_MAX_LENGTH), and UTF-8 needs up to four for a character."""
_MAX_PATH = 100
_encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
_make_encoder = vars(json.encoder).get("c_make_encoder")
_compact = _make_encoder and _make_encoder(
    None, _encoder.default, json.encoder.encode_basestring, None, ":", ",", False, False, False
)
"""What `JSONEncoder.encode` makes anew for each call; to encode a short value takes less."""


class EndlessJSON(InvalidAudit):
    """A value that is nested too deeply, or contains itself: it cannot be walked through."""


def invalid(name: str, reason: str, value: object) -> InvalidAudit:
    """An InvalidAudit that names the field and shows the value, shortened."""
    return InvalidAudit(f"{name}: {reason}, got {shown(value)}")


_short = reprlib.Repr()
_short.maxstring = _short.maxother = _short.maxlong = 70


def shown(value: object) -> str:
    """`value` for an error's text: at most 80 ASCII characters, whatever its size and class."""
    try:
        text = _short.repr(value)
    except Exception:  # a caller's class may raise anything, and a number be too long to print
        number = plain_number(value)
        text = f"a number of {number.bit_length()} bits" if type(number) is int else ""
        text = text or f"<{kind_of(value)}>"
    return text.encode("ascii", "backslashreplace").decode()[:80]


def named(name: str, most: int = 80) -> str:
    """A caller's name for an error's text: unchanged if it is printable and has at most `most`
    characters, else as `shown` gives it."""
    return name if len(name) <= most and name.isprintable() else shown(name)


def kind_of(value: object) -> str:
    """The name of the class of `value`: at most 40 ASCII characters."""
    return ascii(type.__dict__["__name__"].__get__(type(value)))[1:-1][:40]


def plain_text(value: object) -> str | None:
    """`value` as a plain str if it is text, also of a caller's subclass; None if it is not text."""
    if type(value) is str:
        return value
    # Not isinstance, which trusts the `__class__` that an object claims to have.
    return str.__str__(cast(str, value)) if issubclass(type(value), str) else None


def plain_number(value: object) -> int | float | None:
    """`value` as a plain int or float if it is a number; None if it is not, or is a bool."""
    kind: type = type(value)
    if kind is int or kind is float:
        return cast(float, value)
    if kind is bool:
        return None
    if issubclass(kind, int):
        return int.__int__(cast(int, value))
    return float.__float__(cast(float, value)) if issubclass(kind, float) else None


def check_text(name: str, value: object, max_length: int | None = None) -> str:
    """`value` as a plain str, if it is text that every database can hold.

    Raises InvalidAudit, which begins with `name`, for a value that is not text, for a NUL character
    or a lone surrogate, and for more than `max_length` characters (by default `MAX_TEXT`).
    """
    text = plain_text(value)
    if text is None:
        raise invalid(name, "must be text", value)
    # Nearly all text is ASCII without NUL, which costs next to nothing to find out.
    if ("\0" in text or not text.isascii()) and _UNSTORABLE.search(text):
        kind = "a lone surrogate" if _SURROGATE.search(text) else "a NUL character"
        raise invalid(name, f"holds {kind}, which cannot be stored", text)
    if len(text) > (MAX_TEXT if max_length is None else max_length):
        raise invalid(name, f"must be at most {max_length or MAX_TEXT} characters", text)
    return text


def unstorable(value: object, name: str) -> Iterator[tuple[str, str]]:
    """The parts of a value that strict JSON cannot hold, as (path, reason).

    Each path begins with `name`. Raises EndlessJSON if the value is nested too deeply, as one that
    contains itself is.
    """
    stack: list[tuple[str, object, int]] = [(name, value, 0)]
    while stack:
        path, found, depth = stack.pop()
        inner: list[tuple[str, object]] = []
        # The built-in classes' own methods: a caller's subclass may override them with anything.
        if issubclass(type(found), dict):
            for key, item in dict.items(cast(dict[Any, Any], found)):
                if reason := _bad_key(key):
                    yield path, reason
                text = plain_text(key)
                shown_key = shown(key) if text is None else ascii(text[:40])[1:-1]
                inner.append((f".{shown_key[:40]}", item))
        elif (items := items_of(found)) is not None:
            inner = [(f"[{number}]", item) for number, item in enumerate(items)]
        elif (text := plain_text(found)) is not None:
            if _UNSTORABLE.search(text):
                yield path, "holds a NUL character or a lone surrogate"
        elif (number := plain_number(found)) is not None:
            if type(number) is float and not math.isfinite(number):
                yield path, f"is {number}, which JSON cannot hold"
            elif type(number) is int and number.bit_length() > _MAX_BITS:
                yield path, "is a number of too many digits"
        elif found is not None and type(found) is not bool:
            yield path, f"is a {kind_of(found)}, which JSON cannot hold"
        if inner and depth >= MAX_DEPTH:
            raise EndlessJSON(f"{named(name)}: {_TOO_DEEP}")
        stack.extend((_shortened(path + step), item, depth + 1) for step, item in inner)


_TOO_DEEP = f"is nested more than {MAX_DEPTH} deep, or contains itself, and cannot be stored"
_MAX_BITS = 14_000
"""The most bits of a whole number: by default Python turns at most 4,300 digits into text
(`sys.set_int_max_str_digits`)."""


def _bad_key(key: object) -> str:
    if (text := plain_text(key)) is not None:
        return "has a key with a NUL character or a lone surrogate" * bool(_UNSTORABLE.search(text))
    if key is None or isinstance(key, int):
        return ""
    if isinstance(key, float) and math.isfinite(float.__float__(key)):
        return ""
    return f"has a key that is not text: {shown(key)}"


def _shortened(path: str) -> str:
    return path if len(path) <= _MAX_PATH else f"{path[:50]}...{path[-40:]}"


def compact_json(value: object) -> str:
    """`value` as JSON text without spaces; raises whatever Python's encoder raises."""
    try:
        if _compact is not None:
            return "".join(_compact(value, 0))
    except Exception:  # it notices a value that contains itself by the recursion only
        pass
    return _encoder.encode(value)


def encode_json(value: object, name: str, max_depth: int = MAX_DEPTH) -> str:
    """`value` as strict JSON text.

    Raises InvalidAudit, which names the part that cannot be stored by its path from `name`, or
    EndlessJSON if the value is nested more than `max_depth` levels deep.
    """
    try:
        text = compact_json(value)
        if text.count("{") + text.count("[") > max_depth and is_deeper(value, max_depth):
            raise EndlessJSON(f"{name}: {_TOO_DEEP}")
        # Python writes NUL as this escape. PostgreSQL's jsonb refuses it, so no database gets it.
        if "\\u0000" not in text:
            text.encode()
            if len(text) > MAX_TEXT:
                raise InvalidAudit(f"{name}: has {len(text)} characters, the limit is {MAX_TEXT}")
            return text
    except InvalidAudit:
        raise
    except RecursionError as error:
        raise EndlessJSON(f"{name}: {_TOO_DEEP}") from error
    except Exception as error:  # also whatever a caller's class raises
        for path, reason in unstorable(value, name):
            raise InvalidAudit(f"{path}: {reason}") from error
        raise InvalidAudit(f"{name}: cannot be stored as JSON: {_text_of(error)}") from error
    for path, reason in unstorable(value, name):
        raise InvalidAudit(f"{path}: {reason}")
    return text


def decode_json(text: str, *, finite: bool = False) -> Any:
    """The value of strict JSON text.

    Raises InvalidAudit if the text is not strict JSON, or if it is JSON that `encode_json` would
    not write: nested too deeply, with a NUL character or a lone surrogate, and with `finite` also
    with a number beyond all floats, which costs each float a call.
    """
    scan = _scan_finite if finite else scan_json
    try:
        # The scanner itself: `decode` takes longer to find that there are no spaces around.
        value, end = scan(text, 0)
        if end != len(text):
            value, end = scan(text.strip(_SPACES), 0)
            if end != len(text.strip(_SPACES)):
                raise ValueError("more follows after it")
    except StopIteration:
        if text[:1] and text[0] in _SPACES:
            return decode_json(text.lstrip(_SPACES), finite=finite)
        raise InvalidAudit("is not JSON") from None
    except (ValueError, RecursionError) as error:
        reason = _TOO_DEEP if isinstance(error, RecursionError) else f"is not JSON: {error}"
        raise InvalidAudit(reason) from None
    if text.count("{") + text.count("[") > MAX_DEPTH and is_deeper(value, MAX_DEPTH):
        raise EndlessJSON(_TOO_DEEP)
    if "\\u" in text:  # only so can it have such a character
        encode_json(value, "it")
    return value


def _finite(text: str) -> float:
    number = float(text)
    if math.isfinite(number):
        return number
    raise ValueError(f"{text[:40]} is beyond all floats")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_SPACES = " \t\n\r"
_Scan = Callable[[str, int], tuple[Any, int]]
scan_json: _Scan = vars(json.JSONDecoder(parse_constant=_no_constant))["scan_once"]
"""The value of strict JSON at a place in a text, and where it ends: `decode_json` without checks.
StopIteration, ValueError or RecursionError if there is none."""
_scan_finite: _Scan = vars(json.JSONDecoder(parse_constant=_no_constant, parse_float=_finite))[
    "scan_once"
]


def plain(value: object, name: str, depth: int = 0) -> Any:
    """A copy of `value` that has no instance of a caller's subclass of dict, list, str or number.

    They become plain ones, and tuples become lists; other values are returned as they are.
    Raises EndlessJSON, which begins with `name`, if the value is nested too deeply.
    """
    if depth > MAX_DEPTH:
        raise EndlessJSON(f"{name}: {_TOO_DEEP}")
    if issubclass(type(value), dict):
        return {
            _plain_key(key): plain(item, name, depth + 1)
            for key, item in dict.items(cast(dict[Any, Any], value))
        }
    if (items := items_of(value)) is not None:
        return [plain(item, name, depth + 1) for item in items]
    if (text := plain_text(value)) is not None:
        return text
    if (number := plain_number(value)) is not None:
        return number
    try:
        honest = value.__class__ is type(value)
    except Exception:  # a caller's class may raise anything
        honest = False
    # An object that claims another class is replaced by one that has only its class's name.
    return value if honest else type(kind_of(value), (), {})()


def _plain_key(key: object) -> object:
    if (text := plain_text(key)) is not None:
        return text
    return key if (number := plain_number(key)) is None else number


def _text_of(error: BaseException) -> str:
    """An error's text: at most 80 ASCII characters; the name of its class if it has no text."""
    try:
        return ascii(str(error))[1:-1][:80] or kind_of(error)
    except Exception:
        return kind_of(error)
