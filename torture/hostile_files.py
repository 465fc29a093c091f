"""Hostile paths, links and files: nothing outside the store's folder is read, written or removed.

python -m torture.hostile_files FOLDER OUTSIDE ROUNDS     swap FOLDER for a link to OUTSIDE
"""

from __future__ import annotations

import base64
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from time import perf_counter, sleep
from typing import Any

from torture.followed import ROOT
from torture.hostile import check_error, check_whole, no_hang
from torture.model import Row, Run, fault
from torture.programs.record import png
from veritas_peewee import AuditScreenshot, StoreError, connect, sync
from veritas_peewee.database.current import screenshot_folder
from veritas_peewee.database.sqlite_errors import driver
from veritas_peewee.files.images import MAX_BYTES, ScreenshotFolder, read_image

CANARY = b"CANARY-61c2: nobody may read this"
IMAGE = png(1) + CANARY
"""An image outside the store's folder, which only a link leads to."""
WAITS = 0.0005
"""Seconds for which a link stays, and for which it is gone."""
SLOW = 5.0
"""Storing an image in more seconds than these means that it was decoded."""

Seen = dict[str, tuple[int, int, int, bytes]]


class Zoo:
    """A folder with one of everything that a path can lead to, and how it looks from outside."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.outside = folder / "outside"
        self.evidence = folder / "evidence"
        for made in (self.outside / "below", self.evidence / "folder.png"):
            made.mkdir(parents=True)
        for name in ("passwd", "below/key.pem", "trail.", "new\nline", "win.ini"):
            (self.outside / name).write_bytes(CANARY)
        for name in ("secret.png", "below/secret.png"):
            (self.outside / name).write_bytes(IMAGE)
        (self.evidence / "text.png").write_bytes(CANARY)
        (self.evidence / "cut.png").write_bytes(png(1)[:10] + CANARY)
        (self.evidence / "empty.png").write_bytes(b"")
        with open(self.evidence / "large.png", "wb") as file:
            file.write(png(1))
            file.truncate(MAX_BYTES + 1)
        (self.evidence / "link.png").symlink_to(self.outside / "secret.png")
        (self.evidence / "twice.png").symlink_to("link.png")
        (self.evidence / "itself.png").symlink_to("itself.png")
        (self.evidence / "dangling.png").symlink_to("nowhere.png")
        (self.evidence / "down").symlink_to(self.outside)
        (self.evidence / "deeper").mkdir()
        (self.evidence / "deeper" / "up").symlink_to("../../outside/below")
        os.mkfifo(self.evidence / "pipe.png")
        self.socket = socket.socket(socket.AF_UNIX)
        with suppress(OSError):  # its path may be too long here
            self.socket.bind(str(self.evidence / "socket.png"))

    def sources(self) -> list[str]:
        """Paths that an engine may name, none of which leads to an image of that engine."""
        here, out = str(self.evidence), str(self.outside)
        names = (
            "text.png", "cut.png", "empty.png", "large.png", "link.png", "twice.png", "itself.png",
            "dangling.png", "pipe.png", "socket.png", "folder.png", "nothing.png",
            "down/secret.png",
            "down/below/secret.png", "deeper/up/secret.png", "deeper/../down/secret.png", ".", "..",
            "down", "down/../evidence/text.png", "TEXT.PNG", "text.png/", "text.png/.", "text.png ",
            "text.png.", "deeper/up/../secret.png", "a" * 255 + ".png", "x/" * 3000,
            "new\nline.png",
            "\u202egnp.png", "\uff0e\uff0e/outside/secret.png", "\udcff.png", "nul\0.png", "\ud800",
            "%2e%2e/outside/secret.png", "..\\outside\\secret.png", "text.png:stream",
            "text.png::$DATA",
        )  # fmt: skip
        found = [f"{here}/{name}" for name in names]
        found += [f"{here}//./{name}" for name in names[:16]]
        found += [
            f"{out}/{name}"
            for name in ("passwd", "below/key.pem", "trail.", "new\nline", "win.ini")
        ]
        found += [
            "/etc/passwd", "/etc/shadow", "/etc/hostname", "/dev/null", "/dev/zero", "/dev/random",
            "/dev/full", "/dev/tty", "/dev/stdin", "/dev/fd/0", "/dev/mem", "/dev/kmsg", "/dev/shm",
            "/proc/self/environ", "/proc/self/mem", "/proc/self/cmdline", "/proc/self/maps",
            "/proc/self/exe", "/proc/self/cwd", "/proc/self/fd", "/proc/self/fd/0", "/proc/kmsg",
            "/proc/kcore", "/proc/self/root/etc/passwd", "/proc/1/environ", "/proc/self/pagemap",
            "/proc/sysrq-trigger", "/proc/self/oom_score_adj", "/sys/kernel/notes",
            "/sys/power/state",
            "/proc/self/task", "/proc/self/clear_refs", "/", "//", "/..", "", ".", "..", "~",
            "~root",
            "~/.ssh/id_rsa", "$HOME/x.png", "C:\\Windows\\win.ini", "C:/x.png",
            "\\\\host\\share\\x.png",
            "//host/share/x.png", "CON", "aux.png", "NUL", "LPT1", "PRN.png", "-", "--help", "|id",
            "file:///etc/passwd", f"file://{out}/secret.png", "http://127.0.0.1:9/x.png",
            "ftp://x/y.png",
            "https://example.com/x.png", "data:image/png;base64,AAAA", "javascript:alert(1)",
            "gopher://x",
            "\0", "a\0b", "\n", " ", "\t", "x" * 5000, "\ud83d", "sqlite:///x", ":memory:",
            "*.png", "?",
        ]  # fmt: skip
        return found

    def see(self) -> Seen:
        """Each file's inode, size, time of change and content."""
        found: Seen = {}
        for place in (self.outside, self.evidence):
            for one in sorted(place.rglob("*")):
                told = one.lstat()
                plain = one.is_file() and not one.is_symlink() and told.st_size < 10_000
                data = one.read_bytes() if plain else b""
                found[os.fspath(one)] = (told.st_ino, told.st_size, told.st_mtime_ns, data)
        return found


def stored_paths(own: str, zoo: Zoo) -> list[str]:
    """Paths that a row can have once somebody has edited it."""
    audit = own.partition("/")[0]
    targets = ("etc/passwd", "outside/secret.png", "outside/passwd", "audits.db")
    found = ["../" * depth + target for depth in range(1, 9) for target in targets]
    found += [f"{audit}/{'../' * depth}{target}" for depth in range(1, 9) for target in targets]
    found += [f"{zoo.outside}/{name}" for name in ("passwd", "secret.png", "below/secret.png")]
    found += [
        "", ".", "..", "/", "//", "./" + own, own + "/", own + "/.", "/" + own, own.upper(),
        own + ".",
        own + " ", own + "\0", own + "\n", own.replace("/", "//"), own.replace("/", "\\"), audit,
        audit + "/", audit + "/.", audit + "/..", "..\\audits.db", "%2e%2e/audits.db",
        "\uff0e\uff0e/audits.db",
        "\u2024\u2024/audits.db", "..\u2215audits.db", "file:///etc/passwd",
        "http://example.com/x.png",
        "C:\\Windows\\win.ini", "\\\\host\\share", "~/.ssh/id_rsa", "x" * 300, "x/" * 3000 + "y",
        "CON",
        f"{audit}/link.png", f"{audit}/down/secret.png", "linked/secret.png", f"{audit}/pipe.png",
        f"{audit}/folder", "\ud800", "/dev/zero", "/proc/self/environ", "../audits.db-wal",
        "-rf", "*",
    ]  # fmt: skip
    return found


@fault("hostile-files", "hostile paths, links and files; folders swapped for links",
       rounds=1000, quick=60)  # fmt: skip
def hostile_files(run: Run) -> Iterator[Row]:
    folder = run.folder / "files"
    folder.mkdir()
    zoo = Zoo(folder)
    for name, function in (("sources", sources), ("rows", rows), ("content", content)):
        row = Row(f"hostile-files {name}")
        before, begin = zoo.see(), perf_counter()
        path = folder / f"store-{name}" / "audits.db"
        with no_hang(300):
            function(row, path, zoo)
        if zoo.see() != before:
            changed = {k for k in {*before, *zoo.see()} if before.get(k) != zoo.see().get(k)}
            row.problem(f"outside the folder: {sorted(changed)} changed")
        check_unread(row, path.parent)
        check_whole(row, path)
        row.seconds = perf_counter() - begin
        yield row
    zoo.socket.close()
    yield swaps(run, folder)


def check_unread(row: Row, store: Path) -> None:
    """The canary's content is nowhere in the store: not in the database, not in an image."""
    for one in store.rglob("*"):
        if one.is_symlink() or not one.is_file():
            continue
        data = one.read_bytes()
        if CANARY in data or base64.b64encode(CANARY)[:-4] in data:
            row.problem(f"{one.name} holds what was outside")


def sources(row: Row, path: Path, zoo: Zoo) -> None:
    """Paths in events and results: an error in `errors`, and nothing stored."""
    with connect(path):
        audit = sync.create("https://example.com")
        for source in zoo.sources():
            row.rounds += 1
            for label in ("t0", source):
                event = {"type": "screenshot", "url": source, "label": label, "index": 0}
                try:
                    sync.record(audit.id, {**event, "data": None})
                except Exception as error:
                    check_error(row, f"record {source[:50]!a}", error)
            result = {
                "url": "https://example.com",
                "status": "completed",
                "scout_results": [{"screenshots": [source], "screenshot_labels": [source]}],
                "vision_result": {"findings": [{"screenshot_path": source}]},
            }
            try:
                found = sync.get(sync.ingest(result).id)
                if not any("screenshot" in text for text in found.errors):
                    row.problem(f"{source!a}: no word of it in errors")
                row.count("noted")
            except Exception as error:
                row.problem(f"ingest {source[:50]!a}: {type(error).__name__}: {error}")
            for name in (source, os.path.basename(source)):
                try:
                    sync.delete(sync.create("https://example.com", id=name).id)
                except Exception as error:
                    check_error(row, f"create {name[:50]!a}", error, "id")
        if AuditScreenshot.select().count():
            row.problem("something was stored as a screenshot")
        for text in sync.get(audit.id).errors:
            if len(text) > 1000:
                row.problem(f"a note of {len(text)} characters")


def rows(row: Row, path: Path, zoo: Zoo) -> None:
    """Rows that somebody has edited: reading and deleting stay inside."""
    image = base64.b64encode(png(1)).decode()
    shot = {"type": "screenshot", "label": "t", "index": 0, "data": image}
    folder = ScreenshotFolder(path.parent / "screenshots")
    with connect(path):
        audit = sync.create("https://example.com", id="kept")
        sync.record(audit.id, shot)
        own = sync.get(audit.id).screenshots[0].file_path
    home = folder.root / "kept"
    (home / "link.png").symlink_to(zoo.outside / "secret.png")
    (home / "down").symlink_to(zoo.outside)
    (folder.root / "linked").symlink_to(zoo.outside)
    (home / "folder").mkdir()
    os.mkfifo(home / "pipe.png")
    for stored in stored_paths(own, zoo):
        row.rounds += 1
        with suppress(StoreError):
            if folder.read(stored) != png(1):
                row.problem(f"{stored[:50]!a} was read")
        with connect(path):
            again = sync.create("https://example.com", id="edited")
            sync.record(again.id, shot)
            mine = sync.get("edited").screenshots[0].file_path
        value: Any = stored.encode(errors="surrogatepass") if "\ud800" in stored else stored
        with closing(driver.connect(path)) as connection, connection:
            # As another program would: the store's own triggers are not there.
            connection.execute(
                "UPDATE audit_screenshots SET file_path = ? WHERE audit_id = 'edited'", (value,)
            )
        with connect(path):
            try:
                sync.get("edited")
                sync.delete("edited")
                row.count("deleted")
            except Exception as error:
                row.problem(f"{stored[:50]!a}: {type(error).__name__}: {error!s:.100}")
                break
        folder.remove([mine])
        if stored == own or not (folder.root / own).is_file():
            row.problem(f"{stored[:50]!a}: the deletion took another audit's image")
            break
    for one in (home / "link.png", home / "down", folder.root / "linked", home / "pipe.png"):
        if one.is_symlink() or one.is_fifo():
            one.unlink()


def content(row: Row, path: Path, zoo: Zoo) -> None:
    """Images that are too large, that grow, and that would be too large once decoded."""
    decoders = {"PIL", "cv2"} - sys.modules.keys()
    bomb = bytearray(png(1))
    bomb[16:24] = (100_000).to_bytes(4, "big") * 2
    growing = zoo.folder / "growing.png"
    with connect(path):
        audit = sync.create("https://example.com")
        begin = perf_counter()
        event = {"type": "screenshot", "label": "bomb", "index": 0}
        sync.record(audit.id, {**event, "data": base64.b64encode(bomb).decode()})
        (shot,) = sync.get(audit.id).screenshots
        if screenshot_folder().read(shot.file_path) != bytes(bomb):
            row.problem("the image with large dimensions is not what was sent")
        if perf_counter() - begin > SLOW or decoders & sys.modules.keys():
            row.problem("an image was decoded")
        large = base64.b64encode(png(1) + bytes(MAX_BYTES)).decode()
        try:
            sync.record(audit.id, {**event, "data": large})
            row.problem("an image over the limit was stored")
        except Exception as error:
            check_error(row, "an image over the limit", error, "limit")
        for _ in range(5):
            row.rounds += 1
            growing.write_bytes(png(1))
            os.truncate(growing, MAX_BYTES - 4096)
            done = threading.Event()
            writer = threading.Thread(target=_grow, args=(growing, done))
            writer.start()
            try:
                if len(read_image(str(growing))) > MAX_BYTES:
                    row.problem("more than the limit was read of a file that grows")
                row.count("read while it grew")
            except StoreError:
                row.count("refused while it grew")
            finally:
                done.set()
                writer.join()
    growing.unlink()


def _grow(path: Path, done: threading.Event) -> None:
    with open(path, "ab") as file:
        for _ in range(2000):
            if done.is_set():
                break
            file.write(bytes(4096))
            file.flush()


# ---- folders that are swapped for links ----


def swaps(run: Run, folder: Path) -> Row:
    """Another process swaps folders for links while images are put, read and removed."""
    row = Row("hostile-files swaps", run.rounds)
    begin = perf_counter()
    store, outside, evidence = folder / "swapped", folder / "lure", folder / "found"
    for made in (store, outside, evidence / "a"):
        made.mkdir(parents=True)
    images = ScreenshotFolder(store / "screenshots")
    kept = images.put("vrts_a", 0, "t0", png(1)).file
    name = kept.rpartition("/")[2]
    for lure in (name, "x.png"):
        (outside / lure).write_bytes(IMAGE)
    (evidence / "a" / "x.png").write_bytes(png(1))
    before = {one.name: (one.stat().st_ino, one.read_bytes()) for one in outside.iterdir()}
    command = [sys.executable, "-m", "torture.hostile_files"]
    swappers = [
        subprocess.Popen([*command, place, outside, str(run.rounds)], cwd=ROOT)
        for place in (store / "screenshots" / "vrts_a", evidence / "a")
    ]  # fmt: skip
    while any(swapper.poll() is None for swapper in swappers):
        try:
            images.put("vrts_a", 1, "t1", png(2))
            row.count("put")
        except StoreError:
            row.count("not put")
        try:
            if images.read(kept) != png(1):
                row.problem("an image outside was read through a folder that became a link")
            row.count("read")
        except StoreError:
            row.count("not read")
        images.remove([f"vrts_a/{name}.none", "vrts_a/x.png"])
        try:
            if read_image(f"{evidence}/a/x.png") != png(1):
                row.problem("a link in the middle of a path was followed")
            row.count("found")
        except (StoreError, OSError):
            row.count("not found")
    if any(swapper.returncode for swapper in swappers):
        row.problem("a swapping process failed")
    after = {one.name: (one.stat().st_ino, one.read_bytes()) for one in outside.iterdir()}
    if after != before:
        row.problem(f"outside there is now {sorted(after)}, and there was {sorted(before)}")
    if images.read(kept) != png(1):
        row.problem("the image that was stored first is gone")
    row.seconds = perf_counter() - begin
    return row


def _swap(place: Path, outside: Path, rounds: int) -> None:
    aside = place.with_name("aside")
    for _ in range(rounds):
        place.rename(aside)
        with suppress(FileExistsError):  # a put was quicker, and has made the folder anew
            place.symlink_to(outside)
            sleep(WAITS)
            place.unlink()
        while aside.exists():
            with suppress(OSError):
                aside.rename(place)
            with suppress(OSError):  # with the files that were put into it meanwhile
                for one in place.iterdir() if aside.exists() else ():
                    one.rename(aside / one.name)
        sleep(WAITS)


if __name__ == "__main__":
    _swap(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
