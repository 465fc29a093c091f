"""Modules that only POSIX has; on Windows None, and what uses them is left out (`posix_alone`)."""

from __future__ import annotations

try:
    import fcntl
    import pty
    import resource
    import termios
except ImportError:
    fcntl = pty = resource = termios = None  # type: ignore[assignment]

__all__ = ["fcntl", "pty", "resource", "termios"]
