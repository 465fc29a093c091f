"""Changes of the files that screenshots name."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from torture.alterations.change import Change, Connection
from torture.programs.record import png

WHAT = "images"
Touch = Callable[[Path, Path], object]
"""Changes a file; the other path is of another image of the store."""


def changes(connection: Connection, folder: Path, most: int) -> Iterator[Change]:
    """Each change of some images below a folder, and of the folders that they are in."""
    rows = connection.execute(
        "SELECT s.file_path, s.audit_id, COALESCE(a.status, ''), s.sha256 IS NULL "
        "FROM audit_screenshots AS s LEFT JOIN audits AS a ON a.id = s.audit_id "
        "GROUP BY s.audit_id ORDER BY s.id"
    ).fetchall()
    rows = [row for row in rows if (folder / row[0]).is_file()]
    if not rows:
        return
    for number, (file, audit, status, unhashed) in enumerate(rows[:most]):
        other = rows[number - 1][0]
        where = f"{status}, without a hash" if unhashed else status
        for how, touch in _TOUCHES.items():
            touched = frozenset((audit,))
            yield Change(WHAT, how, where, _act(touch, file, other), touched)
    everyone = frozenset(row[1] for row in rows)
    yield Change(WHAT, "all removed", "", lambda _, folder: shutil.rmtree(folder), everyone)
    yield Change(WHAT, "their folder is a link", "", lambda _, folder: _linked(folder), everyone)
    yield Change(WHAT, "one that no row names", "", _stray)


def _act(touch: Touch, file: str, other: str) -> Any:
    def act(_: Connection, folder: Path) -> None:
        touch(folder / file, folder / other)

    return act


def _stray(connection: Connection, folder: Path) -> None:
    (audit,) = connection.execute("SELECT audit_id FROM audit_screenshots").fetchone()
    path = folder / audit / "stray.png"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(png(605))
    os.utime(path, (0, 0))


def _locked(path: Path) -> None:
    path.chmod(0)
    if os.access(path, os.R_OK):
        raise FileNotFoundError  # for root all can be read


def _linked(folder: Path) -> None:
    folder.rename(folder.with_name("elsewhere"))
    folder.symlink_to(folder.with_name("elsewhere"))


def _flipped(path: Path, _: Path) -> None:
    image = bytearray(path.read_bytes())
    image[len(image) // 2] ^= 1
    path.write_bytes(image)


def _exchanged(path: Path, other: Path) -> None:
    if path == other:
        raise FileNotFoundError
    aside = path.with_name("aside")
    path.rename(aside)
    other.rename(path)
    aside.rename(other)


def _special(make: Callable[[Path, bytes], object]) -> Touch:
    def touch(path: Path, _: Path) -> None:
        image = path.read_bytes()
        path.unlink()
        make(path, image)

    return touch


def _link(path: Path, image: bytes) -> None:
    aside = path.with_name("aside.png")
    aside.write_bytes(image)
    path.symlink_to(aside.name)


_TOUCHES: dict[str, Touch] = {
    "removed": lambda path, _: path.unlink(),
    "another image": lambda path, _: path.write_bytes(png(505)),
    "another store's image": lambda path, other: path.write_bytes(other.read_bytes()),
    "truncated": lambda path, _: os.truncate(path, path.stat().st_size // 2),
    "emptied": lambda path, _: os.truncate(path, 0),
    "one byte more": lambda path, _: path.write_bytes(path.read_bytes() + b"\0"),
    "one bit flipped": _flipped,
    "renamed": lambda path, _: path.rename(path.with_name(f"{path.name}x")),
    "exchanged": _exchanged,
    "a folder": _special(lambda path, _: path.mkdir()),
    "a link to the same image": _special(_link),
    "a link to nowhere": _special(lambda path, _: path.symlink_to("nowhere")),
    "a pipe": _special(lambda path, _: os.mkfifo(path)),
    "its folder removed": lambda path, _: shutil.rmtree(path.parent),
    "its folder is a link": lambda path, _: _linked(path.parent),
    "not to be read": lambda path, _: _locked(path),
}
