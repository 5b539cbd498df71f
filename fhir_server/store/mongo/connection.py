"""How this process connects: what holds unless the connection string says otherwise, and what is refused of one.

All options are the driver's (docs/mongodb.md, "Connection"). One that it does not know is refused, where the driver
would only warn: a mistyped `tls` must not lead to a connection without it.
"""

import warnings
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from pymongo.asynchronous.mongo_client import AsyncMongoClient
from pymongo.errors import ConfigurationError, InvalidURI

from fhir_server.fhir.errors import Unavailable
from fhir_server.store.mongo.schema import Document

DEFAULTS: dict[str, Any] = {
    "serverSelectionTimeoutMS": 5_000,
    "connectTimeoutMS": 5_000,
    "socketTimeoutMS": 25_000,
    "waitQueueTimeoutMS": 5_000,
    "maxPoolSize": 64,
    "retryWrites": True,
    "appname": "fhir-server",
}


def connect(uri: str, listeners: Sequence[Any] = (), **more: Any) -> "AsyncMongoClient[Document]":
    """A client; it connects when it is first used. Raises Unavailable, which never shows credentials."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            return AsyncMongoClient(uri, event_listeners=list(listeners), **_defaults(uri), **more)
        except InvalidURI as error:
            text = "It begins with mongodb:// or mongodb+srv://; @ : / in a name or password are written %40 %3A %2F."
            raise Unavailable(f"The connection string cannot be read. {text}") from error
        except (ConfigurationError, Warning, ValueError, TypeError) as error:
            raise Unavailable(f"The connection string has a wrong option: {error}.") from error
        except OSError as error:
            file = f"'{error.filename}': {error.strerror}" if error.filename else f"{error}"
            raise Unavailable(f"A file that the connection string names cannot be used: {file}.") from error


def _defaults(uri: str) -> dict[str, Any]:
    """The defaults of what the connection string leaves open; options given beside it would win over it."""
    said = {name.lower() for name, _ in parse_qsl(urlsplit(uri).query)}
    return {name: value for name, value in DEFAULTS.items() if name.lower() not in said}
