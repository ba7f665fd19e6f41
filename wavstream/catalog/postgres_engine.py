"""The catalog in a PostgreSQL database: read on connections of a pool, written on one that is kept.

1. One writes at a time, whichever process or machine it is: a transaction that writes begins with an advisory lock, as
   one of SQLite's begins with the lock of its file. So what a write has read is still so when it writes.
2. A connection that is lost is made anew, and what it was doing is done again, once: a read changes nothing, and a
   transaction that has not come to its commit is rolled back. So a server that restarts between two statements is not
   noticed. What fails then is a ``CatalogAway``; who asks later tries again.
3. A commit whose answer was lost was made or not. The transaction's number is known, so the server is asked which, once
   it is there again. Only if it is not within ``VERIFIED_S``, or another has taken its place (a failover: numbers may
   have been given again), it is told as not known: a ``CatalogAway``, and all that is written is such that it may be
   written again.
4. A server that takes a connection and stands still would hold a thread for ever: after ``HUNG_S`` the socket is shut.
5. What was asked for before a wait ran out, and stood behind it, fails with it (``Waits``).
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import psycopg
from sqlalchemy import Connection, create_engine
from sqlalchemy.exc import SQLAlchemyError

from wavstream.catalog.engine import MAX_CONCURRENT_READS, Read, Waits
from wavstream.catalog.postgres_failures import LOCKED, code_of, failure, is_forgotten, is_lost, is_machines
from wavstream.catalog.postgres_place import STATEMENT_S, PostgresPlace
from wavstream.catalog.postgres_schema import NATIVE
from wavstream.errors import CatalogAway, DependencyError

WRITE_LOCK = 0x7761767374720002
HUNG_S = STATEMENT_S + 15
"""For a whole read or transaction; the server ends a statement before."""
VERIFIED_S = 10.0
_VERIFY_WAIT_S = 0.1
_AT_ONCE_S = 3.0
"""What fails within this stood behind nothing, and is done again."""
_FAILURES = (SQLAlchemyError, psycopg.Error, OSError)
_BEGIN = f"BEGIN; SELECT pg_current_xact_id()::text FROM pg_advisory_xact_lock({WRITE_LOCK})"
_TIMELINE = "SELECT substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8)"

T = TypeVar("T")


class PostgresEngine:
    """One database of a server: ``Engine`` says what it does."""

    damage = None

    def __init__(self, place: PostgresPlace) -> None:
        """Use a database whose schema is up to date; the first read or write connects."""
        self._place = place
        self._pool = create_engine(
            "postgresql+psycopg://",
            creator=place.connect,
            pool_size=MAX_CONCURRENT_READS + 1,
            max_overflow=0,
            isolation_level="AUTOCOMMIT",
            execution_options={"preserve_rowcount": True},  # of inserts too, which may be of nothing
            **NATIVE,
        )
        self._waits = Waits()
        self._lock_waits = Waits()
        """For others that write: nobody who reads stands behind one."""
        self._hangs = _Hangs(hung_s=HUNG_S)
        self._writing: Connection | None = None
        self._timeline: str | None = None
        """Of the connection that writes: another after a failover."""

    @property
    def turns_of(self) -> str | None:
        """Which machine this is."""
        return self._place.turns_of

    def look(self) -> None:
        """Do nothing: there is no file of ours."""

    async def scrub(self) -> None:
        """Return: what is deleted is overwritten when the server vacuums, and its log is the server's."""

    def end_scrubbing(self) -> None:
        """Do nothing."""

    def read(self, read: Read[T], asked_s: float) -> T:
        """Return what ``read`` returns."""
        if self._waits.stood_behind(asked_s):  # rule 5
            raise self._no_answer()
        begun_s = time.monotonic()
        try:
            try:
                return self._read(read)
            except _FAILURES as error:
                if not self._may_go_on(error, begun_s):
                    raise
                return self._read(read)
        except _FAILURES as error:
            self._note(error, begun_s)
            raise failure("read", error, self._place) from error

    def transact(self, run: Callable[[Connection], T]) -> T:
        """Return what ``run`` returns, once it is committed."""
        begun_s = time.monotonic()
        try:
            try:
                return self._transact(run)
            except _FAILURES as error:
                if not self._may_go_on(error, begun_s):
                    raise
                return self._transact(run)
        except _FAILURES as error:
            self._note(error, begun_s)
            raise

    def refused(self, asked_s: float) -> DependencyError | None:
        """Return what to raise for what stood behind a wait for the server (rule 5)."""
        if self._lock_waits.stood_behind(asked_s):
            return CatalogAway(f"the catalog is locked: {self._place.name}: somebody holds a lock there: end it")
        return self._no_answer() if self._waits.stood_behind(asked_s) else None

    def concerns_all(self, error: Exception) -> bool:
        """Return whether it concerns the whole group."""
        return isinstance(error, CatalogAway) or is_machines(error)

    def explain(self, error: Exception) -> Exception:
        """Return what to raise where a write ended with this error."""
        return failure("written", error, self._place) if isinstance(error, _FAILURES) else error

    def close_writing(self) -> None:
        """Close the connection that writes."""
        if self._writing is not None:
            with suppress(*_FAILURES):
                self._writing.close()
            self._writing = None

    def close(self) -> None:
        """Close the pool."""
        self._pool.dispose()
        self._hangs.end()

    # ---- on threads --------------------------------------------------------------------------------------------------

    def _read(self, read: Read[T]) -> T:
        with self._pool.connect() as connection:
            driver: Any = connection.connection.driver_connection
            try:
                with self._hangs.watching(driver):
                    return read(connection)
            except BaseException as error:
                self._drop_if_lost(connection, driver, error)
                raise

    def _transact(self, run: Callable[[Connection], T]) -> T:
        connection = self._writing = self._writing or self._connect_to_write()
        driver: Any = connection.connection.driver_connection
        try:
            with self._hangs.watching(driver):
                number = _begin(driver)
                result = run(connection)
        except BaseException as error:
            self._take_back(connection, driver, error)
            raise
        try:
            with self._hangs.watching(driver):
                driver.commit()
                if connection.in_transaction():
                    connection.commit()
        except BaseException as error:
            self._take_back(connection, driver, error)
            if not isinstance(error, psycopg.Error) or not driver.closed:
                raise
            if self._was_committed(number, error):  # rule 3
                return result
            raise _RolledBack(str(error)) from error
        return result

    def _connect_to_write(self) -> Connection:
        connection = self._pool.connect()
        driver: Any = connection.connection.driver_connection
        try:
            self._timeline = _timeline(driver)
        except BaseException as error:
            self._drop_if_lost(connection, driver, error)
            connection.close()
            raise
        return connection

    def _take_back(self, connection: Connection, driver: Any, error: BaseException) -> None:
        """Roll back; the connection goes to the pool, or is closed if it is lost."""
        self._writing = None
        with suppress(*_FAILURES):
            driver.rollback()
        self._drop_if_lost(connection, driver, error)
        with suppress(*_FAILURES):
            connection.close()

    def _drop_if_lost(self, connection: Connection, driver: Any, error: BaseException) -> None:
        if driver.closed or is_forgotten(error):
            with suppress(*_FAILURES):
                connection.invalidate()
            self._pool.dispose()  # what idles is lost with it

    def _was_committed(self, number: str, lost: Exception) -> bool:
        """Return whether the transaction was committed (rule 3); raise CatalogAway if that cannot be known."""
        give_up_s = time.monotonic() + VERIFIED_S
        while time.monotonic() < give_up_s:
            try:
                with self._place.connect() as connection:
                    if _timeline(connection) != self._timeline:
                        break
                    row = connection.execute("SELECT pg_xact_status(%s::xid8)", (number,)).fetchone()
                status = "" if row is None else str(row[0])
                if status in ("committed", "aborted"):
                    return status == "committed"
                if status != "in progress":  # so long ago that nobody knows
                    break
            except psycopg.DataError:  # of a time that has not come: it came to nothing
                return False
            except psycopg.Error as error:
                lost = error
            time.sleep(_VERIFY_WAIT_S)
        raise CatalogAway(
            f"the connection was lost at a commit, and whether that was made is not known: {self._place.name}: "
            f"{self._place.without_password(str(lost))}"
        ) from lost

    def _may_go_on(self, error: BaseException, begun_s: float) -> bool:
        """Return whether to do it again, on a connection that is made anew (rule 2)."""
        if isinstance(error, _RolledBack):
            return True
        return (is_lost(error) or is_forgotten(error)) and time.monotonic() < begun_s + _AT_ONCE_S

    def _note(self, error: BaseException, begun_s: float) -> None:
        """Note that a wait ran out, if that is what ended it (rule 5)."""
        if code_of(error) == LOCKED:
            self._lock_waits.ran_out()
        elif is_lost(error) and time.monotonic() >= begun_s + _AT_ONCE_S:
            self._waits.ran_out()

    def _no_answer(self) -> CatalogAway:
        return CatalogAway(f"the catalog does not answer: {self._place.name}: look at the server")


class _RolledBack(psycopg.OperationalError):
    """A connection was lost at the commit, and it is known that nothing of it was kept."""


class _Hangs:
    """Shuts sockets on which a server has not answered for ``HUNG_S`` (rule 4): whoever waits there fails."""

    def __init__(self, *, hung_s: float) -> None:
        self._hung_s = hung_s
        self._since: dict[int, float] = {}
        """Of sockets, by their descriptors, on which somebody waits; monotonic."""
        self._lock = threading.Lock()
        self._is_over = threading.Event()
        self._thread: threading.Thread | None = None

    @contextmanager
    def watching(self, driver: Any) -> Iterator[None]:
        """Shut the socket of this connection if the body takes too long."""
        descriptor: int = driver.fileno()
        with self._lock:
            self._since[descriptor] = time.monotonic()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="catalog-hangs", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                self._since.pop(descriptor, None)

    def end(self) -> None:
        """End the thread."""
        self._is_over.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._is_over.wait(min(1.0, self._hung_s)):
            with self._lock:  # until then no other socket has its number
                late_s = time.monotonic() - self._hung_s
                for descriptor in [each for each, since in self._since.items() if since < late_s]:
                    with suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as held:
                        held.shutdown(socket.SHUT_RDWR)
                    del self._since[descriptor]


def _begin(driver: psycopg.Connection[Any]) -> str:
    """Begin a transaction that writes (rule 1); return its number."""
    cursor = driver.execute(_BEGIN, prepare=False)
    cursor.nextset()
    row = cursor.fetchone()
    assert row is not None
    return str(row[0])


def _timeline(driver: psycopg.Connection[Any]) -> str | None:
    """Return which history of the server it is; None: it has none that we know of."""
    try:
        row = driver.execute(_TIMELINE).fetchone()
    except psycopg.errors.DatabaseError:
        if driver.closed:
            raise
        return None
    return None if row is None else str(row[0])
