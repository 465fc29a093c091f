"""Calls and errors as text, whatever a caller's own classes do when they are asked for it."""

from __future__ import annotations

from functools import partial
from typing import Any


def text_of_error(error: BaseException) -> str:
    """The message of an error, or the name of its class if the message cannot be made."""
    try:
        return str(error)
    except Exception:  # a caller's own exception class can do anything here
        return type(error).__name__


def text_of_argument(value: object) -> str:
    """An argument for the log: values can be long, and secret; identifiers are short."""
    if callable(value):
        return name_of(value)
    if type(value) is str:
        return repr(value if len(value) <= 60 else f"{value[:59]}…")
    return "…"


def name_of(fn: Any) -> str:
    """The full name of a function, or of the one inside a partial; a class for other callables."""
    while type(fn) is partial:
        fn = fn.func
    try:
        return f"{fn.__module__}.{fn.__qualname__}"
    except Exception:  # a caller's own callable can do anything here
        return type(fn).__qualname__
