"""Addresses of sites: checked, and the host in the one form that audits are found by."""

from __future__ import annotations

import functools
import re
import socket
from contextlib import suppress
from unicodedata import normalize
from urllib.parse import unquote, urlsplit

from veritas_peewee.values.plain import check_text, invalid

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://|//")
_BARE_IPV6 = re.compile(r"[0-9A-Fa-f]*:[0-9A-Fa-f]*:[0-9A-Fa-f:.]*")
_IN_NO_NAME = re.compile(r"[\x00-\x20\x7f#%/:<>?@\[\\\]^|]")
_LONGEST = 1000
"""Characters: addresses in use are shorter, and the codec's time grows with the square."""


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
    """An internationalised name in its ASCII form; what can have none stands as it is."""
    if host.isascii() or len(host) > _LONGEST:
        return host
    import idna  # some milliseconds that few need

    with suppress(UnicodeError):
        return idna.encode(host, uts46=True).decode()
    with suppress(UnicodeError):  # of signs that are no longer allowed there are names still
        return host.encode("idna").decode()
    return host


_remembered = functools.lru_cache(1024)(_find)


def check_url(value: object) -> str:
    """`value` if it is an absolute http or https address; InvalidAudit if not."""
    text = check_text("url", value)
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise invalid("url", f"is malformed ({error})", value) from None
    if parts.scheme not in ("http", "https") or not host or re.search(r"[\s\x00-\x1f]", text):
        raise invalid("url", "must be an http:// or https:// address", value)
    return text
