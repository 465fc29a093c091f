"""The host of an address, in the one form that audits are found by."""

from __future__ import annotations

import functools
import re
from contextlib import suppress
from urllib.parse import urlsplit

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://|//")
_BARE_IPV6 = re.compile(r"[0-9A-Fa-f]*:[0-9A-Fa-f]*:[0-9A-Fa-f:.]*")
_LONGEST = 1000
"""Characters: addresses in use are shorter, and the codec's time grows with the square."""


def host_of(url: str) -> str:
    """The host of a url, or of a host with or without port and path; "" if there is none.

    It is in lower case, without a leading `www.` and a trailing dot, and an internationalised
    name is in its ASCII form (`xn--…`), so that whatever was typed is found.
    """
    # What is longer than any address in use is not kept in memory.
    return _remembered(url) if len(url) <= _LONGEST else _find(url)


def _find(url: str) -> str:
    text = url.strip()
    if _BARE_IPV6.fullmatch(text):
        text = f"[{text}]"
    try:
        host = urlsplit(text if _SCHEME.match(text) else f"//{text}").hostname or ""
    except ValueError:  # a bracket that is not closed, or a name with a slash in disguise
        return ""
    if not host.isascii() and len(host) <= _LONGEST:
        with suppress(UnicodeError):  # with an empty or too long part it stands as it is
            host = host.encode("idna").decode()
    host = host.rstrip(".").lower()
    bare = host.removeprefix("www.")
    return bare if "." in bare else host  # `www.com` is a name of its own


_remembered = functools.lru_cache(1024)(_find)
