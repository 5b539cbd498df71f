"""Whether MongoDB can carry the store: its version, transactions, durable writes, and every collection and index."""

import secrets
from collections.abc import Sequence

import pymongo

from fhir_server.store.checks import Broken, Check
from fhir_server.store.mongo import schema
from fhir_server.store.mongo.errors import unavailable_on_failure
from fhir_server.store.mongo.store import MongoStore
from fhir_server.store.mongo.transaction import DURABLE

OLDEST_SERVER = (6, 0)


def checks(store: MongoStore, *, fix: bool) -> Sequence[Check]:
    """The checks of the database. With `fix`, collections and indexes that it lacks are made."""

    async def server() -> str:
        with unavailable_on_failure():
            built = await store.database.command("buildInfo")
            hello = await store.database.command("hello")
        if tuple(built["versionArray"][:2]) < OLDEST_SERVER:
            raise Broken(
                f"MongoDB {built['version']} is too old; {'.'.join(map(str, OLDEST_SERVER))} or newer is needed."
            )
        kind = "replica set " + hello["setName"] if "setName" in hello else "router" if "msg" in hello else ""
        if not kind:
            raise Broken("This node is of no replica set, so it has no transactions; start it with --replSet.")
        return f"{built['version']}, {kind}, driver {pymongo.version}"

    async def collections() -> str:
        with unavailable_on_failure():
            made = await schema.make(store.database) if fix else []
            lacking = await schema.missing(store.database)
            unlike = await schema.unlike(store.database)
        if lacking:
            raise Broken(f"{', '.join(lacking)} missing; `fhir-server doctor --fix` makes what is missing.")
        if unlike:
            raise Broken(f"{', '.join(unlike)} not as declared; drop it, and run `fhir-server doctor --fix`.")
        count = sum(map(len, schema.COLLECTIONS.values()))
        told = f"{len(schema.COLLECTIONS)} collections and {count} indexes"
        return told + (f"; made {', '.join(made)}" if made else "")

    async def writing() -> str:
        at = {"tenant": "", "type": "doctor", "id": secrets.token_hex(8)}
        kept = store.database.get_collection("kept", write_concern=DURABLE)
        with unavailable_on_failure():
            await kept.insert_one(dict(at))
            await kept.delete_one(at)
        return "a majority takes writes to its journals"

    async def clinics() -> str:
        names = await store.tenants()
        sealed = [name for name in names if (await store.fields(name)).cipher is not None]
        return f"{len(names)}, {len(sealed)} of them with encrypted fields"

    return (
        Check("MongoDB", server, is_needed=True),
        Check("collections", collections),
        Check("writing", writing),
        Check("clinics", clinics),
    )
