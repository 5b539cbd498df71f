"""The body of an audit entry as it lies on disk: about a quarter of its JSON.

A body is a flat JSON object with one-letter members. Values under capital letters repeat from entry to entry, and are
names; other values are written by their kind: a UUID in 16 bytes, hexadecimal in half its length, a reference as the
name of its type with id and version, anything else as it is. The members' letters are together one name.
A body that is not such an object lies as it is. `unpack(pack(body)) == body`, and no two packed forms are of one body.
"""

import re
from collections.abc import Mapping
from typing import Any

import orjson

from fhir_server.store.protocol import AuditEntry
from fhir_server.store.sqlite.names import Names

_TEXT, _UUID, _HEX, _REFERENCE, _VERSION, _NUMBER, _LIST = range(7)
# The members that name a resource, which is often read again.
_COME_AGAIN = frozenset("etp")
# In the place of the letters' name, the numbers of which begin at 1.
_PLAIN = 0
_SMALL = [bytes((number,)) for number in range(0x80)]
_UUID_LENGTH = 36
_UUID_FORM = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
# In bytes; the length is written in one.
_SHORTEST_HEX, _LONGEST_HEX = 4, 120
_REFERENCE_FORM = re.compile(r"([A-Z][A-Za-z]{1,40})/([A-Za-z0-9\-.]{1,64})(?:/_history/([1-9][0-9]{0,17}))?")


def pack(body: bytes, names: Names) -> bytes:
    """The packed form."""
    members = _members(body)
    if members is not None and all(map(_is_packable, members, members.values())):
        return _begun("".join(members), members, names)
    return bytes((_PLAIN,)) + body


def pack_entry(entry: AuditEntry, names: Names) -> bytes:
    """The packed form of an entry's body. What many entries begin with alike is packed once."""
    if entry.parts is None:
        return pack(entry.body, names)
    head, rest = entry.parts
    beginning = (head, *rest)
    packed = names.heads.get(beginning)
    if packed is None:
        leading = orjson.loads(head + b"}")
        packed = names.keep_head(beginning, _begun("".join((*leading, *rest)), leading, names))
    forms, out = names.forms, [packed]
    for letter, value in rest.items():
        form = forms.get(value) if letter in _COME_AGAIN else None
        out.append(_value(letter, value, names) if form is None else form)
    return b"".join(out)


def _begun(letters: str, leading: Mapping[str, Any], names: Names) -> bytes:
    """The packed form of an entry with these members, up to the first that is not `leading`."""
    return _number(names.number(letters)) + b"".join(_value(*member, names) for member in leading.items())


def _value(letter: str, value: Any, names: Names) -> bytes:
    """A member's value as it is written."""
    if letter.isupper():
        return _number(names.number(value))
    if letter not in _COME_AGAIN:
        return _form(value, names)
    known = tuple(value) if type(value) is list else value
    form = names.forms.get(known)
    if form is None:
        form = _form(value, names)
        names.keep_form(known, form)
    return form


def unpack(packed: bytes, names: Names) -> bytes:
    """The body again. Raises ValueError when it is not one that `pack` made."""
    if packed[:1] == bytes((_PLAIN,)):
        members = _members(packed[1:])
        if members is not None and all(map(_is_packable, members, members.values())):
            raise ValueError("an entry lies unpacked that should be packed")
        return packed[1:]
    try:
        reading = _Reading(packed, names)
        members = {letter: reading.member(letter) for letter in names.text(reading.number())}
        reading.end()
    except (IndexError, OverflowError) as error:
        raise ValueError("a packed entry ends too soon") from error
    return orjson.dumps(members)


def _members(body: bytes) -> dict[str, Any] | None:
    """The members of a body of the form that is packed; None for any other."""
    try:
        members = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if type(members) is not dict or orjson.dumps(members) != body:
        return None
    return members if all(len(letter) == 1 for letter in members) else None


def _number(value: int) -> bytes:
    """A number in sevens of bits, the lowest first."""
    if value < 0x80:
        return _SMALL[value]
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _form(value: Any, names: Names) -> bytes:
    """A text, number or list of texts as it is written: by its kind."""
    if type(value) is str:
        return _text_form(value, names)
    if type(value) is int:
        return _SMALL[_NUMBER] + _number(value)
    return _SMALL[_LIST] + _number(len(value)) + b"".join([_text_form(item, names) for item in value])


def _text_form(text: str, names: Names) -> bytes:
    if "/" in text:
        form = _reference_form(text, names)
    elif len(text) == _UUID_LENGTH and _UUID_FORM.fullmatch(text) is not None:
        form = _SMALL[_UUID] + bytes.fromhex(text.replace("-", ""))
    else:
        form = _hex_form(text)
    if form is None:
        encoded = text.encode()
        form = _SMALL[_TEXT] + _number(len(encoded)) + encoded
    return form


def _reference_form(text: str, names: Names) -> bytes | None:
    match = _REFERENCE_FORM.fullmatch(text)
    if match is None:
        return None
    type_, id_, version = match.groups()
    named = _number(names.number(type_)) + _text_form(id_, names)
    return _SMALL[_REFERENCE] + named if version is None else _SMALL[_VERSION] + named + _number(int(version))


def _hex_form(text: str) -> bytes | None:
    """The form of an even number of hexadecimal digits, in small letters; None for anything else."""
    half, odd = divmod(len(text), 2)
    if odd or not _SHORTEST_HEX <= half <= _LONGEST_HEX:
        return None
    try:
        digits = bytes.fromhex(text)
    except ValueError:
        return None
    return _SMALL[_HEX] + _SMALL[half] + digits if digits.hex() == text else None  # it may have had blanks


def _is_packable(letter: str, value: Any) -> bool:
    kind = type(value)
    if letter.isupper() or kind is str:
        return kind is str
    if kind is int:
        return bool(value >= 0)
    return kind is list and all(type(item) is str for item in value)


class _Reading:
    """A place in packed bytes."""

    def __init__(self, packed: bytes, names: Names) -> None:
        self._packed, self._names, self._at = packed, names, 0

    def number(self) -> int:
        value = shift = 0
        while True:
            byte = self._packed[self._at]
            self._at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if byte == 0 and shift:
                    raise ValueError("a number is longer than it need be")
                return value
            shift += 7

    def member(self, letter: str) -> Any:
        if letter.isupper():
            return self._names.text(self.number())
        kind = self._packed[self._at]
        if kind == _NUMBER:
            self._at += 1
            return self.number()
        if kind == _LIST:
            self._at += 1
            return [self.text() for _ in range(self.number())]
        return self.text()

    def text(self) -> str:
        kind = self._packed[self._at]
        self._at += 1
        match kind:
            case 0:
                return self._bytes(self.number()).decode()
            case 1:
                plain = self._bytes(16).hex()
                return f"{plain[:8]}-{plain[8:12]}-{plain[12:16]}-{plain[16:20]}-{plain[20:]}"
            case 2:
                return self._bytes(self._bytes(1)[0]).hex()
            case 3:
                return f"{self._names.text(self.number())}/{self.text()}"
            case 4:
                return f"{self._names.text(self.number())}/{self.text()}/_history/{self.number()}"
            case _:
                raise ValueError("a packed entry has a kind of value that there is not")

    def end(self) -> None:
        if self._at != len(self._packed):
            raise ValueError("a packed entry goes on after its end")

    def _bytes(self, length: int) -> bytes:
        found = self._packed[self._at : self._at + length]
        if len(found) != length:
            raise ValueError("a packed entry ends too soon")
        self._at += length
        return found
