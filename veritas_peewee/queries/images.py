"""Where the images of a store are: in its screenshot folder, or in a table of its server's.

A folder is outside of every transaction, so an image is there before the row that names it, and
goes after it. A table is inside: image and row come in one transaction, and a trigger removes with
the last row that names an image the image too.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, ClassVar, Protocol

from veritas_peewee.config import Location
from veritas_peewee.database.current import current_database, screenshot_folder
from veritas_peewee.database.expressions import json_values
from veritas_peewee.database.statements import execute
from veritas_peewee.errors import InvalidAudit, ScreenshotNotFound
from veritas_peewee.files.images import ScreenshotFolder, StoredImage, new_image
from veritas_peewee.values.image_files import split_path
from veritas_peewee.values.plain import shown

Named = tuple[str, bytes]
"""An image with the path that a row names it by."""

_READ = "SELECT data FROM store_images WHERE file_path = ?"
_ADD = "INSERT INTO store_images (file_path, data) VALUES (?, ?)"
_IS = "SELECT data = ? FROM store_images WHERE file_path = ?"


class Images(Protocol):
    """The images of a store, by the paths that rows have for them."""

    with_rows: ClassVar[bool]
    """Whether an image is stored in the transaction of the row that names it, by `insert`; else it
    is stored before, by `put`."""

    def put(self, audit_id: str, index: int, label: str, data: bytes) -> StoredImage:
        """Give an image a path of its own, and store it unless `with_rows`.

        Raises InvalidAudit if `data` is not an image or the id is not suitable, StoreError if it
        cannot be stored. Needs no database.
        """

    def read(self, file: str) -> bytes:
        """The bytes of a stored image; raises ScreenshotNotFound, StoreError if it cannot be read,
        InvalidAudit for a path that no image can have."""

    def remove(self, files: Iterable[str]) -> list[str]:
        """Remove images that no transaction has taken over; returns those that are gone."""


class ImageTable:
    """The images in a table of the current database."""

    with_rows: ClassVar[bool] = True

    def put(self, audit_id: str, index: int, label: str, data: bytes) -> StoredImage:
        return new_image(audit_id, index, label, data)

    def read(self, file: str) -> bytes:
        split_path(file)
        rows = execute(_READ, (file,))
        if not rows:
            raise ScreenshotNotFound(f"screenshot {shown(file)} is not in the database")
        data: bytes = rows[0][0]
        return data

    def remove(self, files: Iterable[str]) -> list[str]:
        return []  # of such an image nothing is stored


_TABLE = ImageTable()


def images_of(location: Location) -> Images:
    """Where the images of a database at this location are."""
    if location.screenshots is None and location.server is not None:
        return _TABLE
    assert location.screenshots is not None
    return ScreenshotFolder(location.screenshots)


def current_images() -> Images:
    """Where the images of the current database are; StoreError if it has no place for them."""
    location = current_database().location
    if location.screenshots is None and location.server is not None:
        return _TABLE
    return screenshot_folder()


def images_if_any() -> Images | None:
    """Where the images of the current database are; None if it has no place for them."""
    location = current_database().location
    return current_images() if location.screenshots or location.server else None


def insert(images: Iterable[Named]) -> None:
    """Store images in the table, in the transaction of the rows that name them."""
    database = current_database()
    for file, data in images:  # one by one, for each can be large; in a pipeline none is waited for
        database.execute_sql(_ADD, (file, data))


def take_over(images: Iterable[Named]) -> None:
    """As `insert`, for images of another store: one that is there already stays.

    Raises InvalidAudit if another image has the path of one of them.
    """
    arriving: dict[str, bytes] = {}
    for file, data in images:
        if arriving.setdefault(file, data) != data:
            raise InvalidAudit(f"screenshot {file!r}: two images have that name")
    if not arriving:
        return
    sql = f"SELECT file_path FROM store_images WHERE file_path IN ({json_values()})"
    for (file,) in execute(sql, (json.dumps(list(arriving)),)):
        rows: list[tuple[Any, ...]] = execute(_IS, (arriving.pop(file), file))
        if rows != [(True,)]:
            raise InvalidAudit(f"screenshot {file!r}: another image has that name here")
    insert(arriving.items())
