"""Where the catalog is on a PostgreSQL server, and how connections to it are made. Needs its driver only to connect.

1. What hangs is noticed. Here: a server that does not take a connection within ``CONNECT_S``, or whose machine is gone
   (keepalives, ``tcp_user_timeout``). There: a statement that runs for longer than ``STATEMENT_S``, or waits for a lock
   for longer than ``LOCK_S``. A server that takes connections and stands still is the engine's to notice.
2. A commit that is answered is on the disk: a session that would be told sooner (``synchronous_commit`` off) waits.
3. PostgreSQL has no text with the character NUL, which callers and media servers may send. It becomes U+FFFD on its
   way there, in JSON as well, where it would be taken and could not be asked for.
4. A password is in no message: of what the library says of an address only that is told which has none in it.
5. A database has one server, of however many workers, or the nodes of one cluster: another would take its calls for
   what a crash has left. What a connection is called says whose it is, so a start sees others
   (``postgres_schema.check_alone``).
"""

from __future__ import annotations

import hashlib
import platform
import re
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from wavstream.errors import OperatorError
from wavstream.settings.catalog import CatalogSettings

if TYPE_CHECKING:
    import psycopg

INSTALL = "pip install 'wavstream[postgres]'"
CONNECT_S = 5
STATEMENT_S = 30
"""The longest statement is a search for what is rare among millions of rows: seconds."""
LOCK_S = 5
SERVERS = "wavstream server "
IDLE_IN_TRANSACTION_S = 60
"""A machine that stands still in a transaction lets the others write again after that."""
_KEEPALIVE = {
    "keepalives": "1",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "20000",
}
_SECRET_LENGTH = 4
"""What is shorter is a part of many words."""
# As values that are told to the session: a startup parameter would be refused by a pooler between.
_SESSION = f"""
    SELECT set_config('TimeZone', 'UTC', false),
        set_config('client_encoding', 'UTF8', false),
        set_config('standard_conforming_strings', 'on', false),
        set_config('statement_timeout', '{STATEMENT_S}s', false),
        set_config('lock_timeout', '{LOCK_S}s', false),
        set_config('idle_in_transaction_session_timeout', '{IDLE_IN_TRANSACTION_S}s', false),
        CASE WHEN current_setting('synchronous_commit') = 'off' THEN set_config('synchronous_commit', 'on', false) END
"""
# A NUL as JSON writes it, and not the digits behind a backslash that is written.
_NUL_IN_JSON = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")


@dataclass(frozen=True, slots=True)
class PostgresPlace:
    """A database of a server. ``check_driver`` before anything connects."""

    url: str = field(repr=False)
    """``postgresql://...``; may have a password."""
    password: str | None = field(default=None, repr=False)
    """In place of the one in ``url``; None: that, or what libpq finds (PGPASSWORD, its file of passwords)."""
    turns_of: str = ""
    """Which machine, or part of one, this is among those that use the database."""
    server: str | None = None
    """Which server connects, or which cluster: others see that (rule 5). None: it is a command beside one."""

    def check_driver(self) -> None:
        """Raise OperatorError if the driver is not installed."""
        if find_spec("psycopg") is None:
            raise OperatorError(
                f"WAVSTREAM_CATALOG__URL names a PostgreSQL database, and its driver is not installed: {INSTALL}"
            )

    @property
    def name(self) -> str:
        """What it is called in messages: without user and password."""
        parts = urlsplit(self.url)
        host = parts.netloc.rpartition("@")[2] or "this machine"
        return f"PostgreSQL {unquote(parts.path.strip('/'))} on {unquote(host)}"

    @property
    def called(self) -> str:
        """What its connections are called on the server (rule 5)."""
        if self.server is None:
            return "wavstream"
        return f"{SERVERS}{hashlib.sha256(self.server.encode(errors='surrogateescape')).hexdigest()[:16]}"

    def parameters(self) -> dict[str, Any]:
        """Return what libpq is told; raise OperatorError for an address that it does not take."""
        from psycopg import ProgrammingError
        from psycopg.conninfo import conninfo_to_dict

        try:
            given = conninfo_to_dict(self.url)
        except ProgrammingError as error:
            raise OperatorError(f"WAVSTREAM_CATALOG__URL cannot be read: {self.without_password(str(error))}") from None
        if self.password is not None:
            given["password"] = self.password
        if self.server is not None:
            given["application_name"] = self.called
        usual = {"connect_timeout": str(CONNECT_S), "fallback_application_name": self.called, **_KEEPALIVE}
        return {**usual, **given}

    def connect(self, *, autocommit: bool = True) -> psycopg.Connection[Any]:
        """Return a new connection; raise psycopg's errors, or OperatorError. Blocks for ``CONNECT_S`` a host."""
        import psycopg

        connection = psycopg.connect(**self.parameters(), autocommit=True)
        try:
            connection.adapters.register_dumper(str, _text_dumper())
            connection.execute(_SESSION)
            connection.autocommit = autocommit
        except BaseException:
            connection.close()
            raise
        return connection

    def without_password(self, words: str) -> str:
        """Return a text of the library's as one line, without the password (rule 4)."""
        secrets = [self.password, urlsplit(self.url).password, unquote(urlsplit(self.url).password or "")]
        for secret in secrets:
            if secret and len(secret) >= _SECRET_LENGTH:
                words = words.replace(secret, "***")
        return " ".join(words.split())


def place_of(
    settings: CatalogSettings, file: Path, *, serves: bool = False, cluster: str | None = None
) -> Path | PostgresPlace:
    """Return where the catalog is: ``file``, of a data folder, or the database that the settings name.

    ``serves``: a server is to use it; ``cluster``: of which that is a node.
    """
    if settings.url is None:
        return file
    password = None if settings.password is None else settings.password.get_secret_value()
    # Of a machine, and not of a process: after a restart it goes on with what it had taken.
    turns_of = f"{platform.node()}:{file.parent.resolve()}"
    server = None if not serves else turns_of if cluster is None else f"cluster {cluster}"
    return PostgresPlace(settings.url.get_secret_value(), password, turns_of=turns_of, server=server)


def without_nul(text: str) -> str:
    """Return a text, or JSON, as PostgreSQL can hold it (rule 3)."""
    if "\0" in text:
        text = text.replace("\0", "\ufffd")
    is_json = text.startswith(("{", "["))
    return _NUL_IN_JSON.sub(r"\1\\ufffd", text) if is_json and "\\u0000" in text else text


def _text_dumper() -> Any:
    from psycopg.types.string import StrDumperUnknown

    class Dumper(StrDumperUnknown):
        """Text whose type the server finds, without NUL."""

        def dump(self, obj: str) -> Any:
            return super().dump(without_nul(obj))

    return Dumper
