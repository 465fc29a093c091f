"""The images of the current database, wherever they are."""

from __future__ import annotations

from veritas_peewee.database.current import current_database
from veritas_peewee.database.statements import execute


def stored_images() -> set[str]:
    """Their names: of the files in the folder, or on a server of the rows that hold them."""
    folder = current_database().location.screenshots
    if folder is None:
        return {file for (file,) in execute("SELECT file_path FROM store_images", ())}
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*.*")}
