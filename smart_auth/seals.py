"""Private keys encrypted at rest, with a key from the environment (AES-256-GCM, NIST SP 800-38D).

Stored: `AG1`, the nonce of 12 bytes, the ciphertext with its tag. What was stored before the server had a key is read
as it is, and encrypted once it is written again (`rotate`).
"""

import base64
import binascii
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from smart_auth.keys import Seal, Unsealed

_MARK = b"AG1"
_NONCE = 12
_ABOUT = b"fhir-server signing key"


def from_setting(key: str) -> Seal:
    """The seal of `FHIR_SERVER_KEY`: 32 bytes in base64url. Raises ValueError."""
    if not key:
        return Locked()
    try:
        raw = base64.urlsafe_b64decode(key + "=" * (-len(key) % 4))
    except (binascii.Error, ValueError) as error:
        raise ValueError("FHIR_SERVER_KEY must be base64url.") from error
    if len(raw) != 32:
        raise ValueError("FHIR_SERVER_KEY must be 32 bytes in base64url.")
    return Sealed(raw)


class Locked(Unsealed):
    """No key: plain keys are read and written, encrypted ones refused."""

    def open(self, stored: bytes) -> bytes:
        """What was sealed. Raises ValueError when it is encrypted."""
        if stored.startswith(_MARK):
            raise ValueError("The signing keys are encrypted; start the server with FHIR_SERVER_KEY.")
        return stored


class Sealed:
    """Encrypts with AES-256-GCM."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def close(self, plain: bytes) -> bytes:
        """What is stored."""
        nonce = secrets.token_bytes(_NONCE)
        return _MARK + nonce + self._cipher.encrypt(nonce, plain, _ABOUT)

    def open(self, stored: bytes) -> bytes:
        """What was sealed. Raises ValueError when it cannot be opened."""
        if not stored.startswith(_MARK):
            return stored
        nonce, sealed = stored[len(_MARK) :][:_NONCE], stored[len(_MARK) + _NONCE :]
        try:
            return self._cipher.decrypt(nonce, sealed, _ABOUT)
        except InvalidTag as error:
            raise ValueError("The signing keys were encrypted with another FHIR_SERVER_KEY.") from error
