"""The URLs of one tenant, on the public origin (docs: interfaces, "URLs")."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TenantUrls:
    """A tenant's URLs. `origin` without a trailing slash, for instance `https://fhir.example.org`."""

    origin: str
    tenant: str

    @property
    def fhir_base(self) -> str:
        """The audience of access tokens."""
        return f"{self.origin}/{self.tenant}/fhir"

    @property
    def issuer(self) -> str:
        """The issuer of tokens (RFC 8414 §2)."""
        return f"{self.origin}/{self.tenant}/auth"

    @property
    def token(self) -> str:
        """The token endpoint, the audience of client assertions (RFC 7523 §3)."""
        return f"{self.issuer}/token"
