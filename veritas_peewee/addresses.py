"""The host of an address, in the one form that audits are found by."""

from __future__ import annotations

import functools
import re
import socket
from contextlib import suppress
from unicodedata import normalize
from urllib.parse import unquote, urlsplit

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://|//")
_BARE_IPV6 = re.compile(r"[0-9A-Fa-f]*:[0-9A-Fa-f]*:[0-9A-Fa-f:.]*")
_IN_NO_NAME = re.compile(r"[\x00-\x20\x7f#%/:<>?@\[\\\]^|]")
_DOTS = ".\u3002\uff0e\uff61"
_LONGEST = 1000
"""Characters: addresses in use are shorter, and the codec's time grows with the square."""
_LONGEST_PART = 63
_LEFT_OUT = dict.fromkeys(
    (0xAD, 0x34F, 0x200B, 0x2060, 0xFEFF, *range(0x180B, 0x180E), *range(0xFE00, 0xFE10))
)
"""Letters that cannot be seen and do not count in a name."""


def host_of(url: str) -> str:
    """The host of a url, or of a host with or without port and path; "" if there is none.

    It is in lower case, without a leading `www.` and a trailing dot, an internationalised name is
    in its ASCII form (`xn--…`) and an IPv6 address in its short form, so that whatever was typed
    is found. What stands for the same host in a browser does so here.
    """
    # What is longer than any address in use is not kept in memory.
    return _remembered(url) if len(url) <= _LONGEST else _find(url)


def _find(url: str) -> str:
    # Browsers take a backslash for a slash: `https://a.example\@b.example/` leads to a.example.
    text = url.strip().replace("\\", "/")
    if _BARE_IPV6.fullmatch(text):
        text = f"[{text}]"
    try:
        host = urlsplit(text if _SCHEME.match(text) else f"//{text}").hostname or ""
    except ValueError:  # a bracket that is not closed, or a name with a slash in disguise
        return ""
    if ":" in host:
        with suppress(OSError):  # with a zone it stands as it is
            host = socket.inet_ntop(socket.AF_INET6, socket.inet_pton(socket.AF_INET6, host))
        return host
    host = _ascii(_decoded(host)).rstrip(".").lower()
    bare = host.removeprefix("www.")
    return bare if "." in bare else host  # `www.com` is a name of its own


def _decoded(host: str) -> str:
    """A host without percent signs, unless it would be none then."""
    with suppress(UnicodeError):
        decoded = unquote(host, errors="strict") if "%" in host else host
        if not _IN_NO_NAME.search(normalize("NFKC", decoded)):
            return decoded
    return host


def _ascii(host: str) -> str:
    """An internationalised name in its ASCII form; with an empty or too long part as it is."""
    if host.isascii() or len(host) > _LONGEST:
        return host
    parts = re.split(f"[{_DOTS}]", host.rstrip(_DOTS))
    with suppress(UnicodeError):
        coded = [_coded(part) for part in parts]
        if all(0 < len(part) <= _LONGEST_PART for part in coded):
            return ".".join(coded)
    return host


def _coded(part: str) -> str:
    # As browsers do (UTS 46), not as Python's own codec of 2003, for which `straße` is `strasse`,
    # which is another site, and which refuses a Hebrew name that ends in a digit.
    kept = part.translate(_LEFT_OUT).replace("\u1e9e", "ß")
    kept = "".join(letter if letter in "ßς" else letter.casefold() for letter in kept)
    kept = normalize("NFKC", kept)
    if kept.isascii() or len(kept) > _LONGEST_PART:
        return kept
    return f"xn--{kept.encode('punycode').decode()}"


_remembered = functools.lru_cache(1024)(_find)
