"""The package as an archive (`python -m zipapp`), beside what it needs."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
import zipapp
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import ROOT
from veritas_peewee import connect

MAIN = """
import sys
import veritas_peewee
assert veritas_peewee.__file__.startswith(sys.argv[0])
from veritas_peewee.cli import main
sys.exit(main())
"""


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("zipapp")
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "veritas_peewee", folder / "app" / "veritas_peewee", ignore=ignored)
    (folder / "app" / "__main__.py").write_text(MAIN)
    zipapp.create_archive(folder / "app", folder / "veritas.pyz", compressed=True)
    return folder / "veritas.pyz"


def start(archive: Path, folder: Path, *words: object) -> subprocess.Popen[str]:
    scratch = folder / "temporary"
    scratch.mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, "-W", "error", archive, *map(str, words)],
        env={"TMPDIR": str(scratch)}, cwd=ROOT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def done(archive: Path, folder: Path, *words: object) -> Any:
    """What a command has printed, as JSON."""
    with start(archive, folder, *words, "--json", "--database", folder / "audits.db") as process:
        out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, "")
    return json.loads(out)


def test_it_makes_a_file_runs_the_samples_and_verifies_them(archive: Path, tmp_path: Path) -> None:
    ran = done(archive, tmp_path, "demo", "--copies", 1, "--speed", 0)
    assert ran["events_acknowledged"] == ran["events_read_back"] > 100
    verified = done(archive, tmp_path, "verify")
    assert (verified["problems"], verified["audits"]) == ([], len(ran["audits"]))
    # The migrations, which are read from a folder.
    assert list((tmp_path / "temporary").iterdir()) == []


def test_its_pages_have_their_styles_and_scripts(archive: Path, tmp_path: Path) -> None:
    path = tmp_path / "audits.db"
    with connect(path):
        pass
    with start(archive, tmp_path, "serve", "--port", 0, "--database", path) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().split()[0].rstrip("/")

            def get(path: str) -> str:
                with urllib.request.urlopen(address + path, timeout=30) as answer:
                    text: str = answer.read().decode()
                return text

            named = re.findall(r"(?:href|src)=\"(/static/[^\"]+)\"", page := get("/"))
            assert "<html" in page
            assert named
            assert all(get(path.replace("&amp;", "&")) for path in named)
        finally:
            process.send_signal(signal.SIGTERM)
            _, err = process.communicate(timeout=60)
    if sys.platform != "win32":  # where no signal asks a process to end
        assert (process.returncode, err) == (128 + signal.SIGTERM, "")
        assert list((tmp_path / "temporary").iterdir()) == []
