"""What was revoked before its time: tokens, grants, clients and people (RFC 7009, RFC 9700 §4.14.2).

Kept values of kind `revoked`, named by a mark: `jti …`, `grant …`, `client …` or `user …`. Every process reads them
anew each second, and at once after it revoked something itself; so a check costs a look into a set.
"""

from collections.abc import Sequence

from fhir_server.fhir.clock import Clock, Micros
from fhir_server.store.protocol import Store, Unit

KIND = "revoked"
# After this long, what another process revoked is seen.
SEEN_AFTER: Micros = 1_000_000


def token_mark(token_id: str) -> str:
    """One access token."""
    return f"jti {token_id}"


def grant_mark(grant: str) -> str:
    """All tokens that stem from one consent."""
    return f"grant {grant}"


def client_mark(client_id: str) -> str:
    """All tokens of a client."""
    return f"client {client_id}"


def user_mark(name: str) -> str:
    """All tokens of a person."""
    return f"user {name}"


async def revoke(unit: Unit, mark: str, expires: Micros | None) -> None:
    """Revoke what the mark names; `expires` is when the last token that it could mean has expired."""
    await unit.keep(KIND, mark, b"1", expires)


async def restore(unit: Unit, mark: str) -> None:
    """Undo a revocation."""
    if await unit.peek(KIND, mark) is not None:
        await unit.take(KIND, mark)


class Revocations:
    """The revoked marks of the tenants, as this process last read them."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._known: dict[str, tuple[Micros, frozenset[str]]] = {}

    async def is_revoked(self, tenant: str, marks: Sequence[str]) -> bool:
        """Whether any of the marks is revoked."""
        known = self._known.get(tenant)
        now = self._clock()
        if known is None or now - known[0] >= SEEN_AFTER:
            # The time of the question, not of the answer: what is revoked meanwhile is not missed for longer.
            known = now, frozenset(await self._store.run(tenant, _marks, write=False, quick=True))
            self._known[tenant] = known
        return bool(known[1]) and not known[1].isdisjoint(marks)

    def forget(self, tenant: str) -> None:
        """Read anew at the next question."""
        self._known.pop(tenant, None)


async def _marks(unit: Unit) -> list[str]:
    return [name for name, _ in await unit.kept(KIND)]
