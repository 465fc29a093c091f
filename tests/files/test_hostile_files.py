"""Paths, links and files that lead outside: nothing there is read, written or removed."""

import os
import shutil
import subprocess
import sys

import pytest

from torture.hostile_files import hostile_files
from torture.model import OK, Run
from torture.programs.record import png
from veritas_peewee import InvalidAudit, connect
from veritas_peewee.files.images import read_image
from veritas_peewee.models import AuditEvent
from veritas_peewee.queries import history, lookups
from veritas_peewee.recording import operations, recorder, removal

pytestmark = pytest.mark.ends_within(60)


def test_hostile_paths_links_and_files_lead_nowhere(tmp_path):
    rows = list(hostile_files(Run(60, tmp_path, seed=1)))
    assert [(row.fault, row.verdict, row.problems) for row in rows] == [
        (row.fault, OK, []) for row in rows
    ]
    assert sum(row.rounds for row in rows[:2]) >= 200


@pytest.mark.skipif(sys.platform != "linux", reason="these files are Linux's")
@pytest.mark.parametrize(
    "path",
    ["/proc/self/environ", "/proc/kmsg", "/proc/self/mem", "/proc/self/pagemap", "/dev/zero",
     "/dev/stdin", "/proc/sysrq-trigger", "/", ".", "/proc/self/cwd/x.png"],
)  # fmt: skip
def test_what_is_no_file_on_a_disk_is_not_read(path):
    with pytest.raises((InvalidAudit, OSError)):
        read_image(path)


def test_no_link_on_the_way_to_an_image_is_followed(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "x.png").write_bytes(png(1))
    (tmp_path / "folder").symlink_to("real")
    (tmp_path / "link.png").symlink_to("real/x.png")
    assert read_image(f"{tmp_path}/real/../real/./x.png") == png(1)
    for path in ("folder/x.png", "folder/../real/x.png", "real/../folder/x.png", "link.png"):
        with pytest.raises((InvalidAudit, OSError), match=r"Not a directory|regular file"):
            read_image(f"{tmp_path}/{path}")


def test_a_relative_path_to_an_image_is_read_from_the_working_directory(tmp_path, monkeypatch):
    (tmp_path / "x.png").write_bytes(png(1))
    monkeypatch.chdir(tmp_path)
    assert read_image("x.png") == read_image("./x.png") == png(1)


def test_a_link_in_the_root_folder_is_the_systems_own(tmp_path):
    linked = [one for one in os.scandir("/") if one.is_symlink() and one.is_dir()]
    if not linked:
        pytest.skip("no folder in the root folder is a link")
    with pytest.raises((InvalidAudit, OSError), match=r"No such file|not a regular file"):
        read_image(f"{linked[0].path}/veritas-no-such.png")


def test_a_hard_link_is_the_file_itself(tmp_path):
    (tmp_path / "x.png").write_bytes(png(1))
    os.link(tmp_path / "x.png", tmp_path / "hard.png")
    (tmp_path / "secret").write_text("secret")
    os.link(tmp_path / "secret", tmp_path / "secret.png")
    assert read_image(str(tmp_path / "hard.png")) == png(1)
    with pytest.raises(InvalidAudit, match="not a PNG, JPEG or WebP"):
        read_image(str(tmp_path / "secret.png"))


@pytest.mark.parametrize("reference", [{}, {"file": 5}, {"file": "../../etc/passwd"}])
def test_a_replayed_screenshot_that_refers_to_no_image_is_a_note(tmp_path, reference):
    with connect(tmp_path / "audits.db"):
        audit = operations.create("https://example.com", id="replayed")
        event = AuditEvent(
            event_type="screenshot",
            data={"type": "screenshot", "data": reference},
            timestamp=audit.created_at,
        )
        recorder.replay(audit.id, [event])
        found = lookups.get(audit.id)
        assert found.screenshots == []
        assert found.errors[0].startswith("screenshot.data: refers to no stored image")


def test_an_audit_with_a_file_path_that_is_no_text_can_be_deleted(tmp_path):
    with connect(tmp_path / "audits.db") as database:
        audit = operations.create("https://example.com")
        sql = "INSERT INTO audit_screenshots (audit_id, file_path, label, index_num) VALUES "
        for value in ("x'ff'", "'../../etc/passwd'", "x'2e2e'"):
            database.execute_sql(f"{sql} ('{audit.id}', {value}, 't', 0)")
        lookups.get(audit.id)
        removal.delete(audit.id)
        assert history.history().items == []


@pytest.fixture
def without_root(tmp_path):
    """What makes a program, run with this prefix, obey permissions, also if root runs the tests."""
    if os.geteuid():
        return []
    if shutil.which("setpriv") is None:
        pytest.skip("root may read everything")
    return ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"]


def test_an_image_behind_folders_that_may_only_be_entered_is_read(tmp_path, without_root, project):
    private = tmp_path / "private"
    (private / "evidence").mkdir(parents=True)
    (private / "evidence" / "x.png").write_bytes(png(1))
    (tmp_path / "link").symlink_to(private)
    folders = [tmp_path / "audits.db", tmp_path / "screenshots"]
    code = """
import os, sys
from veritas_peewee import connect, sync
os.chdir(sys.argv[1])
with connect("audits.db"):
    audit = sync.create("https://example.com/")
    for path in (os.path.join(sys.argv[1], "private/evidence/x.png"), "private/evidence/x.png",
                 os.path.join(sys.argv[1], "link/evidence/x.png"), "none.png"):
        sync.record(audit.id, {"type": "screenshot", "url": path, "label": path[-9:],
                               "index": 0, "data": None})
    found = sync.get(audit.id)
    os.chmod("screenshots", 0o311)
    os.chmod(os.path.join("screenshots", audit.id), 0o311)
    print([len(sync.screenshot(shot.file_path)) for shot in found.screenshots])
    print(*found.errors, sep="\\n")
"""
    for folder in (private, private / "evidence"):
        folder.chmod(0o311)
    try:
        done = subprocess.run(
            [*without_root, sys.executable, "-c", code, str(tmp_path)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    finally:
        for folder in (private, private / "evidence", *folders[1:], *folders[1].glob("*")):
            folder.chmod(0o755)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 3, done.stdout
    sizes, linked, missing = done.stdout.splitlines()
    assert sizes == str([len(png(1))] * 2)
    assert linked.endswith("cannot be read: there is a link or a file where a folder should be")
    assert missing.endswith("No such file or directory (in the working directory)")
