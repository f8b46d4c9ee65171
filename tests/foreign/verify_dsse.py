"""Verifies certificates with programs that nobody here wrote: securesystemslib, and openssl by its command line.

usage: verify_dsse.py PUBLIC_KEY.pem CERTIFICATE...

For every certificate, both programs must accept the signature, and both must refuse it after one byte of the payload,
one byte of the signature, and the key is changed in turn. Needs securesystemslib with its crypto extra, and openssl 3.
"""

import base64
import copy
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey


def by_securesystemslib(pem: bytes, document: dict) -> bool:
    """DSSE verification by securesystemslib: threshold 1, the key found by the envelope's keyid."""
    key = SSlibKey.from_crypto(load_pem_public_key(pem), keyid=document["signatures"][0]["keyid"])
    try:
        accepted = Envelope.from_dict(copy.deepcopy(document)).verify([key], 1)
    except VerificationError:
        return False
    return len(accepted) == 1


def pre_authentication_encoding(document: dict) -> bytes:
    """What is signed, written from the DSSE v1 protocol and not from this project's code."""
    kind, payload = document["payloadType"].encode(), base64.b64decode(document["payload"], validate=True)
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def by_openssl(pem: bytes, document: dict) -> bool:
    """Ed25519 verification by `openssl pkeyutl`."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "key.pem").write_bytes(pem)
        (folder / "signed").write_bytes(pre_authentication_encoding(document))
        (folder / "signature").write_bytes(base64.b64decode(document["signatures"][0]["sig"], validate=True))
        command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", folder / "key.pem", "-rawin"]
        command += ["-in", folder / "signed", "-sigfile", folder / "signature"]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
    accepted = "Signature Verified Successfully" in ran.stdout
    if accepted != (ran.returncode == 0):
        raise SystemExit(f"openssl said {ran.stdout!r} {ran.stderr!r} with exit code {ran.returncode}")
    if not accepted and "Verification Failure" not in ran.stdout:
        raise SystemExit(f"openssl did not get as far as verifying: {ran.stderr}")
    return accepted


def flipped(text: str, place: int) -> str:
    """The base64 text of the same bytes with one bit changed."""
    raw = bytearray(base64.b64decode(text, validate=True))
    raw[place % len(raw)] ^= 1
    return base64.b64encode(bytes(raw)).decode()


def check_certificate(pem: bytes, path: Path) -> None:
    document = json.loads(path.read_text(encoding="utf-8"))
    payload = copy.deepcopy(document)
    payload["payload"] = flipped(payload["payload"], 1000)
    signature = copy.deepcopy(document)
    signature["signatures"][0]["sig"] = flipped(signature["signatures"][0]["sig"], 5)
    kind = dict(document, payloadType="text/plain")
    stranger = Ed25519PrivateKey.generate().public_key()
    other = stranger.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    cases = [
        ("as it is", pem, document, True),
        ("one byte of the payload changed", pem, payload, False),
        ("one byte of the signature changed", pem, signature, False),
        ("another payload type", pem, kind, False),
        ("another key", other, document, False),
    ]
    for name, key, changed, wanted in cases:
        for program in (by_securesystemslib, by_openssl):
            if program(key, changed) != wanted:
                raise SystemExit(f"{path}, {name}: {program.__name__} said {not wanted}")
    statement = json.loads(base64.b64decode(document["payload"]))
    if statement["_type"] != "https://in-toto.io/Statement/v1" or not statement["subject"]:
        raise SystemExit(f"{path}: the payload is no in-toto Statement v1")
    print(f"{path}: accepted by securesystemslib and openssl, and refused in {len(cases) - 1} changed forms")


def main() -> None:
    if len(sys.argv) < 3:
        raise SystemExit(__doc__)
    pem = Path(sys.argv[1]).read_bytes()
    for name in sys.argv[2:]:
        check_certificate(pem, Path(name))


if __name__ == "__main__":
    main()
