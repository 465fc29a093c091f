"""Files and folders that get their names once they are whole and on disk."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from veritas_peewee.files import durable, platform
from veritas_peewee.files.durable import (
    appearing,
    appearing_folder,
    appearing_stream,
    leftovers,
    partial_folder,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def steps(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is synced and renamed, in order."""
    done: list[str] = []
    fsync, rename = os.fsync, os.rename

    def watched_fsync(handle: int) -> None:
        fsync(handle)
        paths = (folder, *folder.rglob("*"))
        (found,) = (one for one in paths if os.path.samestat(one.stat(), os.fstat(handle)))
        done.append(f"sync {found.name}")

    def watched_rename(name: Path, new_name: Path) -> None:
        rename(name, new_name)
        done.append(f"rename {Path(name).name}")

    monkeypatch.setattr(durable.os, "fsync", watched_fsync)
    monkeypatch.setattr(durable.os, "rename", watched_rename)
    return done


def only(folder: Path) -> Path:
    (found,) = folder.iterdir()
    return found


def test_a_file_is_on_disk_before_it_has_its_name(folder, steps):
    with appearing(folder / "a", folder / ".a.partial"):
        (folder / ".a.partial").write_bytes(b"x")
        assert not (folder / "a").exists()
    assert steps == ["sync .a.partial", "rename .a.partial", f"sync {folder.name}"]
    assert only(folder).read_bytes() == b"x"
    assert only(folder).stat().st_mode & 0o777 == 0o600


def test_a_stream_is_on_disk_before_it_has_its_name(folder, steps):
    with appearing_stream(folder / "a") as file:
        file.write(b"x")
        partial = only(folder).name
    assert steps == [f"sync {partial}", f"rename {partial}", f"sync {folder.name}"]
    assert only(folder).read_bytes() == b"x"
    assert only(folder).stat().st_mode & 0o777 == 0o600


def test_a_folder_is_on_disk_with_all_that_is_in_it_before_it_has_its_name(folder, steps):
    with appearing_folder(folder / "a") as made:
        durable.write_private(made / "below" / "file", b"x")
    partial = made.name
    assert steps == ["sync file", "sync below", f"sync {partial}", f"rename {partial}",
                     f"sync {folder.name}"]  # fmt: skip
    assert [path.stat().st_mode & 0o777 for path in sorted(folder.rglob("*"))] == [
        0o700, 0o700, 0o600,
    ]  # fmt: skip


def test_no_file_is_replaced_that_came_meanwhile(folder):
    with pytest.raises(FileExistsError), appearing_stream(folder / "a") as file:
        file.write(b"new")
        (folder / "a").write_bytes(b"old")
    with pytest.raises(FileExistsError), appearing(folder / "a", folder / ".a.partial"):
        pass
    assert only(folder).read_bytes() == b"old"


def test_no_folder_is_replaced_that_came_meanwhile(folder):
    with pytest.raises(OSError, match=r"not empty|exists"), appearing_folder(folder / "a"):
        durable.write_private(folder / "a" / "file", b"old")
    assert only(folder).name == "a"
    assert only(only(folder)).read_bytes() == b"old"


def test_of_a_failure_nothing_is_left(folder):
    for make in (appearing_stream, appearing_folder, partial_folder):
        with pytest.raises(KeyboardInterrupt), make(folder / "a"):
            raise KeyboardInterrupt
        assert list(folder.iterdir()) == []


def test_without_locks_on_folders_nothing_is_taken_for_dead(folder, monkeypatch):
    def no_lock(handle: int, how: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    posix = pytest.importorskip("veritas_peewee.files.posix", reason="flock is not Windows's")
    monkeypatch.setattr(posix.fcntl, "flock", no_lock)
    dead = folder / ".x.0123456789abcdef.partial"
    dead.mkdir()
    assert leftovers(folder) == []
    with appearing_folder(folder / "a") as made:
        (made / "file").write_bytes(b"x")
    assert (folder / "a" / "file").read_bytes() == b"x"
    assert dead.exists()


def test_what_the_dead_left_is_removed_and_what_lives_is_not(folder):
    dead = folder / ".x.0123456789abcdef.partial"
    dead.mkdir()
    assert leftovers(folder) == [dead]
    with partial_folder(folder / "a") as living:
        assert not dead.exists()
        assert leftovers(folder) == []
        with partial_folder(folder / "b"):
            assert living.exists()


def test_a_file_that_the_dead_left_is_removed_by_the_next_of_its_name(folder):
    for name in (".a.01234567.partial", ".b.01234567.partial", ".a.0123.partial", ".a.partial"):
        (folder / name).touch()
    with appearing_stream(folder / "a"), appearing_stream(folder / "a.b"):
        pass
    found = sorted(entry.name for entry in folder.iterdir())
    assert found == [".a.0123.partial", ".a.partial", ".b.01234567.partial", "a", "a.b"]


def test_a_file_that_the_dead_left_is_removed_by_the_next_in_its_folder(folder):
    foreign = ".d.01234567.partial", ".b.0123456.veritas.partial", "b.01234567.veritas.partial"
    for name in (".b.01234567.veritas.partial", ".c.x.89abcdef.veritas.partial", *foreign):
        (folder / name).touch()
    with appearing_stream(folder / "a") as living:
        with appearing_stream(folder / "b"):
            pass
        living.write(b"whole")
    assert {entry.name for entry in folder.iterdir()} == {"a", "b", *foreign}
    assert (folder / "a").read_bytes() == b"whole"


def test_a_file_can_take_the_place_of_another_when_it_is_whole(folder):
    (folder / "a").write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), appearing_stream(folder / "a", replace=True) as file:
        file.write(b"half")
        raise KeyboardInterrupt
    assert only(folder).read_bytes() == b"old"
    with appearing_stream(folder / "a", replace=True) as file:
        file.write(b"new")
    assert only(folder).read_bytes() == b"new"


def test_a_file_that_took_the_place_of_another_stays_if_its_name_cannot_be_brought_to_disk(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one is gone by then: to take the new one back would leave none."""
    (folder / "x").write_bytes(b"old")

    def fail(path: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(durable, "sync", fail)
    with (
        pytest.raises(OSError, match=os.strerror(errno.EIO)),
        appearing_stream(folder / "x", replace=True) as file,
    ):
        file.write(b"new")
    assert [entry.name for entry in folder.iterdir()] == ["x"]
    assert (folder / "x").read_bytes() == b"new"


def test_a_file_that_is_being_written_is_not_taken_for_one_of_the_dead(folder):
    with appearing_stream(folder / "a") as first:
        with pytest.raises(FileExistsError), appearing_stream(folder / "a"):
            (folder / "a").touch()
        first.write(b"whole")
        (folder / "a").unlink()
    assert only(folder).read_bytes() == b"whole"


def test_a_file_that_another_process_took_for_a_dead_one_is_made_again(folder, monkeypatch):
    taken = []

    def lock(handle: int) -> None:
        if not taken:
            taken.append(only(folder))
            taken[0].unlink()
        platform.lock(handle)

    monkeypatch.setattr(durable, "lock", lock)
    with appearing_stream(folder / "a") as file:
        file.write(b"whole")
    assert taken
    assert only(folder).read_bytes() == b"whole"


def test_what_a_killed_process_left_is_in_nobodys_way(folder):
    (folder / ".a.tmp").write_bytes(b"half")
    with platform.Folder.open(folder) as handle:
        durable.write_whole(handle, "a", b"whole")
    assert (folder / "a").read_bytes() == b"whole"


def test_a_folder_that_another_process_took_for_a_dead_one_is_made_again(folder, monkeypatch):
    taken = []

    def lock(path: Path) -> int | None:
        if not taken:
            taken.append(path)
            path.rmdir()
        return platform.lock_folder(path)

    monkeypatch.setattr(durable, "lock_folder", lock)
    with partial_folder(folder / "a") as made:
        assert made not in taken
        assert made.is_dir()
