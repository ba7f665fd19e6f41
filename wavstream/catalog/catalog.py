"""The catalog as the rooms above see it: one open database, asynchronous.

Reads run beside each other and beside the writer; writes go through grouped commits, and what they return is on the
disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence, Set
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import URL

from wavstream.catalog import apps, dead_letters, operations, outbox, recordings
from wavstream.catalog.apps import Remembered
from wavstream.catalog.commits import GroupedCommits
from wavstream.catalog.dead_letters import DeadLetters
from wavstream.catalog.holds import HoldRegister
from wavstream.catalog.outbox import Backlog, Due
from wavstream.catalog.reads import Reads
from wavstream.catalog.recordings import Filters, Page
from wavstream.catalog.schema import begin_write, prepare, upgrade
from wavstream.model.app import App
from wavstream.model.fact import DEFAULT_KINDS, Announcement, Fact, FactKind
from wavstream.model.operation import Operation
from wavstream.model.recording import Recording, Status


class Catalog:
    """Every recording, app, idempotency key and fact to announce.

    All methods raise DependencyError when the database fails.
    """

    def __init__(self, reads: Reads, writer: Engine, default_kinds: Set[FactKind]) -> None:
        self._reads = reads
        self._writer = writer
        self._default_kinds = default_kinds
        self._on_announced: Callable[[str], None] = lambda app_id: None
        self.commits = GroupedCommits(writer)
        self.apps_with_webhook: set[str] = set()
        """Apps that have, or had, somewhere to be told: no facts are made for others, each of which costs a query."""
        self.holds = HoldRegister(self.commits)

    @classmethod
    async def open(cls, path: Path, *, default_kinds: Set[FactKind] = DEFAULT_KINDS) -> Catalog:
        """Open the database file, made or migrated first if need be; raises OperatorError if it cannot be used.

        ``default_kinds`` are the kinds of facts for apps that did not choose.
        """
        await asyncio.to_thread(upgrade, path)
        writer = create_engine(URL.create("sqlite", database=str(path)), pool_size=1, max_overflow=0)
        event.listen(writer, "connect", prepare)
        event.listen(writer, "begin", begin_write)
        catalog = cls(Reads(path), writer, default_kinds)
        catalog.commits.start()
        catalog.apps_with_webhook = await catalog._reads.read(apps.with_webhook)
        return catalog

    async def close(self) -> None:
        """Commit what is queued and close the file."""
        await self.commits.close()
        await self._reads.close()
        await asyncio.to_thread(self._writer.dispose)

    async def ping(self) -> None:
        """Return if the database can be read and its write lock be had."""
        await self._reads.read(lambda connection: connection.execute(text("SELECT 1")).scalar_one())
        await self.commits.write(lambda connection: None)

    # ---- recordings ------------------------------------------------------------------------------------------------

    async def add_recording(self, recording: Recording) -> bool:
        """Insert the row unless its id is there already; whether it was inserted."""
        return await self.commits.write(lambda connection: recordings.add(connection, recording))

    async def save_recording(self, recording: Recording, facts: Sequence[Fact] = ()) -> bool:
        """Insert the row or write over all of it; False, and nothing done, if the row is further in its life.

        ``facts`` are what the change announces: they are written with it, as by ``announce``.
        """

        def save(connection: Connection) -> tuple[bool, set[str]]:
            saved = recordings.save(connection, recording)
            return saved, outbox.add(connection, facts, self._default_kinds) if saved else set()

        saved, told = await self.commits.write(save)
        self._tell(told)
        return saved

    async def get_recording(self, recording_id: str, app_id: str | None = None) -> Recording | None:
        """The recording, if it is there and, where ``app_id`` is given, that app's."""
        return await self._reads.read(lambda connection: recordings.get(connection, recording_id, app_id))

    async def list_recordings(
        self,
        app_id: str,
        *,
        session_id: str | None = None,
        status: Status | None = None,
        from_: str | None = None,
        to: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int,
        cursor: str | None = None,
    ) -> Page:
        """A page of the app's recordings, newest first; without a ``status`` the deleted ones are left out.

        Raises InvalidFields for a cursor that is not from a page of this list.
        """
        filters = Filters(session_id=session_id, status=status, from_=from_, to=to, since=since, until=until)
        return await self._reads.read(lambda connection: recordings.page(connection, app_id, filters, limit, cursor))

    async def unfinished(self) -> list[Recording]:
        """Recordings that are accepted, ongoing, paused or completed, oldest first."""
        return await self._reads.read(recordings.unfinished)

    async def due(self, now: datetime, limit: int, after: Recording | None = None) -> list[Recording]:
        """Available recordings, held by nobody, whose retention has ended; ``after``: the last one read."""
        return await self._reads.read(lambda connection: recordings.due(connection, now, limit, after))

    async def stored(self, after_id: str, limit: int) -> list[Recording]:
        """Available recordings in order of id; begin with ``""``, go on with the last id."""
        return await self._reads.read(lambda connection: recordings.stored(connection, after_id, limit))

    # ---- apps ------------------------------------------------------------------------------------------------------

    async def add_app(self, app: App, *, key_hash: str, key_lookup: str) -> bool:
        """Insert the app unless its id is taken; whether it was inserted."""
        added = await self.commits.write(lambda connection: apps.add(connection, app, key_hash, key_lookup))
        if added and app.webhook is not None:
            self.apps_with_webhook.add(app.id)
        return added

    async def replace_key(self, app_id: str, *, key_hash: str, key_lookup: str) -> bool:
        """Give the app another key; whether there is such an app."""
        return await self.commits.write(lambda connection: apps.replace_key(connection, app_id, key_hash, key_lookup))

    async def change_app(self, app: App) -> bool:
        """Write over all of the app but its key and its age; whether there is such an app."""
        changed = await self.commits.write(lambda connection: apps.change(connection, app))
        if changed and app.webhook is not None:
            self.apps_with_webhook.add(app.id)
        return changed

    async def remove_app(self, app_id: str) -> bool:
        """Remove the app, not its recordings: they stay until their retention ends. Whether there was such an app."""
        return await self.commits.write(lambda connection: apps.remove(connection, app_id))

    async def list_apps(self) -> list[App]:
        """Every app, oldest first."""
        return await self._reads.read(apps.all_apps)

    async def get_app(self, app_id: str) -> App | None:
        """The app, if there is one of that id."""
        return await self._reads.read(lambda connection: apps.get(connection, app_id))

    async def find_by_lookup(self, key_lookup: str) -> tuple[App, str] | None:
        """The app whose key has this lookup, and the hash of that key."""
        return await self._reads.read(lambda connection: apps.find_by_lookup(connection, key_lookup))

    async def any_app(self) -> bool:
        """Whether there is an app at all."""
        return await self._reads.read(apps.any_app)

    # ---- idempotency keys ------------------------------------------------------------------------------------------

    async def remember(
        self, *, app_id: str, key: str, request_digest: str, recording_id: str, now: datetime
    ) -> Remembered | None:
        """None for a new key, which is kept, once among callers at the same moment; else what it was used for first."""
        return await self.commits.write(
            lambda connection: apps.remember(
                connection,
                app_id=app_id,
                key=key,
                request_digest=request_digest,
                recording_id=recording_id,
                now=now,
            )
        )

    async def forget(self, app_id: str, key: str) -> None:
        """Free a key whose request came to nothing, so that it can be tried again."""
        await self.commits.write(lambda connection: apps.forget(connection, app_id, key))

    async def forget_before(self, before: datetime) -> int:
        """Free the keys that were first used, and forget the operations taken on, before that time; how many."""
        return await self.commits.write(
            lambda connection: apps.forget_before(connection, before) + operations.forget_before(connection, before)
        )

    # ---- operations ------------------------------------------------------------------------------------------------

    async def add_operation(self, operation: Operation, fact: Fact, *, recording: Recording | None = None) -> None:
        """Write a command that is taken on, the recording that it starts if it does, and what is to be told of it."""

        def add(connection: Connection) -> set[str]:
            operations.add(connection, operation)
            if recording is not None:
                recordings.add(connection, recording)
            return outbox.add(connection, (fact,), self._default_kinds)

        self._tell(await self.commits.write(add))

    async def get_operation(
        self, *, app_id: str, session_id: str, command_uid: str, since: datetime
    ) -> Operation | None:
        """The command of that uid, if it was taken on at ``since`` or later."""
        return await self._reads.read(
            lambda connection: operations.get(
                connection, app_id=app_id, session_id=session_id, command_uid=command_uid, since=since
            )
        )

    async def undone_stops(self) -> list[Operation]:
        """The stops of recordings that, by their rows, still run."""
        return await self._reads.read(operations.undone_stops)

    # ---- facts to announce -----------------------------------------------------------------------------------------

    def on_announced(self, wake: Callable[[str], None]) -> None:
        """Have ``wake`` called with an app's id whenever there is more to tell it."""
        self._on_announced = wake

    async def announce(self, facts: Sequence[Fact]) -> None:
        """Write facts that no row of their own announces; those that their app does not want are left out."""
        self._tell(await self.commits.write(lambda connection: outbox.add(connection, facts, self._default_kinds)))

    async def due_announcements(self, app_id: str, now: datetime, limit: int) -> Due:
        """What the app can be told now, one announcement of each session."""
        return await self._reads.read(lambda connection: outbox.due(connection, app_id, now, limit))

    async def backlog(self) -> list[Backlog]:
        """The apps that something waits for."""
        return await self._reads.read(outbox.backlog)

    async def note_delivered(self, done: Announcement, now: datetime) -> Announcement | None:
        """It has arrived; whose turn it is now in its session."""
        return await self.commits.write(lambda connection: outbox.delivered(connection, done, now))

    async def note_failed(self, failed: Announcement, why: str, next_at: datetime) -> None:
        """A try has failed; the next is at ``next_at``."""
        await self.commits.write(lambda connection: outbox.retry(connection, failed, why, next_at))

    async def mark_dead(self, dead: Announcement, why: str, now: datetime) -> Announcement | None:
        """It is given up and becomes a dead letter; whose turn it is now in its session."""
        return await self.commits.write(lambda connection: outbox.mark_dead(connection, dead, why, now))

    async def prune_outbox(self, now: datetime) -> bool:
        """Delete what was delivered or given up long ago; whether there may be more of it."""
        return await self.commits.write(lambda connection: outbox.prune(connection, now))

    async def dead_letters(self, app_id: str, *, limit: int, cursor: str | None = None) -> DeadLetters:
        """A page of what the app could not be told, the last given up first; raises InvalidFields for a bad cursor."""
        return await self._reads.read(lambda connection: dead_letters.page(connection, app_id, limit, cursor))

    async def dead_letter(self, app_id: str, fact_id: str) -> Announcement | None:
        """The dead letter of that id, if the app has one."""
        return await self._reads.read(lambda connection: dead_letters.get(connection, app_id, fact_id))

    async def replay(self, app_id: str, fact_ids: Collection[str] | None, now: datetime) -> int:
        """Try these dead letters again, or (None) the oldest, at most ``REPLAYED_AT_ONCE`` of them; how many."""
        count = await self.commits.write(lambda connection: dead_letters.replay(connection, app_id, fact_ids, now))
        self._tell({app_id} if count else set())
        return count

    def _tell(self, app_ids: set[str]) -> None:
        for app_id in app_ids:
            self._on_announced(app_id)
