"""The time stamp of a bag's checkpoint (RFC 3161), checked by the `openssl` command."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from veritas_peewee.errors import NotProven, StoreError
from veritas_peewee.evidence import bags
from veritas_peewee.evidence.bag_reading import Bag, content

_MOST = 1 << 20
_TIME = re.compile(r"^Time stamp: (\w{3}) +(\d+) (\d\d:\d\d:\d\d)[\d.]* (\d{4}) GMT$", re.M)


def check(bag: Bag, root: str | os.PathLike[str]) -> datetime:
    """The time that the stamp tells, in UTC.

    It is checked as of that time: certificates expire. Raises NotProven if it is not a stamp of the
    bag's checkpoint that leads to the root certificate, StoreError if there is no `openssl`
    command or the certificate cannot be read.
    """
    program = shutil.which("openssl")
    if program is None:
        raise StoreError("there is no `openssl` command, which checks a time stamp")
    if not Path(root).is_file():
        raise StoreError(f"{root}: there is no such file")
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
        moment = datetime.strptime(" ".join(found[0]), "%b %d %H:%M:%S %Y")
        moment = moment.replace(tzinfo=UTC)
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


def _run(command: list[str]) -> str | None:
    """What a command prints; None if it failed."""
    done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, check=False)
    return done.stdout.decode(errors="replace") if done.returncode == 0 else None
