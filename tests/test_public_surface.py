"""The names that other programs rely on, the package as it is installed, and its start-up."""

import ast
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile

import pytest

import veritas_peewee
from tests.support.processes import ROOT
from veritas_peewee import AuditStore, StoreError, errors
from veritas_peewee.config import DATABASE_URL, locate
from veritas_peewee.database.sqlite_driver import driver
from veritas_peewee.database.transactions import TransactionEnded

PUBLIC = {"config", "errors", "models", "sync", "testing", "web"}
"""The modules that users import; `veritas_peewee` itself has the rest of what is public."""
RELEASED = ("cli", "web", "plot", "postgres", "evidence")
"""The extras for users; the others are for the project itself."""
PAGES = [ROOT / "README.md", ROOT / "GUARANTEES.md", *sorted((ROOT / "docs").glob("*.md"))]


def run(*command, cwd, **env):
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("VERITAS", "PYTHON"))}
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd, env=clean | env, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def python(code, cwd, **env):
    done = run(sys.executable, "-W", "error", "-c", code, cwd=cwd, **env)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_every_exported_name_exists_and_is_documented():
    for name in veritas_peewee.__all__:
        found = getattr(veritas_peewee, name)
        if inspect.isclass(found) or inspect.isfunction(found):
            assert found.__doc__, name
    for name in ("export_csv", "export_jsonl", "import_jsonl", "report_html"):
        assert getattr(veritas_peewee, name).__doc__, name
    with pytest.raises(AttributeError, match="bogus"):
        _ = veritas_peewee.bogus


def test_every_error_is_a_store_error_with_a_default_message():
    kinds = [
        found for _, found in inspect.getmembers(errors, inspect.isclass)
        if issubclass(found, Exception)
    ]  # fmt: skip
    for kind in kinds:
        assert issubclass(kind, StoreError)
        assert str(kind()) == kind.__doc__
        assert kind.__name__ in errors.__doc__
        assert kind.__name__ in veritas_peewee.__all__


def test_an_error_s_default_message_is_one_line():
    assert "\n" not in str(TransactionEnded())


def test_every_public_method_of_the_store_is_documented():
    for name, method in inspect.getmembers(AuditStore, inspect.isroutine):
        if not name.startswith("_"):
            assert method.__doc__, name


def test_the_four_commands_that_verify_a_start(tmp_path):
    assert python(
        "from veritas_peewee.models import Audit, AuditFinding, AuditScreenshot, AuditEvent; "
        "print('All models imported')", tmp_path,
    ) == "All models imported"  # fmt: skip
    assert (
        python(
            "from veritas_peewee.config import DATABASE_URL; print('DB URL:', DATABASE_URL)",
            tmp_path,
        )
        == "DB URL: sqlite:///data/veritas_audits.db"
    )
    assert python(
        "import asyncio; from veritas_peewee import init_database; "
        "asyncio.run(init_database()); print('Database initialized')", tmp_path,
    ) == "Database initialized"  # fmt: skip
    path = tmp_path / "data" / "veritas_audits.db"
    with driver.connect(path) as file:
        schema = file.execute("SELECT sql FROM sqlite_master WHERE name = 'audits'").fetchone()[0]
        assert "trust_score" in schema
        assert file.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    file.close()
    if shell := shutil.which("sqlite3"):
        done = run(shell, path, ".schema audits", "PRAGMA journal_mode", cwd=tmp_path)
        assert done.stdout.rstrip().endswith("wal")
        assert "idx_audits_status" in done.stdout


def test_the_database_is_named_by_argument_then_environment_then_default(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VERITAS_DATABASE", raising=False)
    assert locate().path == tmp_path / "data" / "veritas_audits.db"
    assert locate().screenshots == tmp_path / "data" / "screenshots"
    monkeypatch.setenv("VERITAS_DATABASE", "elsewhere.db")
    assert locate().path == tmp_path / "elsewhere.db"
    assert locate("sqlite:///third.db").path == tmp_path / "third.db"
    assert locate(f"sqlite:///{tmp_path}/x.db").path == tmp_path / "x.db"
    assert locate(f"sqlite+aiosqlite:///{tmp_path}/x.db").path == tmp_path / "x.db"
    assert locate(":memory:").path is locate("sqlite://").path is None
    assert locate("x.db", tmp_path / "shots").screenshots == tmp_path / "shots"
    (tmp_path / "link.db").symlink_to(tmp_path / "x.db")
    assert locate("link.db") == locate("x.db")
    assert DATABASE_URL.startswith("sqlite:///")


@pytest.fixture(scope="module")
def inner():
    """Each function and class of an inner module, with the module's name."""
    return {
        (path.stem, found.name)
        for path in (ROOT / "veritas_peewee").rglob("[a-z]*.py")
        for found in ast.parse(path.read_text()).body
        if path.stem not in PUBLIC and isinstance(found, ast.FunctionDef | ast.ClassDef)
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_page_for_users_names_an_inner_module_in_code(page, inner):
    text = page.read_text()
    code = re.findall(r"(?ms)^```.*?^```$|`[^`\n]+`", text)
    for part in code:
        if part.startswith("```{literalinclude}"):  # a file is shown, and its path is not
            continue
        for module in re.findall(r"\bveritas_peewee[./](\w+)", part):
            assert module in PUBLIC | set(veritas_peewee.__all__), part
        for names in re.findall(r"from veritas_peewee import (?:\(([^)]+)\)|(.+))", part):
            found = set(re.findall(r"\w+", re.sub(" as .*", "", "".join(names))))
            assert found <= set(veritas_peewee.__all__), part
        # A module of ours without the package's name, as in `recorder.record(…)`.
        assert not set(re.findall(r"\b([a-z_]+)\.([a-zA-Z_]+)\b", part)) & inner, part


def test_each_module_is_loaded_by_those_who_use_it_alone():
    """So that a program that shows one thing does not wait for the code of all the others."""
    code = """
import sys, peewee, anyio
before = set(sys.modules)
{}
print(*sorted(name for name in set(sys.modules) - before if "." in name or "veritas" in name))
"""
    of_models = {
        "veritas_peewee", "veritas_peewee.models", "veritas_peewee.errors",
        "veritas_peewee.database", "veritas_peewee.database.current",
        "veritas_peewee.database.event_loop", "veritas_peewee.database.failures",
        # Of each backend what its codes mean: small tables, which need no driver of a server.
        "veritas_peewee.database.sqlite_driver", "veritas_peewee.database.sqlite_errors",
        "veritas_peewee.database.postgres_errors",
        "veritas_peewee.values",
        "veritas_peewee.values.attributes", "veritas_peewee.values.fields",
        "veritas_peewee.values.ids", "veritas_peewee.values.moments",
        "veritas_peewee.values.json_schema", "veritas_peewee.values.named",
        "veritas_peewee.values.plain",
        "veritas_peewee.values.states", "veritas_peewee.database.expressions",
        "veritas_peewee.values.image_files", "veritas_peewee.values.json_field",
        "veritas_peewee.values.details", "veritas_peewee.values.nesting",
        "veritas_peewee.files", "veritas_peewee.files.platform",
        f"veritas_peewee.files.{'windows' if sys.platform == 'win32' else 'posix'}",
        "veritas_peewee.files.failures", "veritas_peewee.files.identity",
        "veritas_peewee.database.instances", "veritas_peewee.database.derived",
    }  # fmt: skip
    opening = {"veritas_peewee.config", "veritas_peewee.startup", "veritas_peewee.sync"}
    opening |= {"veritas_peewee.database.backends"}
    for line, most in (
        ("import veritas_peewee", {"veritas_peewee"}),
        ("from veritas_peewee import sync; dir(sync)", {"veritas_peewee", "veritas_peewee.sync"}),
        ("from veritas_peewee import Audit", of_models),
        (
            "from veritas_peewee import AuditStore, connect, Audit",
            of_models | opening | {"veritas_peewee.store"},
        ),
    ):
        loaded = set(python(code.format(line), ROOT).split())
        assert loaded <= most, loaded - most
    used = """
from veritas_peewee import AuditStore, Audit, connect, sync
with connect(":memory:"):
    sync.history()
    audit = sync.create("https://example.com/")
    sync.record(audit.id, {"type": "audit_complete"})
    sync.get(audit.id)
"""
    loaded = set(python(code.format(used), ROOT).split())
    for room in (
        "threads", "following", "transfer", "maintenance", "presentation", "web", "cli", "evidence",
    ):  # fmt: skip
        assert not {name for name in loaded if name.startswith(f"veritas_peewee.{room}")}
    for module in ("search", "counting", "comparison", "trends"):
        assert f"veritas_peewee.queries.{module}" not in loaded


def test_importing_the_package_brings_in_no_extra():
    extras = "fastapi|starlette|typer|rich|click|trio|sqlalchemy|cryptography|rfc3161_client"
    code = f"""
import re, sys
from veritas_peewee import *
found = [name for name in sys.modules if re.fullmatch('{extras}', name)]
assert not found, found
"""
    assert python(code, ROOT) == ""


def test_a_wheel_installs_into_an_empty_environment_and_works_there(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    for name in (
        *("veritas_peewee", "data", "pyproject.toml", "setup.cfg", "setup.py"),
        *("MANIFEST.in", "README.md", "LICENSE"),
    ):
        if (ROOT / name).is_dir():
            shutil.copytree(
                ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "*.db*")
            )
        else:
            shutil.copy(ROOT / name, source / name)
    built = run(sys.executable, "-m", "build", "--wheel", ".", cwd=source)
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = (source / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    for kind in ("static", "templates"):
        own = {
            f"veritas_peewee/web/{kind}/{one.name}"
            for one in (ROOT / "veritas_peewee" / "web" / kind).iterdir()
        }
        assert own
        assert own <= names
    venv.create(tmp_path / "env", with_pip=True)
    binary = tmp_path / "env" / "bin"
    constraints = ROOT / "constraints.txt"
    pip = (binary / "python", "-m", "pip", "install", "-q", "--disable-pip-version-check")
    done = run(*pip, wheel, "-c", constraints, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    code = """
import anyio
from veritas_peewee import AuditStore
async def main():
    async with AuditStore.open('new/audits.db') as store:
        audit = await store.create('https://example.com')
        await store.record(audit.id, {'type': 'audit_complete'})
        return (await store.get(audit.id)).status
print(anyio.run(main))
"""
    done = run(binary / "python", "-W", "error", "-c", code, cwd=tmp_path)
    assert (done.returncode, done.stdout.strip()) == (0, "completed"), done.stderr
    bare = run(binary / "veritas-peewee", "history", cwd=tmp_path)
    assert bare.returncode == 1
    assert "veritas-peewee[cli]" in bare.stderr
    assert "Traceback" not in bare.stderr
    done = run(*pip, f"{wheel}[cli]", "-c", constraints, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    done = run(binary / "veritas-peewee", "history", "--database", "new/audits.db", cwd=tmp_path)
    assert "example.com" in done.stdout, done.stderr
    # The samples, and the images that they name, are in the wheel.
    demo = ("demo", "--copies", "1", "--speed", "0", "--json", "--database", "demo.db")
    done = run(binary / "veritas-peewee", *demo, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["audits"]) == 10
    assert len(list((tmp_path / "screenshots").rglob("*.png"))) >= 10


def test_the_hashed_requirements_are_the_extras_at_the_versions_of_the_constraints():
    def pins(name):
        found = re.findall(r"(?m)^([\w.-]+)(?:\[\w+\])?==([\w.]+)", (ROOT / name).read_text())
        return {re.sub(r"[-_.]+", "-", package.lower()): version for package, version in found}

    hashed, known = pins("requirements-hashed.txt"), pins("constraints.txt")
    assert {name: version for name, version in hashed.items() if known.get(name) != version} == {}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *(one for extra in RELEASED for one in extras[extra])]
    assert {re.split(r"[\[<>=]", one)[0] for one in wanted} <= set(hashed)
