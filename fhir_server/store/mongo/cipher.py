"""How fields are sealed that the database shall not read, and the one way that is built in.

A cipher is one clinic's: what it seals cannot be opened in another. The built-in one derives three keys from the
server's key and the clinic's name (HKDF-SHA-256, RFC 5869): one for codes (AES-256-SIV, RFC 5297: equal codes of one
parameter are sealed equally, so that they can be sought), one for bodies (AES-256-GCM, NIST SP 800-38D, with a nonce of
96 random bits: for up to 2^32 bodies), and one that says which key it is.
"""

import base64
import secrets
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

# The first byte of a sealed body; JSON never begins with it.
SEALED = b"\x01"

_NONCE = 12


class Cipher(Protocol):
    """Seals the fields of one clinic."""

    @property
    def mark(self) -> str:
        """Tells which key this is without telling the key; kept with the clinic, so that another is noticed."""

    def seal_code(self, param: int, code: str) -> str:
        """A code of the parameter of this number; equal ones are sealed equally."""

    def open_code(self, param: int, sealed: str) -> str:
        """What was sealed. Raises ValueError when it was not, or for another clinic or parameter."""

    def seal(self, plain: bytes, name: str) -> bytes:
        """A body; it begins with SEALED, and can be opened by the same name only."""

    def open(self, sealed: bytes, name: str) -> bytes:
        """What was sealed. Raises ValueError when it was not, or for another clinic or name, or was changed."""


class KeyCipher:
    """Seals with keys that are derived from one key of 32 bytes and the clinic's name."""

    def __init__(self, key: bytes, tenant: str) -> None:
        self._tenant = tenant.encode()
        self._codes = AESSIV(_derived(key, f"codes of {tenant}", 64))
        self._bodies = AESGCM(_derived(key, f"bodies of {tenant}", 32))
        self._mark = base64.urlsafe_b64encode(_derived(key, f"mark of {tenant}", 15)).decode()

    @property
    def mark(self) -> str:
        """Tells which key this is."""
        return self._mark

    def seal_code(self, param: int, code: str) -> str:
        """A code, sealed; '' is no code and stays."""
        if not code:
            return ""
        sealed = self._codes.encrypt(code.encode("utf-8", "surrogatepass"), [self._tenant, param.to_bytes(8, "big")])
        return base64.urlsafe_b64encode(sealed).decode()

    def open_code(self, param: int, sealed: str) -> str:
        """What was sealed. Raises ValueError."""
        if not sealed:
            return ""
        try:
            raw = base64.b64decode(sealed, altchars=b"-_", validate=True)
            opened = self._codes.decrypt(raw, [self._tenant, param.to_bytes(8, "big")])
        except (InvalidTag, ValueError) as error:
            raise ValueError("not sealed by this key for this place") from error
        return opened.decode("utf-8", "surrogatepass")

    def seal(self, plain: bytes, name: str) -> bytes:
        """A body: SEALED, the nonce, the ciphertext with its tag."""
        nonce = secrets.token_bytes(_NONCE)
        return SEALED + nonce + self._bodies.encrypt(nonce, plain, self._about(name))

    def open(self, sealed: bytes, name: str) -> bytes:
        """What was sealed. Raises ValueError."""
        nonce, rest = sealed[1 : 1 + _NONCE], sealed[1 + _NONCE :]
        try:
            if not sealed.startswith(SEALED):
                raise ValueError("not sealed")
            return self._bodies.decrypt(nonce, rest, self._about(name))
        except (InvalidTag, ValueError) as error:
            raise ValueError("not sealed by this key for this place") from error

    def _about(self, name: str) -> bytes:
        return self._tenant + b"\0" + name.encode()


def _derived(key: bytes, purpose: str, length: int) -> bytes:
    return HKDF(SHA256(), length, salt=None, info=f"fhir-server {purpose}".encode()).derive(key)
