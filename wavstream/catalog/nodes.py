"""Whose a recording's row is, where several nodes of a cluster write to one catalog (docs/decisions/0029).

1. A row says which node has the recording, and in which epoch of the session. Who takes a session over writes his own
   into the rows of those who had it before he does anything else (``take``). What another node began while it could not
   know of them is that node's, or is given (``give``).
2. A row is written over only by the node that it names, or by one with a later epoch: what a node that lost the session
   without knowing it still writes changes nothing, and announces nothing.
3. A node asks before it moves a file into its storage (``is_ours``), and looks after rows, files and uploads of its own
   alone.
4. A row of before there were nodes says nothing, and is nobody's: that a file or a journal is not here is no reason to
   give it up. Whoever has its file takes it at its start (``adopt``), and whoever has its journal by writing it.

Without a cluster no row says anything, and nothing is asked.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, Update, and_, or_, select, update

from wavstream.catalog.database import Database
from wavstream.catalog.recording_rows import recording_of
from wavstream.catalog.tables import recordings
from wavstream.model.recording import Recording, Status

_COLUMNS = recordings.c
_ROWS_AT_ONCE = 500
_ENDED_WITHOUT_FILE = (Status.ABSENT, Status.EXPIRED, Status.DELETED)


class Owner(NamedTuple):
    """Who has a session."""

    node: str
    epoch: int | None
    """None: nobody has claimed it that this node knows of."""


OwnerOf = Callable[[str], Owner | None]
"""Returns who has a session as far as this node knows; None: nobody."""


class Nodes:
    """The rows of one node among those of others; every method raises DependencyError when the database fails."""

    def __init__(self, database: Database, *, node: str, owner_of: OwnerOf) -> None:
        """``node`` is this one."""
        self.node = node
        self._database = database
        self._owner_of = owner_of
        self._kept: set[str] = set()

    def keep(self, session_id: str) -> None:
        """Go on writing the rows of a session that another has claimed too: what was begun here is a recording."""
        self._kept.add(session_id)

    def stamp(self, session_id: str) -> Owner | None:
        """Return what this node writes into the rows of a session; None: the session is another's, and it may not."""
        owner = self._owner_of(session_id)
        if owner is None or session_id in self._kept:
            return Owner(self.node, None)
        return owner if owner.node == self.node else None

    def own(self) -> ColumnElement[bool]:
        """Return the condition of rows that this node looks after."""
        return _COLUMNS.node == self.node

    async def adopt(self, object_keys: Sequence[str]) -> None:
        """Take the rows of before there were nodes whose files lie on this node's disk (rule 4)."""
        for start in range(0, len(object_keys), _ROWS_AT_ONCE):
            some = object_keys[start : start + _ROWS_AT_ONCE]
            statement = (
                update(recordings)
                .where(_COLUMNS.object_key.in_(some), _COLUMNS.node.is_(None), _COLUMNS.stored_json.is_(None))
                .values(node=self.node)
            )
            await self._database.write(functools.partial(_run, statement))

    async def take(self, session_id: str, owner: Owner, *, held_by: Iterable[str]) -> int:
        """Write into the rows of a session that this node has it now (rule 1); return of how many recordings.

        ``held_by``: all nodes that had it, this one too.
        """
        statement = (
            update(recordings)
            .where(
                _COLUMNS.session_id == session_id,
                _COLUMNS.node.in_(set(held_by)),
                _is_before(owner),
                # What lies in a store is not at any node any more.
                _COLUMNS.stored_json.is_(None),
            )
            .values(node=owner.node, epoch=owner.epoch)
        )
        return await self._database.write(lambda connection: connection.execute(statement).rowcount)

    async def give(self, session_id: str, to: Owner) -> list[str]:
        """Write into the unfinished rows that this node has of a session that another node has them; return their ids.

        They were written here before it was heard that the other has it: ``take`` has not seen them.
        """
        statement = (
            update(recordings)
            .where(
                _COLUMNS.session_id == session_id,
                _COLUMNS.node == self.node,
                _is_before(to),
                _COLUMNS.status.in_([each.value for each in Status if each.is_unfinished]),
            )
            .values(node=to.node, epoch=to.epoch)
            .returning(_COLUMNS.id)
        )
        return await self._database.write(lambda connection: [*connection.execute(statement).scalars()])

    async def is_ours(self, recording: Recording) -> bool:
        """Return whether no other node has taken the recording (rule 3)."""
        stamp = self.stamp(recording.session_id)
        if stamp is None:
            return False
        statement = select(_COLUMNS.node, _COLUMNS.epoch).where(_COLUMNS.id == recording.id)

        def read(connection: Connection) -> bool:
            row = connection.execute(statement).one_or_none()
            return row is None or row.node in (None, stamp.node) or (row.epoch or 0) < (stamp.epoch or 0)

        return await self._database.read(read)

    async def has_row(self, recording: Recording) -> bool:
        """Return whether no other node has the recording, as its row says: its file lies here, or nowhere."""
        statement = select(_COLUMNS.node).where(_COLUMNS.id == recording.id)
        named = await self._database.read(lambda connection: connection.execute(statement).scalar_one_or_none())
        return named in (None, self.node)

    async def of_session(self, session_id: str) -> list[Recording]:
        """Return the recordings of a session that this node has and that are not in a store."""
        statement = select(recordings).where(
            and_(_COLUMNS.node == self.node, _COLUMNS.session_id == session_id, _COLUMNS.stored_json.is_(None))
        )
        return await self._database.read(
            lambda connection: [recording_of(row) for row in connection.execute(statement).mappings()]
        )

    async def are_settled(self, recording_ids: Sequence[str]) -> bool:
        """Return whether each of these recordings is in a store, or has no file for good: nobody needs its journal."""
        settled = or_(
            _COLUMNS.stored_json.is_not(None), _COLUMNS.status.in_([each.value for each in _ENDED_WITHOUT_FILE])
        )
        statement = select(_COLUMNS.id).where(_COLUMNS.id.in_(recording_ids), settled)
        found = await self._database.read(lambda connection: {*connection.execute(statement).scalars()})
        return found.issuperset(recording_ids)

    async def knows_any(self, recording_ids: Sequence[str]) -> bool:
        """Return whether there is a row of one of these recordings."""
        statement = select(_COLUMNS.id).where(_COLUMNS.id.in_(recording_ids)).limit(1)
        return await self._database.read(lambda connection: connection.execute(statement).first() is not None)


def _is_before(owner: Owner) -> ColumnElement[bool]:
    return or_(_COLUMNS.epoch.is_(None), _COLUMNS.epoch < owner.epoch)


def _run(statement: Update, connection: Connection) -> None:
    connection.execute(statement)
