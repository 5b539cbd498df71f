"""Names of tenants, the same on every store."""

import re

from fhir_server.fhir.errors import BadRequest

# The name under which what belongs to no tenant is recorded.
SERVER = ""
NO_CLINIC = "There is no clinic of this name on this server."
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


def is_name(text: str) -> bool:
    """Whether a text can name a tenant."""
    return _NAME.fullmatch(text) is not None


def check_name(text: str) -> None:
    """Raises BadRequest for a text that cannot name a tenant."""
    if not is_name(text):
        raise BadRequest(
            "A clinic's name is 1 to 63 lower-case letters, digits and hyphens, and begins and ends with a "
            "letter or digit."
        )
