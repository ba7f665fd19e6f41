"""Who had a recording erased; what was erased before loses what was personal, and lines their session ids."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

from wavstream.model.ids import session_alias

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add the columns and indexes, and do to earlier erasures what is done to new ones."""
    op.add_column("recordings", sa.Column("erased_by", sa.Text))
    if op.get_bind().dialect.name == "sqlite":  # before 0014 there was no other database, so there are no rows
        _erase_what_is_kept()
    erasing = sa.text("erasing_us IS NOT NULL")
    op.create_index("ix_recordings_erasing", "recordings", ["id"], sqlite_where=erasing, postgresql_where=erasing)
    op.create_index("ix_idempotency_recording_id", "idempotency", ["recording_id"])
    op.create_index("ix_outbox_recording_id", "outbox", ["recording_id"])


def _erase_what_is_kept() -> None:
    driver: Any = op.get_bind().connection.driver_connection
    driver.create_function("session_alias", 2, session_alias, deterministic=True)
    # What claimed a recording and then failed to delete its file has to ask again.
    op.execute("UPDATE recordings SET erasing_us = NULL")
    op.execute("""
        UPDATE recordings SET
            erasing_us = created_us,
            session_id = session_alias(app_id, session_id),
            options_json = json_set(
                options_json, '$.file_name', NULL, '$.client_state', NULL, '$.metadata', json('{}'),
                '$.terminators', '', '$.transcription_language', NULL
            ),
            file_name = id || '.' || coalesce(json_extract(options_json, '$.format'), 'wav'),
            call_from = '', call_to = '', call_direction = '', vendor_ids_json = '{}', error = NULL, request_id = NULL,
            receipt_json = json_set(
                receipt_json, '$.legs', json('[]'),
                '$.integrity', json_object('samples', coalesce(json_extract(receipt_json, '$.integrity.samples'), 0))
            ),
            origin_json = json_object('api', coalesce(json_extract(origin_json, '$.api'), 'native'))
        WHERE status IN ('deleted', 'expired')
    """)
    for table in ("idempotency", "operations"):
        op.execute(f"""
            DELETE FROM {table} WHERE recording_id IN (
                SELECT id FROM recordings WHERE status IN ('deleted', 'expired')
            )
        """)
    # Not those that are still to be told: who else waits in their line has to have its turn.
    op.execute("""
        DELETE FROM outbox WHERE state <> 'pending' AND recording_id IN (
            SELECT id FROM recordings WHERE status IN ('deleted', 'expired')
        )
    """)
    # Of the lines that are numbered by session: those of other APIs have a control character.
    op.execute("UPDATE outbox SET line = session_alias(app_id, line) WHERE instr(line, char(31)) = 0")
    op.execute("UPDATE outbox_sequences SET line = session_alias(app_id, line) WHERE instr(line, char(31)) = 0")
