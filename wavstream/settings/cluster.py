"""The settings of a cluster of nodes: where its NATS is, what this node is called, and how long what is waited for."""

from __future__ import annotations

import re
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field

from wavstream.settings.tables import Secret, Table

SCHEMES = ("nats", "tls")
DEFAULT_PORT = 4222
_EVERY_ADDRESS = ("0.0.0.0", "::")


def _joined(given: object) -> object:
    if isinstance(given, list | tuple) and all(isinstance(each, str) for each in given):
        return ",".join(given)
    return given


def _are_servers(text: str) -> str:
    servers = [each.strip() for each in text.split(",") if each.strip()]
    schemes = set()
    for server in servers:
        parts = urlsplit(server)
        try:
            is_server = parts.hostname and parts.port != 0 and not parts.path.strip("/") and not parts.query
        except ValueError:  # a port that is no number
            is_server = False
        if parts.scheme not in SCHEMES or not is_server or " " in server:
            raise ValueError("must be nats://host:4222 or tls://host:4222, all servers with commas between them")
        if "@" in parts.netloc:
            raise ValueError("must have no user and password in it: they are cluster.user and cluster.password")
        schemes.add(parts.scheme)
    if len(schemes) != 1:
        raise ValueError("must name one server at least, and all with nats:// or all with tls://")
    return ",".join(server.rstrip("/") for server in servers)


def _is_place(text: str) -> str:
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") if host.startswith("[") else host
    is_host = re.fullmatch(r"[A-Za-z0-9._-]+", host) or (":" in host and _is_address(host))
    if not is_host or not re.fullmatch("[0-9]{1,5}", port) or not 1 <= int(port) <= 65_535:
        raise ValueError("must be a host and a port, such as 10.0.0.5:8090 or [fd00::5]:8090")
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def split_place(place: str) -> tuple[str, int]:
    """Return host and port of a place such as ``10.0.0.5:8090``."""
    host, _, port = place.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), int(port)


Servers = Annotated[str, BeforeValidator(_joined), AfterValidator(_are_servers)]
Place = Annotated[str, AfterValidator(_is_place)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$")]


class ClusterSettings(Table):
    """Nodes that go on with each other's calls when one of them dies; without a `nats_url` there are none."""

    nats_url: Servers | None = None
    """Servers of a NATS with JetStream, commas between them: `nats://10.0.0.1:4222,nats://10.0.0.2:4222`, or `tls://`,
    which refuses one without TLS; not set: this server is alone."""
    name: Name = "wavstream"
    """Of the cluster, the same on all its nodes: what its stream, its bucket and its subjects in NATS begin with."""
    node: Name | None = None
    """Of this node, another on each: letters, digits, `-` and `_`; not set: the name of the machine, up to its first
    dot."""
    listen: Place = "0.0.0.0:8090"
    """Host and port at which the other nodes reach this one; nobody else has to. All addresses, since a name of the
    machine seldom tells which one they come by."""
    address: Place | None = None
    """Host and port that the others connect to; not set: that of `listen`, with the name of the machine in place of
    `0.0.0.0` and `::`."""
    user: Annotated[str, Field(min_length=1)] | None = None
    """User at NATS; not set: none, unless one of the next three is."""
    password: Secret | None = None
    """Secret. Belongs to `user`."""
    token: Secret | None = None
    """Secret. In place of a user, where NATS asks for a token."""
    credentials_file: Path | None = None
    """In place of a user: a `.creds` file of NATS, with a token and a seed; read anew for each connection."""
    nkey_file: Path | None = None
    """In place of a user: a file with the seed of an nkey; read anew for each connection."""
    tls_ca: Path | None = None
    """Certificates that sign those of the servers of NATS; not set: those that the system trusts."""
    tls_cert: Path | None = None
    """Certificate that this node shows, where NATS asks for one."""
    tls_key: Path | None = None
    """Private key of `tls_cert`; not set: it is in the same file."""
    replicas: Annotated[int, Field(ge=1, le=5)] = 3
    """Servers of NATS that keep each entry and each message; three, so that one may die. 1, for a NATS of one server:
    who loses that server loses what is young of all calls that are taken over then."""
    lease_s: Annotated[float, Field(ge=2, le=60, allow_inf_nan=False)] = 2.0
    """Seconds without a sign of life after which a node counts as dead; four beats, or two where its address refuses
    connections too. A node that was alive after all loses its calls to others, and no sample of them."""
    segment_s: Annotated[float, Field(ge=10, le=600, allow_inf_nan=False)] = 90.0
    """Seconds of a journal that go to the bucket together; what is younger is in NATS. A take-over reads at most about
    two of them from there."""
    tail_age_s: Annotated[float, Field(ge=60, le=86_400, allow_inf_nan=False)] = 600.0
    """Seconds that NATS keeps what is young: for as long the bucket may be away without a call depending on one disk.
    It needs room for the audio of all calls for so long, once on each server: 16 kB a second and leg."""
    tail_bytes: Annotated[int, Field(ge=1_048_576, le=17_179_869_184)] = 67_108_864
    """Bytes of memory for what NATS has not taken yet; 64 MiB, the 4 s of a server's death at 1,000 legs. What is more
    is read from the local disk later."""
    shards: Annotated[int, Field(ge=1, le=64)] = 10
    """Subjects that the calls of this node are spread over; each gets a message about every 150 ms, one at a time. Ten,
    since calls are visited in ten turns: it is one message a turn, of 250 kB at 1,000 legs. A message costs a node
    about half a millisecond whatever it carries."""
    claim_wait_s: Annotated[float, Field(ge=0, le=60, allow_inf_nan=False)] = 5.0
    """Seconds that a session which nobody has yet waits while NATS does not answer; then it is this node's. Five, since
    a NATS whose leader was killed answers again after 4 to 5 s."""

    @property
    def servers(self) -> tuple[str, ...]:
        """Each server of NATS; empty: there is no cluster."""
        return tuple(self.nats_url.split(",")) if self.nats_url else ()

    @property
    def joined(self) -> str | None:
        """The name of the cluster that this server is a node of; None: of none."""
        return self.name if self.nats_url else None

    def node_name(self, machine: str) -> str:
        """Return what this node is called on a machine of this name."""
        if self.node is not None:
            return self.node
        made = re.sub("[^A-Za-z0-9_-]", "-", machine.partition(".")[0]).lstrip("-_")[:63]
        return made or "node"

    def reached_at(self, machine: str) -> str:
        """Return the host and port that other nodes connect to, of a node on a machine of this name."""
        if self.address is not None:
            return self.address
        host, port = split_place(self.listen)
        return f"{machine}:{port}" if host in _EVERY_ADDRESS else self.listen
