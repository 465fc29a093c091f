"""On Linux: the package in a process in which nothing is left that only POSIX has.

A short selection; `make test-without-posix` runs the whole suite so.
"""

import os
import subprocess
import sys

import pytest

from tests.support.processes import ROOT, environment

SIMULATED = ROOT / "tests" / "windows_simulated"
pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="the simulation of Windows is for Linux"
)


def run(*words: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join([str(SIMULATED), environment()["PYTHONPATH"]])
    return subprocess.run(
        [sys.executable, *words],
        env=environment(PYTHONPATH=paths), cwd=ROOT, capture_output=True, text=True, timeout=300,
    )  # fmt: skip


def test_what_windows_does_its_own_way():
    done = run("-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider",
               "tests/files/test_on_windows.py")  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout, done.stdout


def test_the_package_finds_no_name_of_posix():
    code = (
        "from veritas_peewee.files import platform; import veritas_peewee.files.windows as w\n"
        "print(platform.Folder.__module__, hasattr(w.os, 'O_NOFOLLOW'), hasattr(w.os, 'fork'))"
    )
    done = run("-c", code)
    assert (done.stderr, done.stdout) == ("", "veritas_peewee.files.windows False False\n")
