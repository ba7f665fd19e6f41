"""How much of each app was transcribed, by day: what an operator charges, or asks why the machine is busy.

1. A transcript counts on the day, UTC, on which it was made, in the transaction that writes it: once, whatever ends the
   server before or after. One that is made anew is counted anew, since it was work; one that failed is not.
2. Figures stay when recordings are erased: they say nothing of a call. They go with their app.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import Connection, select

from wavstream.catalog.database import Prepared
from wavstream.catalog.tables import transcribed_speech
from wavstream.model.times import unix_us, utc

_DAY_US = 86_400_000_000
_COUNT = Prepared("""
    INSERT INTO transcribed_speech (app_id, day, transcripts, speech_ms) VALUES (:app, :day, 1, :speech)
    ON CONFLICT (app_id, day) DO UPDATE SET transcripts = transcribed_speech.transcripts + 1,
        speech_ms = transcribed_speech.speech_ms + excluded.speech_ms
""")


@dataclass(frozen=True, slots=True)
class TranscribedDay:
    """What was transcribed for an app on one day, UTC."""

    day: date
    transcripts: int
    speech_ms: int
    """Of all channels together: what the engine was given."""


def count(connection: Connection, app_id: str, speech_ms: int, now: datetime) -> None:
    """Count a transcript that is made now (rule 1)."""
    _COUNT.run(connection, {"app": app_id, "day": unix_us(now) // _DAY_US, "speech": speech_ms})


def by_day(connection: Connection, app_id: str, days: int, now: datetime) -> tuple[TranscribedDay, ...]:
    """Return those of the last days, today included, on which something was transcribed, the oldest first."""
    columns = transcribed_speech.c
    statement = (
        select(columns.day, columns.transcripts, columns.speech_ms)
        .where(columns.app_id == app_id, columns.day > unix_us(now) // _DAY_US - days)
        .order_by(columns.day)
    )
    rows = connection.execute(statement)
    return tuple(TranscribedDay(utc(day * _DAY_US).date(), transcripts, speech) for day, transcripts, speech in rows)
