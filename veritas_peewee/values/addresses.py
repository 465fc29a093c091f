"""Addresses of sites: a check, and the host in the one form by which audits are found."""

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
"""The most characters of an address that is cached, and of a name that is converted: those in use
are shorter, and the conversion takes time with the square of the length."""


def host_of(url: str) -> str:
    """The host of a url, or of a host with or without port and path; "" if there is none.

    The host is in lower case, without a leading `www.` and without a trailing dot. An
    internationalised name is in its ASCII form (`xn--…`, by UTS 46) and an IPv6 address in its
    short form. So an audit is found by whatever form a user types, and two spellings that lead a
    browser to the same host give the same text here.
    """
    # A text longer than any address in use would only take up room in the cache.
    return _remembered(url) if len(url) <= _LONGEST else _find(url)


def _find(url: str) -> str:
    # Browsers read a backslash as a slash (WHATWG URL Standard): `https://a.example\@b.example/`
    # leads to a.example.
    text = url.strip().replace("\\", "/")
    if _BARE_IPV6.fullmatch(text):
        text = f"[{text}]"
    try:
        host = urlsplit(text if _SCHEME.match(text) else f"//{text}").hostname or ""
    except ValueError:  # a bracket that is not closed, or a name with a slash in disguise
        return ""
    if ":" in host:
        with suppress(OSError):  # an address with a zone (`%eth0`) is left as it is
            host = socket.inet_ntop(socket.AF_INET6, socket.inet_pton(socket.AF_INET6, host))
        return host
    host = _ascii(_decoded(host)).rstrip(".").lower()
    bare = host.removeprefix("www.")
    return bare if "." in bare else host  # in `www.com` the `www` is the name itself


def _decoded(host: str) -> str:
    """A host with its percent-encoding decoded; unchanged if the result could not be a host."""
    with suppress(UnicodeError):
        decoded = unquote(host, errors="strict") if "%" in host else host
        if not _IN_NO_NAME.search(normalize("NFKC", decoded)):
            return decoded
    return host


def _ascii(host: str) -> str:
    """An internationalised name in its ASCII form; unchanged if it has no such form."""
    if host.isascii() or len(host) > _LONGEST:
        return host
    import idna  # its import takes milliseconds, and few hosts need it

    with suppress(UnicodeError):
        return idna.encode(host, uts46=True).decode()
    with suppress(UnicodeError):  # some names in use have characters that only IDNA 2003 allowed
        return host.encode("idna").decode()
    return host


_remembered = functools.lru_cache(1024)(_find)


def check_url(value: object) -> str:
    """The text of `value`, if it is an absolute http or https address; else raises InvalidAudit."""
    text = check_text("url", value)
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise invalid("url", f"is malformed ({error})", value) from None
    if parts.scheme not in ("http", "https") or not host or re.search(r"[\s\x00-\x1f]", text):
        raise invalid("url", "must be an http:// or https:// address", value)
    return text
