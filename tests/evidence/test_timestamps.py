"""Time stamps of checkpoints: OpenSSL's own authority, what its replies prove, what is refused."""

from __future__ import annotations

import builtins
import json
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import run_here
from veritas_peewee import NotProven, StoreError, connect, sync
from veritas_peewee.evidence import bag_times, timestamps

_CONFIG = """
[req]
distinguished_name = name
prompt = no
[name]
CN = unused
[ca]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
[tsa]
basicConstraints = CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = critical, timeStamping
[stamps]
default_tsa = one
[one]
serial = ./serial
default_policy = 1.2.3.4.1
digests = sha256, sha384
signer_digest = sha256
ess_cert_id_alg = sha256
tsa_name = yes
"""


class Authority:
    """A time stamp authority made of the `openssl` command, with a certificate of its own root."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        (folder / "openssl.cnf").write_text(_CONFIG)
        (folder / "serial").write_text("01\n")
        for name in ("ca", "tsa"):
            self.run("genpkey", "-algorithm", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                     "-out", f"{name}.key")  # fmt: skip
        new = ("req", "-new", "-config", "openssl.cnf")
        self.run(*new, "-x509", "-key", "ca.key", "-extensions", "ca", "-days", "3650",
                 "-subj", "/CN=Test root", "-out", "ca.pem")  # fmt: skip
        self.run(*new, "-key", "tsa.key", "-subj", "/O=Test/CN=Test stamps", "-out", "tsa.csr")
        self.run("x509", "-req", "-in", "tsa.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
                 "-set_serial", "2", "-days", "30", "-extfile", "openssl.cnf",
                 "-extensions", "tsa", "-out", "tsa.pem")  # fmt: skip
        self.certificates = folder / "ca.pem"

    def run(self, *words: str) -> bytes:
        done = subprocess.run(["openssl", *words], cwd=self.folder, check=True, capture_output=True)
        return done.stdout

    def answer(self, request: bytes) -> bytes:
        (self.folder / "request").write_bytes(request)
        self.run("ts", "-reply", "-config", "openssl.cnf", "-section", "one",
                 "-queryfile", "request", "-signer", "tsa.pem", "-inkey", "tsa.key",
                 "-out", "reply")  # fmt: skip
        return (self.folder / "reply").read_bytes()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority") / "one")


@pytest.fixture
def kept(path: Path, ids: list[str], tmp_path: Path, key: Path) -> Path:
    """The file of a checkpoint."""
    with connect(path):
        made = sync.head(key=key)
    file = tmp_path / "kept.txt"
    file.write_text(made.note)
    return file


def test_a_checkpoint_is_stamped_and_the_reply_kept_beside_it(kept, authority, capsys):
    code, printed, _ = run_here(capsys, "head", "--timestamp-request", kept)
    assert (code, "kept.txt.tsq: written" in printed) == (0, True)
    request = kept.with_name("kept.txt.tsq")
    reply = kept.with_name("came")
    reply.write_bytes(authority.answer(request.read_bytes()))
    stored = ("--timestamp", reply, "--checkpoint", kept, "--authority", authority.certificates)
    code, printed, error = run_here(capsys, "head", *stored)
    assert (code, error) == (0, "")
    assert "kept.txt was there at" in printed
    assert "by CN=Test stamps,O=Test" in printed
    assert kept.with_name("kept.txt.tsr").read_bytes() == reply.read_bytes()
    code, printed, _ = run_here(capsys, "head", *stored, "--json")  # once more: it is the same
    found = json.loads(printed)
    assert (code, found["policy"]) == (0, "1.2.3.4.1")
    now = datetime.now(UTC)
    assert now - timedelta(minutes=5) < datetime.fromisoformat(found["time"]) <= now
    authority.run("ts", "-verify", "-data", str(kept), "-in", str(reply), "-CAfile", "ca.pem")


def test_a_reply_that_proves_nothing_of_the_checkpoint_is_refused(kept, authority, tmp_path):
    data, trusted = kept.read_bytes(), authority.certificates.read_bytes()
    request = timestamps.new_request(data)
    reply = authority.answer(request)
    assert timestamps.check(reply, data, trusted, request).authority == "CN=Test stamps,O=Test"
    other = Authority(tmp_path / "other").certificates.read_bytes()
    for arguments, said in (
        ((reply, data + b"\n", trusted), "a time stamp of something else"),
        ((reply, data, trusted, timestamps.new_request(data)), "the reply to another request"),
        ((reply, data, other), "not signed by one of these authorities"),
        ((reply[:-1], data, trusted), "not a reply of a time stamp authority"),
        ((reply[:-9] + bytes(9), data, trusted), "not signed by one of these authorities"),
        ((b"", data, trusted), "not a reply of a time stamp authority"),
        ((b"<html>", data, trusted), "not a reply of a time stamp authority"),
        ((reply, data, b"no PEM"), "are not certificates in PEM"),
    ):
        with pytest.raises(NotProven, match=said):
            timestamps.check(*arguments)


def test_a_request_that_was_refused_is_named(kept, authority):
    refused = authority.answer(
        timestamps.new_request(b"x").replace(b"\x04\x02\x01", b"\x04\x02\x09")
    )
    with pytest.raises(NotProven, match="the authority did not stamp it: its reply is `rejected`"):
        timestamps.check(refused, b"x", authority.certificates.read_bytes())


def test_a_stamp_that_was_granted_with_changes_is_for_openssl_to_check(kept, authority):
    data = kept.read_bytes()
    granted = authority.answer(timestamps.new_request(data))
    status, changed = bytes.fromhex("3003020100"), bytes.fromhex("3003020101")
    assert granted.count(status, 0, 16) == 1
    with pytest.raises(StoreError, match=r"granted it with changes.*openssl ts -verify"):
        timestamps.check(
            granted.replace(status, changed, 1), data, authority.certificates.read_bytes()
        )


def test_another_reply_is_not_written_over(kept, authority):
    first, second = kept.with_name("first"), kept.with_name("second")
    for file in (first, second):
        file.write_bytes(authority.answer(timestamps.new_request(kept.read_bytes())))
    timestamps.keep_reply(first, kept, authority.certificates)
    with pytest.raises(StoreError, match=r"kept\.txt\.tsr: holds another reply"):
        timestamps.keep_reply(second, kept, authority.certificates)
    assert kept.with_name("kept.txt.tsr").read_bytes() == first.read_bytes()


def test_what_was_altered_on_its_way_is_not_stamped(kept, capsys):
    kept.write_bytes(kept.read_bytes().replace(b"\n", b"\r\n"))
    code, _, error = run_here(capsys, "head", "--timestamp-request", kept)
    assert (code, "line ends of Windows" in error) == (1, True)
    assert not kept.with_name("kept.txt.tsq").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--timestamp", "x"), "--checkpoint FILE --authority FILE"),
        (("--checkpoint", "x"), "belong to --timestamp REPLY"),
        (("--timestamp-request", "x", "--signed", "y"), "one at a time"),
    ],
)
def test_options_that_do_not_go_together_are_wrong_usage(capsys, words, said):
    code, _, error = run_here(capsys, "head", *words)
    assert (code, said in error) == (2, True)


def test_without_the_package_the_command_is_named(kept, monkeypatch):
    real = builtins.__import__

    def without(name: str, *args: Any, **options: Any) -> Any:
        if name == "rfc3161_client":
            raise ImportError(name)
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(StoreError, match=r"veritas-peewee\[evidence\].*openssl ts -query -data"):
        timestamps.write_request(kept)
    with pytest.raises(StoreError, match=r"rfc3161-client.*openssl ts -verify -data"):
        timestamps.check(b"", b"", b"")


def test_a_reply_that_grants_and_has_no_stamp_proves_nothing(authority):
    with pytest.raises(NotProven, match="there is no time stamp in the authority's reply"):
        timestamps.check(bytes.fromhex("30053003020100"), b"x", authority.certificates.read_bytes())


@pytest.mark.parametrize("month", range(1, 13))
def test_the_month_of_a_stamp_is_known_whatever_language_is_set(month):
    name = "JanFebMarAprMayJunJulAugSepOctNovDec"[3 * month - 3 : 3 * month]
    found = bag_times._moment(name, "7", "10:20:30", "2026")
    assert found == datetime(2026, month, 7, 10, 20, 30, tzinfo=UTC)


def test_a_day_that_there_is_not_is_no_time_stamp():
    with pytest.raises(NotProven, match="is no time stamp"):
        bag_times._moment("Feb", "30", "10:20:30", "2026")
