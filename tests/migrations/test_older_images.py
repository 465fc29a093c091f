"""Images of the older store: hashed and typed at the upgrade, so that a change is noticed."""

from __future__ import annotations

import hashlib
import runpy
from pathlib import Path

import pytest

from tests.support.database_files import by_hand, opened, select, verified, with_texts_twice
from torture.legacy import DDL
from veritas_peewee import connect, migrations
from veritas_peewee.testing import make_png

MOMENT = "2025-03-01 10:00:00.000000"
JPEG = b"\xff\xd8\xff\xe0" + bytes(range(200))


def images(path: Path) -> Path:
    return path.parent / "screenshots"


def older(path: Path, *shots: tuple[str, bytes | None, int | None], audit: str = "old1") -> None:
    """A file of the older store with an ended audit: for each image its name, its bytes (None: it
    is gone) and the size that the row states."""
    folder = images(path) / audit
    folder.mkdir(parents=True, exist_ok=True)
    new = not path.exists()
    with opened(path) as plain:
        if new:
            plain.executescript(DDL)
        plain.execute(
            "INSERT INTO audits (id, url, status, created_at, updated_at) "
            "VALUES (?, 'https://old.example/', 'COMPLETED', ?, ?)",
            (audit, MOMENT, MOMENT),
        )
        for number, (name, data, size) in enumerate(shots):
            if data is not None:
                (folder / name).write_bytes(data)
            plain.execute(
                "INSERT INTO audit_screenshots (audit_id, file_path, label, index_num, "
                "file_size_bytes, created_at) VALUES (?, ?, 'home', ?, ?, ?)",
                (audit, f"/srv/veritas/screenshots/{audit}/{name}", number, size, MOMENT),
            )


def described(path: Path) -> list[tuple[int | None, str | None, str | None]]:
    sql = "SELECT file_size_bytes, media_type, sha256 FROM audit_screenshots ORDER BY id"
    return select(path, sql)


def as_described(data: bytes, kind: str) -> tuple[int, str, str]:
    return len(data), kind, hashlib.sha256(data).hexdigest()


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)


def test_an_image_gets_its_size_its_type_and_its_hash(path: Path) -> None:
    png = make_png(1)
    older(path, ("a.png", png, len(png)), ("b.png", JPEG, None))
    with connect(path):
        pass
    assert described(path) == [as_described(png, "image/png"), as_described(JPEG, "image/jpeg")]
    report = verified(path)
    assert (report.problems, report.notes) == ([], [])
    flip(images(path) / "old1" / "b.png")
    assert verified(path).problems == [
        "screenshot 2 of audit old1: the file old1/b.png was altered"
    ]


@pytest.mark.parametrize(
    ("shot", "noted"),
    [
        (("a.png", None, 7), "is not below the screenshot folder"),
        (("a.png", b"plain text", 10), "has no hash"),
        (("a.png", b"", None), "has no hash"),
    ],
)
def test_what_is_no_image_or_is_gone_is_left_as_it_was_and_noted(
    path: Path, shot: tuple[str, bytes | None, int | None], noted: str
) -> None:
    older(path, shot, ("b.png", JPEG, None))
    with connect(path):
        pass
    assert described(path) == [(shot[2], None, None), as_described(JPEG, "image/jpeg")]
    report = verified(path)
    assert report.problems == []
    assert [noted in note for note in report.notes] == [True]


def test_an_image_of_another_size_than_its_row_states_is_named_and_not_believed(
    path: Path,
) -> None:
    older(path, ("a.png", JPEG, len(JPEG) + 1))
    with connect(path):
        pass
    assert described(path) == [(len(JPEG) + 1, None, None)]
    assert verified(path).problems == [
        "screenshot 1 of audit old1: the file old1/a.png was altered"
    ]


# ---- files that an earlier version of this library has upgraded ----


@pytest.fixture
def upgraded_before(path: Path) -> Path:
    """Sealed audits whose images have no hash, because they were none when it was upgraded."""
    for audit in ("old1", "old2"):
        older(path, ("a.png", b"", None), ("b.png", b"", None), audit=audit)
    with connect(path):
        pass
    assert described(path) == [(None, None, None)] * 4
    made = runpy.run_path(str(migrations.DIRECTORY / "0007_evidence.py")).get("TABLES", ())
    with_texts_twice(path)
    by_hand(
        path,
        *(f"DROP TABLE {text.split()[2]}" for text in made),
        "DROP VIEW latest_audit_of_each_site",
        "DELETE FROM veritas_migrations WHERE name >= '0007_evidence'",
    )
    for audit in ("old1", "old2"):
        for name in ("a.png", "b.png"):
            (images(path) / audit / name).write_bytes(JPEG)
    return path


def test_an_audit_that_is_as_it_was_sealed_gets_its_hashes_and_another_seal(
    upgraded_before: Path,
) -> None:
    path = upgraded_before
    sealed = select(path, "SELECT id, seal FROM audits ORDER BY id")
    changes = select(path, "SELECT number FROM store_changes")[0][0]
    with connect(path):
        pass
    assert described(path) == [as_described(JPEG, "image/jpeg")] * 4
    report = verified(path)
    assert (report.problems, report.notes) == ([], [])
    after = select(path, "SELECT id, seal FROM audits ORDER BY id")
    assert [one != other for one, other in zip(sealed, after, strict=True)] == [True, True]
    assert select(path, "SELECT number FROM store_changes") == [(changes + 2,)]
    flip(images(path) / "old2" / "a.png")
    assert verified(path).problems == [
        "screenshot 3 of audit old2: the file old2/a.png was altered"
    ]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audits SET trust_score = 99 WHERE id = 'old1'",
        "UPDATE audit_screenshots SET label = 'other' WHERE id = 1",
        "UPDATE audit_screenshots SET digest = NULL WHERE id = 2",
    ],
)
def test_an_audit_that_was_altered_by_hand_is_left_and_named(
    upgraded_before: Path, statement: str
) -> None:
    path = upgraded_before
    by_hand(path, statement)
    sealed = select(path, "SELECT seal FROM audits WHERE id = 'old1'")
    with connect(path):
        pass
    assert described(path) == [(None, None, None)] * 2 + [as_described(JPEG, "image/jpeg")] * 2
    assert select(path, "SELECT seal FROM audits WHERE id = 'old1'") == sealed
    assert any("old1" in problem for problem in verified(path).problems)
