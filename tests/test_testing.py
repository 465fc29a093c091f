"""`veritas_peewee.testing`, used as a stranger's tests use it: in a project of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import ROOT
from veritas_peewee.queries import lookups
from veritas_peewee.recording import ingest, operations, recorder
from veritas_peewee.testing import make_audit, make_event, make_finding, make_png

CONFTEST = """
from veritas_peewee.testing import make_audit
pytest_plugins = ["veritas_peewee.testing"]
"""


def run_tests(folder: Path, code: str, *arguments: str) -> list[str]:
    """The outcome of each test of a file of such a project, as `name OUTCOME`."""
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_theirs.py").write_text(code)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-W", "error", "-v", "-p", "no:cacheprovider", *arguments],
        cwd=folder, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    outcomes = [
        line.split()[:2] for line in done.stdout.splitlines() if line.startswith("test_theirs.py::")
    ]
    assert outcomes, done.stdout + done.stderr
    return [f"{name.partition('::')[2]} {outcome}" for name, outcome in outcomes]


# ---- the fixtures ----


def test_a_store_on_the_loop_of_the_test(tmp_path: Path) -> None:
    code = """
import anyio.lowlevel
from veritas_peewee import Audit, AuditStore
from veritas_peewee.testing import make_audit

loops = []

async def test_one(audit_store: AuditStore, anyio_backend_name: str) -> None:
    loops.append(anyio_backend_name)
    audit = await audit_store.ingest(make_audit("https://shop.example/", findings=2))
    assert (audit.url, audit.status, len(audit.findings)) == (
        "https://shop.example/", "completed", 2)
    await anyio.lowlevel.checkpoint()

async def test_another(audit_store: AuditStore) -> None:
    assert await audit_store.read(Audit.select().count) == 0
    assert audit_store.location.path is None

def test_the_loops() -> None:
    assert loops == ["asyncio", "trio"]
"""
    assert run_tests(tmp_path, code) == [
        "test_one[asyncio] PASSED", "test_another[asyncio] PASSED",
        "test_one[trio] PASSED", "test_another[trio] PASSED", "test_the_loops PASSED",
    ]  # fmt: skip


def test_the_backend_is_that_of_the_stranger(tmp_path: Path) -> None:
    code = """
import pytest

@pytest.fixture
def anyio_backend():
    return "trio"

@pytest.mark.anyio
async def test_one(audit_store):
    assert (await audit_store.create("https://example.com/")).status == "queued"
"""
    assert run_tests(tmp_path, code) == ["test_one PASSED"]


def test_a_store_is_closed_when_its_test_has_ended_however_it_ends(tmp_path: Path) -> None:
    code = """
import threading
stores = []

async def test_one(audit_store):
    stores.append(audit_store)
    raise ValueError

def test_it_is_closed():
    names = [thread.name for thread in threading.enumerate()]
    assert len(stores) == 2
    assert not any("veritas" in name for name in names), names
"""
    assert run_tests(tmp_path, code) == [
        "test_one[asyncio] FAILED", "test_one[trio] FAILED", "test_it_is_closed PASSED",
    ]  # fmt: skip


def test_a_file_for_the_models_for_a_store_and_for_other_programs(tmp_path: Path) -> None:
    code = """
import json, os, subprocess, sys
from veritas_peewee import Audit, AuditStore, connect
from veritas_peewee.testing import make_audit

def test_models(audit_database):
    with connect(audit_database):
        assert Audit.select().count() == 0
        Audit.create(url="https://example.com/")
    with connect(audit_database, read_only=True):
        assert Audit.select().count() == 1

async def test_store(audit_database, anyio_backend):
    async with AuditStore.open() as store:  # the default database is the test's
        assert store.location.path == audit_database.resolve()
        await store.ingest(make_audit(screenshots=1))
    assert len(list(audit_database.parent.glob("screenshots/*/*.png"))) == 1

def test_program(audit_database, tmp_path):
    (tmp_path / "audit.jsonl").write_text(
        "".join(json.dumps(event) + chr(10) for event in make_audit(findings=3)))
    program = [sys.executable, "-m", "veritas_peewee.cli"]
    subprocess.run([*program, "ingest", tmp_path / "audit.jsonl"], check=True)
    with connect(audit_database):
        assert Audit.get().findings.count() == 3

def test_the_default_is_as_it_was():
    assert "VERITAS_DATABASE" not in os.environ
"""
    assert run_tests(tmp_path, code) == [
        "test_models PASSED", "test_store[asyncio] PASSED", "test_store[trio] PASSED",
        "test_program PASSED", "test_the_default_is_as_it_was PASSED",
    ]  # fmt: skip


def test_the_package_does_not_import_pytest() -> None:
    code = "import sys; from veritas_peewee import *; assert 'pytest' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(ROOT)}, check=True)


# ---- the makers ----


@pytest.mark.usefixtures("script")
def test_an_audit_is_taken_without_a_note() -> None:
    audit = lookups.get(ingest.ingest(make_audit(findings=3, screenshots=2)).id)
    assert (audit.status, audit.trust_score, audit.errors) == ("completed", 50.0, [])
    assert [row.media_type for row in audit.screenshots] == ["image/png"] * 2
    assert len({row.sha256 for row in audit.screenshots}) == 2
    assert len(audit.findings) == 3
    told = make_audit(
        "https://shop.example/", findings=[make_finding(7, severity="low")], narrative="So it is"
    )
    audit = lookups.get(ingest.ingest(told).id)
    assert (audit.url, audit.narrative) == ("https://shop.example/", "So it is")
    assert [row.severity for row in audit.findings] == ["low"]


@pytest.mark.usefixtures("script")
def test_an_audit_that_failed() -> None:
    audit = lookups.get(ingest.ingest(make_audit(error="no answer")).id)
    assert (audit.status, audit.trust_score, audit.error_message) == ("error", None, "no answer")


@pytest.mark.parametrize(
    ("kind", "noted"),
    [
        *((kind, []) for kind in ("phase_start", "phase_complete", "log_entry", "screenshot",
                                  "site_type", "security_result", "finding", "stats_update",
                                  "audit_result", "engine_result", "audit_complete", "brand_new")),
        ("phase_error", ["no answer"]),
        ("audit_error", ["the site cannot be reached"]),
    ],
)  # fmt: skip
def test_each_type_of_event_has_what_it_needs(script: object, kind: str, noted: list[str]) -> None:
    audit = operations.create("https://example.com/")
    recorder.record(audit.id, make_event(kind))
    assert lookups.get(audit.id).errors == noted


def test_fields_replace_what_is_there_and_bytes_become_base64() -> None:
    assert make_event("odd", number=5) == {"type": "odd", "number": 5}
    event = make_event("screenshot", index=3, data=b"abc")
    assert event == {"type": "screenshot", "label": "t0", "index": 3, "data": "YWJj"}
    assert make_event() == make_event("log_entry")


def test_each_number_has_its_image_and_the_same_each_time() -> None:
    assert len({make_png(number) for number in (0, 1, 255, 256, 2**24 - 1)}) == 5
    assert make_png(5) == make_png(5)
    assert make_png(5, size=9) != make_png(5)
