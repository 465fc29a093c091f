"""A real browser without a window, and what it looks at: a server that can be killed."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.support.processes import command, environment
from veritas_peewee import connect

T = TypeVar("T")
REQUIRED = os.environ.get("VERITAS_BROWSER") == "required"
"""Whether tests without a browser fail instead of being left out."""
_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


def left_out(why: str) -> None:
    """Leave a test out, loudly; or fail, where a browser is required."""
    if REQUIRED:
        pytest.fail(f"VERITAS_BROWSER=required, and {why}")
    pytest.skip(f"WARNING: the pages were NOT tried in a real browser: {why}")


@contextmanager
def chromium() -> Iterator[Any]:
    """A headless Chromium, driven by Playwright."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        left_out("PyPI's playwright is not installed")
    found = next((path for name in _NAMES if (path := shutil.which(name))), None)
    if found is None:
        left_out("there is no chromium (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found)
        yield browser
        browser.close()


class Server:
    """The API and the pages in a process of their own, always at the same address."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.port = 0
        self.process: subprocess.Popen[str] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        line = command("serve_pages.py", self.path, self.port, warnings="default")
        self.process = subprocess.Popen(line, env=environment(), stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def kill(self) -> None:
        """End it as `kill -9` does."""
        assert self.process is not None
        self.process.kill()
        self.process.communicate()


class Engine:
    """A process's part that writes to the store while a browser looks: in a thread of its own,
    because Playwright has an event loop in the test's."""

    def __init__(self, path: Path) -> None:
        self.thread = ThreadPoolExecutor(1)
        self.opened = connect(path)
        self.do(self.opened.__enter__)

    def do(self, call: Callable[..., T], *args: Any, **options: Any) -> T:
        return self.thread.submit(call, *args, **options).result(60)

    def close(self) -> None:
        self.do(self.opened.__exit__, None, None, None)
        self.thread.shutdown()
