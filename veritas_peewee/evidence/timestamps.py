"""Time stamps (RFC 3161) of checkpoints: the request that an authority answers, and its reply.

Nothing here opens a connection: how a request gets to an authority is its sender's matter. What a
reply is worth is checked at the moment that it states, so one outlives its authority's certificate,
if the certificates above it are kept.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256, sha384, sha512
from pathlib import Path
from typing import Any

from veritas_peewee.errors import NotProven, StoreError
from veritas_peewee.files.durable import appearing_stream

REQUEST, REPLY = ".tsq", ".tsr"
"""What the names of a checkpoint's request and of the reply to it end with."""
_MOST = 1_000_000
"""The most bytes that are read of a reply, a checkpoint, or certificates."""
_HASHES = {
    "2.16.840.1.101.3.4.2.1": sha256,
    "2.16.840.1.101.3.4.2.2": sha384,
    "2.16.840.1.101.3.4.2.3": sha512,
}
_STATES = ("granted", "granted with changes", "rejected", "waiting", "about to be revoked",
           "revoked")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Timestamp:
    """What an authority has confirmed: that it saw these bytes by then."""

    time: datetime
    """When, by the authority's clock."""
    authority: str
    """The authority's name, as its certificate has it."""
    policy: str
    """The policy under which it stamps, as an object identifier."""


def new_request(data: bytes) -> bytes:
    """A request to stamp these bytes, in the form that is sent to an authority.

    It asks for the authority's certificate, and has a nonce. Raises StoreError where the package
    `rfc3161-client` is not installed, with the command that does the same.
    """
    client = _client("openssl ts -query -data CHECKPOINT -sha256 -cert -out CHECKPOINT.tsq")
    builder = client.TimestampRequestBuilder().data(data)
    made: bytes = builder.hash_algorithm(client.HashAlgorithm.SHA256).build().as_bytes()
    return made


def check(reply: bytes, data: bytes, authorities: bytes, request: bytes | None = None) -> Timestamp:
    """What a reply proves of these bytes, by the certificates of trusted authorities in PEM: those
    that certify others, and those between.

    With the `request` it is also checked that the reply is to this one. Raises NotProven, with the
    reason, and StoreError where the package is not installed.
    """
    client = _client(
        "openssl ts -verify -data CHECKPOINT -in CHECKPOINT.tsr -CAfile CA.pem -attime SECONDS"
    )
    from cryptography import x509

    try:
        certificates = x509.load_pem_x509_certificates(authorities)
    except ValueError as error:
        raise NotProven("the authority's certificates are not certificates in PEM") from error
    try:
        read = client.decode_timestamp_response(reply)
    except ValueError as error:
        raise NotProven("it is not a reply of a time stamp authority (RFC 3161)") from error
    if read.status not in (0, 1):
        state = _STATES[read.status] if 0 <= read.status < len(_STATES) else str(read.status)
        raise NotProven(f"the authority did not stamp it: its reply is `{state}`")
    if read.status == 1:  # a stamp all the same, but `rfc3161-client` looks at no such reply
        raise StoreError(
            "the authority has granted it with changes, which cannot be checked here: openssl ts "
            "-verify -data CHECKPOINT -in CHECKPOINT.tsr -CAfile CA.pem -attime SECONDS"
        )
    try:
        info = read.tst_info
    except ValueError as error:
        raise NotProven("there is no time stamp in the authority's reply") from error
    digest = _HASHES.get(info.message_imprint.hash_algorithm.dotted_string)
    if digest is None or digest(data).digest() != info.message_imprint.message:
        raise NotProven("it is a time stamp of something else")
    if request is not None and info.nonce is not None and not _has_nonce(request, info.nonce):
        raise NotProven("it is the reply to another request")
    verifier = client.VerifierBuilder(roots=certificates).build()
    try:
        verifier.verify_message(read, data)
    except (client.VerificationError, ValueError) as error:
        raise NotProven(f"it is not signed by one of these authorities: {error}") from error
    return Timestamp(info.gen_time, _name(info.name), info.policy.dotted_string)


def _has_nonce(request: bytes, nonce: int) -> bool:
    """Whether a request has this nonce, as the DER of an integer."""
    size = nonce.bit_length() // 8 + 1
    der = b"\x02" + bytes([size % 256]) + nonce.to_bytes(size, "big", signed=True)
    return der in request


def _name(name: Any) -> str:
    # What the reply calls the authority, or nothing: it need not say.
    value: Any = getattr(name, "value", None)
    return str(value.rfc4514_string() if hasattr(value, "rfc4514_string") else value or "")


def _client(command: str) -> Any:
    try:
        import rfc3161_client
    except ImportError:
        raise StoreError(
            "time stamps need the package `rfc3161-client` (pip install 'veritas-peewee[evidence]')"
            f"; without it: {command}"
        ) from None
    return rfc3161_client


# ---- beside a checkpoint's file ----


def write_request(checkpoint: str | os.PathLike[str]) -> Path:
    """Write a request to stamp the file of a checkpoint beside it; returns where.

    A request that is there already is replaced. Raises StoreError if a file cannot be read or
    written.
    """
    file = Path(checkpoint)
    target = file.with_name(file.name + REQUEST)
    _write(target, new_request(read_file(file)), replace=True)
    return target


def keep_reply(
    reply: str | os.PathLike[str],
    checkpoint: str | os.PathLike[str],
    authorities: str | os.PathLike[str],
) -> tuple[Path, Timestamp]:
    """Check an authority's reply and keep it beside the checkpoint that it stamps; returns where,
    and what it proves.

    `authorities` is a file of certificates in PEM. Raises the errors of `check`, and StoreError if
    another reply is kept there, or if a file cannot be read or written.
    """
    given, file = Path(reply), Path(checkpoint)
    request = file.with_name(file.name + REQUEST)
    data = read_file(given)
    try:
        found = check(
            data, read_file(file), read_file(Path(authorities)),
            read_file(request) if request.exists() else None,
        )  # fmt: skip
    except NotProven as error:
        raise NotProven(f"{given}: {error}") from error
    target = file.with_name(file.name + REPLY)
    if not target.exists():
        _write(target, data)
    elif read_file(target) != data:
        raise StoreError(f"{target}: holds another reply: give that one another name first")
    return target, found


def read_file(path: Path) -> bytes:
    """What is in a file; StoreError if it cannot be read, or is far too long."""
    try:
        with path.open("rb") as file:
            data = file.read(_MOST + 1)
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error.strerror or error}") from error
    if len(data) > _MOST:
        raise StoreError(f"{path}: is longer than {_MOST} bytes")
    return data


def _write(path: Path, data: bytes, *, replace: bool = False) -> None:
    try:
        with appearing_stream(path, replace=replace) as file:
            file.write(data)
    except OSError as error:
        raise StoreError(f"{path}: cannot be written: {error.strerror or error}") from error
