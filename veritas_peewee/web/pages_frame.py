"""What all pages have in common: the templates, the links, the policy, and errors as pages.

Every value that a template writes is escaped, and control characters are taken out of it; only the
HTML that `presentation` makes is taken as it is.
"""

from __future__ import annotations

import functools
import hashlib
import http
import logging
from collections.abc import Callable, Iterable, Mapping
from importlib import resources
from typing import Any, cast
from urllib.parse import quote, urlencode

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Scope

from veritas_peewee.errors import StoreError
from veritas_peewee.presentation import page, parts
from veritas_peewee.queries.filters import Filters
from veritas_peewee.web.answers import path_of
from veritas_peewee.web.headers import SECURITY
from veritas_peewee.web.problems import RETRY_AFTER, Problem, ShownRefusal, faults_of, problem_of
from veritas_peewee.web.routes import Handler, Route

POLICY = (
    "default-src 'none'; img-src 'self' data:; style-src 'self'; script-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {**SECURITY, "Content-Security-Policy": POLICY}
"""The headers of every page, and of what pages load."""
# Under `no-referrer` a browser sends a form as from nowhere: `Origin: null`.
WITH_FORM = {"Referrer-Policy": "same-origin"}
"""The further headers of a page with a form that is sent by POST."""
_TYPES = {"pages.css": "text/css; charset=utf-8", "pages.js": "text/javascript; charset=utf-8"}
_logger = logging.getLogger("veritas_peewee")

static = APIRouter(route_class=Route, include_in_schema=False)


# ---- the templates ----


@functools.cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("veritas_peewee.web"),
        autoescape=True,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        finalize=_shown,
    )
    environment.globals.update(
        {name: _marked(getattr(parts, name)) for name in _PARTS},
        day=_day,
        static={name: _version(name) for name in _TYPES},
    )
    environment.filters.update(
        words=_marked(page.words),
        laid_out=_marked(page.laid_out),
        flowing=_marked(page.flowing),
        cut=_cut,
        number=_number,
    )
    return environment


_PARTS = ("band_of", "band_word", "chips_html", "duration", "score_text", "when")


def _shown(value: object) -> object:
    if isinstance(value, Markup):
        return value
    return "" if value is None else page.clean(str(value))


def _marked(make: Callable[..., str]) -> Callable[..., Markup]:
    """A function of `presentation`, whose HTML is taken as it is."""

    @functools.wraps(make)
    def marked(*args: Any, **options: Any) -> Markup:
        return Markup(make(*args, **options))

    return marked


def _cut(value: object, most: int = 120) -> str:
    """A text with at most so many characters: a list has many of them."""
    text = page.clean(str(value))
    return text if len(text) <= most else f"{text[:most]}…"


def _day(value: object) -> Markup:
    return Markup(parts.when(value)[:10])


def _number(value: int) -> str:
    return f"{value:,}"


def html_of(template: str, frame: Frame, **values: Any) -> str:
    """A template as text."""
    return _environment().get_template(template).render(frame=frame, **values)


# ---- links, and what was asked for ----


class Frame:
    """Where a page is: the addresses of the other pages and of the API, as the browser knows them,
    and the parameters that the page was asked for."""

    def __init__(self, request: Request, api_prefix: str) -> None:
        self.root = path_of(request, "pages.list").rstrip("/")
        self.api = f"{request.scope.get('root_path', '')}{api_prefix}"
        can_start = getattr(request.scope.get("route"), "can_start", False)
        self.new = f"{self.root}/new" if can_start else None
        self.vkey: str | None = getattr(request.scope.get("route"), "vkey", None)
        self.asked = {
            name: text
            for name in (*Filters.__annotations__, *_MORE)
            if (text := request.query_params.get(name))
        }

    def audit(self, audit_id: object, **query: object) -> str:
        """The address of an audit's page."""
        return f"{self.root}/audits/{quote(str(audit_id), safe='')}{_query(query)}"

    def site(self, host: object, **query: object) -> str:
        """The address of a site's page."""
        return f"{self.root}/sites/{quote(str(host), safe='')}{_query(query)}"

    def compare(self, ids: Iterable[object]) -> str:
        """The address at which audits are compared."""
        return f"{self.root}/compare?{urlencode([('ids', one) for one in ids], errors='replace')}"

    def image(self, audit_id: object, number: object) -> str:
        """The address of a screenshot's image."""
        return f"{self.api}/audits/{quote(str(audit_id), safe='')}/screenshots/{number}"

    def list(self, path: str = "/", /, **changes: object) -> str:
        """The list, or another page with its filters, with some parameters changed (None: left
        out); a page of it begins anew unless `cursor` is given."""
        return f"{self.root}{path}{_query({**self.asked, **changes})}"

    @property
    def filters(self) -> dict[str, str]:
        """The filters that were asked for, by name."""
        return {name: text for name, text in self.asked.items() if name not in _MORE}


_MORE = ("q", "order", "limit")


def _query(values: Mapping[str, object]) -> str:
    given = {name: value for name, value in values.items() if value is not None}
    return f"?{urlencode(given, errors='replace')}" if given else ""


# ---- answers ----


def answer(text: str, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A page."""
    return Response(
        text.encode(errors="replace"),
        status,
        {**HEADERS, "Cache-Control": "private, no-cache", **(headers or {})},
        media_type="text/html; charset=utf-8",
    )


class PageRoute(Route):
    """A route whose errors are pages too."""

    api_prefix = ""
    can_start = False
    """Whether there is an engine, and so a page that starts an audit."""
    vkey: str | None = None
    """The public key whose private one signs what the pages offer; None if there is none."""

    def answering(self, handle: Handler) -> Handler:
        async def shown(request: Request) -> Response:
            try:
                return await handle(request)
            except RequestValidationError as error:
                return _problem(request, self.api_prefix, 422, faults_of(error))
            except StoreError as error:
                problem = problem_of(error)
                if problem.status == 500:
                    _logger.error("a page could not be made", exc_info=error)
                return _problem(request, self.api_prefix, problem.status, problem.detail)
            except HTTPException as error:
                if error.status_code < 400:
                    raise
                return _problem(
                    request, self.api_prefix, error.status_code, error.detail, error.headers
                )

        return shown


def show_missing_pages(app: FastAPI, api_prefix: str) -> None:
    """Have a browser that asks an application of ours for a page that is not there shown one, with
    the way to the list; programs, and who asks below the API, are answered as before."""
    answer_others: Any = app.exception_handlers[HTTPException]

    async def shown(request: Request, error: HTTPException) -> Response:
        if error.status_code == 404 and _is_for_page(request, api_prefix):
            return _problem(request, api_prefix, 404, "there is no page at this address")
        found: Response = await answer_others(request, error)
        return found

    app.add_exception_handler(HTTPException, cast(Any, shown))


def refusal_as_page(app: FastAPI, api_prefix: str) -> ShownRefusal:
    """What makes a page of a refusal for a browser that asks an application of ours for a page, and
    None for programs and for who asks below the API."""

    def shown(scope: Scope, problem: Problem, headers: Mapping[str, str]) -> Response | None:
        request = Request({"router": app.router, **scope})  # no router has seen it yet
        if not _is_for_page(request, api_prefix):
            return None
        return _problem(request, api_prefix, problem.status, problem.detail, headers)

    return shown


def _is_for_page(request: Request, api_prefix: str) -> bool:
    path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
    is_below_api = f"{path}/".startswith(f"{api_prefix}/")
    return not is_below_api and "text/html" in request.headers.get("accept", "")


def _problem(
    request: Request,
    api_prefix: str,
    status: int,
    detail: str,
    headers: Mapping[str, str] | None = None,
) -> Response:
    title = http.HTTPStatus(status).phrase
    text = html_of("problem.html", Frame(request, api_prefix), title=title, detail=detail)
    again = {"Retry-After": str(RETRY_AFTER)} if status == 503 else {}
    return answer(text, status, {**again, **(headers or {})})


# ---- what pages load ----


@functools.cache
def _content(name: str) -> bytes:
    own = resources.files("veritas_peewee.web").joinpath("static", name).read_bytes()
    return page.STYLE.encode() + own if name == "pages.css" else own


@functools.cache
def _version(name: str) -> str:
    return hashlib.sha256(_content(name)).hexdigest()[:16]


@static.get("/static/{name}", name="pages.static")
async def static_file(name: str, request: Request, v: str = "") -> Response:
    """A style sheet or script of ours; one with its version in the address never changes."""
    if name not in _TYPES:
        raise HTTPException(404, "there is no such file")
    tag = f'"{_version(name)}"'
    kept = "public, max-age=31536000, immutable" if v == _version(name) else "no-cache"
    headers = {**HEADERS, "ETag": tag, "Cache-Control": kept}
    known = {
        one.strip().removeprefix("W/")
        for one in request.headers.get("if-none-match", "").split(",")
    }
    if tag in known:
        return Response(None, 304, headers)
    return Response(_content(name), 200, headers, _TYPES[name])
