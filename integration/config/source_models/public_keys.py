"""Read Ed25519 keys: raw, SPKI or PKCS #8 in base64 or hex, and PEM."""

from __future__ import annotations

import base64
import binascii
from functools import lru_cache
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_der_public_key

PUBLIC_KEY_WORDS: Final = "an Ed25519 public key in PEM, or its 32 bytes or SPKI form in base64 or hex"
PRIVATE_KEY_WORDS: Final = "an Ed25519 private key in PEM, as `openssl genpkey -algorithm ed25519` writes it"
_RAW_BYTES: Final = 32


@lru_cache(maxsize=256)
def read_public_key(text: str) -> Ed25519PublicKey:
    """Return the Ed25519 public key in a text. Raise ValueError if the text is not one."""
    data = _decoded(text)
    if len(data) == _RAW_BYTES:
        return Ed25519PublicKey.from_public_bytes(data)
    try:
        key = load_der_public_key(data)
    except UnsupportedAlgorithm as error:
        raise ValueError(PUBLIC_KEY_WORDS) from error
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError(PUBLIC_KEY_WORDS)  # noqa: TRY004  (the type of key that the text holds)
    return key


def read_private_key(text: str) -> Ed25519PrivateKey:
    """Return the Ed25519 private key in a text. Raise ValueError if the text is not one."""
    data = _decoded(text)
    if len(data) == _RAW_BYTES:
        return Ed25519PrivateKey.from_private_bytes(data)
    try:
        key = load_der_private_key(data, password=None)
    except (UnsupportedAlgorithm, TypeError) as error:
        raise ValueError(PRIVATE_KEY_WORDS) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError(PRIVATE_KEY_WORDS)  # noqa: TRY004  (the type of key that the text holds)
    return key


def _decoded(text: str) -> bytes:
    """Return the bytes of a key in hex, base64 or PEM. Raise ValueError for any other text."""
    text = "".join(line.strip() for line in text.splitlines() if "-----" not in line)
    try:
        return bytes.fromhex(text)
    except ValueError:
        pass
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(PUBLIC_KEY_WORDS) from error
