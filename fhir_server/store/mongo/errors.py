"""What goes wrong between this process and the database, told as HTTP's words."""

from collections.abc import Iterator
from contextlib import contextmanager

from pymongo.errors import (
    ConnectionFailure,
    DocumentTooLarge,
    DuplicateKeyError,
    ExecutionTimeout,
    OperationFailure,
    PyMongoError,
)

from fhir_server.fhir.errors import TooLarge, Unavailable, Unprocessable

LONGEST_READ_SECONDS = 10.0
# An election takes about as long; a client that waits for it finds a primary again.
RETRY_AFTER_SECONDS = 5

_TRANSIENT = "TransientTransactionError"
_UNKNOWN = "UnknownTransactionCommitResult"
# Codes that a node gives while it starts, stops, or steps down (MongoDB's "retryable" and "interrupted" codes).
_STATE_CODES = frozenset({6, 7, 64, 89, 91, 112, 189, 246, 251, 262, 9001, 10107, 11600, 11602, 13388, 13435, 13436})

# Unauthorized, AuthenticationFailed.
_REFUSED_CODES = frozenset({13, 18})


def is_transient(error: PyMongoError) -> bool:
    """Whether the transaction may be run again from its start. Two inserts of one name at once conflict so, too."""
    return error.has_error_label(_TRANSIENT) or isinstance(error, DuplicateKeyError)


def is_commit_unknown(error: PyMongoError) -> bool:
    """Whether a commit may or may not have happened, so that it must be asked for again."""
    return error.has_error_label(_UNKNOWN)


def unavailable() -> Unavailable:
    """The answer while no primary can be reached."""
    return Unavailable(
        "The store cannot take this now; nothing was changed. Try again.", retry_after_seconds=RETRY_AFTER_SECONDS
    )


@contextmanager
def unavailable_on_failure() -> Iterator[None]:
    """Failures of the network and elections as 503, a search that takes too long as 422, a vast resource as 413."""
    try:
        yield
    except ExecutionTimeout as error:
        raise Unprocessable(
            f"The search took longer than {LONGEST_READ_SECONDS:.0f} seconds; narrow it.", code="too-costly"
        ) from error
    except DocumentTooLarge as error:
        raise TooLarge("The resource is larger than this store takes (16 MB with its index entries).") from error
    except ConnectionFailure as error:
        raise unavailable() from error
    except OperationFailure as error:
        if error.code in _STATE_CODES or is_transient(error) or is_commit_unknown(error):
            raise unavailable() from error
        if error.code in _REFUSED_CODES:
            raise Unavailable("The database refuses the account in the connection string, or what it asks.") from error
        raise
