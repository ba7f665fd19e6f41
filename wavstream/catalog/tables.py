"""The catalog's tables as they are now; how they came to be is in ``migrations``.

Times are integer microseconds of Unix time (``..._us``): they compare, sort and index the same on every database, and
hold exactly what a ``datetime`` holds. Values that are only ever read whole are JSON text (``..._json``). Text is
ordered by its bytes, as SQLite does: in PostgreSQL each of its columns has the collation "C" (``postgres_schema``).
"""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, MetaData, Table, Text, text

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _only(condition: str) -> dict[str, Any]:
    """Return what makes an index one of the rows alone to which this applies."""
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


recordings = Table(
    "recordings",
    metadata,
    Column("id", Text, primary_key=True),
    Column("app_id", Text, nullable=False),
    Column("session_id", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("end_reason", Text),
    Column("options_json", Text, nullable=False),
    Column("object_key", Text, nullable=False),
    Column("file_name", Text, nullable=False),
    Column("call_from", Text, nullable=False),
    Column("call_to", Text, nullable=False),
    Column("call_direction", Text, nullable=False),
    Column("vendor_ids_json", Text, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("started_us", BigInteger),
    Column("ended_us", BigInteger),
    Column("expires_us", BigInteger),
    Column("receipt_json", Text),
    Column("error", Text),
    Column("request_id", Text),
    Column("keepalive", Boolean, nullable=False, server_default="0"),
    Column("hold_json", Text),
    # Since when it is erased while something of it is still to be removed; null: nothing is. Who wanted it erased.
    Column("erasing_us", BigInteger),
    Column("erased_by", Text),
    Column("opened", Boolean, nullable=False, server_default="0"),
    Column("origin_json", Text, nullable=False, server_default="{}"),
    Column("updated_us", BigInteger),
    Column("skipped_us", BigInteger, nullable=False, server_default="0"),
    # From when its retention counts; as expires_us by the server's time, and moved with it.
    Column("kept_since_us", BigInteger),
    # Of the file; null: there is none, or none yet.
    Column("length_ms", BigInteger),
    # Where its file was uploaded to; null: it lies on this machine.
    Column("stored_json", Text),
    # The node of a cluster that has it, and the epoch of its session's owner; null: there is no cluster.
    Column("node", Text),
    Column("epoch", Integer),
    # One for each way to list: all of an app, of a session, of a caller, of a callee; newest first.
    Index(None, "app_id", "created_us", "id"),
    Index(None, "app_id", "session_id", "created_us", "id"),
    Index(None, "app_id", "call_from", "created_us", "id"),
    Index(None, "app_id", "call_to", "created_us", "id"),
    # What the sweeper and recovery, and what reconciliation asks for.
    Index(None, "status", "expires_us", "id"),
    Index(None, "status", "id"),
    Index("ix_recordings_held", "app_id", "created_us", "id", **_only("hold_json IS NOT NULL")),
    Index("ix_recordings_erasing", "id", **_only("erasing_us IS NOT NULL")),
    Index("ix_recordings_of_node", "session_id", **_only("node IS NOT NULL")),
)

# Files that are to be uploaded, and objects that may be in a store without a row that says so.
uploads = Table(
    "uploads",
    metadata,
    Column("recording_id", Text, primary_key=True),
    Column("app_id", Text, nullable=False),
    Column("object_key", Text, nullable=False),
    # Since when it waits, and when it is tried next: by the server's time.
    Column("since_us", BigInteger, nullable=False),
    Column("due_us", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("error", Text),
    # The stores in which a try may have left something, a JSON list of their URLs.
    Column("tried_json", Text, nullable=False, server_default="[]"),
    Index(None, "due_us", "recording_id"),
    # The order in which they go.
    Index(None, "since_us", "recording_id"),
)

# Uploaded files for which the operator's program is still to be run.
stored_runs = Table(
    "stored_runs",
    metadata,
    Column("recording_id", Text, primary_key=True),
    Column("due_us", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("error", Text),
    Index(None, "due_us", "recording_id"),
)

# Recordings that are to be transcribed, are being or were, each with what became of it.
transcriptions = Table(
    "transcriptions",
    metadata,
    Column("recording_id", Text, primary_key=True),
    Column("id", Text, nullable=False),
    Column("app_id", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("language", Text),
    Column("since_us", BigInteger, nullable=False),
    # When it is tried next, by the server's time; null: it is being tried, or is over.
    Column("due_us", BigInteger),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("progress", Integer, nullable=False, server_default="0"),
    Column("error", Text),
    Column("engine", Text),
    Column("done_us", BigInteger),
    Index(None, "due_us", "recording_id"),
    # What an API lists, and what it reads.
    Index(None, "app_id", "since_us", "id"),
    Index(None, "id"),
)

# What was said.
transcripts = Table(
    "transcripts",
    metadata,
    Column("recording_id", Text, primary_key=True),
    Column("app_id", Text, nullable=False),
    Column("made_us", BigInteger, nullable=False),
    # JSON, compressed by zlib.
    Column("document", LargeBinary, nullable=False),
    # Each word once, with blanks between: by which its rows of the next table are found.
    Column("words", Text, nullable=False),
)

# In which transcripts each word was said, so that the newest are found first.
transcript_words = Table(
    "transcript_words",
    metadata,
    Column("app_id", Text, primary_key=True),
    Column("word", Text, primary_key=True),
    Column("made_us", BigInteger, primary_key=True, autoincrement=False),
    Column("recording_id", Text, primary_key=True),
    sqlite_with_rowid=False,
)

# How much of each app was transcribed on which day (days since 1970).
transcribed_speech = Table(
    "transcribed_speech",
    metadata,
    Column("app_id", Text, primary_key=True),
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("transcripts", BigInteger, nullable=False),
    Column("speech_ms", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

# One row: what the stores know this catalog by.
installation = Table(
    "installation",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False),
)

apps = Table(
    "apps",
    metadata,
    # Of an app whose name was used before: the name with a generation, so that no row of the older is its own.
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("retention_hours", Integer),
    Column("webhook_json", Text),
    Column("rate_limit", Integer, nullable=False, server_default="0"),
    Column("recording_json", Text, nullable=False, server_default="{}"),
    Column("vendor_accounts_json", Text, nullable=False, server_default="{}"),
    Index(None, "name", unique=True),
)

app_keys = Table(
    "app_keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("app_id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("key_lookup", Text, nullable=False),
    Column("key_hash", Text, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("expires_us", BigInteger),
    # Whether it was easy to guess when it was given: of what is kept nobody can tell.
    Column("is_weak", Boolean, nullable=False, server_default="0"),
    Index(None, "key_lookup", unique=True),
    Index(None, "app_id", "name", unique=True),
)

# Names of apps that were removed, each with the generation of the last that was.
LOST_APPS = ""
"""In the place of a name: of the apps that a catalog had which was lost. Like apps that were removed, they end that
callers on this machine need no key."""
removed_apps = Table(
    "removed_apps",
    metadata,
    Column("name", Text, primary_key=True),
    Column("generation", Integer, nullable=False),
)

# One row: a number that grows with every change of apps, keys and link keys; and how the master key is made.
access = Table(
    "access",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("version", BigInteger, nullable=False),
    Column("master_kind", Text),
    Column("master_salt", Text),
    Column("master_check", Text),
)

# One row: how the clocks were set when the rows were last moved, or the server was started (``clock.BootClocks``).
clocks = Table(
    "clocks",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("boot_id", Text, nullable=False),
    Column("wall_us", BigInteger, nullable=False),
    Column("journal_us", BigInteger, nullable=False),
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("app_id", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("request_digest", Text, nullable=False),
    Column("recording_id", Text, nullable=False, index=True),
    Column("created_us", BigInteger, nullable=False, index=True),
)

operations = Table(
    "operations",
    metadata,
    Column("app_id", Text, primary_key=True),
    Column("session_id", Text, primary_key=True),
    Column("request_id", Text, primary_key=True),
    Column("id", Text, nullable=False),
    Column("command", Text, nullable=False),
    Column("recording_id", Text, nullable=False, index=True),
    Column("created_us", BigInteger, nullable=False, index=True),
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", Text, primary_key=True),
    Column("app_id", Text, nullable=False),
    Column("session_id", Text, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("recording_id", Text, index=True),
    Column("at_us", BigInteger, nullable=False),
    Column("body_json", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("begun_us", BigInteger, nullable=False),
    # Of a pending row that no other of its session comes before; null for all others.
    Column("due_us", BigInteger),
    Column("done_us", BigInteger),
    Column("error", Text),
    # Whose facts wait behind each other; in whose words they are told, and where to if not to the app's target.
    Column("line", Text, nullable=False),
    Column("api", Text, nullable=False),
    Column("url", Text),
    Column("tries_json", Text, nullable=False, server_default="[]"),
    # Which machine tells it, and until when no other may: where several could (``outbox``).
    Column("taken_by", Text),
    Column("taken_until_us", BigInteger),
    # The order within a line; what is due; dead letters and what may go; what an API lists.
    Index(None, "app_id", "line", "sequence", unique=True),
    Index(None, "app_id", "api", "begun_us", "id"),
    Index(None, "app_id", "due_us"),
    Index(None, "app_id", "state", "done_us", "id"),
)

outbox_sequences = Table(
    "outbox_sequences",
    metadata,
    Column("app_id", Text, primary_key=True),
    Column("line", Text, primary_key=True),
    Column("last", BigInteger, nullable=False),
    Column("used_us", BigInteger, nullable=False, index=True),
)


def json_text(value: object) -> str:
    """Return the value as a ``..._json`` column holds it."""
    return msgspec.json.encode(value).decode()
