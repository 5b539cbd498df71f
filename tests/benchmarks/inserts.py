"""A bare SQLite insert loop of the rows that one create makes, with the same durability: no HTTP, no FHIR."""

from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

import apsw

from fhir_server.store.params import what
from fhir_server.store.sqlite.found import recent
from fhir_server.store.sqlite.schema import CLINIC_MIGRATIONS, COLUMNS, connect

Row = tuple[object, ...]
# What stands for the resource's own key, id, numbers and what its audit entry is found by in a row.
KEY, ID, NUMBER, ENTITY = object(), object(), object(), object()


class Inserts:
    """The rows of one stored resource, inserted again and again under new keys into a file of their own."""

    def __init__(self, clinic: Path, type_: str, id_: str, folder: Path) -> None:
        source = apsw.Connection(str(clinic), flags=apsw.SQLITE_OPEN_READONLY)
        self._statements = list(_statements(source, type_, id_))
        source.close()
        self._connection = connect(folder / "inserts.db", CLINIC_MIGRATIONS)
        self._count = 0

    def per_second(self, seconds: float, *, together: int) -> float:
        """Resources a second, with one durable commit for each `together` of them."""
        begin, before = perf_counter(), self._count
        while perf_counter() - begin < seconds:
            self._connection.execute("BEGIN IMMEDIATE")
            for _ in range(together):
                self._insert()
            self._connection.execute("COMMIT")
        return (self._count - before) / (perf_counter() - begin)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _insert(self) -> None:
        self._count += 1
        id_ = f"made-{self._count:012}"
        values = {KEY: self._count, ID: id_, NUMBER: self._count, ENTITY: what(("entity", id_))}
        for sql, row in self._statements:
            self._connection.execute(sql, tuple(values.get(value, value) for value in row))


def _statements(source: apsw.Connection, type_: str, id_: str) -> Iterator[tuple[str, Row]]:
    """An insert statement and its values for each row that the resource has, in whatever table."""
    row = source.execute("SELECT key, version FROM resource WHERE type = ? AND id = ?", (type_, id_)).fetchone()
    assert row is not None
    key, version = row
    entity = what(("entity", f"{type_}/{id_}"))
    number = next(row[0] for row in recent(source) if row[2] == entity)
    stands_for: dict[object, object] = {key: KEY, id_: ID, entity: ENTITY}
    for table, where in (
        ("resource", f"key = {key}"),
        ("history", f"key = {key} AND version = {version}"),
        *((shape, f"key = {key}") for shape in COLUMNS),
    ):
        for row in source.execute(f"SELECT * FROM {table} WHERE {where}"):
            yield _insert_into(table, row), tuple(stands_for.get(value, value) for value in row)
    change = source.execute("SELECT * FROM change WHERE type = ? AND id = ?", (type_, id_)).fetchone()
    assert change is not None
    yield _insert_into("change", change), (NUMBER, change[1], ID, *change[3:])
    for row in source.execute("SELECT * FROM audit WHERE number = ?", (number,)):
        yield _insert_into("audit", row), (NUMBER, *row[1:])
    for row in source.execute("SELECT * FROM audit_recent WHERE number = ?", (number,)):
        yield _insert_into("audit_recent", row), (NUMBER, row[1], *(stands_for.get(thing, thing) for thing in row[2:]))


def _insert_into(table: str, row: Row) -> str:
    return f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})"
