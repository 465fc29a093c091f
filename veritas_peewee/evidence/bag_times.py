"""The time stamp of a bag's checkpoint (RFC 3161), checked by the `openssl` command."""

from __future__ import annotations

import os
import re
import ssl
import tempfile
from datetime import UTC, datetime
from hashlib import sha256, sha384, sha512
from pathlib import Path

from veritas_peewee.errors import NotProven, StoreError
from veritas_peewee.evidence import bags, openssl
from veritas_peewee.evidence.bag_reading import Bag, content

_MOST = 1 << 20
_STAMP_INFO = bytes.fromhex("060b2a864886f70d0109100104")
"""The object identifier of what an authority signs (1.2.840.113549.1.9.16.1.4), in DER."""
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_TIME = re.compile(r"^Time stamp: (\w{3}) +(\d+) (\d\d:\d\d:\d\d)[\d.]* (\d{4}) GMT$", re.M)


def check(bag: Bag, root: str | os.PathLike[str]) -> datetime:
    """The time that the stamp tells, in UTC.

    It is checked as of that time: certificates expire. Raises NotProven if it is not a stamp of the
    bag's checkpoint that leads to the root certificate, StoreError if there is no `openssl`
    command, or an older one, or the certificate cannot be read.
    """
    try:
        program = openssl.command()
    except StoreError as error:
        raise StoreError(f"{error}, which checks a time stamp") from error
    _check_readable(root)
    with tempfile.TemporaryDirectory(prefix="veritas-") as folder:
        files: dict[str, str] = {}
        for name in (bags.CHECKPOINT, bags.STAMP, bags.AUTHORITY):
            if name in bag.sizes:
                files[name] = os.path.join(folder, str(len(files)))
                Path(files[name]).write_bytes(content(bag, name, _MOST))
        reply, token = ["-in", files[bags.STAMP]], os.path.join(folder, "token")
        # Of the signed token alone: texts of the reply around it are shown as they are, and signed
        # by nobody.
        text = None
        if _run([program, "ts", "-reply", *reply, "-token_out", "-out", token]) is not None:
            text = _run([program, "ts", "-reply", "-token_in", "-in", token, "-text", "-token_out"])
        found = _TIME.findall(text or "")
        if len(found) != 1:
            raise NotProven(f"{bags.STAMP}: is no time stamp")
        moment = _moment(*found[0])
        command = [program, "ts", "-verify", "-data", files[bags.CHECKPOINT], *reply]
        command += ["-CAfile", os.fspath(root), "-attime", str(int(moment.timestamp()))]
        if bags.AUTHORITY in files:
            command += ["-untrusted", files[bags.AUTHORITY]]
        if _run(command) is None:
            raise NotProven(
                f"{bags.STAMP}: is not a time stamp of the checkpoint that leads to the given root "
                "certificate"
            )
    return moment


def _check_readable(root: str | os.PathLike[str]) -> None:
    if not Path(root).is_file():  # to open a pipe can take for ever
        raise StoreError(f"{root}: there is no such file")
    try:
        with open(root, "rb"):
            pass
    except OSError as error:
        raise StoreError(f"{root}: cannot be read: {error.strerror or error}") from error


def _moment(month: str, day: str, clock: str, year: str) -> datetime:
    # Not by `strptime`, for which the months are those of whoever's language is set.
    try:
        date = f"{year}-{_MONTHS.index(month) + 1:02d}-{int(day):02d}"
        return datetime.fromisoformat(f"{date}T{clock}").replace(tzinfo=UTC)
    except ValueError as error:
        raise NotProven(f"{bags.STAMP}: is no time stamp") from error


def check_parts(note: bytes, reply: bytes | None, certificates: bytes | None) -> None:
    """Look at what is to be put into a bag: whether the reply has stamped this checkpoint, and the
    certificates are some.

    Whether the authority can be trusted is for whoever checks the bag. Raises NotProven.
    """
    if reply is not None:
        _check_reply(note, reply)
    if certificates is not None:
        try:
            text = certificates.decode("ascii")
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)
        except (ValueError, ssl.SSLError) as error:
            raise NotProven("the authority's certificates are not certificates in PEM") from error


def _check_reply(note: bytes, reply: bytes) -> None:
    _, is_stamp, stamp = reply.partition(_STAMP_INFO)
    if not (_is_whole(reply) and is_stamp):
        raise NotProven("the time stamp is not a reply of an authority (RFC 3161)")
    imprints = (digest(note).digest() for digest in (sha256, sha384, sha512))
    if not any(bytes((4, len(one))) + one in stamp for one in imprints):
        raise NotProven("the time stamp is one of something else than the checkpoint")


def _is_whole(der: bytes) -> bool:
    """Whether data is one sequence in DER, to its end."""
    if len(der) < 2 or der[0] != 0x30:
        return False
    more = der[1] & 0x7F if der[1] & 0x80 else 0
    size = int.from_bytes(der[2 : 2 + more], "big") if more else der[1]
    return len(der) == 2 + more + size


def _run(command: list[str]) -> str | None:
    """What a command prints; None if it failed."""
    done = openssl.run(command)
    return done.stdout.decode(errors="replace") if done.returncode == 0 else None
