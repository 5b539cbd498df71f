"""Receipts of proposals: a bearer token whose only grant is to read one proposal, and to withdraw it where the clinic's
rule allows that (interfaces, "Website builder"; R-10.4). It tells what became of the proposal, and nothing of the visit
(R-7.4, decision 0130).

It is `pr.` with the proposal's id and end, signed with the clinic's secret: nothing is stored for it, it works for one
clinic only, and it expires with the proposal.
"""

import base64
import binascii
import hashlib
import hmac

import orjson

from fhir_server.fhir.clock import Micros
from fhir_server.interactions.access import Access, Agent, Grant
from fhir_server.interactions.clinic import Clinic
from fhir_server.search.plan import Test, Token, all_of, any_of

PREFIX = "pr."
HEADER = "Proposal-Receipt"
SHOWN = frozenset({"status", "start", "end", "serviceType", "serviceCategory", "cancelationReason"})
# A proposal's life, its outcome included; in the statuses after these the appointment goes on without it.
STATUSES = ("proposed", "pending", "waitlist", "booked", "cancelled")
_MAC_LENGTH = 32


def issue(clinic: Clinic, appointment_id: str, expires: Micros, *, may_withdraw: bool, through: str = "") -> str:
    """The receipt of a proposal; `through` is the client that submitted it, for the audit of what the holder does."""
    content = orjson.dumps([appointment_id, expires // 1_000_000, may_withdraw, through])
    return PREFIX + base64.urlsafe_b64encode(_mac(clinic, content) + content).decode().rstrip("=")


def access(clinic: Clinic, token: str, anonymous: Access) -> Access | None:
    """What a receipt adds to what everybody may; None when it is not one of this clinic's, or has expired."""
    text = token.removeprefix(PREFIX)
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    mac, content = raw[:_MAC_LENGTH], raw[_MAC_LENGTH:]
    if not hmac.compare_digest(mac, _mac(clinic, content)):
        return None
    id_, expires, may_withdraw, *through = orjson.loads(content)
    if expires <= clinic.server.clock() // 1_000_000:
        return None
    open_or_decided = any_of(*(Test("status", "token", Token(status, None)) for status in STATUSES))
    rows = all_of(Test("_id", "token", Token(id_, "")), open_or_decided)
    letters = frozenset("ru" if may_withdraw else "r")
    grant = Grant(letters, rows, SHOWN, "R-7.1 receipt of a proposal")
    name = " of ".join(["holder of a receipt", *filter(None, through)])
    agent = Agent(role="public", name=name, token_id=hashlib.sha256(content).hexdigest()[:16])
    grants = dict(anonymous.grants)
    grants["Appointment"] = (*grants.get("Appointment", ()), grant)
    return Access(agent, grants)


def _mac(clinic: Clinic, content: bytes) -> bytes:
    # The name sets receipts apart from everything else that is signed with the secret.
    return hmac.digest(clinic.secret, b"receipt\0" + clinic.name.encode() + b"\0" + content, hashlib.sha256)
