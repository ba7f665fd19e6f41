"""A real catalog whose reads and writes fail, or wait, when a test says so."""

from __future__ import annotations

import asyncio
import functools
import math
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Self, TypeVar

import pytest

from tests.support.postgres import lent_catalog
from tests.support.wanted import USUAL
from wavstream.catalog.catalog import Catalog
from wavstream.catalog.database import Database, Read
from wavstream.catalog.engine import Write
from wavstream.catalog.postgres_place import PostgresPlace
from wavstream.catalog.schema import upgrade
from wavstream.errors import DependencyError

T = TypeVar("T")

FOREVER = math.inf


class FaultyDatabase(Database):
    """A real database. Reads and writes go by the method of the repository that asks, as ``Recordings.save``."""

    def __init__(self, where: Path | PostgresPlace) -> None:
        super().__init__(where)
        self.where = where
        self._loop = asyncio.get_running_loop()
        self.asked: list[str] = []
        """Every read and write so far."""
        self.faults: dict[str, float] = {}
        """How many of the next ones fail, of each method."""
        self.failure: type[DependencyError] = DependencyError
        self.gates: dict[str, asyncio.Event] = {}
        """What writes wait for, of each method."""
        self.waiting = asyncio.Event()
        """Set when a write waits for its gate."""

    @classmethod
    async def open(cls, where: Path | PostgresPlace, *, is_lost: bool = False) -> Self:
        """Open the database; a new file is a copy, which is made faster than by all migrations."""
        if isinstance(where, Path):
            await asyncio.to_thread(make_if_missing, where)
        return cls(where)

    async def read(self, read: Read[T]) -> T:
        self._fail_if_asked_to(read)
        return await super().read(read)

    async def write(self, write: Write[T]) -> T:
        self._fail_if_asked_to(write)
        if (gate := self.gates.get(_asker(write))) is not None:
            self.waiting.set()
            await gate.wait()
        if asyncio.get_running_loop() is not self._loop:  # a client that runs the application on a loop of its own
            return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(super().write(write), self._loop))
        return await super().write(write)

    def _fail_if_asked_to(self, function: Callable[..., Any]) -> None:
        name = _asker(function)
        self.asked.append(name)
        if self.faults.get(name, 0) > 0:
            self.faults[name] -= 1
            raise self.failure("the catalog does not work: disk I/O error")


@pytest.fixture
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[FaultyDatabase]:
    """Return one in a file; a module that says ``DATABASES = BOTH`` is given each (tests/conftest.py)."""
    kind = getattr(request, "param", "sqlite")
    with nullcontext(tmp_path / "catalog.db") if kind == "sqlite" else lent_catalog() as where:
        opened = await FaultyDatabase.open(where)
        yield opened
        await opened.close()


@pytest.fixture
async def catalog(database: FaultyDatabase) -> Catalog:
    """Return the repositories over ``database``."""
    return await Catalog.over(database, is_wanted=USUAL)


def _asker(function: Callable[..., Any]) -> str:
    """Return the method that defined this function, to hand it to the database."""
    return function.__qualname__.partition(".<locals>")[0]


def make_if_missing(path: Path) -> None:
    """Make an empty catalog there, which takes less long than to migrate one."""
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.write_bytes(_empty_file())
        path.chmod(0o600)


def make_if_new(data_dir: Path) -> None:
    """Make an empty catalog in a data folder in which there is nothing yet."""
    if not data_dir.exists() or not any(data_dir.iterdir()):
        make_if_missing(data_dir / "catalog.db")


@functools.cache
def _empty_file() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        upgrade(path := Path(folder) / "catalog.db")
        return path.read_bytes()
