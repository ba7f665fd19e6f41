"""The stream and the bucket that a cluster has in NATS: made if they are absent, and refused where they are not ours.

Both lie on the disks of NATS and on as many servers as the settings say. The stream has the tails, each message for
some minutes; the bucket has the last of each entry, and of one that was deleted a marker for an hour. Neither is
answered from a server that may be behind (``allow_direct``): whoever looks what became of a write has to see it.
"""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

from wavstream.cluster.engine import EngineAway
from wavstream.cluster.nats_client import RIGHT_LACKS
from wavstream.cluster.nats_connection import RETRY_S, Connection, NotAnswered
from wavstream.cluster.nats_delivery import NOT_ENABLED, Refused, ask
from wavstream.errors import OperatorError
from wavstream.settings.cluster import ClusterSettings

OLDEST_VERSION = (2, 11)
"""The first with a life for each message, by which what is left of a deleted entry goes."""
SMALLEST_PAYLOAD_BYTES = 1_000_000
"""NATS as it comes takes 1 MiB. A second of a shard has to fit, and whatever a peer may send in one message."""
REPEATED_S = 120.0
"""For so long NATS knows a message that is written again."""
_NANO = 1_000_000_000
NO_STREAM = 10059
_IN_USE, _OVERLAP = 10058, 10065
_ONE_SERVER, _NO_PEERS = 10074, 10005
_NO_ROOM = (10002, 10023, 10027, 10028, 10047)
"""Limits of the account or of the servers: storage, streams, memory."""


class Places(NamedTuple):
    """What a cluster of this name has in NATS."""

    tails: str
    """The stream."""
    subjects: str
    """What its subjects begin with."""
    bucket: str
    """The bucket's stream."""
    keys: str
    """What the subjects of its entries begin with."""

    @classmethod
    def of(cls, name: str) -> Places:
        """Return those of a cluster."""
        return cls(f"{name}-tails", f"{name}.", f"KV_{name}", f"$KV.{name}.")


def wanted(settings: ClusterSettings) -> dict[str, dict[str, Any]]:
    """Return how stream and bucket have to be, by their names."""
    places = Places.of(settings.name)
    both = {
        "retention": "limits",
        "storage": "file",
        "num_replicas": settings.replicas,
        "max_consumers": -1,
        "max_msgs": -1,
        "max_bytes": -1,
        "max_msg_size": -1,
        "duplicate_window": int(min(REPEATED_S, settings.tail_age_s) * _NANO),
        "allow_direct": False,
    }
    tails = {
        "subjects": [f"{places.subjects}tail.>"],
        "max_age": int(settings.tail_age_s * _NANO),
        "max_msgs_per_subject": -1,
        "discard": "old",
    }
    bucket = {
        "subjects": [f"{places.keys}>"],
        "max_age": 0,
        "max_msgs_per_subject": 1,
        "discard": "new",
        "allow_rollup_hdrs": True,
        "deny_delete": True,
        "allow_msg_ttl": True,
    }
    return {
        places.tails: {"name": places.tails, **both, **tails},
        places.bucket: {"name": places.bucket, **both, **bucket},
    }


async def prepare(connection: Connection, settings: ClusterSettings, *, wait_s: float, makes: bool = True) -> None:
    """Look at NATS, and make what is absent there; raise OperatorError with one line that says what to do.

    ``makes`` False: only look.
    """
    check_server(connection.info)
    give_up = asyncio.get_running_loop().time() + wait_s
    while True:
        try:
            await make(connection, settings, makes=makes)
            return
        except NotAnswered:
            raise OperatorError(
                f"NATS at {connection.server} has no JetStream: start it with jetstream {{ }} in its configuration, or "
                "with -js"
            ) from None
        except EngineAway as error:
            if RIGHT_LACKS in connection.complaint.lower():
                raise OperatorError(
                    f"NATS at {connection.server} says {connection.complaint}: give this user the rights of "
                    "docs/cluster.md"
                ) from error
            if asyncio.get_running_loop().time() > give_up:
                raise OperatorError(
                    f"JetStream of NATS at {connection.server} does not answer, and may have no majority of its "
                    f"servers: look at them ({error})"
                ) from error
            await asyncio.sleep(RETRY_S)
        except Refused as refused:
            # Those of a NATS that is being started come one after the other.
            is_passing = refused.code == _NO_PEERS or (refused.status == 500 and refused.code != _ONE_SERVER)
            if not is_passing or asyncio.get_running_loop().time() > give_up:
                raise OperatorError(_to_do(refused, connection, settings)) from refused
            await asyncio.sleep(RETRY_S)


async def make(connection: Connection, settings: ClusterSettings, *, makes: bool = True) -> list[str]:
    """Make the stream and the bucket if they are absent; return what was made. ``makes`` False: leave them absent.

    Raise OperatorError if one is there and otherwise than it has to be, Refused, EngineAway.
    """
    made = []
    for name, config in wanted(settings).items():
        try:
            there = await ask(connection, f"STREAM.INFO.{name}")
        except Refused as refused:
            if refused.code != NO_STREAM:
                raise
            if not makes:
                continue
            try:
                there = await ask(connection, f"STREAM.CREATE.{name}", config)
                made.append(name)
            except Refused as beaten:  # another node has made it, for better or worse
                if beaten.code != _IN_USE:
                    raise
                there = await ask(connection, f"STREAM.INFO.{name}")
        _compare(name, dict(there["config"]), config, settings)
    return made


def check_server(info: dict[str, Any]) -> None:
    """Raise OperatorError if the server, by what it says of itself, cannot be used."""
    version = str(info.get("version", "0"))
    if _numbers(version) < OLDEST_VERSION:
        raise OperatorError(f"NATS is of version {version}, and 2.11 or newer is needed: upgrade its servers")
    payload = int(info.get("max_payload", 0))
    if payload < SMALLEST_PAYLOAD_BYTES:
        raise OperatorError(
            f"NATS takes messages of {payload} bytes at most, and {SMALLEST_PAYLOAD_BYTES} are needed: set "
            "max_payload: 1MB in the configuration of its servers"
        )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) if part.isdigit() else 0 for part in version.split("-")[0].split(".")[:2])


_SETTINGS = {"max_age": "TAIL_AGE_S", "num_replicas": "REPLICAS"}


def _in_words(field: str, value: Any) -> str:
    return f"{(value or 0) / _NANO:g} s" if field == "max_age" else str(value)


def _compare(name: str, there: dict[str, Any], config: dict[str, Any], settings: ClusterSettings) -> None:
    """Raise OperatorError if the stream that is there would not keep what it has to."""
    for field, value in config.items():
        found = there.get(field, False if isinstance(value, bool) else None)
        if found == value or (field == "num_replicas" and int(found or 0) > value):
            continue
        if isinstance(value, int) and not value and found is None:
            continue
        setting = _SETTINGS.get(field)
        mend = (
            f"set WAVSTREAM_CLUSTER__{setting} to that, the same on all nodes, or change it there (nats stream edit)"
            if setting
            else "it is not of this version, or not ours: give the cluster another name (WAVSTREAM_CLUSTER__NAME), or "
            "remove that when no node runs (nats stream rm)"
        )
        is_so, has_to_be = _in_words(field, found), _in_words(field, value)
        raise OperatorError(f"the stream {name} of NATS has {field} {is_so}, and {has_to_be} is wanted: {mend}")


def _to_do(refused: Refused, connection: Connection, settings: ClusterSettings) -> str:
    where = f"NATS at {connection.server}"
    if refused.code == _ONE_SERVER:
        return (
            f"{where} is one server, and each message is to be kept by {settings.replicas}: run a NATS of three "
            "servers, or set WAVSTREAM_CLUSTER__REPLICAS=1 and lose with that server what is young"
        )
    if refused.code == _NO_PEERS:
        return (
            f"{where} has too few servers with JetStream that are up, and each message is to be kept by "
            f"{settings.replicas}: look at its servers, or set WAVSTREAM_CLUSTER__REPLICAS"
        )
    if refused.code == _OVERLAP:
        return (
            f"another stream of {where} takes the subjects of cluster {settings.name}: give the cluster another name "
            "(WAVSTREAM_CLUSTER__NAME), or remove that stream"
        )
    if refused.code in NOT_ENABLED:
        return f"{where} has no JetStream for this account: enable it there"
    if refused.code in _NO_ROOM:
        return f"{where} has no room for the cluster's stream: {refused.said}: raise the limits of JetStream there"
    return (
        f"{where} refuses to make the cluster's stream: {refused}: look at its configuration, and at the user's rights"
    )
