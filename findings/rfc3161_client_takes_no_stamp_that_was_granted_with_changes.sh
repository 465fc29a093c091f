#!/usr/bin/env bash
# rfc3161-client 1.0.9 refuses a time stamp whose reply has the status 1, `grantedWithMods`.
#
# RFC 3161, 2.4.2: with the status 0 or 1 the reply has a token, and it is the token that is signed.
# An authority says 1 where it did not do all that was asked, for example left something out. The
# client parses such a reply, and its verifier then says `PKIStatus is not GRANTED` before it looks
# at the signature; there is no option for it. `openssl ts -verify` takes the same bytes. So a stamp
# that is as good as any other counts as one that proves nothing.
#
# The reply is made by OpenSSL's own authority, and differs from its twin in that one number.
#
# Seen with cryptography 50.0.2, OpenSSL 3.0.19 and Python 3.11:
#   granted: True
#   granted with changes: VerificationError: PKIStatus is not GRANTED
#   openssl: Verification: OK (both)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    rfc3161-client==1.0.9 cryptography==50.0.2
cd "$folder"
cat > openssl.cnf <<'C'
[req]
distinguished_name = name
prompt = no
[name]
CN = unused
[ca]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
[tsa]
basicConstraints = CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = critical, timeStamping
[one]
serial = ./serial
default_policy = 1.2.3.4.1
digests = sha256
signer_digest = sha256
C
echo 01 > serial
echo "what is stamped" > data
{
    for name in ca tsa; do
        openssl genpkey -algorithm ec -pkeyopt ec_paramgen_curve:P-256 -out "$name.key"
    done
    openssl req -new -x509 -config openssl.cnf -key ca.key -extensions ca -subj "/CN=Root" -days 9 \
        -out ca.pem
    openssl req -new -config openssl.cnf -key tsa.key -subj "/CN=Stamps" -out tsa.csr
    openssl x509 -req -in tsa.csr -CA ca.pem -CAkey ca.key -set_serial 2 -days 9 \
        -extfile openssl.cnf -extensions tsa -out tsa.pem
    openssl ts -query -data data -sha256 -cert -out request
    openssl ts -reply -config openssl.cnf -section one -queryfile request -signer tsa.pem \
        -inkey tsa.key -out granted
} > log 2>&1 || { cat log; exit 1; }
cat > seen.py <<'PY'
from pathlib import Path

from cryptography import x509
from rfc3161_client import VerificationError, VerifierBuilder, decode_timestamp_response

granted = Path("granted").read_bytes()
status = bytes.fromhex("3003020100")  # of its own, in front of the token that is signed
assert granted.count(status, 0, 16) == 1
Path("changed").write_bytes(granted.replace(status, bytes.fromhex("3003020101"), 1))
root = x509.load_pem_x509_certificate(Path("ca.pem").read_bytes())
verifier = VerifierBuilder().add_root_certificate(root).build()
for name, file in (("granted", "granted"), ("granted with changes", "changed")):
    reply = decode_timestamp_response(Path(file).read_bytes())
    try:
        print(f"{name}:", verifier.verify_message(reply, Path("data").read_bytes()))
    except VerificationError as error:
        print(f"{name}: {type(error).__name__}: {error}")
PY
{
    "$folder/venv/bin/python" seen.py
    for file in granted changed; do
        openssl ts -verify -data data -in "$file" -CAfile ca.pem 2> /dev/null | sed 's/^/openssl: /'
    done
} > seen
cat seen
diff seen - <<'SEEN'
granted: True
granted with changes: VerificationError: PKIStatus is not GRANTED
openssl: Verification: OK
openssl: Verification: OK
SEEN
echo "as described"
