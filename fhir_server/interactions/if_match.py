"""If-Match, and the versions in entity tags (RFC 9110 §13.1.1)."""

from collections.abc import Mapping

from fhir_server.fhir.errors import BadRequest, PreconditionFailed
from fhir_server.store.protocol import Stored


def check_if_match(headers: Mapping[str, str], current: Stored | None) -> None:
    """The condition of If-Match (RFC 9110 §13.1.1). Raises BadRequest, PreconditionFailed."""
    wanted = headers.get("if-match")
    if wanted is None:
        return
    if wanted.strip() == "*":
        if current is None or current.is_deleted:
            raise PreconditionFailed("There is no current version for 'If-Match: *'.")
        return
    versions = [version_of(tag) for tag in wanted.split(",")]
    if current is None or str(current.version) not in versions:
        at = f"is at version {current.version}" if current is not None and not current.is_deleted else "is not there"
        raise PreconditionFailed(f"If-Match does not hold: the resource {at}. Read it again and repeat the change.")


def check_if_none_match(headers: Mapping[str, str], current: Stored) -> None:
    """The condition of If-None-Match on a write (RFC 9110 §13.1.2). Raises BadRequest, PreconditionFailed."""
    unwanted = headers.get("if-none-match")
    if unwanted is None:
        return
    if unwanted.strip() == "*" or str(current.version) in [version_of(tag) for tag in unwanted.split(",")]:
        raise PreconditionFailed(f"If-None-Match does not hold: the resource is at version {current.version}.")


def version_of(tag: str) -> str:
    """The version in an entity tag such as W/"3". Raises BadRequest."""
    text = tag.strip().removeprefix("W/")
    if len(text) < 3 or text[0] != '"' or text[-1] != '"':
        raise BadRequest('An entity tag looks like W/"3", with the version between the quotes.')
    return text[1:-1]
