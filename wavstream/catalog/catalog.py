"""The catalog as the rooms above see it: one open database and a repository for each of its tables.

A repository has the statements of its table inside. A change of more than one table is one method of one repository,
and one transaction: ``Recordings.save`` writes a recording with the facts that announce it, ``Operations.add`` writes a
command with its recording and its fact.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from wavstream.catalog.app_keys import AppKeys
from wavstream.catalog.apps import Apps, apps_with_webhook
from wavstream.catalog.asked_transcriptions import AskedTranscriptions
from wavstream.catalog.database import Database
from wavstream.catalog.dead_letters import DeadLetters
from wavstream.catalog.deliveries import Deliveries
from wavstream.catalog.erasures import Erasures
from wavstream.catalog.holds import HoldRegister
from wavstream.catalog.idempotency import IdempotencyKeys
from wavstream.catalog.operations import Operations
from wavstream.catalog.outbox import IsWanted, Outbox
from wavstream.catalog.postgres_place import PostgresPlace
from wavstream.catalog.recordings import Recordings, stored_here
from wavstream.catalog.stored_runs import StoredRuns
from wavstream.catalog.transcriptions import Transcriptions
from wavstream.catalog.uploads import Uploads
from wavstream.errors import DependencyError
from wavstream.model.app import WebhookTarget
from wavstream.model.fact import Fact


def _nothing(_fact: Fact, _target: WebhookTarget | None) -> bool:
    """Announce nothing: for those who only look."""
    return False


@dataclass(frozen=True, slots=True)
class Catalog:
    """Every recording, app, idempotency key and fact to announce."""

    database: Database
    recordings: Recordings
    apps: Apps
    app_keys: AppKeys
    outbox: Outbox
    dead_letters: DeadLetters
    deliveries: Deliveries
    operations: Operations
    idempotency: IdempotencyKeys
    holds: HoldRegister
    erasures: Erasures
    uploads: Uploads
    stored_runs: StoredRuns
    transcriptions: Transcriptions
    asked_transcriptions: AskedTranscriptions

    @classmethod
    async def open(
        cls,
        where: Path | PostgresPlace,
        *,
        is_wanted: IsWanted = _nothing,
        is_lost: bool = False,
        has_store: bool = False,
        transcribes: bool = False,
    ) -> Self:
        """Open the database, made or migrated first if need be; raise OperatorError or DiskFull if that fails.

        ``is_wanted`` tells which facts are to be announced, ``is_lost`` whether one that is made takes the place of one
        that was lost, ``has_store`` whether files that are finished are to be uploaded, ``transcribes``
        whether those that ask for it are transcribed.
        """
        database = await Database.open(where, is_lost=is_lost)
        try:
            return await cls.over(database, is_wanted=is_wanted, has_store=has_store, transcribes=transcribes)
        except DependencyError:
            await database.close()
            raise

    @classmethod
    async def over(
        cls,
        database: Database,
        *,
        is_wanted: IsWanted = _nothing,
        has_store: bool = False,
        transcribes: bool = False,
    ) -> Self:
        """Make the repositories over an open database; for the rest see ``open``."""
        outbox = Outbox(database, is_wanted)
        recordings = Recordings(database, outbox, has_store=has_store, transcribes=transcribes)
        return cls(
            database=database,
            recordings=recordings,
            apps=Apps(database, await database.read(apps_with_webhook)),
            app_keys=AppKeys(database),
            outbox=outbox,
            dead_letters=DeadLetters(database, outbox),
            deliveries=Deliveries(database),
            operations=Operations(database, outbox, recordings),
            idempotency=IdempotencyKeys(database),
            holds=HoldRegister(database),
            erasures=Erasures(database, recordings, outbox),
            uploads=Uploads(database, outbox, size_of=stored_here, give_back=recordings.give_back),
            stored_runs=StoredRuns(database),
            transcriptions=Transcriptions(database, outbox),
            asked_transcriptions=AskedTranscriptions(database, outbox),
        )
