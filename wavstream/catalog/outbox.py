"""The outbox as rows: facts written beside what they announce, and how far their delivery is.

A row is ``pending`` until it is ``delivered`` or, given up, ``dead``. Of a session's pending rows only the one with the
lowest sequence has a ``due_us``: the others wait behind it, and take no part in any question about what is due,
however many they are. Whoever ends a row gives the next one its turn, in the same transaction.

A delivered row loses its body, which may name callers, but stays for ``DELIVERED_KEPT``: its id keeps a fact that is
told again from being announced again.

Every function takes a connection inside a transaction and can be run again after a rollback.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import msgspec
from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    bindparam,
    case,
    delete,
    exists,
    func,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects.sqlite import insert

from wavstream.catalog.prepared import Prepared
from wavstream.catalog.tables import apps, outbox, outbox_sequences
from wavstream.model.app import WebhookTarget
from wavstream.model.fact import Announcement, Fact, FactKind
from wavstream.model.times import unix_us, utc

DELIVERED_KEPT = timedelta(hours=24)
DEAD_KEPT = timedelta(days=30)
SEQUENCES_KEPT = timedelta(days=30)
"""Since the session's last fact, and for as long as a row of the session is there."""
_PRUNED_AT_ONCE = 2_000
"""Rows of a sort; a transaction that takes longer than some 50 ms would hold up all others."""


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
    """The longest due first, one of each session."""
    next_at: datetime | None
    """When more is due; None: nothing else has a time yet."""


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits for one app."""

    app_id: str
    pending: int
    due_at: datetime


_other = outbox.alias("other")


def before(row: Any) -> ColumnElement[bool]:
    """Whether a pending row of the same session comes before this one."""
    return exists(
        select(_other.c.id).where(
            _other.c.app_id == row.c.app_id,
            _other.c.session_id == row.c.session_id,
            _other.c.sequence < row.c.sequence,
            _other.c.state == State.PENDING.value,
        )
    )


# Statements that are made once: to build one takes several times as long as to run it.
_this_session = and_(outbox.c.app_id == bindparam("app"), outbox.c.session_id == bindparam("session"))
_pending = outbox.c.state == State.PENDING.value
_last = select(outbox_sequences.c.last).where(
    outbox_sequences.c.app_id == bindparam("app"), outbox_sequences.c.session_id == bindparam("session")
)
# What has to be known before a fact is written.
_ASK = Prepared(
    select(
        select(apps.c.webhook_json).where(apps.c.id == bindparam("app")).scalar_subquery().label("webhook_json"),
        exists(select(outbox.c.id).where(outbox.c.id == bindparam("wanted"))).label("told"),
        exists(select(outbox.c.id).where(_this_session, _pending)).label("waits"),
        func.coalesce(_last.scalar_subquery(), 0).label("last"),
    )
)
_ADD = Prepared(insert(outbox), columns={*outbox.c.keys()} - {"done_us", "error"})
_count = insert(outbox_sequences)
_COUNT = Prepared(
    _count.on_conflict_do_update(
        index_elements=["app_id", "session_id"], set_={"last": _count.excluded.last, "used_us": _count.excluded.used_us}
    )
)
_DUE = (
    select(outbox)
    .where(outbox.c.app_id == bindparam("app"), outbox.c.due_us <= bindparam("now"))
    .order_by(outbox.c.due_us)
    .limit(bindparam("limit"))
)
_NEXT = select(func.min(outbox.c.due_us)).where(outbox.c.app_id == bindparam("app"), outbox.c.due_us > bindparam("now"))
_BACKLOG = select(
    apps.c.id,
    select(func.count())
    .where(outbox.c.app_id == apps.c.id, _pending)
    .correlate(apps)
    .scalar_subquery()
    .label("pending"),
    select(func.min(outbox.c.due_us))
    .where(outbox.c.app_id == apps.c.id, outbox.c.due_us.is_not(None))
    .correlate(apps)
    .scalar_subquery()
    .label("due_us"),
)
_TURN = Prepared(
    update(outbox)
    .where(
        outbox.c.id
        == select(_other.c.id)
        .where(
            _other.c.app_id == bindparam("app"),
            _other.c.session_id == bindparam("session"),
            _other.c.state == State.PENDING.value,
        )
        .order_by(_other.c.sequence)
        .limit(1)
        .scalar_subquery()
    )
    .values(due_us=bindparam("now"))
    .returning(*outbox.c)
)
_this_pending = update(outbox).where(outbox.c.id == bindparam("wanted"), _pending)
_DELIVERED = Prepared(
    _this_pending.values(state=State.DELIVERED.value, due_us=None, done_us=bindparam("now"), error=None, body_json="{}")
)
_DEAD = Prepared(
    _this_pending.values(
        state=State.DEAD.value,
        due_us=None,
        done_us=bindparam("now"),
        error=bindparam("why"),
        attempts=outbox.c.attempts + 1,
    )
)
# A replay may have put a row before this one while it was being tried.
_RETRY = _this_pending.values(
    due_us=case((before(outbox), None), else_=bindparam("next")),
    error=bindparam("why"),
    attempts=outbox.c.attempts + 1,
)

_webhook: Any = msgspec.json.Decoder(WebhookTarget).decode


def add(connection: Connection, facts: Iterable[Fact], usual: Set[FactKind]) -> set[str]:
    """Write those facts that their apps want and that were not written before; ids of the apps that have more now.

    ``usual`` are the kinds for apps that did not choose. Each fact takes the next sequence of its session.
    """
    told = set()
    for fact in facts:
        asked = {"app": fact.app_id, "session": fact.session_id, "wanted": fact.id}
        known = _ASK.row(connection, asked)
        if known is None or known["webhook_json"] is None or known["told"]:
            continue
        kinds = _webhook(known["webhook_json"]).kinds
        if fact.kind not in (usual if kinds is None else kinds):
            continue
        at_us, sequence = unix_us(fact.at), known["last"] + 1
        key = {"app_id": fact.app_id, "session_id": fact.session_id}
        _COUNT.run(connection, {**key, "last": sequence, "used_us": at_us})
        values = {
            **key,
            "id": fact.id,
            "sequence": sequence,
            "kind": fact.kind.value,
            "recording_id": fact.recording_id,
            "at_us": at_us,
            "body_json": msgspec.json.encode(fact.body).decode(),
            "state": State.PENDING.value,
            "attempts": 0,
            "begun_us": at_us,
            "due_us": None if known["waits"] else at_us,
        }
        _ADD.run(connection, values)
        told.add(fact.app_id)
    return told


def due(connection: Connection, app_id: str, now: datetime, limit: int) -> Due:
    """Up to ``limit`` announcements of the app whose time has come."""
    asked = {"app": app_id, "now": unix_us(now)}
    rows = connection.execute(_DUE, {**asked, "limit": limit}).mappings().all()
    next_us = connection.execute(_NEXT, asked).scalar_one()
    return Due(tuple(announcement(row) for row in rows), None if next_us is None else utc(next_us))


def backlog(connection: Connection) -> list[Backlog]:
    """The apps that something waits for."""
    rows = connection.execute(_BACKLOG).all()
    return [Backlog(row.id, row.pending, utc(row.due_us)) for row in rows if row.due_us is not None]


def delivered(connection: Connection, done: Announcement, now: datetime) -> Announcement | None:
    """It has arrived; whose turn it is now in its session."""
    return _end(connection, _DELIVERED, done, now, {})


def mark_dead(connection: Connection, dead: Announcement, why: str, now: datetime) -> Announcement | None:
    """It is given up; whose turn it is now in its session."""
    return _end(connection, _DEAD, dead, now, {"why": why})


def retry(connection: Connection, failed: Announcement, why: str, next_at: datetime) -> None:
    """A try has failed; the next is at ``next_at``."""
    connection.execute(_RETRY, {"wanted": failed.fact.id, "why": why, "next": unix_us(next_at)})


def prune(connection: Connection, now: datetime) -> bool:
    """Delete rows that have been kept long enough; whether there may be more of them."""
    an_app = outbox.c.app_id.in_(select(apps.c.id))  # makes the index usable, which begins with the app
    full = False
    for state, kept in ((State.DELIVERED, DELIVERED_KEPT), (State.DEAD, DEAD_KEPT)):
        old = select(outbox.c.id).where(an_app, outbox.c.state == state.value, outbox.c.done_us < unix_us(now - kept))
        gone = connection.execute(delete(outbox).where(outbox.c.id.in_(old.limit(_PRUNED_AT_ONCE))))
        full = full or gone.rowcount == _PRUNED_AT_ONCE
    session = (outbox_sequences.c.app_id, outbox_sequences.c.session_id)
    rows = exists(select(outbox.c.id).where(outbox.c.app_id == session[0], outbox.c.session_id == session[1]))
    old = select(*session).where(outbox_sequences.c.used_us < unix_us(now - SEQUENCES_KEPT), ~rows)
    gone = connection.execute(delete(outbox_sequences).where(tuple_(*session).in_(old.limit(_PRUNED_AT_ONCE))))
    return full or gone.rowcount == _PRUNED_AT_ONCE


def forget_app(connection: Connection, app_id: str) -> None:
    """Delete all that was to be told to an app that is removed."""
    connection.execute(delete(outbox).where(outbox.c.app_id == app_id))
    connection.execute(delete(outbox_sequences).where(outbox_sequences.c.app_id == app_id))


def announcement(row: Mapping[Any, Any]) -> Announcement:
    """A row that is pending or dead."""
    return Announcement(
        fact=Fact(
            id=row["id"],
            app_id=row["app_id"],
            session_id=row["session_id"],
            kind=FactKind(row["kind"]),
            at=utc(row["at_us"]),
            recording_id=row["recording_id"],
            body=msgspec.json.decode(row["body_json"]),
        ),
        sequence=row["sequence"],
        attempts=row["attempts"],
        begun_at=utc(row["begun_us"]),
        error=row["error"],
        died_at=None if row["done_us"] is None else utc(row["done_us"]),
    )


def _end(
    connection: Connection, how: Prepared, ended: Announcement, now: datetime, more: dict[str, object]
) -> Announcement | None:
    fact, now_us = ended.fact, unix_us(now)
    if how.run(connection, {"wanted": fact.id, "now": now_us, **more}) == 0:
        return None
    turn = {"app": fact.app_id, "session": fact.session_id, "now": now_us}
    row = _TURN.row(connection, turn)
    return None if row is None else announcement(row)
