"""Who may ask an application for anything: by the host's name, the page that asks, and a token."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Collection, Iterator
from ipaddress import ip_address
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from veritas_peewee.web.problems import Problem, ShownRefusal, problem, response_of

COOKIE = "veritas_token"
"""The cookie's name; the server's port follows, for a browser shows a cookie to every port of a
host, and servers beside each other have tokens of their own."""
LOCAL = ("127.0.0.1", "localhost", "::1")
"""The names by which a machine calls itself."""
_SAFE = ("GET", "HEAD", "OPTIONS")
_NO_NAME = re.compile(r"^$|[\s\x00-\x1f:/?#@\\*,;\[\]%]")


class Guard:
    """Refuses what comes under a foreign name, from a foreign page, without the token, or to write
    where nothing may be written.

    A name of a host that others own can lead to this machine (DNS rebinding), and any page can
    send a browser here: so both are compared with the names in `hosts`; `*` allows every name.
    A POST to one of the paths in `harmless` writes nothing, and is allowed everywhere. `shown`
    makes the answers that are pages.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        hosts: Collection[str],
        token: str | None,
        writable: bool,
        harmless: Collection[str] = (),
        shown: ShownRefusal = lambda scope, problem, headers: None,
    ) -> None:
        self._app = app
        self._hosts = {host_name(name) for name in hosts if name}
        self._token = None if token is None else _digest(token)
        self._writable = writable
        self._harmless = harmless
        self._shown = shown

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        answer = self._refusal(scope, headers) or self._welcome(scope, headers)
        if answer is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await answer(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008})

    def _refusal(self, scope: Scope, headers: Headers) -> Response | None:
        host, origin = headers.get("host", ""), headers.get("origin")
        if "*" not in self._hosts and _name_in(host) not in self._hosts:
            return self._refused(
                scope, f"this server has no name {_name_in(host)!r}: see --allowed-host"
            )
        if origin is not None and _host_of(origin) != host.lower():
            return self._refused(scope, f"a page of {origin!r} may not ask this server")
        if not self._writable and scope["type"] == "http" and self._may_write(scope):
            return self._refused(scope, "this server only shows audits: see --writable")
        return None

    def _may_write(self, scope: Scope) -> bool:
        if scope["method"] == "POST":
            return scope["path"].removeprefix(scope.get("root_path", "")) not in self._harmless
        return scope["method"] not in _SAFE

    def _welcome(self, scope: Scope, headers: Headers) -> Response | None:
        """None if the token is right, or none is needed; else what is answered."""
        if (
            self._token is None
            or self._is_right(_bearer(headers))
            or any(map(self._is_right, _kept(headers)))
        ):
            return None
        query = parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
        given = next((value for name, value in query if name == "token"), None)
        if scope["type"] == "http" and scope["method"] == "GET" and self._is_right(given):
            return _kept_from_now_on(scope, headers, query, given or "")
        detail = (
            "open this page once with ?token=… in its address, or send the token as "
            "`Authorization: Bearer …`"
        )
        return self._answer(
            scope, problem(401, detail, "unauthorized"), {"WWW-Authenticate": "Bearer"}
        )

    def _refused(self, scope: Scope, detail: str) -> Response:
        return self._answer(scope, problem(403, detail, "forbidden"), {})

    def _answer(self, scope: Scope, found: Problem, headers: dict[str, str]) -> Response:
        page = self._shown(scope, found, headers) if scope["type"] == "http" else None
        return response_of(found, headers) if page is None else page

    def _is_right(self, given: str | None) -> bool:
        # Digests of the same length: how long it takes tells nothing of the token.
        return self._token is not None and hmac.compare_digest(_digest(given or ""), self._token)


def host_name(text: str) -> str:
    """The name of a host as `Guard` compares it; raises ValueError for what is none, such as an
    address, or a name with a port, under which no request would ever come."""
    name = text.strip().removeprefix("[").removesuffix("]").rstrip(".")
    if name == "*":
        return name
    try:
        return str(ip_address(name))
    except ValueError:
        pass
    try:
        found = "" if _NO_NAME.search(name) else _as_browsers_read(name)
    except ValueError:
        found = ""
    if not found:
        raise ValueError(f"{text!r} is no host's name: give it without scheme, port and path")
    return found


def _as_browsers_read(name: str) -> str:
    from ada_url import parse_url  # few hosts need it

    return name.lower() if name.isascii() else str(parse_url(f"https://{name}")["hostname"])


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="surrogateescape")).digest()


def _name_in(host: str) -> str:
    """The name in a Host header, without its port."""
    try:
        parts = urlsplit(f"//{host}")
        # A port is a number; a browser sends the dot that ends a name as it was typed.
        return (parts.hostname or "").lower().rstrip(".") if parts.port != -1 else ""
    except ValueError:
        return ""


def _host_of(origin: str) -> str | None:
    """The host, with its port, of the page that asks; None for what is no address."""
    try:
        return urlsplit(origin).netloc.lower() or None
    except ValueError:
        return None


def _cookie_for(headers: Headers) -> str:
    """The name of the cookie of a server at the port that a request was sent to."""
    port = urlsplit(f"//{headers.get('host', '')}").port  # the host was looked at before
    return COOKIE if port is None else f"{COOKIE}_{port}"


def is_from_elsewhere(headers: Headers) -> bool:
    """Whether a browser sends this for a page of another origin, as it says itself."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site.lower() not in ("same-origin", "none")
    origin = headers.get("origin")
    return origin is not None and _host_of(origin) != headers.get("host", "").lower()


def _bearer(headers: Headers) -> str | None:
    kind, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else None


def _kept(headers: Headers) -> Iterator[str]:
    """The tokens that a browser has kept; what else there is among its cookies is not ours, and
    need not have the form of a cookie."""
    wanted = _cookie_for(headers)
    for header in headers.getlist("cookie"):
        for cookie in header.split(";"):
            name, _, value = cookie.strip().partition("=")
            if name == wanted:
                yield unquote(value)


def _kept_from_now_on(
    scope: Scope, headers: Headers, query: list[tuple[str, str]], token: str
) -> Response:
    """The same page without the token, which should be in no history and no log of a proxy."""
    rest = urlencode([(name, value) for name, value in query if name != "token"])
    path = scope.get("raw_path") or scope["path"].encode()
    # One slash, and none turned round: what begins with two leads to another host.
    place = "/" + quote(path.lstrip(b"/"), safe="/%:@!$&'()*+,;=~")
    response = Response(None, 303, {"Location": place + (f"?{rest}" if rest else "")})
    secure = scope.get("scheme") == "https"
    response.set_cookie(
        _cookie_for(headers),
        quote(token, safe=""),
        httponly=True,
        samesite="strict",
        secure=secure,
        path="/",
    )
    return response
