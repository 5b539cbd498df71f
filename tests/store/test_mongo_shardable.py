"""A real config server and a real shard take every collection as it is declared.

There is no router among the test's binaries, so the test sends what a router of 6.0 would: internal commands, pinned to
this version. What is not shown by it is said in docs/mongodb.md, "Sharding".
"""

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pymongo
import pytest
from bson import MaxKey, MinKey
from pymongo.errors import OperationFailure

from fhir_server.store.mongo import schema
from tests.mongod import Node, ReplicaSet, free_ports

MAJORITY = {"w": "majority", "wtimeout": 20_000}
Client = pymongo.MongoClient[dict[str, Any]]


@pytest.fixture
def cluster() -> Iterator[tuple[Client, Client]]:
    """A config server and the one shard that it knows."""
    folder = Path(tempfile.mkdtemp(prefix="mongod-"))
    ports = free_ports(2)
    config, shard = (
        ReplicaSet([Node(folder / name, port, ("--replSet", name, f"--{role}", "--oplogSize", "64"))], name, options)
        for name, role, port, options in (
            ("config", "configsvr", ports[0], {"configsvr": True}),
            ("shard", "shardsvr", ports[1], {}),
        )
    )
    try:
        config.start()
        shard.start()
        with config.nodes[0].client() as router_to_config, shard.nodes[0].client() as router_to_shard:
            add = {"_configsvrAddShard": f"shard/127.0.0.1:{ports[1]}", "name": "shard", "writeConcern": MAJORITY}
            router_to_config.admin.command(add)
            yield router_to_config, router_to_shard
    finally:
        config.stop()
        shard.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _shard(shard: Client, version: Any, collection: str) -> None:
    key = dict.fromkeys(schema.SHARD_KEY, 1)
    command = {"_shardsvrCreateCollection": collection, "shardKey": key, "databaseVersion": version}
    shard.fhir.command(command | {"writeConcern": MAJORITY})


def test_every_collection_is_taken_by_a_config_server_and_a_shard(cluster: tuple[Client, Client]) -> None:
    """With all their indexes; a collection that could not be sharded is refused, so the test can fail."""
    config, shard = cluster
    made = config.admin.command(
        {"_configsvrCreateDatabase": "fhir", "primaryShardId": "shard", "writeConcern": MAJORITY}
    )
    asyncio.run(_declare(shard))
    for collection in schema.COLLECTIONS:
        _shard(shard, made["databaseVersion"], collection)
    taken = {each["_id"]: each["key"] for each in config.config.collections.find()}
    assert taken == {f"fhir.{name}": dict.fromkeys(schema.SHARD_KEY, 1) for name in schema.COLLECTIONS}

    wrong = {"name": "wrong", "key": {"id": 1}, "unique": True}
    shard.fhir.command("createIndexes", "wrong", indexes=[wrong])
    with pytest.raises(OperationFailure, match="shard key is a prefix"):
        _shard(shard, made["databaseVersion"], "wrong")


def test_a_zone_takes_one_clinic(cluster: tuple[Client, Client]) -> None:
    """The ranges of docs/mongodb.md, as the config server stores them."""
    config, shard = cluster
    made = config.admin.command(
        {"_configsvrCreateDatabase": "fhir", "primaryShardId": "shard", "writeConcern": MAJORITY}
    )
    _shard(shard, made["databaseVersion"], "resource")
    config.admin.command({"_configsvrAddShardToZone": "shard", "zone": "de", "writeConcern": MAJORITY})
    low, high = ({"tenant": "north", "type": end, "id": end} for end in (MinKey(), MaxKey()))
    range_ = {"_configsvrUpdateZoneKeyRange": "fhir.resource", "min": low, "max": high, "zone": "de"}
    config.admin.command(range_ | {"writeConcern": MAJORITY})
    [stored] = config.config.tags.find({"ns": "fhir.resource"})
    assert (stored["tag"], stored["min"], stored["max"]) == ("de", low, high)


async def _declare(shard: Client) -> None:
    host, port = shard.address or ("", 0)
    client = pymongo.AsyncMongoClient[dict[str, Any]](host, port, directConnection=True)
    try:
        await schema.make(client.fhir)
        assert await schema.missing(client.fhir) == []
    finally:
        await client.close()
