"""Keys for tests: made by the package, or by the command alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from veritas_peewee.evidence import ed25519, keys

NAME = "audits.example.org/store"


@pytest.fixture(params=["package", "command"])
def signs(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What signs and checks: the package `cryptography`, or where it is missing `openssl`."""
    if request.param == "command":
        monkeypatch.setattr(ed25519, "_cryptography", lambda: None)
    return str(request.param)


@pytest.fixture
def key(tmp_path: Path) -> Any:
    """The file of a private key."""
    path = tmp_path / "store.key"
    keys.make_key(path, NAME)
    return path
