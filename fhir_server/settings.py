"""The server's settings: environment variables `FHIR_SERVER_*`, read once at the start (docs/settings.md)."""

import base64
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, get_type_hints

PREFIX = "FHIR_SERVER_"
# The interactions that may read from secondaries.
READING = frozenset({
    "read", "vread", "search-type", "search-system", "search-compartment",
    "history-instance", "history-type", "history-system", "operation", "$conflicts", "$find", "$match",
})  # fmt: skip


_KEY_BYTES = 32


class Unfit(ValueError):
    """Settings that do not go together."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting with its default; the name of a variable is the field's in capitals after `FHIR_SERVER_`."""

    data: Path = Path("data")
    """The folder of the embedded store."""
    store: str = ""
    """A MongoDB connection string (`mongodb://…`) in place of the embedded store; see docs/mongodb.md."""
    read_secondaries: tuple[str, ...] = ()
    """Interactions, by their names such as search-type, that may ask MongoDB's secondaries, and so may lag behind."""
    origin: str = "http://127.0.0.1:8000"
    """The public base URL of the server, without a trailing slash; every link begins with it."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses whose `Forwarded` header tells the client's address; comma-separated."""
    mounted_tenant: str = ""
    """The one clinic that is served at `/fhir` as well."""
    update_as_create: bool = True
    """Whether PUT to an id that was never used makes the resource."""
    largest_body: int = 10_000_000
    """The longest request body, in bytes; a longer one is refused with 413."""
    conditional_deletes: int = 1
    """The most resources that one conditional delete deletes; one that finds more is refused with 412."""
    largest_bundle: int = 5_000
    """The most entries of a batch or transaction."""
    content_search: bool = False
    """Whether every word of a resource is indexed, for `_content`; it makes the index about twice as large."""
    referential_integrity: str = "lenient"
    """strict: references lead to resources that there are, and what is referred to is not deleted; or lenient."""
    page_size: int = 20
    """Matches on a page when `_count` is not given."""
    largest_page: int = 1_000
    """The most matches on a page, whatever `_count` asks."""
    page_link_seconds: int = 86_400
    """How long a page link works."""
    proposals_per_hour: int = 600
    """Proposals that one address may submit in an hour without a login; 0: any number."""
    audit_reads: bool = True
    """Whether reads and searches are audited. Without it, who saw what cannot be told."""
    key: str = field(default="", repr=False)
    """The key that private signing keys are encrypted with at rest: 32 bytes in base64url. Empty: not encrypted."""
    field_key: str = field(default="", repr=False)
    """The key that MongoDB's bodies and identifiers are encrypted with: 32 bytes in base64url. Empty: not encrypted."""
    signing_key_days: int = 90
    """After how many days a clinic's signing keys are replaced; the old ones verify for another day."""
    registration: str = "off"
    """Dynamic registration of apps: off, token (with an initial access token) or open (patients' apps only)."""
    loopback_jwks: bool = False
    """Whether clients' keys may be fetched from this machine, and by http; for development."""
    audit_keys: Path | None = None
    """A folder outside of the data folder for the keys that sign the audit log's checkpoints; unset, they are kept
    with the data."""
    audit_witness: Path | None = None
    """A file to which every checkpoint of the audit logs is appended; best on another machine's disk."""
    audit_retention_days: int = 2_190
    """How long audit entries are kept at least; `audit purge` refuses to remove younger ones."""

    def __post_init__(self) -> None:
        if self.referential_integrity not in ("strict", "lenient"):
            raise ValueError(f"{PREFIX}REFERENTIAL_INTEGRITY must be strict or lenient.")
        if self.field_key:
            self.field_key_bytes()

    def field_key_bytes(self) -> bytes:
        """The key of fields. Raises ValueError."""
        text = self.field_key
        try:
            key = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except ValueError as error:
            raise ValueError(f"{PREFIX}FIELD_KEY must be base64url.") from error
        if len(key) != _KEY_BYTES:
            raise ValueError(f"{PREFIX}FIELD_KEY must be {_KEY_BYTES} bytes in base64url.")
        return key

    def check_store(self) -> None:
        """Raises Unfit for what the chosen store does not have."""
        if self.field_key and not self.store:
            raise Unfit(
                f"{PREFIX}FIELD_KEY is for MongoDB only; the embedded store is encrypted by the disk that it is on."
            )


def from_environment(environment: Mapping[str, str] = os.environ) -> Settings:
    """The settings of the environment. Raises ValueError that names an unknown or malformed variable."""
    types = get_type_hints(Settings)
    given: dict[str, Any] = {}
    known = {f"{PREFIX}{field.name.upper()}": field.name for field in fields(Settings)}
    for variable, text in environment.items():
        if variable.startswith(PREFIX):
            if variable not in known:
                raise ValueError(f"{variable} is no setting of this server; see docs/settings.md.")
            name = known[variable]
            given[name] = _value(variable, text, types[name])
    unknown = sorted(set(given.get("read_secondaries", ())) - READING)
    if unknown:
        raise ValueError(f"{PREFIX}READ_SECONDARIES: '{unknown[0]}' is none of {', '.join(sorted(READING))}.")
    return Settings(**given)


def _value(variable: str, text: str, type_: Any) -> Any:
    if type_ is bool:
        if text not in ("true", "false"):
            raise ValueError(f"{variable} must be true or false.")
        return text == "true"
    if type_ is int:
        if not text.isascii() or not text.isdigit():
            raise ValueError(f"{variable} must be a whole number.")
        return int(text)
    if type_ in (Path, Path | None):
        return Path(text)
    if type_ is str:
        return text.rstrip("/")
    return tuple(part.strip() for part in text.split(",") if part.strip())
