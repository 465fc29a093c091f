"""Two files of a folder are still at their paths: asked for each write, so with as few looks as is
safe."""

import os
import sys
import time
from types import SimpleNamespace

import pytest

from veritas_peewee.files import platform
from veritas_peewee.files.platform import identity_of, in_place

OLD = 10**9


@pytest.fixture
def files(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in ("audits.db", "audits.db-wal"):
        (folder / name).write_text(name)
    return [folder / "audits.db", folder / "audits.db-wal"]


def asked(files):
    return in_place([(str(file), identity_of(file)) for file in files])


def replace(file):
    other = file.with_name("other")
    other.write_text("other")
    os.replace(other, file)


@pytest.mark.parametrize("settled", [False, True], ids=["just made", "made long ago"])
@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize(
    "how", ["removed", "renamed", "replaced", "folder renamed", "other folder"]
)
def test_whatever_happens_to_one_of_them_is_seen(files, monkeypatch, settled, which, how):
    half = sys.modules[platform.Folder.__module__]
    monkeypatch.setattr(half, "_STEP", 0 if settled else 10**18, raising=False)
    are_in_place = asked(files)
    assert are_in_place()
    assert are_in_place()
    folder = files[0].parent
    if how == "removed":
        files[which].unlink()
    elif how == "renamed":
        files[which].rename(folder / "moved")
    elif how == "replaced":
        replace(files[which])
    else:
        folder.rename(folder.with_name("moved"))
        if how == "other folder":
            folder.mkdir()
            for file in files:
                file.write_text("other")
    for _ in range(2):
        try:
            assert not are_in_place()
        except OSError:
            assert how not in ("replaced", "other folder")


def test_other_files_of_the_folder_may_come_and_go(files):
    are_in_place = asked(files)
    for number in range(20):
        (files[0].parent / "other").write_text(str(number))
        assert are_in_place()
        (files[0].parent / "other").unlink()
        assert are_in_place()


def frozen(folder, when, looks):
    """A file system whose folders have one time only."""
    real = os.stat

    def look(path, **options):
        looks.append(os.path.basename(path))
        found = real(path, **options)
        if path != str(folder):
            return found
        return SimpleNamespace(st_ctime_ns=when, st_ino=found.st_ino, st_dev=found.st_dev)

    return look


def test_a_time_that_may_not_have_advanced_yet_proves_nothing(files, monkeypatch):
    looks = []
    monkeypatch.setattr(os, "stat", frozen(files[0].parent, time.time_ns() + 10**7, looks))
    are_in_place = asked(files)
    assert are_in_place()
    replace(files[1])
    assert not are_in_place()
    assert not are_in_place()


def test_a_time_that_is_old_spares_the_looks_at_the_files(files, monkeypatch):
    looks = []
    monkeypatch.setattr(os, "stat", frozen(files[0].parent, time.time_ns() - OLD, looks))
    are_in_place = asked(files)
    looks.clear()
    for _ in range(5):
        assert are_in_place()
    assert looks == ["folder", "audits.db", "audits.db-wal", *["folder"] * 4]


def test_what_was_not_in_place_is_looked_at_again(files, monkeypatch):
    monkeypatch.setattr(os, "stat", frozen(files[0].parent, time.time_ns() - OLD, []))
    are_in_place = asked(files)
    replace(files[1])
    assert not are_in_place()
    assert not are_in_place()


@pytest.mark.parametrize("which", [None, (0, 0), (0, 1), (1, 0), (1, 1)])
def test_a_file_is_known_by_its_number_and_by_its_device(files, which):
    known = [list(identity_of(file)) for file in files]
    if which is not None:
        known[which[0]][which[1]] += 1
    assert in_place(list(zip(map(str, files), map(tuple, known), strict=True)))() is (which is None)
