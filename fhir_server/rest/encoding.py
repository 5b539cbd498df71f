"""Compressed bodies: gzip and zstd, asked for and sent (RFC 9110 §8.4, §12.5.3; RFC 8878).

What a body unpacks to is bounded as the body itself is, so that a small one cannot fill the memory.
"""

import gzip
import zlib
from collections.abc import Mapping

import zstandard

from fhir_server.fhir.errors import BadRequest, TooLarge, UnsupportedMediaType

# Each member looks at what follows it: of more, a body could make long work.
MOST_MEMBERS = 256
# Shorter bodies are sent as they are.
SHORTEST = 1_400


def unpacked(body: bytes, headers: Mapping[str, str], largest: int) -> bytes:
    """The body as it was before its Content-Encoding. Raises TooLarge, BadRequest, UnsupportedMediaType."""
    coding = headers.get("content-encoding", "identity").strip().lower()
    if coding == "identity" or not body:
        return body
    try:
        if coding in ("gzip", "x-gzip"):
            made = _gunzip(body, largest)
        elif coding == "zstd":
            made = _unzstd(body, largest)
        else:
            raise UnsupportedMediaType("A body is sent as it is, or compressed by gzip or zstd.")
    except (zlib.error, zstandard.ZstdError) as error:
        raise BadRequest(f"The body is not {coding}, as its Content-Encoding says.", code="structure") from error
    if len(made) > largest:
        raise TooLarge(f"The body unpacks to more than {largest} bytes, the most that this server takes.")
    return made


def _gunzip(body: bytes, largest: int) -> bytes:
    """The members of a gzip body, joined (RFC 1952 §2.2), but no more of them once they are longer than `largest`."""
    made, rest = b"", body
    for _ in range(MOST_MEMBERS):
        unpacker = zlib.decompressobj(wbits=31)
        made += unpacker.decompress(rest, largest + 1 - len(made))
        rest = unpacker.unused_data
        if len(made) > largest or (unpacker.eof and not rest):
            return made
        if not unpacker.eof:
            break
    raise zlib.error("cut off, or of too many members")


def _unzstd(body: bytes, largest: int) -> bytes:
    """The frames of a zstd body, joined (RFC 8878 §3.1), but no more of them once they are longer than `largest`."""
    unpacker = zstandard.ZstdDecompressor(max_window_size=1 << 24)
    with unpacker.stream_reader(body, read_across_frames=True) as reader:
        made: bytes = reader.read(largest + 1)
    if len(made) > largest:
        return made
    # The reader does not tell a frame that ends from one that is cut off.
    rest = body
    for _ in range(MOST_MEMBERS):
        frame = unpacker.decompressobj()
        frame.decompress(rest)
        rest = frame.unused_data
        if frame.eof and not rest:
            return made
        if not frame.eof:
            break
    raise zstandard.ZstdError("cut off, or of too many frames")


def packed(body: bytes, headers: Mapping[str, str]) -> tuple[str, bytes]:
    """The coding that the caller takes, and the body in it; '' and the body itself where it is short or none fits."""
    if len(body) < SHORTEST or "accept-encoding" not in headers:
        return "", body
    taken = dict(_codings(headers["accept-encoding"]))
    if taken.get("zstd", 0) > 0 and taken.get("zstd", 0) >= taken.get("gzip", 0):
        return "zstd", zstandard.ZstdCompressor(level=3).compress(body)
    if taken.get("gzip", 0) > 0:
        return "gzip", gzip.compress(body, 5, mtime=0)
    return "", body


def _codings(text: str) -> list[tuple[str, float]]:
    found = []
    for part in text.lower().split(","):
        name, *parameters = (piece.strip() for piece in part.split(";"))
        quality = next((piece[2:] for piece in parameters if piece.startswith("q=")), "1")
        found.append((name, _quality(quality)))
    return found


def _quality(text: str) -> float:
    """The number; 0 for what is none."""
    try:
        return float(text)
    except ValueError:
        return 0.0
