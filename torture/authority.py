"""A time stamp authority of one's own, by the `openssl` command."""

from __future__ import annotations

import subprocess
from pathlib import Path

_CONFIG = """\
[req]
distinguished_name = name
prompt = no
[name]
CN = An authority
[root]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
[stamps]
basicConstraints = CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = critical,timeStamping
[tsa]
default_tsa = one
[one]
serial = serial
default_policy = 1.2.3.4.1
digests = sha256
signer_digest = sha256
"""


class Authority:
    """Stamps data with the time of now; its root certificate is a file."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        (folder / "conf").write_text(_CONFIG)
        (folder / "serial").write_text("01\n")
        for name in ("root", "stamps"):
            self._run("genpkey", "-algorithm", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                      "-out", f"{name}.key")  # fmt: skip
        new = ("req", "-new", "-config", "conf", "-subj")
        self._run(*new, "/CN=root", "-x509", "-extensions", "root", "-days", "9",
                  "-key", "root.key", "-out", "root.pem")  # fmt: skip
        self._run(*new, "/CN=stamps", "-key", "stamps.key", "-out", "request")
        self._run("x509", "-req", "-in", "request", "-CA", "root.pem", "-CAkey", "root.key",
                  "-set_serial", "7", "-days", "9", "-extfile", "conf", "-extensions", "stamps",
                  "-out", "stamps.pem")  # fmt: skip
        self.root = folder / "root.pem"
        self.certificates = (folder / "stamps.pem").read_bytes()

    def stamp(self, data: bytes) -> bytes:
        """The authority's reply over data."""
        (self._folder / "data").write_bytes(data)
        self._run("ts", "-query", "-data", "data", "-sha256", "-cert", "-out", "query")
        self._run("ts", "-reply", "-config", "conf", "-queryfile", "query", "-signer",
                  "stamps.pem", "-inkey", "stamps.key", "-out", "reply")  # fmt: skip
        return (self._folder / "reply").read_bytes()

    def _run(self, *words: str) -> None:
        subprocess.run(["openssl", *words], cwd=self._folder, check=True, capture_output=True)
