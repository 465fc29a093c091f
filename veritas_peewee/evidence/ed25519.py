"""Ed25519 by the package `cryptography` (the extra `evidence`) or else by the `openssl` command.

Both make the same signatures. Keys are PEM, as `openssl genpkey -algorithm ed25519` writes them.
"""

from __future__ import annotations

import tempfile
from base64 import b64decode
from pathlib import Path
from typing import Any

from veritas_peewee.errors import StoreError
from veritas_peewee.evidence import openssl

PUBLIC = 32
"""How many bytes a public key has."""
SIGNATURE = 64
"""How many bytes a signature has."""
PUBLIC_AS_DER = bytes.fromhex("302a300506032b6570032100")
"""What stands before a public key's bytes in its DER form (RFC 8410)."""
_LACKING = (
    "the package `cryptography` is not installed (pip install 'veritas-peewee[evidence]'), and "
)
_OTHER = b"Signature Verification Failure"
"""What the command says of a signature that is another one; else it could not check it."""
_NO_KEY = "is not a private key for Ed25519: `veritas-peewee keygen` makes one"


def new_key() -> bytes:
    """A new private key, as PEM. Raises StoreError where nothing can make one."""
    if serialization := _cryptography():
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        made: bytes = Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return made
    return _openssl("genpkey", "-algorithm", "ed25519")


def public_key(key: Path) -> bytes:
    """The public key, in 32 bytes, that belongs to the private one in a PEM file.

    Raises StoreError for a file that is not an Ed25519 private key, with the reason.
    """
    if serialization := _cryptography():
        public: bytes = (
            _loaded(key)
            .public_key()
            .public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        )
        return public
    try:
        der = _openssl("pkey", "-in", str(key), "-pubout", "-outform", "DER", "-passin", "pass:")
    except _Refused as error:
        raise StoreError(f"{key}: {_why_not(_read(key))} ({error})") from error
    if not der.startswith(PUBLIC_AS_DER):
        raise StoreError(f"{key}: {_NO_KEY}")
    return der[len(PUBLIC_AS_DER) :]


def sign(key: Path, message: bytes) -> bytes:
    """The signature, in 64 bytes, of the private key in a PEM file; raises as `public_key`."""
    if _cryptography():
        signed: bytes = _loaded(key).sign(message)
        return signed
    public_key(key)  # other keys sign too
    with tempfile.TemporaryDirectory(prefix="veritas-") as folder:
        text = _file(folder, "text", message)  # OpenSSL 3.0 reads no pipe here
        try:
            return _openssl("pkeyutl", "-sign", "-rawin", "-inkey", str(key), "-in", text)
        except _Refused as error:
            raise StoreError(f"{key}: {error}") from error


def is_signed(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether a signature is that of a public key over a message. Raises StoreError where nothing
    can check it."""
    if len(signature) != SIGNATURE:
        return False
    if _cryptography():
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        try:
            Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
        except InvalidSignature:
            return False
        return True
    with tempfile.TemporaryDirectory(prefix="veritas-") as folder:
        key = _file(folder, "key", PUBLIC_AS_DER + public)
        text = _file(folder, "text", message)
        given = _file(folder, "signature", signature)
        try:
            _openssl(
                "pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey", key, "-rawin",
                "-in", text, "-sigfile", given,
            )  # fmt: skip
        except _Refused as error:
            if not error.is_of_the_signature:
                raise
            return False
        return True


def _file(folder: str, name: str, data: bytes) -> str:
    path = Path(folder, name)
    path.write_bytes(data)
    return str(path)


# ---- the package ----


def _cryptography() -> Any:
    """The package's module for keys in files; None where it is not installed."""
    try:
        from cryptography.hazmat.primitives import serialization
    except ImportError:
        return None
    return serialization


def _loaded(key: Path) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    data = _read(key)
    try:
        found = _cryptography().load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise StoreError(f"{key}: {_why_not(data)}") from error
    if not isinstance(found, Ed25519PrivateKey):
        kind = type(found).__name__.strip("_").removesuffix("PrivateKey")
        raise StoreError(f"{key}: {_NO_KEY} (it is one for {kind})")
    return found


def _read(key: Path) -> bytes:
    # It was read before, but may have gone since: a store signs with it time and again.
    try:
        return key.read_bytes()
    except OSError as error:
        raise StoreError(f"{key}: cannot be read: {error.strerror or error}") from error


def _why_not(data: bytes) -> str:
    """Why what is in a file is no private key."""
    if b"ENCRYPTED" in data:
        return (
            "the key is encrypted: decrypt it with `openssl pkey -in KEY -out OTHER`, and protect "
            "the file"
        )
    if b"PUBLIC KEY-----" in data:
        return "is a public key: the private one signs"
    return _NO_KEY


# ---- the command ----


class _Refused(StoreError):
    """What `openssl` said when it failed."""

    is_of_the_signature = False
    """Whether it was asked to check one, and that is another one."""


def _openssl(*words: str) -> bytes:
    try:
        command = openssl.command()
    except StoreError as error:
        raise StoreError(f"{_LACKING}{error}") from error
    done = openssl.run([command, *words])
    if done.returncode:
        lines = [*done.stderr.decode(errors="replace").splitlines(), *_said(done.stdout)]
        refused = _Refused(f"openssl {words[0]}: {lines[0] if lines else 'failed'}")
        refused.is_of_the_signature = _OTHER in done.stdout
        raise refused
    return done.stdout


def _said(output: bytes) -> list[str]:
    return output.decode(errors="replace").splitlines()


def of_der(der: bytes) -> bytes | None:
    """The public key's 32 bytes, from its DER form; None for another kind of key."""
    if len(der) == len(PUBLIC_AS_DER) + PUBLIC and der.startswith(PUBLIC_AS_DER):
        return der[len(PUBLIC_AS_DER) :]
    return None


def of_pem(text: str) -> bytes | None:
    """The public key's 32 bytes, from its PEM form; None for another kind of key, or no key."""
    _, begun, rest = text.partition("-----BEGIN PUBLIC KEY-----")
    body, ended, _ = rest.partition("-----END PUBLIC KEY-----")
    try:
        return of_der(b64decode("".join(body.split()), validate=True)) if begun and ended else None
    except ValueError:
        return None
