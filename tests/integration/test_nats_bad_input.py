"""A NATS that a cluster cannot use, or may not: each is one line at the start, which says what to do."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.support.certificates import make_certificate
from tests.support.cluster_engine import a_name, connected
from tests.support.nats import NatsCluster, NatsServer, running_nats
from tests.support.waiting import until
from wavstream.cluster import nats_credentials
from wavstream.cluster.engine import EngineAway
from wavstream.cluster.jetstream import JetStream
from wavstream.cluster.nats_streams import check_server
from wavstream.errors import OperatorError
from wavstream.settings.cluster import ClusterSettings

pytestmark = pytest.mark.xdist_group("nats")
SOON_S = 0.3
"""How long a start waits here for a NATS that may be starting itself."""
PASSWORD = "a secret of the test"


async def refused(settings: ClusterSettings, *, wait_s: float = SOON_S) -> str:
    """Return the one line with which a start is refused."""
    with pytest.raises(OperatorError) as error:
        await JetStream.connect(settings, node="a", wait_s=wait_s)
    line = str(error.value)
    assert "\n" not in line
    assert PASSWORD not in line
    return line


async def is_refused(settings: ClusterSettings) -> bool:
    try:
        await (await JetStream.connect(settings, node="a", wait_s=SOON_S)).close()
    except OperatorError:
        return True
    return False


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    made = NatsServer(tmp_path / "nats")
    try:
        yield made
    finally:
        made.kill()


async def test_a_nats_that_cannot_be_reached_is_told_with_its_address(server: NatsServer) -> None:
    line = await refused(server.settings())

    assert line.startswith(f"NATS cannot be reached: {server.url}: ")
    assert line.endswith(": look at its servers, and at WAVSTREAM_CLUSTER__NATS_URL")


async def test_a_nats_that_stands_still_is_told(server: NatsServer) -> None:
    server.start()
    server.freeze()
    try:
        line = await refused(server.settings())
    finally:
        server.thaw()

    assert "did not answer within 3 s" in line


async def test_what_is_no_nats_is_told(weed_like: str) -> None:
    line = await refused(ClusterSettings(nats_url=weed_like))

    assert line.startswith(f"NATS cannot be reached: {weed_like}: ")


@pytest.fixture
def weed_like() -> Iterator[str]:
    """Run a server that speaks HTTP."""
    import http.server
    import threading

    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as web:
        web.timeout = 1
        thread = threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"nats://127.0.0.1:{web.server_port}"
        finally:
            web.shutdown()
            thread.join()


async def test_a_nats_without_jetstream_is_told(server: NatsServer) -> None:
    server.has_jetstream = False
    server.start()

    assert await refused(server.settings()) == (
        f"NATS at 127.0.0.1:{server.port} has no JetStream: start it with jetstream {{ }} in its configuration, or "
        "with -js"
    )


async def test_a_nats_that_takes_short_messages_alone_is_told(server: NatsServer) -> None:
    server.max_payload = 65_536
    server.start()

    assert await refused(server.settings()) == (
        "NATS takes messages of 65536 bytes at most, and 1000000 are needed: set max_payload: 1MB in the configuration "
        "of its servers"
    )


async def test_an_old_nats_is_told() -> None:
    with pytest.raises(OperatorError) as error:
        check_server({"version": "2.10.29", "max_payload": 1_048_576})

    assert str(error.value) == "NATS is of version 2.10.29, and 2.11 or newer is needed: upgrade its servers"
    check_server({"version": "2.11.0-RC.3", "max_payload": 1_048_576})


async def test_three_replicas_of_one_server_are_told(nats_server: NatsServer) -> None:
    line = await refused(nats_server.settings(name=a_name(), replicas=3))

    assert line == (
        f"NATS at 127.0.0.1:{nats_server.port} is one server, and each message is to be kept by 3: run a NATS of three "
        "servers, or set WAVSTREAM_CLUSTER__REPLICAS=1 and lose with that server what is young"
    )


async def test_more_replicas_than_servers_are_told(nats_cluster: NatsCluster) -> None:
    line = await refused(nats_cluster.settings(name=a_name(), replicas=5), wait_s=20)

    assert "has too few servers with JetStream that are up, and each message is to be kept by 5" in line


async def test_a_nats_without_a_majority_is_told(nats_cluster: NatsCluster) -> None:
    name = a_name()
    async with connected(nats_cluster, name=name):
        pass
    for server in nats_cluster.servers[1:]:
        server.kill()
    alone = nats_cluster.settings(name=name, nats_url=nats_cluster.servers[0].url)
    try:
        # A leader that is left alone goes on answering until it has missed the others for some seconds.
        await until(lambda: is_refused(alone))
        line = await refused(alone)
    finally:
        for server in nats_cluster.servers[1:]:
            server.start()

    assert "does not answer, and may have no majority of its servers" in line or "too few servers" in line


async def test_a_stream_or_bucket_that_is_otherwise_is_told_and_left_as_it_is(nats_server: NatsServer) -> None:
    name = a_name()
    async with connected(nats_server, name=name, tail_age_s=300) as engine:
        await engine.log.publish("tail.a.1", b"x", after=0)

        assert await refused(nats_server.settings(name=name)) == (
            f"the stream {name}-tails of NATS has max_age 300 s, and 600 s is wanted: set "
            "WAVSTREAM_CLUSTER__TAIL_AGE_S to that, the same on all nodes, or change it there (nats stream edit)"
        )
        assert await engine.log.last("tail.a.1") == 1

        other = a_name()
        config = {"name": f"KV_{other}", "subjects": [f"$KV.{other}.>"], "max_msgs_per_subject": 5, "storage": "memory"}
        await engine.connection.request(f"$JS.API.STREAM.CREATE.KV_{other}", json.dumps(config).encode())
        assert await refused(nats_server.settings(name=other)) == (
            f"the stream KV_{other} of NATS has storage memory, and file is wanted: it is not of this version, or not "
            "ours: give the cluster another name (WAVSTREAM_CLUSTER__NAME), or remove that when no node runs (nats "
            "stream rm)"
        )


async def test_subjects_that_another_stream_takes_are_told(nats_server: NatsServer) -> None:
    name = a_name()
    async with connected(nats_server) as engine:
        config = {"name": "everything", "subjects": [f"{name}.>"]}
        await engine.connection.request("$JS.API.STREAM.CREATE.everything", json.dumps(config).encode())

        line = await refused(nats_server.settings(name=name))

    assert line == (
        f"another stream of NATS at 127.0.0.1:{nats_server.port} takes the subjects of cluster {name}: give the "
        "cluster another name (WAVSTREAM_CLUSTER__NAME), or remove that stream"
    )


async def test_a_wrong_password_is_told_at_once_and_a_right_one_is_let_in(tmp_path: Path) -> None:
    users = f'authorization {{ users: [{{ user: rec, password: "{PASSWORD}" }}] }}'
    with running_nats(tmp_path, more=users) as server:
        for wrong in ({}, {"user": "rec", "password": "other"}, {"token": "x"}):
            assert await refused(server.settings(**wrong), wait_s=60) == (
                f"NATS at {server.url} refuses this node: Authorization Violation: look at WAVSTREAM_CLUSTER__USER and "
                "__PASSWORD, __TOKEN, __CREDENTIALS_FILE or __NKEY_FILE"
            )
        async with connected(server, user="rec", password=PASSWORD) as engine:
            assert await engine.log.publish("tail.a.1", b"x", after=0)


async def test_a_password_that_is_changed_there_keeps_the_node_running_until_it_is_put_right(tmp_path: Path) -> None:
    users = 'authorization {{ users: [{{ user: rec, password: "{0}" }}] }}'
    with running_nats(tmp_path, more=users.format(PASSWORD)) as server:
        async with connected(server, user="rec", password=PASSWORD) as engine:
            server.kill()
            server.more = users.format("changed")
            server.start()
            with pytest.raises(EngineAway):
                await engine.log.last("tail.a.1")
            server.kill()
            server.more = users.format(PASSWORD)
            server.start()

            async def answers() -> bool:
                with suppress(EngineAway):
                    return await engine.log.last("tail.a.1") == 0
                return False

            await until(answers)


async def test_a_user_without_the_right_to_make_streams_is_told(tmp_path: Path) -> None:
    users = 'authorization { users: [{ user: rec, password: "x", permissions: { publish: "elsewhere" } }] }'
    with running_nats(tmp_path, more=users) as server:
        line = await refused(server.settings(user="rec", password="x"))

    assert line.startswith(f"NATS at 127.0.0.1:{server.port} says permissions violation for publish to ")
    assert line.endswith(": give this user the rights of docs/cluster.md")


async def test_an_account_without_jetstream_is_told_at_once(tmp_path: Path) -> None:
    more = f'accounts {{ A {{ users: [ {{ user: rec, password: "{PASSWORD}" }} ] }} }}'
    with running_nats(tmp_path, more=more) as server:
        line = await refused(server.settings(user="rec", password=PASSWORD), wait_s=60)

        assert line == f"NATS at 127.0.0.1:{server.port} has no JetStream for this account: enable it there"


@pytest.mark.parametrize("lacks", ["tail", "table"])
async def test_a_right_that_lacks_later_is_told_by_whoever_waits_for_its_answer(tmp_path: Path, lacks: str) -> None:
    name = a_name()
    rights = {"tail": f"{name}.tail.>", "table": f"$KV.{name}.>"}
    publish = ["$JS.API.>", "$JS.FC.>", *(subject for what, subject in rights.items() if what != lacks)]
    permissions = f'permissions: {{ publish: {json.dumps(publish)}, subscribe: "_INBOX.>" }}'
    users = f'authorization {{ users: [ {{ user: rec, password: "x", {permissions} }} ] }}'
    with running_nats(tmp_path, more=users) as server:
        async with connected(server, name=name, user="rec", password="x") as engine:
            of_tail = engine.log.publish("tail.a.1", b"x", after=0)
            of_table = engine.table.put("node.a", b"x", after=0)
            writes = {"tail": of_tail, "table": of_table}
            refused_one = writes.pop(lacks)
            assert await next(iter(writes.values())) == 1
            with pytest.raises(EngineAway) as error:
                await refused_one

    assert "permissions violation for publish to " in str(error.value)
    assert str(error.value).endswith(": give this user the rights of docs/cluster.md")


async def test_what_keeps_a_watch_from_beginning_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    users = f'users: [ {{ user: rec, password: "{PASSWORD}" }} ]'
    more = f"accounts {{ A {{ jetstream {{ max_consumers: 1 }}, {users} }} }}"
    with running_nats(tmp_path, more=more) as server:
        async with connected(server, user="rec", password=PASSWORD) as engine:
            await engine.table.watch("node.", lambda _: None)
            monkeypatch.setattr("wavstream.cluster.jetstream.START_S", 2.0)
            with pytest.raises(EngineAway, match="maximum consumers limit reached"):
                await engine.table.watch("session.", lambda _: None)


async def test_a_token_is_let_in(tmp_path: Path) -> None:
    with running_nats(tmp_path, more=f'authorization {{ token: "{PASSWORD}" }}') as server:
        async with connected(server, token=PASSWORD) as engine:
            assert engine.connection.is_up
        assert "Authorization Violation" in await refused(server.settings(token="other"))


async def test_tls_is_spoken_where_it_is_asked_for_and_nothing_is_said_without_it(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path, addresses=("127.0.0.1",))
    offers = f'tls {{ cert_file: "{certificate}", key_file: "{certificate}", ca_file: "{certificate}" }}'
    with running_nats(tmp_path / "tls", more=offers) as server:
        url = server.url.replace("nats://", "tls://")
        async with connected(server, nats_url=url, tls_ca=certificate) as engine:
            assert engine.connection.is_up
        line = await refused(server.settings(nats_url=url), wait_s=60)
        assert "certificate" in line
        assert line.endswith(
            "look at WAVSTREAM_CLUSTER__TLS_CA, __TLS_CERT and __TLS_KEY, and name it tls:// in __NATS_URL"
        )

    more = f'authorization {{ token: "{PASSWORD}" }}'
    with running_nats(tmp_path / "plain", more=more) as server:
        url = server.url.replace("nats://", "tls://")
        assert await refused(server.settings(nats_url=url, tls_ca=certificate, token=PASSWORD), wait_s=60) == (
            f"NATS at {url} refuses this node: it offers no TLS: set up TLS there, or name it nats:// in "
            "WAVSTREAM_CLUSTER__NATS_URL"
        )


async def test_a_certificate_of_the_node_is_shown_where_nats_asks_for_one(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path, "localhost", addresses=("127.0.0.1",))
    files = f'cert_file: "{certificate}", key_file: "{certificate}", ca_file: "{certificate}"'
    with running_nats(tmp_path / "tls", more=f"tls {{ {files}, verify: true }}") as server:
        url = server.url.replace("nats://", "tls://")
        shown: dict[str, Any] = {"nats_url": url, "tls_ca": certificate, "tls_cert": certificate}
        async with connected(server, **shown) as engine:
            assert engine.connection.is_up
        await refused(server.settings(nats_url=url, tls_ca=certificate))


# ---- nkeys, and credentials files ----------------------------------------------------------------------------------


class Nkey:
    """A key of NATS, written as NATS writes it."""

    def __init__(self, kind: str) -> None:
        self._prefix = {"U": 20, "A": 0, "O": 14}[kind] << 3
        self._key = Ed25519PrivateKey.generate()

    @property
    def seed(self) -> str:
        raw = self._key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
        return self._text(bytes([18 << 3 | self._prefix >> 5, (self._prefix & 31) << 3]) + raw)

    @property
    def public(self) -> str:
        return self._text(bytes([self._prefix]) + self._key.public_key().public_bytes_raw())

    def token(self, of: Nkey, name: str, claims: dict[str, Any]) -> str:
        """Return a JWT about another key."""
        told = {"iss": self.public, "sub": of.public, "name": name, "iat": 1_700_000_000, "nats": claims}
        told["jti"] = base64.b32encode(hashlib.sha256(json.dumps(told).encode()).digest()).decode().rstrip("=")
        parts = [_base64(json.dumps(part).encode()) for part in ({"typ": "JWT", "alg": "ed25519-nkey"}, told)]
        return ".".join([*parts, _base64(self._key.sign(".".join(parts).encode()))])

    @staticmethod
    def _text(raw: bytes) -> str:
        return base64.b32encode(raw + nats_credentials.checksum(raw)).decode().rstrip("=")


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


async def test_an_nkey_is_let_in_and_another_is_not(tmp_path: Path) -> None:
    key, file = Nkey("U"), tmp_path / "user.nk"
    file.write_text(f"{key.seed}\n")
    with running_nats(tmp_path / "nats", more=f"authorization {{ users: [{{ nkey: {key.public} }}] }}") as server:
        async with connected(server, nkey_file=file) as engine:
            assert engine.connection.is_up
        file.write_text(Nkey("U").seed)
        assert "Authorization Violation" in await refused(server.settings(nkey_file=file))


async def test_a_credentials_file_is_let_in_and_read_anew_for_each_connection(tmp_path: Path) -> None:
    operator, system, account, user, file = Nkey("O"), Nkey("A"), Nkey("A"), Nkey("U"), tmp_path / "node.creds"
    limits = {"mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1}
    everything = {"subs": -1, "data": -1, "payload": -1, "conn": -1, "leaf": -1, "imports": -1, "exports": -1}
    of_operator = {"type": "operator", "version": 2, "system_account": system.public}
    of_system = {"limits": everything | {"wildcards": True}, "type": "account", "version": 2}
    of_account = of_system | {"limits": everything | {"wildcards": True} | limits}
    of_user = {"subs": -1, "data": -1, "payload": -1, "type": "user", "version": 2}
    more = [
        f"operator: {operator.token(operator, 'operator', of_operator)}",
        "resolver: MEMORY",
        "resolver_preload: {",
        f"  {account.public}: {operator.token(account, 'account', of_account)}",
        f"  {system.public}: {operator.token(system, 'system', of_system)}",
        "}",
    ]

    def write(key: Nkey) -> None:
        token = account.token(user, "node", of_user)
        file.write_text(
            f"-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n"
            f"-----BEGIN USER NKEY SEED-----\n{key.seed}\n------END USER NKEY SEED------\n"
        )

    write(user)
    with running_nats(tmp_path / "nats", more="\n".join(more)) as server:
        async with connected(server, credentials_file=file) as engine:
            assert await engine.log.publish("tail.a.1", b"x", after=0)
            write(Nkey("U"))
            assert "Authorization Violation" in await refused(server.settings(credentials_file=file))
            write(user)
            server.kill()
            server.start()

            async def answers() -> bool:
                with suppress(EngineAway):
                    return await engine.log.last("tail.a.1") > 0
                return False

            await until(answers)


@pytest.mark.parametrize(
    ("setting", "content", "said"),
    [
        ("credentials_file", None, "No such file or directory: name a readable file"),
        ("credentials_file", "x", "it has no token and seed: name a .creds file of a user"),
        ("nkey_file", None, "No such file or directory: name a readable file"),
        ("nkey_file", "SU-x", "it has no seed of a user's nkey, which begins with SU"),
        ("nkey_file", "the seed of an account", "it has no seed of a user's nkey, which begins with SU"),
        ("nkey_file", "a public key", "it has no seed of a user's nkey, which begins with SU"),
        ("tls_ca", None, "No such file or directory: name a readable file in PEM"),
        ("tls_ca", "x", "name a readable file in PEM"),
        ("tls_cert", "x", "name a certificate and its key, readable and in PEM"),
    ],
)
async def test_a_file_that_cannot_be_used_is_told_by_its_setting(
    tmp_path: Path, setting: str, content: str | None, said: str
) -> None:
    file = tmp_path / "file"
    made = {"the seed of an account": Nkey("A").seed, "a public key": Nkey("U").public}  # another each time
    if content is not None:
        file.write_text(made.get(content, content))

    line = await refused(ClusterSettings.model_validate({"nats_url": "nats://127.0.0.1:9", setting: file}))

    assert line.startswith(f"WAVSTREAM_CLUSTER__{setting.upper()}: {file}: ")
    assert line.endswith(said)
