"""A file, a folder and a mount that cannot be written: reported in time, and still readable."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

from torture.followed import ROOT, TIMEOUT, command
from torture.model import Row, Run
from torture.mounts import isolated, mounted_tmpfs, remount
from torture.reading import FILES, Sample, make_sample, read_all
from veritas_peewee import connect

WITHIN = 1.0
NOBODY = 65534
"""A user without rights: root may write what is read-only."""


def read_only(run: Run) -> Iterator[Row]:
    yield by_mode(run)
    yield from isolated("damage read-only-mount", "torture.faults.read_only:by_mount", run)


def _variants(home: Path) -> Iterator[tuple[str, Path, str]]:
    """A store that was closed and one that was killed, each with what is read in it."""
    sample = make_sample(home / "sample", 6)
    for name in ("closed", "killed"):
        folder = home / name
        path = _whole_copy(sample, folder)
        if name == "closed":
            with connect(path):
                pass
            shutil.copytree(folder, folder.with_suffix(".looked-at"))
            looked = folder.with_suffix(".looked-at") / FILES[0]
            yield name, path, read_all(looked, looked.parent / "screenshots")
        else:
            yield name, path, sample.read


def _whole_copy(sample: Sample, folder: Path) -> Path:
    path = sample.copy(folder)
    shutil.copytree(sample.folder / "screenshots", folder / "screenshots")
    return path


def by_mode(run: Run) -> Row:
    """Read-only by the mode of the file, of the folder and of both, for a user without rights."""
    begin = perf_counter()
    row = Row("damage read-only")
    for name, path, expected in _variants(run.folder / "modes"):
        files = [path.with_name(one) for one in os.listdir(path.parent) if one.startswith(FILES[0])]
        for what, file_mode, folder_mode in (
            ("file", 0o444, 0o755),
            ("folder", 0o644, 0o555),
            ("both", 0o444, 0o555),
        ):
            for file in files:
                file.chmod(file_mode)
            path.parent.chmod(folder_mode)
            if os.geteuid() == 0:
                for root, folders, names in os.walk(path.parent):
                    for one in (".", *folders, *names):
                        os.chown(os.path.join(root, one), NOBODY, NOBODY)
            _attempt(row, f"{name}, read-only {what}", path, expected, NOBODY)
    row.seconds = perf_counter() - begin
    return row


def by_mount(run: Run) -> Iterator[Row]:
    """In a namespace of its own: a tmpfs that becomes read-only, with root's rights."""
    row = Row("damage read-only-mount")
    for name, path, expected in _variants(run.folder / "mounts"):
        for with_shm in (False, True):
            with mounted_tmpfs(run.folder / "read-only", "16m") as point:
                shutil.copytree(path.parent, point / "store")
                inside = point / "store" / path.name
                if with_shm and inside.with_name(FILES[1]).exists():
                    _look_and_die(inside)
                remount(point, "ro")
                _attempt(row, f"{name}, read-only mount", inside, expected, None)
    yield row


def _look_and_die(path: Path) -> None:
    """Read the store and be killed, as any process can be: the index of the WAL stays."""
    code = (
        "import os, signal, sys; from veritas_peewee import connect, Audit\n"
        "with connect(sys.argv[1], read_only=True):\n"
        "    Audit.select().count(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], cwd=ROOT, timeout=TIMEOUT, check=False)


def _attempt(row: Row, what: str, path: Path, expected: str, user: int | None) -> None:
    row.rounds += 1
    words = command("attempt", path, *([] if user is None else [user]))
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT)
    if done.returncode != 0:
        raise RuntimeError(f"{what}: {done.stderr[-500:]}")
    answers = json.loads(done.stdout)
    read, write = answers["read"], answers["write"]
    if "error" in read:
        row.count(f"read: {read['error']}")
        if read["error"] not in ("ReadOnlyStore", "StoreError"):
            row.problem(f"{what}: reading: {read['error']}: {read['text']}")
    elif read["result"] == expected:
        row.count("read correctly")
    else:
        row.problem(f"{what}: what was read is wrong")
    if "error" not in write:
        row.problem(f"{what}: was written")
    else:
        row.count(f"write: {write['error']}")
        if write["error"] != "ReadOnlyStore":
            row.problem(f"{what}: writing: {write['error']}: {write['text']}")
    for name, answer in answers.items():
        row.most("slowest answer, s", answer["seconds"])
        if answer["seconds"] > WITHIN:
            row.problem(f"{what}: {name} took {answer['seconds']:.1f} s")
