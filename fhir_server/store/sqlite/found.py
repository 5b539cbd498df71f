"""Finding audit entries of one file: by id, by time, and by whom or what they name.

What entries are found by is appended to `audit_recent`, and filed into `audit_found` many at a time, in blocks of
entries, so that writing touches the newest block only, however large the log is; a search asks block after block,
newest or oldest first. `audit_block` has the times that lie in each.
"""

from collections.abc import Iterable, Iterator, Sequence

import apsw

from fhir_server.store.params import what
from fhir_server.store.protocol import AuditQuery, Recorded
from fhir_server.store.sqlite.entries import insert
from fhir_server.store.sqlite.names import Names
from fhir_server.store.sqlite.pack import unpack

# Entries a block: 2 to this power. A block's part of the index fits into the connection's memory.
BLOCK_BITS = 16
# So many entries wait to be filed; a search looks through what they are found by.
MOST_RECENT = 8_192
_MOST = 1 << 62
_DIGITS = 19
# The chain that came from MongoDB, where an entry has its id before it has its number.
MOVED = "rx"
_Row = tuple[int, int, bytes]  # recorded, number, packed body
_COLUMNS = ("what_1", "what_2", "what_3", "what_4")
_WIDE = len(_COLUMNS)
# What fills a row up, by how many columns it has already.
_NOTHING = [(None,) * (_WIDE - count) for count in range(_WIDE + 1)]
_RECENT = " UNION ALL ".join(
    f"SELECT number, recorded, {column} AS what FROM audit_recent WHERE {column} IS NOT NULL" for column in _COLUMNS
)
_FILE = f"""
    INSERT OR IGNORE INTO audit_found (block, what, recorded, number)
        SELECT number >> {BLOCK_BITS}, what, recorded, number FROM ({_RECENT}) ORDER BY 1, 2, 3, 4;
    DELETE FROM audit_recent"""


def rows_of(number: int, recorded: int, things: tuple[tuple[str, str], ...]) -> list[tuple[int | None, ...]]:
    """What an entry is found by, (kind, value), as rows of `audit_recent`."""
    whats = [what(thing) for thing in things]
    if 0 < len(whats) <= _WIDE:  # nearly always; that a row names something twice does no harm
        return [(number, recorded, *whats, *_NOTHING[len(whats)])]
    whats = list(dict.fromkeys(whats))
    rows = (whats[begin : begin + _WIDE] for begin in range(0, len(whats), _WIDE))
    return [(number, recorded, *row, *_NOTHING[len(row)]) for row in rows]


def add(connection: apsw.Connection, rows: Sequence[tuple[int | None, ...]]) -> None:
    """Note what entries are found by."""
    insert(connection, f"INSERT INTO audit_recent (number, recorded, {', '.join(_COLUMNS)})", rows)


def recent(connection: apsw.Connection, above: int = 0, last: int = _MOST) -> list[tuple[int, int, int]]:
    """What those of the newest entries are found by that are numbered above `above`, up to `last`:
    (number, recorded, what)."""
    return list(connection.execute(f"SELECT * FROM ({_RECENT}) WHERE number > ? AND number <= ?", (above, last)))


def file(connection: apsw.Connection, last: int) -> None:
    """File what the newest entries are found by, once they are many; `last` is the newest one's number."""
    oldest = connection.execute("SELECT number FROM audit_recent ORDER BY rowid LIMIT 1").fetchone()
    if oldest is not None and last - oldest[0] >= MOST_RECENT:
        connection.execute(_FILE)


def widen(connection: apsw.Connection, first: int, times: list[int]) -> None:
    """Note the times of entries that were added, the first of which has the number `first`."""
    while times:
        block = first >> BLOCK_BITS
        here = ((block + 1) << BLOCK_BITS) - first
        connection.execute(
            "INSERT INTO audit_block (block, lo, hi) VALUES (?, ?, ?) "
            "ON CONFLICT (block) DO UPDATE SET lo = min(lo, excluded.lo), hi = max(hi, excluded.hi)",
            (block, min(times[:here]), max(times[:here])),
        )
        first, times = first + here, times[here:]


def entries(connection: apsw.Connection, names: Names, chain: str, query: AuditQuery) -> list[Recorded]:
    """The first entries of one file in the query's order, at most `count` of them."""
    if query.id is not None:
        return _by_id(connection, names, chain, query.id)
    conditions, args = _conditions(connection, chain, query)
    direction = "ASC" if query.ascending else "DESC"
    if query.found_by is None:
        sql = f"SELECT a.recorded, a.number, a.body FROM audit AS a WHERE 1{conditions} "
        sql += f"ORDER BY a.recorded {direction}, a.number {direction} LIMIT ?"
        rows: list[_Row] = list(connection.execute(sql, (*args, query.count)))
    else:
        sql = "SELECT a.recorded, a.number, audit.body FROM audit_found AS a JOIN audit USING (number) "
        sql += f"WHERE a.block = ? AND {{its}}{conditions} "
        sql += f"ORDER BY a.recorded {direction}, a.number {direction} LIMIT ?"
        rest = (what(query.found_by), *args, query.count)
        in_block = sql.format(its="a.what = ?")
        found = (
            (hi, lo, connection.execute(in_block, (block, *rest))) for block, lo, hi in list(_blocks(connection, query))
        )
        rows = _over_blocks(query, found)
        newest = sql.replace("audit_found AS a JOIN", "audit_recent AS a CROSS JOIN").replace("a.block = ? AND ", "")
        newest = newest.format(its=f"? IN ({', '.join(_COLUMNS)})")
        rows = sorted([*rows, *connection.execute(newest, rest)], key=_order, reverse=not query.ascending)
    return [
        Recorded(id_of(connection, chain, number), recorded, shown(packed, names))
        for recorded, number, packed in rows[: query.count]
    ]


def shown(packed: bytes, names: Names) -> bytes:
    """The body of an entry; one that was damaged on disk says so."""
    body = body_of(packed, names)
    return body if body is not None else b'{"I":"damaged","A":"E","O":"8"}'


def body_of(packed: bytes, names: Names) -> bytes | None:
    """The body of an entry; None when it was damaged."""
    try:
        return unpack(packed, names)
    except (ValueError, TypeError):
        return None


def _blocks(connection: apsw.Connection, query: AuditQuery) -> Iterator[tuple[int, int, int]]:
    """The blocks in which there may be entries of the query's times: (block, lo, hi), in the query's order."""
    since, before = query.since, query.before
    if query.after is not None:
        since, before = (query.after[0], before) if query.ascending else (since, query.after[0] + 1)
    order = "lo ASC" if query.ascending else "hi DESC"
    yield from connection.execute(
        f"SELECT block, lo, hi FROM audit_block WHERE hi >= ? AND lo < ? ORDER BY {order}",
        (since if since is not None else -_MOST, before if before is not None else _MOST),
    )


def _over_blocks(query: AuditQuery, blocks: Iterable[tuple[int, int, Iterable[_Row]]]) -> list[_Row]:
    """The first rows over blocks that come in order, but may overlap in time."""
    rows: list[_Row] = []
    for hi, lo, found in blocks:
        if len(rows) >= query.count:
            last = rows[query.count - 1][0]
            if (lo > last) if query.ascending else (hi < last):
                break
        rows = sorted([*rows, *found], key=_order, reverse=not query.ascending)
    return rows[: query.count]


def _order(row: _Row) -> tuple[int, int]:
    return row[:2]


def _conditions(connection: apsw.Connection, chain: str, query: AuditQuery) -> tuple[str, list[object]]:
    text, args = "", list[object]()
    for bound, operator in ((query.since, ">="), (query.before, "<")):
        if bound is not None:
            text += f" AND a.recorded {operator} ?"
            args.append(bound)
    if query.after is not None:
        beyond, (recorded, after_id) = ">" if query.ascending else "<", query.after
        text += f" AND a.recorded {beyond}= ? AND (a.recorded {beyond} ? OR a.number {beyond} ?)"
        args += [recorded, recorded, _after_number(connection, chain, after_id, ascending=query.ascending)]
    return text, args


def _after_number(connection: apsw.Connection, chain: str, after_id: str, *, ascending: bool) -> int:
    """Where this chain goes on among entries of the same time, which stand in the order of (chain, number)."""
    after_chain = after_id.rpartition("-")[0]
    if after_chain == chain:
        return number_of(connection, chain, after_id) or 0
    already_given = (chain < after_chain) if ascending else (chain > after_chain)
    return _MOST if already_given == ascending else 0


def number_of(connection: apsw.Connection, chain: str, id_: str) -> int | None:
    """The number of an entry in its chain, by its id."""
    if chain == MOVED:
        row = connection.execute("SELECT number FROM audit_id WHERE id = ?", (id_,)).fetchone()
        return int(row[0]) if row is not None else None
    name, _, number = id_.rpartition("-")
    is_number = name == chain and number.isascii() and number.isdigit() and len(number) < _DIGITS
    return int(number) if is_number else None


def id_of(connection: apsw.Connection, chain: str, number: int) -> str:
    """The id of an entry, by its number in its chain."""
    if chain != MOVED:
        return f"{chain}-{number}"
    row = connection.execute("SELECT id FROM audit_id WHERE number = ?", (number,)).fetchone()
    return str(row[0]) if row is not None else f"{chain}-{number}"


def _by_id(connection: apsw.Connection, names: Names, chain: str, id_: str) -> list[Recorded]:
    number = number_of(connection, chain, id_)
    row = connection.execute("SELECT recorded, body FROM audit WHERE number = ?", (number,)).fetchone()
    return [Recorded(id_, row[0], shown(row[1], names))] if row is not None else []
