"""The README's three examples do what they say, as they are printed, in an empty folder."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.support.processes import ROOT, environment
from veritas_peewee import connect, sync

ENGINE = """#!{python}
import json, sys
print("##PROGRESS:" + json.dumps({{"phase": "scout", "step": "navigating"}}))
trust = {{"final_score": 46, "risk_level": "suspicious"}}
print(json.dumps({{"url": sys.argv[1], "status": "completed",
                  "judge_decision": {{"trust_score_result": trust}}}}, indent=2))
"""


def examples(language: str) -> list[str]:
    found = re.findall(rf"```{language}\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    return [one for one in found if "veritas" in one]


def ran(*words: str, folder: Path, **more: str) -> str:
    done = subprocess.run(
        words, cwd=folder, env=environment(**more), capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    return done.stdout


def test_the_application_has_the_api_and_the_pages(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(examples("python")[0])
    asked = (
        "from fastapi.testclient import TestClient\n"
        "from main import app\n"
        "with TestClient(app, 'http://localhost') as client:\n"
        "    for path in ('/api/health', '/', '/api/audits/none'):\n"
        "        print(client.get(path).status_code)\n"
    )
    found = ran(
        sys.executable, "-W", "ignore", "-c", asked, folder=tmp_path, PYTHONPATH=f"{ROOT}:."
    )
    assert found.split() == ["200", "200", "404"]


def test_the_store_s_example_is_a_whole_program_and_ends(tmp_path: Path) -> None:
    (tmp_path / "example.py").write_text(examples("python")[1])
    for _ in range(2):
        printed = ran(sys.executable, "example.py", folder=tmp_path)
        assert [line.split()[1] for line in printed.splitlines()] == [
            "phase_start",
            "audit_complete",
        ]


def test_the_shell_s_examples_work_one_after_the_other(tmp_path: Path) -> None:
    programs, folder = tmp_path / "bin", tmp_path / "empty"
    programs.mkdir()
    folder.mkdir()
    (programs / "veritas").write_text(ENGINE.format(python=sys.executable))
    (programs / "veritas").chmod(0o755)
    path = {"PATH": f"{programs}:{Path(sys.executable).parent}:/usr/bin:/bin"}
    (text,) = [one for one in examples("sh") if "ingest" in one]
    first, rest = text.split("\n", 1)
    for _ in range(2):  # to compare
        ran("sh", "-c", first, folder=folder, **path)
    with connect(folder / "data" / "veritas_audits.db"):
        newest = sync.history().items[0].id
    rest = rest.replace("vrts_0a1b2c3d4e5", newest).replace("/backups", str(tmp_path))
    printed = ran("sh", "-e", "-c", rest, folder=folder, **path)
    assert "all is there, as it was" in printed
    assert printed.rstrip().splitlines()[-1].startswith("not proven: all but data/log")


def test_there_are_three_examples() -> None:
    assert len(examples("python")) == 2
    assert len([one for one in examples("sh") if "ingest" in one]) == 1
