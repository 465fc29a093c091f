"""Addresses of sites: a check, and the host in the one form by which audits are found.

A host is read as a browser reads it (WHATWG URL Standard), by ada-url, the parser of Node.js.
"""

from __future__ import annotations

import functools
import re
from urllib.parse import urlsplit

from veritas_peewee.values.plain import check_text, invalid

_SCHEME = re.compile(r"(?:([a-z][a-z0-9+.-]*):)?[/\\]{2}|(https?):", re.ASCII | re.IGNORECASE)
_LIKE_HTTPS = ("http", "https", "ws", "wss", "ftp")
"""The schemes whose hosts are read as that of an https address."""
_BARE_IPV6 = re.compile(r"[0-9A-Fa-f]*:[0-9A-Fa-f]*:[0-9A-Fa-f:.]*")
_PLAIN = re.compile(
    r"(?:https?://)?((?:[a-z0-9_.-]*\.)?[a-z][a-z0-9_-]*)(?::[0-9]{1,4})?(?:[/?#]|$)",
    re.ASCII | re.IGNORECASE,
)
"""An address whose host is written as every parser reads it: ASCII, and no number. Most are such,
and they do not wait for the parser to be loaded."""
_LONGEST = 1000
"""The most characters of an address that is cached: those in use are shorter."""


def host_of(url: str) -> str:
    """The host of a url, or of a host with or without port and path; "" if there is none.

    It is the host to which a browser goes, without a leading `www.`, a trailing dot, and the
    brackets of an IPv6 address: internationalised names are in their ASCII form (`xn--…`), numbers
    that mean an IPv4 address are that address (`2130706433` is `127.0.0.1`). So an audit is found
    by whatever form a user types. A host to which no browser goes is given in lower case.
    """
    return _remembered(url) if len(url) <= _LONGEST else _find(url)


def _find(url: str) -> str:
    text = url.strip()
    found = _PLAIN.match(text)
    host = found[1].lower() if found else ""
    if not host or "xn--" in host:
        host = _parsed(text)
    if host.startswith("["):
        return host[1:-1]
    host = host.rstrip(".")
    bare = host.removeprefix("www.")
    return bare if "." in bare else host  # in `www.com` the `www` is the name itself


def _parsed(text: str) -> str:
    """The host as a browser reads it, or else as it is written."""
    from ada_url import parse_url  # its import takes milliseconds, and few hosts need it

    if _BARE_IPV6.fullmatch(text):
        text = f"[{text}]"
    scheme = _SCHEME.match(text)
    rest = text[scheme.end() :] if scheme else text
    if scheme and (scheme[1] or "https").lower() not in _LIKE_HTTPS and rest[:1] in ("", "/"):
        return ""  # as in `file:///path`
    try:
        return str(parse_url(f"https://{rest}", ("hostname",))["hostname"])
    except ValueError:
        return _as_written(rest)


def _as_written(rest: str) -> str:
    """The host of what follows a scheme, in lower case; "" if a bracket is not closed, or the name
    has a slash in disguise."""
    try:
        return (urlsplit(f"//{rest}").hostname or "").lower()  # of a zone too
    except ValueError:
        return ""


_remembered = functools.lru_cache(1024)(_find)


_PLAIN_ADDRESS = re.compile(r"https?://[a-z0-9-]+(?:\.[a-z0-9-]+)*(?:/[!-~]*)?")
"""Most addresses: those that need not be taken apart to be known as one."""


def check_url(value: object) -> str:
    """The text of `value`, if it is an absolute http or https address; else raises InvalidAudit."""
    text = check_text("url", value)
    if _PLAIN_ADDRESS.fullmatch(text):
        return text
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise invalid("url", f"is malformed ({error})", value) from None
    if parts.scheme not in ("http", "https") or not host or re.search(r"[\s\x00-\x1f]", text):
        raise invalid("url", "must be an http:// or https:// address", value)
    return text
