"""What the settings of a node must have beside a NATS; needs nothing that is installed for a cluster alone.

Each thing that is wrong is one line which says what to do. What only NATS or the other nodes can tell is refused where
they are asked: ``nats_streams.prepare``, ``NodeLife.start``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from importlib.util import find_spec

from wavstream.errors import OperatorError
from wavstream.settings import Settings, variable

INSTALL = "pip install 'wavstream[cluster]'"
CREDENTIALS = ("user", "token", "credentials_file", "nkey_file")


def check_settings(settings: Settings) -> None:
    """Raise OperatorError, with a line for each thing that a node of a cluster lacks; return where there is none."""
    if settings.cluster.nats_url is not None and (lines := [*_complaints(settings)]):
        raise OperatorError("\n".join(lines))


def check_driver() -> None:
    """Raise OperatorError if what speaks to NATS is not installed."""
    if find_spec("nats") is None:
        raise OperatorError(
            f"{variable('cluster.nats_url')} names a NATS, and what speaks to it is not installed: {INSTALL}"
        )


def common_of(*, database: str, bucket: str, master: bytes) -> dict[str, str]:
    """Return, by setting, digests of what all nodes must have alike: nobody learns from them what it is.

    ``database``: a name that is in it; ``bucket``: its address.
    """
    told = {"master_key": "", "catalog.url": database, "storage.url": bucket}
    return {
        variable(name): hashlib.blake2b(f"{name} {text}".encode(), key=master[:64], digest_size=8).hexdigest()
        for name, text in told.items()
    }


def _complaints(settings: Settings) -> Iterator[str]:
    cluster, why = settings.cluster, f"{variable('cluster.nats_url')} makes this a node of a cluster, and"
    if settings.catalog.url is None:
        yield (
            f"{why} all nodes write to one catalog: set {variable('catalog.url')} to a PostgreSQL database, the same "
            "on all (docs/postgresql.md)"
        )
    if settings.storage.url is None:
        yield f"{why} others read what it recorded: set {variable('storage.url')} to a bucket, the same on all nodes"
    if settings.master_key is None:
        yield (
            f"{why} keys, links and tokens count on all nodes: set {variable('master_key')}, the same on all (what a "
            "server made for itself is in the file master.key of its data folder)"
        )
    if settings.workers != 1:
        yield (
            f"{why} a node is one process: set {variable('workers')} to 1, and run more nodes on this machine, each "
            "with a data folder, a port and a name of its own"
        )
    given = [name for name in CREDENTIALS if getattr(cluster, name) is not None]
    if len(given) > 1:
        yield f"{' and '.join(variable(f'cluster.{name}') for name in given)} are both set: leave one of them out"
    if cluster.password is not None and cluster.user is None:
        yield f"{variable('cluster.password')} is set without a user: set {variable('cluster.user')}"
    if cluster.tls_key is not None and cluster.tls_cert is None:
        yield f"{variable('cluster.tls_key')} is set without its certificate: set {variable('cluster.tls_cert')}"
    if cluster.tail_age_s < 2 * cluster.segment_s:
        yield (
            f"{variable('cluster.tail_age_s')} is {cluster.tail_age_s:g}, and NATS has to keep what is not in the "
            f"bucket yet: set it to at least {2 * cluster.segment_s:g}, twice {variable('cluster.segment_s')}"
        )
