"""The Ed25519 key that signs a clinic's checkpoints (RFC 8032), and its public part that verifies them.

The private key is a file of its own where the setting `audit_keys` names a folder, which should lie outside of the
data folder; otherwise it is kept with the clinic's data, and whoever can change those could sign anew.
"""

import hashlib
import os
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from fhir_server.audit.checkpoint import DOMAIN
from fhir_server.store.protocol import Store, Unit

KIND = "audit-key"
SERVER_NAME = "_server"


class Signer:
    """Signs checkpoints."""

    def __init__(self, private: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(private)
        self.public = self._key.public_key().public_bytes_raw()
        self.key_id = key_id(self.public)

    def sign(self, body: bytes) -> bytes:
        """The signature of a checkpoint's body."""
        return self._key.sign(DOMAIN + body)


def key_id(public: bytes) -> str:
    """The name of a public key in checkpoints."""
    return hashlib.sha256(public).hexdigest()[:16]


def is_signed(public: bytes, body: bytes, signature: bytes) -> bool:
    """Whether a signature is by this key."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, DOMAIN + body)
    except InvalidSignature:
        return False
    return True


async def signer(store: Store, tenant: str, folder: Path | None) -> Signer:
    """The tenant's signer, its key made where there is none. The public key is kept with the log either way."""
    given = _from_folder(folder, tenant) if folder is not None else None

    async def work(unit: Unit) -> bytes:
        private = given or await unit.peek(KIND, "private") or os.urandom(32)
        public = Signer(private).public
        if given is None:
            await unit.keep(KIND, "private", private)
        await unit.keep(KIND, f"public-{key_id(public)}", public)
        return private

    return Signer(await store.run(tenant, work, write=True))


async def public_keys(unit: Unit) -> list[bytes]:
    """The public keys that are kept with the log: good for finding accidents, not for convicting its keeper."""
    return [value for name, value in await unit.kept(KIND) if name.startswith("public-")]


def _from_folder(folder: Path, tenant: str) -> bytes:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"{tenant or SERVER_NAME}.ed25519"
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:  # noqa: PTH123
            file.write(os.urandom(32).hex() + "\n")
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        pass
    return bytes.fromhex(path.read_text().strip())
