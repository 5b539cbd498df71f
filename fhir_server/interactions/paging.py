"""Page links: a signed place in an order, bound to the tenant, the caller and the query, for a while.

Nothing in a link can be changed or carried elsewhere: not to another clinic, caller, type or query.
"""

import base64
import binascii
import hashlib
import hmac

import orjson

from fhir_server.fhir.errors import BadRequest, Gone
from fhir_server.interactions.call import Call
from fhir_server.search.plan import Position

PARAMETER = "_page"
_MAC_LENGTH = 16


def cursor(call: Call, path: str, pairs: list[tuple[str, str]], place: Position) -> str:
    """The value of `_page` for what follows `place`."""
    server = call.clinic.server
    expires = server.clock() // 1_000_000 + server.settings.page_link_seconds
    content = orjson.dumps([expires, place])
    return base64.urlsafe_b64encode(_mac(call, path, pairs, content) + content).decode().rstrip("=")


def place(call: Call, path: str, pairs: list[tuple[str, str]]) -> Position | None:
    """Where the page begins; None for the first. Raises BadRequest for a link that is not ours, Gone when expired."""
    texts = [value for name, value in call.query if name == PARAMETER]
    if not texts:
        return None
    try:
        raw = base64.b64decode(texts[0] + "=" * (-len(texts[0]) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    mac, content = raw[:_MAC_LENGTH], raw[_MAC_LENGTH:]
    if not hmac.compare_digest(mac, _mac(call, path, pairs, content)):
        raise BadRequest(
            "This page link is not one that this server gave to this caller for this query; begin with the query "
            "itself.",
            expression=PARAMETER,
        )
    expires, found = orjson.loads(content)
    if expires <= call.clinic.server.clock() // 1_000_000:
        raise Gone("This page link has expired; begin with the query itself.", code="expired")
    return tuple(found)


def _mac(call: Call, path: str, pairs: list[tuple[str, str]], content: bytes) -> bytes:
    agent = call.access.agent
    bound = orjson.dumps([call.clinic.name, agent.role, agent.client_id, agent.fhir_user, agent.patient, path, pairs])
    # Keyed BLAKE2 (RFC 7693 §2.9): so short a text costs it a third of what an HMAC does.
    return hashlib.blake2b(bound + content, key=call.clinic.secret, digest_size=_MAC_LENGTH).digest()
