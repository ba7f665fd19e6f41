"""Instants: the core counts microseconds of Unix time, people and APIs read aware UTC datetimes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def utc(unix_us: int) -> datetime:
    """Microseconds of Unix time as an aware datetime in UTC, exactly."""
    return _EPOCH + timedelta(microseconds=unix_us)


def unix_us(moment: datetime) -> int:
    """An aware datetime as microseconds of Unix time, exactly."""
    return (moment - _EPOCH) // timedelta(microseconds=1)
