"""File systems that one process mounts in a mount namespace of its own; they vanish with it."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torture.apart import apart
from torture.model import Row, Run

SHUTDOWN = 0x8004587D
"""ext4's ioctl that ends a file system at once."""
NO_LOG_FLUSH = 2
"""With this flag, data that is not yet on the disk is lost, the journal's end too: a power cut."""
TOOLS = ("unshare", "mount", "umount")
UNSHARE = ("unshare", "--mount", "--propagation", "private")


def isolated(name: str, function: str, run: Run, *tools: str, loop: bool = False) -> list[Row]:
    """Run `module:function` in a process with a mount namespace of its own; see `apart`.

    If such a namespace cannot be made here, the only row has this `name` and says why. `loop` is
    true if files have to be mounted too; `tools` are the programs that the function needs.
    """
    if missing := [tool for tool in (*TOOLS, *tools) if shutil.which(tool) is None]:
        return [Row(name, run.rounds, not_run=f"needs {', '.join(missing)}")]
    if os.geteuid() != 0:
        return [Row(name, run.rounds, not_run="needs root to mount")]
    options = ("mount", "loop") if loop else ("mount",)
    return apart(name, function, run, *options, prefix=UNSHARE)


def mount_tmpfs(point: Path, size: str) -> None:
    point.mkdir(parents=True, exist_ok=True)
    _run("mount", "-t", "tmpfs", "-o", f"size={size},mode=0755", "torture", point)


def remount(point: Path, options: str) -> None:
    _run("mount", "-o", f"remount,{options}", point)


def unmount(point: Path) -> None:
    _run("umount", point)


@contextmanager
def mounted_tmpfs(point: Path, size: str) -> Iterator[Path]:
    mount_tmpfs(point, size)
    try:
        yield point
    finally:
        unmount(point)


class Disk:
    """An ext4 file system in a file, whose power can be cut."""

    def __init__(self, folder: Path, megabytes: int = 96) -> None:
        self.image = folder / "disk.ext4"
        self.point = folder / "disk"
        self.point.mkdir(parents=True, exist_ok=True)
        with open(self.image, "wb") as file:
            file.truncate(megabytes << 20)
        _run("mkfs.ext4", "-q", "-F", self.image)

    def mount(self) -> None:
        _run("mount", "-o", "loop", self.image, self.point)

    def unmount(self) -> None:
        unmount(self.point)

    def cut_power(self) -> None:
        """End the file system: nothing more reaches the disk, and data in memory is lost."""
        handle = os.open(self.point, os.O_RDONLY)
        try:
            fcntl.ioctl(handle, SHUTDOWN, NO_LOG_FLUSH.to_bytes(4, sys.byteorder))
        finally:
            os.close(handle)


def _run(*words: object) -> None:
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True)
    if done.returncode != 0:
        raise OSError(f"{words[0]}: {' '.join(done.stderr.split())}")
