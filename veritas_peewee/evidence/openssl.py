"""The `openssl` command, where it is one that can do what is asked of it.

Older ones, and other programs of that name, know neither Ed25519 nor some of the options: what they
refuse says nothing about a signature.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import cache

from veritas_peewee.errors import StoreError

_NEW_ENOUGH = re.compile(r"OpenSSL ([3-9]|[1-9]\d+)\.")


@cache
def command() -> str:
    """The path of the command; StoreError if there is none, or if it is not OpenSSL 3 or later."""
    found = shutil.which("openssl")
    if found is None:
        raise StoreError("there is no `openssl` command")
    version = run([found, "version"]).stdout.decode(errors="replace").strip()
    if not _NEW_ENOUGH.match(version):
        raise StoreError(f"{found}: must be OpenSSL 3 or later, and is {version[:80] or 'not'}")
    return found


def run(words: list[str]) -> subprocess.CompletedProcess[bytes]:
    """Run the command with these words, of which the first is its path."""
    try:
        return subprocess.run(words, capture_output=True, stdin=subprocess.DEVNULL, check=False)
    except OSError as error:
        raise StoreError(f"{words[0]}: cannot be run: {error.strerror or error}") from error
