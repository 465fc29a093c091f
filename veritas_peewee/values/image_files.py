"""What a screenshot's row states of its image's file: the path, the media type, the SHA-256."""

from __future__ import annotations

import re

from veritas_peewee.errors import InvalidAudit
from veritas_peewee.values.plain import check_text, invalid, shown

EXTENSIONS = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}
"""The media types of images that are stored, with the endings that their files get."""
_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_PARTIAL_FOLDER = re.compile(r"\..+\.[0-9a-f]{16}\.partial")


def is_partial(name: str) -> bool:
    """Whether a folder of this name is one in the making, which is removed again."""
    return bool(_PARTIAL_FOLDER.fullmatch(name))


def split_path(file: str) -> tuple[str, str]:
    """The folder and the name in a relative path; raises InvalidAudit if it could lead outside."""
    parts = check_text("screenshot path", file).split("/")
    if any(part in ("", ".", "..") or "\\" in part for part in parts):
        raise InvalidAudit(f"screenshot path {shown(file)} is not below the screenshot folder")
    return "/".join(parts[:-1]) or ".", parts[-1]


def joined(folder: str, name: str) -> str:
    """The relative path that `split_path` has split."""
    return name if folder == "." else f"{folder}/{name}"


def check_path(value: object) -> str:
    """The text of `value`, if an image's file can have this path; else raises InvalidAudit."""
    file = check_text("file_path", value)
    folder, name = split_path(file)
    if len(file) > 1000 or file.count("/") > 8 or not file.isprintable():
        raise InvalidAudit(f"screenshot path {shown(file)} is too long, or no plain text")
    if not name.lower().endswith(_SUFFIXES) or name.startswith("."):
        raise InvalidAudit(f"screenshot path {shown(file)} is not one of an image")
    if any(is_partial(part) for part in folder.split("/")):
        raise InvalidAudit(f"screenshot path {shown(file)} is in a folder that is removed again")
    return file


def check_media_type(value: object) -> str:
    """The text of `value`, if images of this media type are stored; else raises InvalidAudit."""
    text = check_text("media_type", value)
    if text not in EXTENSIONS:
        raise invalid("media_type", f"must be one of {', '.join(EXTENSIONS)}", text)
    return text


def check_sha256(value: object) -> str:
    """The text of `value`, if it is a SHA-256 in hexadecimal; else raises InvalidAudit."""
    text = check_text("sha256", value)
    if not _SHA256.fullmatch(text):
        raise invalid("sha256", "must be 64 hexadecimal digits in lower case", text)
    return text
