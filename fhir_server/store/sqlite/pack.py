"""The body of an audit entry as it lies on disk: about a quarter of its JSON.

A body is a flat JSON object with one-letter members. Values under capital letters repeat from entry to entry, and are
names; other values are written by their kind: a UUID in 16 bytes, hexadecimal in half its length, a reference as the
name of its type with id and version, anything else as it is. The members' letters are together one name.
A body that is not such an object lies as it is. `unpack(pack(body)) == body`, and no two packed forms are of one body.
"""

import re
from functools import lru_cache
from typing import Any

import orjson

from fhir_server.store.sqlite.names import Names

_TEXT, _UUID, _HEX, _REFERENCE, _VERSION, _NUMBER, _LIST = range(7)
# In the place of the letters' name, the numbers of which begin at 1.
_PLAIN = 0
_UUID_FORM = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_HEX_FORM = re.compile(r"(?:[0-9a-f]{2}){4,120}")
_REFERENCE_FORM = re.compile(r"([A-Z][A-Za-z]{1,40})/([A-Za-z0-9\-.]{1,64})(?:/_history/([1-9][0-9]{0,17}))?")


def pack(body: bytes, names: Names) -> bytes:
    """The packed form."""
    members = _members(body)
    packed = _packed(members, names) if members is not None else None
    return packed if packed is not None else bytes((_PLAIN,)) + body


def _packed(members: dict[str, Any], names: Names) -> bytes | None:
    """The packed form of members; None when one of them cannot be packed."""
    letters, values = "".join(members), tuple(members.values())
    leading = _leading_names(letters)
    # What entries begin with repeats with its names, all of it together.
    beginning = (letters, *values[:leading])
    head = names.heads.get(beginning)
    if head is None:
        if not all(type(value) is str for value in values[:leading]):
            return None
        head = names.keep_head(beginning, b"".join(map(_number, map(names.number, beginning))))
    out = bytearray(head)
    for letter, value in zip(letters[leading:], values[leading:], strict=True):
        kind = type(value)
        if kind is str:
            if letter.isupper():
                _put_number(out, names.number(value))
            else:
                _put_text(out, value, names)
        elif letter.isupper():
            return None
        elif kind is int and value >= 0:
            out.append(_NUMBER)
            _put_number(out, value)
        elif kind is list and all(type(item) is str for item in value):
            out.append(_LIST)
            _put_number(out, len(value))
            for item in value:
                _put_text(out, item, names)
        else:
            return None
    return bytes(out)


@lru_cache(maxsize=1_024)
def _leading_names(letters: str) -> int:
    """How many of the first members are names."""
    return next((n for n, letter in enumerate(letters) if not letter.isupper()), len(letters))


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
    out = bytearray()
    _put_number(out, value)
    return bytes(out)


def _put_number(out: bytearray, value: int) -> None:
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)


def _put_text(out: bytearray, text: str, names: Names) -> None:
    if len(text) == 36 and _UUID_FORM.fullmatch(text) is not None:
        out.append(_UUID)
        out += bytes.fromhex(text.replace("-", ""))
    elif "/" in text and (match := _REFERENCE_FORM.fullmatch(text)) is not None:
        type_, id_, version = match.groups()
        out.append(_REFERENCE if version is None else _VERSION)
        _put_number(out, names.number(type_))
        _put_text(out, id_, names)
        if version is not None:
            _put_number(out, int(version))
    elif _HEX_FORM.fullmatch(text) is not None:
        out.append(_HEX)
        out.append(len(text) // 2)
        out += bytes.fromhex(text)
    else:
        encoded = text.encode()
        out.append(_TEXT)
        _put_number(out, len(encoded))
        out += encoded


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
