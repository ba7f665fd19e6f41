"""The outbox as rows: facts written beside what they announce, and how far their delivery is.

1. A row is ``pending`` until it is ``delivered`` or, given up, ``dead``.
2. Of the pending rows of a line (``Fact.line``) only the one with the lowest sequence has a ``due_us``. The others wait
   behind it, and no question about what is due looks at them, however many they are. Whoever ends a row gives the next
   one its turn, in the same transaction.
3. A delivered row loses its body, which may name callers, but stays for ``DELIVERED_KEPT``. Its id keeps a fact that is
   told again from being announced again.
4. Where several machines may take turns (``Database.turns_of``), a row is taken before it is told: it says who has it
   and until when, and is nobody else's meanwhile (``TAKEN_FOR``). Who takes passes over rows that another is just about
   to take or to end. The next of a line that one has told is taken by the same. A machine that ended finds its rows
   again when it is back; those of one that stays away are another's once their time is over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import msgspec
from sqlalchemy import Connection, insert, text

from wavstream.catalog.database import Database, Prepared
from wavstream.catalog.tables import json_text, outbox
from wavstream.model.app import DEFAULT_APP, WebhookTarget
from wavstream.model.fact import TRIES_KEPT, Announcement, Fact, FactKind, Try
from wavstream.model.times import unix_us, utc

DELIVERED_KEPT = timedelta(hours=24)
DEAD_KEPT = timedelta(days=30)
SEQUENCES_KEPT = timedelta(days=30)
"""Since the line's last fact, and for as long as a row of the line is there."""
TAKEN_FOR = timedelta(minutes=5)
"""More than a receiver that does not answer needs for all that one machine takes at once."""
_PRUNED_AT_ONCE = 2_000
"""Rows of a sort; a transaction that takes longer than some 50 ms would hold up all others."""


IsWanted = Callable[[Fact, WebhookTarget | None], bool]
"""Tells whether a fact is to be told to an app with this target; None: it has none."""


class State(StrEnum):
    """How far the delivery of a fact is."""

    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"
    """Given up; can be replayed."""


@dataclass(frozen=True, slots=True)
class Due:
    """What an app can be told now."""

    announcements: tuple[Announcement, ...]
    """The longest due first, one of each line."""
    next_at: datetime | None
    """When more is due; None: nothing else has a time yet."""


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits for one app."""

    app_id: str
    pending: int
    due_at: datetime


_NOBODY: Mapping[str, object] = {"by": None, "until": None}

# Whether a pending row of the same line comes before this one.
_IS_BEHIND = """
    EXISTS (
        SELECT 1 FROM outbox AS earlier
        WHERE earlier.app_id = outbox.app_id AND earlier.line = outbox.line
            AND earlier.sequence < outbox.sequence AND earlier.state = 'pending'
    )
"""

# What has to be known before a fact is written.
_ASK = Prepared("""
    SELECT
        (SELECT webhook_json FROM apps WHERE id = :app) AS webhook_json,
        EXISTS (SELECT 1 FROM apps WHERE id = :app) AS is_app,
        EXISTS (SELECT 1 FROM outbox WHERE id = :fact) AS is_known,
        EXISTS (
            SELECT 1 FROM outbox WHERE app_id = :app AND line = :line AND state = 'pending'
        ) AS is_behind,
        coalesce((SELECT last FROM outbox_sequences WHERE app_id = :app AND line = :line), 0) AS last
""")

_COUNT = Prepared("""
    INSERT INTO outbox_sequences (app_id, line, last, used_us)
    VALUES (:app_id, :line, :last, :used_us)
    ON CONFLICT (app_id, line) DO UPDATE SET last = excluded.last, used_us = excluded.used_us
""")

_ADD = Prepared(
    insert(outbox), columns={*outbox.c.keys()} - {"done_us", "error", "tries_json", "taken_by", "taken_until_us"}
)

_DUE = text("SELECT * FROM outbox WHERE app_id = :app AND due_us <= :now ORDER BY due_us LIMIT :limit")

# rule 4: as _DUE, of what nobody else has taken.
_TAKE = text("""
    UPDATE outbox SET taken_by = :by, taken_until_us = :until
    WHERE id IN (
        SELECT id FROM outbox
        WHERE app_id = :app AND due_us <= :now AND (taken_by IS NULL OR taken_by = :by OR taken_until_us <= :now)
        ORDER BY due_us, id LIMIT :limit
        FOR UPDATE SKIP LOCKED
    )
    RETURNING *
""")

_PENDING = text("SELECT * FROM outbox WHERE app_id = :app AND state = 'pending' ORDER BY at_us, sequence LIMIT :limit")

_NEXT_DUE = text("SELECT min(due_us) FROM outbox WHERE app_id = :app AND due_us > :now")

# The app of a server without apps has no row, and can be told at URLs of its recordings.
_APPS = f"""(
    SELECT id FROM apps
    UNION ALL SELECT '{DEFAULT_APP}' WHERE NOT EXISTS (SELECT 1 FROM apps WHERE id = '{DEFAULT_APP}')
) AS apps"""

_BACKLOG = text(f"""
    SELECT
        id,
        (SELECT count(*) FROM outbox WHERE app_id = apps.id AND state = 'pending') AS pending,
        (SELECT min(due_us) FROM outbox WHERE app_id = apps.id AND due_us IS NOT NULL) AS due_us
    FROM {_APPS}
""")

# rule 2: the turn of the row with the lowest sequence.
_GIVE_TURN = Prepared("""
    UPDATE outbox SET due_us = :now, taken_by = :by, taken_until_us = :until
    WHERE id = (
        SELECT id FROM outbox WHERE app_id = :app AND line = :line AND state = 'pending'
        ORDER BY sequence LIMIT 1
    )
    RETURNING *
""")

# rule 3: without its body.
_DELIVERED = Prepared("""
    UPDATE outbox SET state = 'delivered', due_us = NULL, done_us = :now, error = NULL, body_json = '{}',
        tries_json = :tries
    WHERE id = :fact AND state = 'pending'
""")

_DEAD = Prepared("""
    UPDATE outbox SET state = 'dead', due_us = NULL, done_us = :now, error = :why, attempts = attempts + 1,
        tries_json = :tries
    WHERE id = :fact AND state = 'pending'
""")

# A replay may have put a row before this one while it was being tried.
_FAILED = text(f"""
    UPDATE outbox
    SET due_us = CASE WHEN {_IS_BEHIND} THEN NULL ELSE :next END, error = :why, attempts = attempts + 1,
        tries_json = :tries, taken_by = NULL, taken_until_us = NULL
    WHERE id = :fact AND state = 'pending'
""")

_TAKE_TURNS = text(f"""
    UPDATE outbox SET due_us = NULL
    WHERE app_id = :app AND state = 'pending' AND due_us IS NOT NULL AND {_IS_BEHIND}
""")

_GIVE_TURNS = text(f"""
    UPDATE outbox SET due_us = :now
    WHERE app_id = :app AND state = 'pending' AND due_us IS NULL AND NOT {_IS_BEHIND}
""")

# With the apps named, the index can be used, which begins with the app.
_PRUNE = text(f"""
    DELETE FROM outbox WHERE id IN (
        SELECT id FROM outbox
        WHERE app_id IN (SELECT id FROM {_APPS}) AND state = :state AND done_us < :before
        LIMIT :limit
    )
""")

_PRUNE_SEQUENCES = text("""
    DELETE FROM outbox_sequences WHERE (app_id, line) IN (
        SELECT app_id, line FROM outbox_sequences
        WHERE used_us < :before AND NOT EXISTS (
            SELECT 1 FROM outbox
            WHERE app_id = outbox_sequences.app_id AND line = outbox_sequences.line
        )
        LIMIT :limit
    )
""")


class Outbox:
    """The facts to announce; every method that is awaited raises DependencyError when the database fails."""

    def __init__(self, database: Database, is_wanted: IsWanted) -> None:
        """Announce the facts that are wanted."""
        self._database = database
        self._is_wanted = is_wanted
        self._on_announced: Callable[[str], None] | None = None

    # ---- what is announced -------------------------------------------------------------------------------------

    def on_announced(self, wake: Callable[[str], None]) -> None:
        """Call ``wake`` with an app's id from now on, whenever there is more to tell that app."""
        self._on_announced = wake

    async def announce(self, facts: Sequence[Fact]) -> None:
        """Write facts that no row of their own announces; those that their app does not want are left out."""
        self.tell_dispatcher(await self._database.write(lambda connection: self.add(connection, facts)))

    def add(self, connection: Connection, facts: Iterable[Fact]) -> set[str]:
        """Write facts as a part of a transaction and return the apps to ``wake`` after its commit.

        Left out are facts that were written before and those that nobody wants. Each other fact takes the next sequence
        of its line.
        """
        told = set()
        for fact in facts:
            line = fact.line
            known = _ASK.row(connection, {"app": fact.app_id, "line": line, "fact": fact.id})
            if known is None or known["is_known"] or not (known["is_app"] or fact.app_id == DEFAULT_APP):
                continue
            if not self._is_wanted(fact, None if known["webhook_json"] is None else _webhook(known["webhook_json"])):
                continue
            at_us, sequence = unix_us(fact.at), known["last"] + 1
            _COUNT.run(connection, {"app_id": fact.app_id, "line": line, "last": sequence, "used_us": at_us})
            values = {
                "id": fact.id,
                "app_id": fact.app_id,
                "session_id": fact.session_id,
                "line": line,
                "api": fact.api,
                "url": fact.url,
                "sequence": sequence,
                "kind": fact.kind.value,
                "recording_id": fact.recording_id,
                "at_us": at_us,
                "body_json": json_text(fact.body),
                "state": State.PENDING.value,
                "attempts": 0,
                "begun_us": at_us,
                "due_us": None if known["is_behind"] else at_us,  # rule 2
            }
            _ADD.run(connection, values)
            told.add(fact.app_id)
        return told

    def tell_dispatcher(self, app_ids: Iterable[str]) -> None:
        """Call the ``wake`` of ``on_announced`` for each of these apps."""
        if self._on_announced is not None:
            for app_id in app_ids:
                self._on_announced(app_id)

    # ---- its delivery ------------------------------------------------------------------------------------------

    async def due(self, app_id: str, now: datetime, limit: int) -> Due:
        """Return up to ``limit`` announcements that the app can be told now, one of each line, by us (rule 4)."""
        asked = {"app": app_id, "now": unix_us(now)}
        us = self._us(now)

        def read(connection: Connection) -> Due:
            statement, by_us = (_DUE, {}) if us["by"] is None else (_TAKE, us)
            rows = connection.execute(statement, {**asked, **by_us, "limit": limit}).mappings().all()
            if statement is _TAKE:  # what it returns has no order
                rows = sorted(rows, key=lambda row: (row["due_us"], row["id"]))
            next_us = connection.execute(_NEXT_DUE, asked).scalar_one()
            return Due(tuple(announcement(row) for row in rows), None if next_us is None else utc(next_us))

        return await self._database.read(read)

    async def backlog(self) -> list[Backlog]:
        """Return what waits, for each app that something waits for."""

        def read(connection: Connection) -> list[Backlog]:
            rows = connection.execute(_BACKLOG).all()
            return [Backlog(row.id, row.pending, utc(row.due_us)) for row in rows if row.due_us is not None]

        return await self._database.read(read)

    async def pending(self, app_id: str, limit: int) -> list[tuple[Announcement, datetime | None]]:
        """Return what the app is still to be told, the oldest first, and when; None: it waits for one before it."""
        asked = {"app": app_id, "limit": limit}

        def read(connection: Connection) -> list[tuple[Announcement, datetime | None]]:
            rows = connection.execute(_PENDING, asked).mappings()
            return [(announcement(row), None if row["due_us"] is None else utc(row["due_us"])) for row in rows]

        return await self._database.read(read)

    async def mark_delivered(self, done: Announcement, now: datetime, *, url: str = "") -> Announcement | None:
        """Mark the announcement as delivered to ``url``; return the next one of its line."""
        told = {"tries": _tries(done, Try(now, url, None))}
        return await self._database.write(
            lambda connection: _end(connection, _DELIVERED, done, now, told, self._us(now))
        )

    async def mark_failed(
        self, failed: Announcement, why: str, next_at: datetime, *, now: datetime, url: str = ""
    ) -> None:
        """Write down that a try has failed ``now`` and that the next is at ``next_at``."""
        values = {
            "fact": failed.fact.id,
            "why": why,
            "next": unix_us(next_at),
            "tries": _tries(failed, Try(now, url, why)),
        }
        await self._database.write(lambda connection: connection.execute(_FAILED, values))

    async def mark_dead(self, dead: Announcement, why: str, now: datetime, *, url: str = "") -> Announcement | None:
        """Make the announcement a dead letter; return the next one of its line."""
        given_up = {"why": why, "tries": _tries(dead, Try(now, url, why))}
        return await self._database.write(
            lambda connection: _end(connection, _DEAD, dead, now, given_up, self._us(now))
        )

    def _us(self, now: datetime) -> Mapping[str, object]:
        """Return who takes what is due, and until when; nobody, where there is nobody else (rule 4)."""
        us = self._database.turns_of
        return _NOBODY if us is None else {"by": us, "until": unix_us(now + TAKEN_FOR)}

    async def prune(self, now: datetime) -> bool:
        """Delete rows that have been kept long enough; return whether there may be more of them."""

        def write(connection: Connection) -> bool:
            full = False
            for state, kept in ((State.DELIVERED, DELIVERED_KEPT), (State.DEAD, DEAD_KEPT)):
                old = {"state": state.value, "before": unix_us(now - kept), "limit": _PRUNED_AT_ONCE}
                full = connection.execute(_PRUNE, old).rowcount == _PRUNED_AT_ONCE or full
            unused = {"before": unix_us(now - SEQUENCES_KEPT), "limit": _PRUNED_AT_ONCE}
            return connection.execute(_PRUNE_SEQUENCES, unused).rowcount == _PRUNED_AT_ONCE or full

        return await self._database.write(write)


def order_turns(connection: Connection, app_id: str, now: datetime) -> None:
    """Make rule 2 true again for an app of which other rows have become pending; a part of a transaction."""
    connection.execute(_TAKE_TURNS, {"app": app_id})
    connection.execute(_GIVE_TURNS, {"app": app_id, "now": unix_us(now)})


def give_turn(connection: Connection, app_id: str, line: str, now: datetime) -> None:
    """Give the first pending row of a line its turn, after the one that had it is gone; a part of a transaction."""
    _GIVE_TURN.row(connection, {"app": app_id, "line": line, "now": unix_us(now), **_NOBODY})


def announcement(row: Mapping[Any, Any]) -> Announcement:
    """Return what a row says that is pending or dead."""
    return Announcement(
        fact=Fact(
            id=row["id"],
            app_id=row["app_id"],
            session_id=row["session_id"],
            kind=FactKind(row["kind"]),
            at=utc(row["at_us"]),
            recording_id=row["recording_id"],
            body=msgspec.json.decode(row["body_json"]),
            api=row["api"],
            url=row["url"],
        ),
        sequence=row["sequence"],
        attempts=row["attempts"],
        begun_at=utc(row["begun_us"]),
        error=row["error"],
        died_at=None if row["done_us"] is None else utc(row["done_us"]),
        tries=_read_tries(row["tries_json"]),
    )


def _end(
    connection: Connection,
    how: Prepared,
    ended: Announcement,
    now: datetime,
    more: Mapping[str, object],
    us: Mapping[str, object],
) -> Announcement | None:
    fact, now_us = ended.fact, unix_us(now)
    if how.run(connection, {"fact": fact.id, "now": now_us, **more}) == 0:
        return None
    row = _GIVE_TURN.row(connection, {"app": fact.app_id, "line": fact.line, "now": now_us, **us})
    return None if row is None else announcement(row)


def _tries(announced: Announcement, last: Try) -> str:
    return json_text([*announced.tries, last][-TRIES_KEPT:])


_webhook: Any = msgspec.json.Decoder(WebhookTarget).decode
_read_tries: Any = msgspec.json.Decoder(tuple[Try, ...]).decode
