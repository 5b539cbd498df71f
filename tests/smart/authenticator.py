"""An authenticator in software (WebAuthn Level 2 §6): ES256, one person, attestation `none` or `packed` by itself."""

import base64
import hashlib
import json
import secrets
from dataclasses import dataclass, field
from typing import Any

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

PRESENT, VERIFIED, ATTESTED = 0x01, 0x04, 0x40


@dataclass
class Authenticator:
    """Holds one passkey at a time. What an attack changes is an argument or an attribute."""

    origin: str = "https://fhir.example.org"
    count: int = 0
    step: int = 1  # what the counter grows by at each use
    attestation: str = "none"
    id: bytes = b""
    handle: bytes = b""
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def make(self, options: dict[str, Any], **changes: Any) -> dict[str, Any]:
        """What `navigator.credentials.create` gives a page."""
        self.id = changes.get("id", secrets.token_bytes(32))
        self.handle = decode(options["user"]["id"])
        client = self._client("webauthn.create", options, changes)
        numbers = self.key.public_key().public_numbers()
        x, y = numbers.x.to_bytes(32, "big"), numbers.y.to_bytes(32, "big")
        cose = cbor2.dumps({1: 2, 3: changes.get("algorithm", -7), -1: 1, -2: x, -3: y})
        credential = bytes(16) + len(self.id).to_bytes(2, "big") + self.id + cose
        data = self._data(
            changes.get("rp_id", options["rp"]["id"]), changes.get("flags", PRESENT | VERIFIED) | ATTESTED
        )
        data += credential
        statement = {"alg": -7, "sig": self._sign(data, client)} if self.attestation == "packed" else {}
        attested = cbor2.dumps({"fmt": self.attestation, "attStmt": statement, "authData": data})
        response = {"clientDataJSON": encode(client), "attestationObject": encode(attested)}
        return {"id": encode(self.id), "rawId": encode(self.id), "type": "public-key", "response": response}

    def use(self, options: dict[str, Any], **changes: Any) -> dict[str, Any]:
        """What `navigator.credentials.get` gives a page."""
        self.count += self.step
        client = self._client("webauthn.get", options, changes)
        data = self._data(changes.get("rp_id", options["rpId"]), changes.get("flags", PRESENT | VERIFIED))
        response = {
            "clientDataJSON": encode(client),
            "authenticatorData": encode(data),
            "signature": encode(self._sign(data, client)),
            "userHandle": encode(changes.get("handle", self.handle)),
        }
        return {"id": encode(self.id), "rawId": encode(self.id), "type": "public-key", "response": response}

    def _client(self, type_: str, options: dict[str, Any], changes: dict[str, Any]) -> bytes:
        said = {
            "type": changes.get("type", type_),
            "challenge": changes.get("challenge", options["challenge"]),
            "origin": changes.get("origin", self.origin),
            "crossOrigin": changes.get("cross_origin", False),
        }
        return json.dumps(said).encode()

    def _data(self, rp_id: str, flags: int) -> bytes:
        return hashlib.sha256(rp_id.encode()).digest() + bytes([flags]) + self.count.to_bytes(4, "big")

    def _sign(self, data: bytes, client: bytes) -> bytes:
        return self.key.sign(data + hashlib.sha256(client).digest(), ec.ECDSA(hashes.SHA256()))


def encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
