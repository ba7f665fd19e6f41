"""Instants: the core counts microseconds of Unix time, people and APIs read aware UTC datetimes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

from pydantic import PlainSerializer, WithJsonSchema

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def utc(unix_us: int) -> datetime:
    """Return microseconds of Unix time as an aware datetime in UTC, exactly."""
    return _EPOCH + timedelta(microseconds=unix_us)


def unix_us(moment: datetime) -> int:
    """Return an aware datetime as microseconds of Unix time, exactly."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def rfc3339(moment: datetime) -> str:
    """Return an aware datetime as RFC 3339 in UTC with ``Z``, to the microsecond."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


Moment = Annotated[
    datetime,
    PlainSerializer(rfc3339, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
"""An aware datetime, UTC, that a document shows as ``rfc3339`` writes it."""
