"""The tables of a tenant's file, how a file is opened, and how an older one is brought forward.

`docs/store.md` explains every table, column and index. Index tables lead with `param`, a number that stands for
(type, search parameter), so that an entry can only ever be found under its own type.
"""

from pathlib import Path

import apsw

from fhir_server.fhir.errors import Unavailable
from fhir_server.search.plan import SHAPES

# Older libraries can corrupt a WAL file that several connections write (fixed in SQLite 3.51.3).
OLDEST_SQLITE = (3, 51, 3)
APPLICATION_ID = 0x46484952  # "FHIR"
BUSY_TIMEOUT_MILLISECONDS = 10_000
# Temporary tables and savepoints' journals hold patients' data too: they stay in memory, off any temporary folder.
PRAGMAS = (
    "journal_mode=WAL", "synchronous=FULL", "mmap_size=0", "cache_size=-8192", "trusted_schema=OFF",
    "temp_store=MEMORY",
)  # fmt: skip

# The values of each shape after `param`, in the order of the primary key (`key` is the resource's creation key).
COLUMNS = {
    "token": ("code", "key", "system"),
    "string": ("folded", "key", "exact"),
    "date": ("span", "lo", "key", "hi"),
    "number": ("span", "lo", "key", "hi"),
    "quantity": ("unit", "span", "lo", "key", "hi"),
    "reference": ("id", "key", "type"),
    "uri": ("value", "key"),
}


def _index_table(shape: str) -> str:
    columns = COLUMNS[shape]
    # Declared types matter: SQLite joins through an index only where both sides have one affinity.
    declared = ", ".join(f"{column} {_declared(shape, column)} NOT NULL" for column in columns)
    return f"""
        CREATE TABLE {shape} (param INTEGER NOT NULL, {declared},
            PRIMARY KEY (param, {", ".join(columns)})) WITHOUT ROWID;
        CREATE INDEX {shape}_by_key ON {shape} (key, param);"""


def _declared(shape: str, column: str) -> str:
    is_number = column in ("key", "span") or (shape == "date" and column in ("lo", "hi"))
    return "INTEGER" if is_number else "TEXT"


# What the newest entries are found by is appended to `audit_recent`, and filed into `audit_found` many at a time: filed
# one at a time, nearly every row would touch a page of its own, and each commit write all of those.
_AUDIT = """
    CREATE TABLE audit (number INTEGER PRIMARY KEY, recorded INTEGER NOT NULL, body BLOB NOT NULL, hash BLOB NOT NULL);
    CREATE INDEX audit_by_time ON audit (recorded, number);
    CREATE TABLE audit_found (block INTEGER NOT NULL, what INTEGER NOT NULL, recorded INTEGER NOT NULL,
        number INTEGER NOT NULL, PRIMARY KEY (block, what, recorded, number)) WITHOUT ROWID;
    CREATE TABLE audit_recent (what INTEGER NOT NULL, recorded INTEGER NOT NULL, number INTEGER NOT NULL);
    CREATE TABLE audit_block (block INTEGER PRIMARY KEY, lo INTEGER NOT NULL, hi INTEGER NOT NULL);
    CREATE TABLE audit_name (number INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);
    CREATE TABLE audit_id (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE);
    CREATE TABLE audit_purged (number INTEGER NOT NULL, hash BLOB NOT NULL);"""
# A row an entry, which most are found by four things at most; another row for each four more.
_RECENT = """
    INSERT OR IGNORE INTO audit_found (block, what, recorded, number)
        SELECT number >> 16, what, recorded, number FROM audit_recent;
    DROP TABLE audit_recent;
    CREATE TABLE audit_recent (number INTEGER NOT NULL, recorded INTEGER NOT NULL, what_1 INTEGER NOT NULL,
        what_2 INTEGER, what_3 INTEGER, what_4 INTEGER);"""
# Who writes chains, and the signed checkpoints over all of them.
_SEALS = """
    CREATE TABLE audit_writer (chain TEXT PRIMARY KEY) WITHOUT ROWID;
    CREATE TABLE audit_seal (number INTEGER PRIMARY KEY, body BLOB NOT NULL, signature BLOB NOT NULL,
        marks BLOB NOT NULL);
    INSERT INTO audit_writer VALUES ('c');"""

# One script a schema version; a file of version n is brought forward by the scripts from n on.
CLINIC_MIGRATIONS: tuple[str, ...] = (
    f"""
    CREATE TABLE resource (key INTEGER PRIMARY KEY, type TEXT NOT NULL, id TEXT NOT NULL, version INTEGER NOT NULL,
        updated INTEGER NOT NULL, patients TEXT NOT NULL, body BLOB, UNIQUE (type, id));
    CREATE INDEX resource_by_type ON resource (type, key) WHERE body IS NOT NULL;
    CREATE TABLE history (type TEXT NOT NULL, id TEXT NOT NULL, version INTEGER NOT NULL, key INTEGER NOT NULL,
        updated INTEGER NOT NULL, method TEXT NOT NULL, patients TEXT NOT NULL, body BLOB, UNIQUE (type, id, version));
    CREATE INDEX history_by_type ON history (type, updated, key, version);
    CREATE INDEX history_by_time ON history (updated, key, version);
    {"".join(_index_table(shape) for shape in SHAPES)}
    CREATE TABLE kept (kind TEXT NOT NULL, name TEXT NOT NULL, value BLOB NOT NULL, expires INTEGER,
        PRIMARY KEY (kind, name)) WITHOUT ROWID;
    CREATE TABLE change (number INTEGER PRIMARY KEY AUTOINCREMENT, type TEXT NOT NULL, id TEXT NOT NULL,
        version INTEGER NOT NULL, updated INTEGER NOT NULL);
    {_AUDIT}
    {_SEALS}
    """,
    _RECENT,
    "CREATE INDEX kept_by_expiry ON kept (expires) WHERE expires IS NOT NULL",
)
AUDIT_MIGRATIONS: tuple[str, ...] = (_AUDIT, _RECENT)


def check_library() -> None:
    """Refuse an SQLite that is known to lose data."""
    version = tuple(int(part) for part in apsw.sqlite_lib_version().split("."))
    if version < OLDEST_SQLITE:
        needed = ".".join(map(str, OLDEST_SQLITE))
        raise Unavailable(f"SQLite {apsw.sqlite_lib_version()} can corrupt its files; {needed} or newer is needed.")


def connect(path: Path, migrations: tuple[str, ...], *, vfs: str | None = None) -> apsw.Connection:
    """Open a file for reading and writing, made or brought forward first where needed."""
    connection = apsw.Connection(str(path), vfs=vfs, statementcachesize=256)
    connection.set_busy_timeout(BUSY_TIMEOUT_MILLISECONDS)
    # Else SQLite prepares a statement again whenever a value is bound that its plan might depend on, which is half of
    # what it costs to find a page. There are no statistics here that would make it another plan.
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
    for pragma in PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")
    if _schema_version(connection) < len(migrations):
        _migrate(connection, migrations)
    elif _schema_version(connection) > len(migrations):
        raise Unavailable(f"{path.name} was written by a newer version of this server; run that one.")
    return connection


def _schema_version(connection: apsw.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])  # type: ignore[index]


def _migrate(connection: apsw.Connection, migrations: tuple[str, ...]) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Another process may have done it while this one waited for the lock.
        for number in range(_schema_version(connection), len(migrations)):
            connection.execute(migrations[number])
        connection.execute(f"PRAGMA user_version={len(migrations)}")
        connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
