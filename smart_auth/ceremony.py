"""The ceremonies of WebAuthn: what a browser is asked, and what an authenticator answered, checked by the library.

The library takes half a second to load, so whoever uses this module imports it then, and calls its checks in a thread.
Source: WebAuthn Level 2 §5.4, §5.5, §7.1, §7.2. User verification is always required; attestation never: which make of
authenticator somebody has is not this server's business.
"""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import webauthn
from cryptography.exceptions import UnsupportedAlgorithm
from webauthn.helpers import (
    parse_authentication_credential_json,
    parse_client_data_json,
    parse_registration_credential_json,
)
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from smart_auth.passkeys import Party, Unverified

T = TypeVar("T")

TIMEOUT_IN_MILLISECONDS = 120_000
MAX_ID = 1_023  # bytes (§4, "Credential ID")
# What parsers of CBOR, DER and JSON raise on what a stranger sent.
_FAULTS = (WebAuthnException, UnsupportedAlgorithm, ValueError, TypeError, LookupError, OverflowError, RecursionError,
           AttributeError, struct.error)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Made:
    """A new credential, its public key in COSE form."""

    id: bytes
    public_key: bytes
    count: int


@dataclass(frozen=True, slots=True)
class Claimed:
    """What an answer says before anything is checked: which credential, and whose."""

    id: bytes
    handle: bytes


def creation_options(
    party: Party, handle: bytes, names: tuple[str, str], known: Sequence[bytes], challenge: bytes
) -> str:
    """The JSON that a browser makes a passkey by; `names` are the account's and the person's."""
    options = webauthn.generate_registration_options(
        rp_id=party.id,
        rp_name=party.name,
        user_id=handle,
        user_name=names[0],
        user_display_name=names[1],
        challenge=challenge,
        timeout=TIMEOUT_IN_MILLISECONDS,
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.REQUIRED, user_verification=UserVerificationRequirement.REQUIRED
        ),
        exclude_credentials=[PublicKeyCredentialDescriptor(id=each) for each in known],
    )
    return webauthn.options_to_json(options)


def request_options(party: Party, challenge: bytes) -> str:
    """The JSON that a browser asks for a passkey by: any that the person has for this server."""
    options = webauthn.generate_authentication_options(
        rp_id=party.id,
        challenge=challenge,
        timeout=TIMEOUT_IN_MILLISECONDS,
        user_verification=UserVerificationRequirement.REQUIRED,
    )
    return webauthn.options_to_json(options)


def check_made(party: Party, challenge: bytes, answer: str) -> Made:
    """A new credential. Raises Unverified."""

    def check() -> Made:
        credential = parse_registration_credential_json(answer)
        _check_frame(credential.response.client_data_json)
        made = webauthn.verify_registration_response(
            credential=credential,
            expected_challenge=challenge,
            expected_rp_id=party.id,
            expected_origin=party.origin,
            require_user_verification=True,
        )
        if made.credential_id != credential.raw_id or not 0 < len(made.credential_id) <= MAX_ID:
            raise ValueError("the credential's id is another, or too long")
        return Made(made.credential_id, made.credential_public_key, made.sign_count)

    return _verified(check)


def claimed(answer: str) -> Claimed:
    """Which credential an answer claims to come from. Raises Unverified."""

    def read() -> Claimed:
        credential = parse_authentication_credential_json(answer)
        return Claimed(credential.raw_id, credential.response.user_handle or b"")

    return _verified(read)


def check_used(party: Party, challenge: bytes, public_key: bytes, answer: str) -> int:
    """The counter of a credential that signed the challenge here, its person verified. Raises Unverified."""

    def check() -> int:
        credential = parse_authentication_credential_json(answer)
        _check_frame(credential.response.client_data_json)
        used = webauthn.verify_authentication_response(
            credential=credential,
            expected_challenge=challenge,
            expected_rp_id=party.id,
            expected_origin=party.origin,
            credential_public_key=public_key,
            credential_current_sign_count=0,  # compared by the caller, in the Unit that keeps the new one
            require_user_verification=True,
        )
        return used.new_sign_count

    return _verified(check)


def _check_frame(client_data: bytes) -> None:
    """No page of another site frames ours (§7.1 step 10, §7.2 step 14 of Level 3)."""
    if parse_client_data_json(client_data).cross_origin:
        raise ValueError("made in a frame of another site")


def _verified(check: Callable[[], T]) -> T:
    try:
        return check()
    except _FAULTS as error:
        raise Unverified from error
