"""The images of screenshots, as they were stored: nothing in them runs, and none is another one."""

from __future__ import annotations

import hashlib
import re

from fastapi import APIRouter, Request
from starlette.responses import Response

from veritas_peewee.errors import StoreError
from veritas_peewee.files.images import media_type
from veritas_peewee.models import AuditScreenshot
from veritas_peewee.queries.lookups import screenshot_row
from veritas_peewee.web.parameters import AuditId, Store
from veritas_peewee.web.problems import problem, response_of, told
from veritas_peewee.web.routes import Route

POLICY = "default-src 'none'; sandbox"
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)

router = APIRouter(route_class=Route)


@router.get(
    "/audits/{audit_id}/screenshots/{screenshot_id}",
    name="screenshot",
    response_class=Response,
    responses={
        **told(404, 416),
        200: {"content": {"image/png": {}, "image/jpeg": {}, "image/webp": {}}},
        206: {"description": "The part that the request's `Range` names."},
        304: {"description": "The viewer has it."},
    },
)
async def screenshot(
    audit_id: AuditId, screenshot_id: int, request: Request, store: Store
) -> Response:
    """A screenshot's image; its `ETag` is its SHA-256, and it never changes."""
    row = await store.read(screenshot_row, audit_id, screenshot_id)
    image = await store.screenshot(row.file_path)
    digest = hashlib.sha256(image).hexdigest()
    kind = _kind(row, image, digest)
    headers = {
        "ETag": f'"{digest}"',
        "Cache-Control": "private, max-age=31536000, immutable",
        "Accept-Ranges": "bytes",
        "Content-Security-Policy": POLICY,
        "Content-Disposition": "inline",
    }
    if _has(request.headers.get("if-none-match", ""), digest):
        return Response(None, 304, headers)
    part = _RANGE.fullmatch(request.headers.get("range", ""))
    if (
        part is None
        or part[1] == part[2] == ""
        or request.headers.get("if-range", f'"{digest}"') != f'"{digest}"'
    ):
        return Response(image, 200, headers, kind)
    return _part(image, part[1], part[2], headers, kind)


def _kind(row: AuditScreenshot, image: bytes, digest: str) -> str:
    """The media type; raises StoreError for an image that is not the one that was stored."""
    found = media_type(image)
    if found is None or row.sha256 not in (None, digest) or row.media_type not in (None, found):
        raise StoreError(f"screenshot {row.id} is not the image that was stored")
    return found


def _has(header: str, digest: str) -> bool:
    names = {name.strip().removeprefix("W/") for name in header.split(",")}
    return not names.isdisjoint(("*", f'"{digest}"'))


def _part(image: bytes, first: str, last: str, headers: dict[str, str], kind: str) -> Response:
    size = len(image)
    start = int(first) if first else max(0, size - int(last))
    end = min(int(last), size - 1) if first and last else size - 1
    if start > end:
        told = problem(416, f"range: the image has {size} bytes", "range-not-satisfiable")
        return response_of(told, {"Accept-Ranges": "bytes", "Content-Range": f"bytes */{size}"})
    headers["Content-Range"] = f"bytes {start}-{end}/{size}"
    return Response(image[start : end + 1], 206, headers, kind)
