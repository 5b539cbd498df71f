"""What of a clinic's documents is sealed, where it has a cipher: bodies, and the codes of most token entries.

A code stays readable where the parameter's values are codes, concepts, booleans or ids; those are few, and sorted by.
Every other token is sealed: identifiers, contact points, the identifiers of references, words of the full text, and
whatever a clinic's own parameters find. Plans are sealed alike before they are run, so no other module knows of it.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from fhir_server.fhir.errors import BadRequest, Failed, Unavailable
from fhir_server.search.parameters import Registry
from fhir_server.search.plan import All, Any_, Chain, Has, Node, Not, Query, Test, Token
from fhir_server.store.mongo.cipher import SEALED, Cipher, KeyCipher
from fhir_server.store.params import param_number

_READABLE = frozenset({"code", "boolean", "Coding", "CodeableConcept", "id"})

# Makes the cipher of a clinic.
CipherOf = Callable[[str], Cipher]
SETTING = "FHIR_SERVER_FIELD_KEY"


def readable_params(registry: Registry) -> frozenset[int]:
    """The numbers of the token parameters whose codes stay readable."""
    return frozenset(
        param_number(type_, parameter.code)
        for type_ in registry.definitions.resource_types
        for parameter in registry.parameters(type_).values()
        if parameter.type == "token" and parameter.paths and all(path.type in _READABLE for path in parameter.paths)
    )


@dataclass(frozen=True, slots=True)
class Sealing:
    """How the clinics of a store that are made from now on are sealed, and which codes stay readable."""

    cipher_of: CipherOf
    readable: frozenset[int] = frozenset()

    def fields(self, tenant: str) -> "Fields":
        """The fields of a clinic."""
        return Fields(self.cipher_of(tenant), self.readable)


def with_key(key: bytes, registry: Registry) -> Sealing:
    """The built-in cipher with a key of 32 bytes."""
    return Sealing(lambda tenant: KeyCipher(key, tenant), readable_params(registry))


@dataclass(frozen=True, slots=True)
class Fields:
    """The fields of one clinic; without a cipher all are as they are."""

    cipher: Cipher | None = None
    readable: frozenset[int] = field(default_factory=frozenset)

    def seal_body(self, body: bytes | None, type_: str, id_: str, version: int) -> bytes | None:
        """A version's body as it is stored."""
        if body is None or self.cipher is None:
            return body
        return self.cipher.seal(body, _name(type_, id_, version))

    def open_body(self, body: bytes | None, type_: str, id_: str, version: int) -> bytes | None:
        """A version's body. Raises Failed where the database has another than was stored, Unavailable without a key."""
        if body is None:
            return None
        if self.cipher is None:
            if body.startswith(SEALED):
                raise Unavailable(f"{type_}/{id_} is encrypted, and its clinic is not marked so; see {SETTING}.")
            return body
        try:
            return self.cipher.open(body, _name(type_, id_, version))
        except ValueError as error:
            told = f"Version {version} of {type_}/{id_} is not what was stored: it was changed or moved."
            raise Failed(told) from error

    def seals(self, param: int) -> bool:
        """Whether the codes of the parameter of this number are sealed."""
        return self.cipher is not None and param not in self.readable

    def seal_tokens(self, rows: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        """Rows of tokens (the parameter's number, code, system) as they are stored."""
        if self.cipher is None:
            return list(rows)
        cipher = self.cipher
        return [(row[0], cipher.seal_code(*row[:2]), row[2]) if self.seals(row[0]) else row for row in rows]

    def open_token(self, row: tuple[Any, ...]) -> tuple[Any, ...]:
        """The row that was stored so. Raises Failed."""
        if self.cipher is None or not self.seals(row[0]):
            return row
        try:
            return (row[0], self.cipher.open_code(row[0], row[1]), row[2])
        except ValueError as error:
            raise Failed("An index entry is not what was stored: it was changed or moved.") from error

    def seal_query(self, query: Query) -> Query:
        """The query of what is stored. Raises BadRequest where it is to be sorted by what is sealed."""
        if self.cipher is None:
            return query
        for sort in query.sort:
            if sort.shape == "token" and self.seals(param_number(query.type, sort.param)):
                raise BadRequest(
                    f"'{sort.param}' is encrypted in this store, and cannot be sorted by.",
                    expression="_sort",
                    code="not-supported",
                )
        return replace(query, where=self._seal_node(query.type, query.where))

    def _seal_node(self, type_: str, node: Node) -> Node:
        match node:
            case All(nodes):
                return All(tuple(self._seal_node(type_, each) for each in nodes))
            case Any_(nodes):
                return Any_(tuple(self._seal_node(type_, each) for each in nodes))
            case Not(inner):
                return Not(self._seal_node(type_, inner))
            case Chain(param, target, inner):
                return Chain(param, target, self._seal_node(target, inner))
            case Has(source, param, inner):
                return Has(source, param, self._seal_node(source, inner))
            case Test(param, "token", Token(code, system)) if code is not None and self.cipher is not None:
                number = param_number(type_, param)
                if self.seals(number):
                    return replace(node, sought=Token(self.cipher.seal_code(number, code), system))
        return node


PLAIN = Fields()


def fields_of(sealing: Sealing | None, tenant: str, mark: str) -> Fields:
    """The fields of a clinic with this mark. Raises Unavailable unless the key is the one that it was made with."""
    if not mark:
        return PLAIN
    if sealing is None:
        raise Unavailable(f"This clinic's data are encrypted; the server has no {SETTING}.")
    fields = sealing.fields(tenant)
    if fields.cipher is None or fields.cipher.mark != mark:
        raise Unavailable(f"This clinic's data are encrypted with another {SETTING}.")
    return fields


def _name(type_: str, id_: str, version: int) -> str:
    return f"{type_}/{id_}/{version}"
