"""What PostgreSQL means when it fails, and who must act: by its codes where it answered, by its words where it did not.

A server that is away, restarts or refuses is a ``CatalogAway``: it passes, or somebody mends it there. What is wrong
with one statement alone is not.
"""

from __future__ import annotations

from typing import Any

import psycopg

from wavstream.catalog.postgres_place import LOCK_S, STATEMENT_S, PostgresPlace
from wavstream.errors import CatalogAway, DependencyError, OperatorError

_TO_DO = {
    "25006": "it takes no writes, as a standby: name the primary in WAVSTREAM_CATALOG__URL, or all of them with commas "
    "between and ?target_session_attrs=read-write",
    "28000": "look at pg_hba.conf, and at the user in WAVSTREAM_CATALOG__URL",
    "28P01": "look at the user and the password (WAVSTREAM_CATALOG__PASSWORD)",
    "3D000": "make the database, or mend the name in WAVSTREAM_CATALOG__URL",
    "42501": "the user lacks a right: docs/postgresql.md says which it needs",
    "53100": "the disk of the database server is full: free space on it",
    "53300": "it takes no more connections: raise max_connections there, or use fewer workers",
    "55P03": f"somebody else has held a lock there for longer than {LOCK_S} s: end it",
    "57014": f"it was cancelled, or ran for longer than {STATEMENT_S} s",
}
# Where no connection was made there is no code: libpq's words, and what they are the same as.
_WORDS = {
    "password authentication failed": "28P01",
    "no password supplied": "28P01",
    "no pg_hba.conf entry": "28000",
    "authentication failed": "28000",
    "too many clients": "53300",
    "too many connections": "53300",
    "remaining connection slots are reserved": "53300",
    "read-only": "25006",
    "hot standby mode is disabled": "25006",
}
_AWAY = ("", "57P01", "57P02", "57P03")
"""Without a code, or: it stops, it crashed, it starts."""
LOCKED = "55P03"
"""A wait for a lock ran out."""
_RUN_AGAIN = ("40001", "40P01", "25P02")
"""Two were in each other's way, or one went on after an error: not the machine's."""
_FORGOTTEN = ("26000", "0A000")
"""A statement that was prepared is not there any more, or does not fit the tables any more."""


def cause_of(error: BaseException) -> BaseException:
    """Return the driver's own error."""
    return getattr(error, "orig", None) or error


def code_of(error: BaseException) -> str:
    """Return what PostgreSQL calls it, or what libpq's words mean; empty: neither."""
    cause = cause_of(error)
    if not isinstance(cause, psycopg.Error):
        return ""
    if cause.sqlstate:
        return cause.sqlstate
    words = str(cause)
    if '" does not exist' in words:
        return "3D000" if 'database "' in words else "28P01"
    return next((code for said, code in _WORDS.items() if said in words), "")


def is_machines(error: BaseException) -> bool:
    """Return whether it concerns all that is asked for, and not one statement alone.

    A table or a right that lacks is so too: somebody puts it back, and what must not be lost is tried until then.
    """
    failed = (psycopg.OperationalError, psycopg.InterfaceError, psycopg.InternalError, psycopg.ProgrammingError)
    cause = cause_of(error)
    is_ours = isinstance(cause, psycopg.ProgrammingError) and not cause.sqlstate  # the server has not seen it
    return isinstance(cause, failed) and not is_ours and code_of(error) not in _RUN_AGAIN


def is_lost(error: BaseException) -> bool:
    """Return whether there is no connection any more, or none could be made."""
    code = code_of(error)
    is_of_connection = code in _AWAY or code.startswith("08")
    return isinstance(cause_of(error), psycopg.OperationalError | psycopg.InterfaceError) and is_of_connection


def is_forgotten(error: BaseException) -> bool:
    """Return whether the connection has prepared what does not fit any more: a new one has not."""
    return code_of(error) in _FORGOTTEN


def words_of(error: BaseException, place: PostgresPlace) -> str:
    """Return what was said, in one line, without a password, and what to do where we know it."""
    cause = cause_of(error)
    said: Any = cause.diag.message_primary if isinstance(cause, psycopg.Error) else None
    to_do = _TO_DO.get(code_of(error))
    return place.without_password(said or str(cause)) + (f"; {to_do}" if to_do else "")


def failure(doing: str, error: Exception, place: PostgresPlace) -> DependencyError:
    """Return what to raise for an error of the server or its driver. ``doing``: ``read`` or ``written``."""
    told = f"the catalog could not be {doing}: {place.name}: {words_of(error, place)}"
    made = CatalogAway(told) if is_machines(error) else DependencyError(told)
    made.__cause__ = error
    return made


def not_usable(error: Exception, place: PostgresPlace) -> OperatorError:
    """Return what a start says that cannot use the database."""
    words = words_of(error, place)
    hint = "" if code_of(error) in _TO_DO else "; look at the server, and at WAVSTREAM_CATALOG__URL"
    return OperatorError(f"the catalog, {place.name}, cannot be used: {words}{hint}")
