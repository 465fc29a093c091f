"""One audit as a bag (BagIt 1.0, RFC 8493): which files it has, and how it is written.

A bag is the same byte for byte whenever and wherever it is made of the same audit and checkpoint:
nothing in it tells the time of its making, and a zip file has fixed times and packs nothing.
"""

from __future__ import annotations

import hashlib
import re
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib import resources
from pathlib import Path
from typing import BinaryIO, cast

AUDIT, REPORT = "data/audit.jsonl", "data/report.html"
"""The audit for `import`, and as a page: for reading, and proven by nothing."""
EVENTS, LENGTHS = "data/log/events", "data/log/lengths"
"""The bytes that the events' digests cover, one after the other; and how many each one has."""
AUDIT_ID = "data/proof/audit-id"
CHECKPOINT = "data/proof/checkpoint"
INCLUSION, INDEX = "data/proof/inclusion", "data/proof/index"
"""The proof that the log's last event is in the checkpoint's tree, and the position of its leaf."""
VKEY = "data/proof/log.vkey"
SCREENSHOTS = "data/screenshots/"
STAMP, AUTHORITY = "checkpoint.tsr", "tsa.pem"
"""The reply of a time stamp authority over the checkpoint, and its certificates."""
INFO, README, SCRIPT = "bag-info.txt", "README.txt", "verify.sh"
MANIFEST, TAG_MANIFEST = "manifest-sha256.txt", "tagmanifest-sha256.txt"
DECLARATION = "bagit.txt"

REQUIRED = (AUDIT_ID, CHECKPOINT, EVENTS, INCLUSION, INDEX, LENGTHS)
KNOWN = frozenset(
    (*REQUIRED, AUDIT, REPORT, VKEY, STAMP, AUTHORITY, DECLARATION, INFO, README, SCRIPT, MANIFEST)
)
"""The files that a bag can have, beside the images."""
LINE = re.compile(rb"([0-9a-f]{64})  ([A-Za-z0-9][A-Za-z0-9._/-]*)")
"""A line of a manifest. Names with other characters are in no bag: tools disagree on them."""

_FOLDER = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")
_DECLARED = "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
_README = """\
This is one audit of a store of VERITAS, as it was recorded, and the proof of it.

To check it you need no software of ours, but a POSIX shell with sha256sum, base64, grep, sed and
OpenSSL 3, and two things from elsewhere than this bag, for whoever altered the bag could have
altered them too: the script verify.sh (here is a copy), and the store's public key.

    sh verify.sh BAG KEY [ROOT]

BAG is this folder, KEY a file with the public key (a vkey, or PEM), and ROOT one with the root
certificate of the authority that put a time stamp on the log (PEM), if you have it.


It proves that the events in data/log/events are those of this audit, all up to the last one here
and in their order, in a log that was signed with the key, and that the images are those of which
the log tells. To read the events: tr '\\000' '\\n' < data/log/events

It does not prove that no later events exist, nor that everybody was shown the same log. And nothing
but data/log, data/proof and data/screenshots is proven: data/audit.jsonl and data/report.html are
for reading, the log is what counts.
"""


def script() -> bytes:
    """The shell script that checks a bag."""
    return (resources.files("veritas_peewee.evidence") / SCRIPT).read_bytes()


class Writing:
    """A bag in the making: its files, and what its manifests will say of them."""

    def __init__(self, create: Callable[[str], AbstractContextManager[BinaryIO]]) -> None:
        self._create = create
        self._sums: dict[str, str] = {}
        self._bytes = 0

    @contextmanager
    def file(self, name: str) -> Iterator[BinaryIO]:
        """A new file of the bag, open for writing."""
        with self._create(name) as file:
            summed = _Summed(file)
            yield cast(BinaryIO, summed)
        self._sums[name] = summed.digest.hexdigest()
        self._bytes += summed.size if name.startswith("data/") else 0

    def add(self, name: str, content: bytes | str) -> None:
        """Write a file of the bag."""
        with self.file(name) as file:
            file.write(content.encode() if isinstance(content, str) else content)

    def finish(self, info: list[tuple[str, str]]) -> None:
        """Write what every bag has; `info` are the lines of its bag-info.txt."""
        payload = {name for name in self._sums if name.startswith("data/")}
        self.add(DECLARATION, _DECLARED)
        lines = [*info, ("Payload-Oxum", f"{self._bytes}.{len(payload)}")]
        self.add(INFO, "".join(f"{label}: {_on_one_line(text)}\n" for label, text in lines))
        self.add(README, _README)
        self.add(SCRIPT, script())
        self.add(MANIFEST, self._manifest(payload))
        self.add(TAG_MANIFEST, self._manifest(self._sums.keys() - payload))

    def _manifest(self, names: set[str]) -> str:
        return "".join(f"{self._sums[name]}  {name}\n" for name in sorted(names))


def _on_one_line(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)


class _Summed:
    """A stream for writing that also counts and digests what is written."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.digest = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        self.size += len(data)
        return self._file.write(data)


def in_folder(folder: Path) -> Writing:
    """A bag that is written into an empty folder."""

    @contextmanager
    def create(name: str) -> Iterator[BinaryIO]:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            yield file

    return Writing(create)


@contextmanager
def in_zip(target: BinaryIO, top: str) -> Iterator[Writing]:
    """A bag that is written as a zip file, as its one folder `top`, to a stream."""
    folder = top if _FOLDER.fullmatch(top) else "audit"
    # Not told that the stream can be sought in: what is written is the same for all streams.
    with zipfile.ZipFile(cast(BinaryIO, _Onward(target)), "w", zipfile.ZIP_STORED) as archive:

        @contextmanager
        def create(name: str) -> Iterator[BinaryIO]:
            entry = zipfile.ZipInfo(f"{folder}/{name}", (1980, 1, 1, 0, 0, 0))
            entry.external_attr, entry.create_system = 0o100644 << 16, 3
            with archive.open(entry, "w") as file:
                yield cast(BinaryIO, file)

        yield Writing(create)


class _Onward:
    def __init__(self, target: BinaryIO) -> None:
        self.write = target.write

    def flush(self) -> None:
        """The target's owner flushes it."""
