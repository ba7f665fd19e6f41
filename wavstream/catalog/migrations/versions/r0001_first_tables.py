"""The first tables: recordings, apps, idempotency keys."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make recordings, apps and idempotency."""
    op.create_table(
        "recordings",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("app_id", sa.Text, nullable=False),
        sa.Column("session_id", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("end_reason", sa.Text),
        sa.Column("options_json", sa.Text, nullable=False),
        sa.Column("object_key", sa.Text, nullable=False),
        sa.Column("file_name", sa.Text, nullable=False),
        sa.Column("call_from", sa.Text, nullable=False),
        sa.Column("call_to", sa.Text, nullable=False),
        sa.Column("call_direction", sa.Text, nullable=False),
        sa.Column("vendor_ids_json", sa.Text, nullable=False),
        sa.Column("created_us", sa.BigInteger, nullable=False),
        sa.Column("started_us", sa.BigInteger),
        sa.Column("ended_us", sa.BigInteger),
        sa.Column("expires_us", sa.BigInteger),
        sa.Column("receipt_json", sa.Text),
        sa.Column("error", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_recordings"),
    )
    for columns in (
        ("app_id", "created_us", "id"),
        ("app_id", "session_id", "created_us", "id"),
        ("app_id", "call_from", "created_us", "id"),
        ("app_id", "call_to", "created_us", "id"),
        ("status", "expires_us", "id"),
        ("status", "id"),
    ):
        op.create_index(f"ix_recordings_{'_'.join(columns)}", "recordings", list(columns))
    op.create_table(
        "apps",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("created_us", sa.BigInteger, nullable=False),
        sa.Column("retention_hours", sa.Integer),
        sa.Column("key_hash", sa.Text, nullable=False),
        sa.Column("key_lookup", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_apps"),
        sa.UniqueConstraint("key_lookup", name="uq_apps_key_lookup"),
    )
    op.create_table(
        "idempotency",
        sa.Column("app_id", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("request_digest", sa.Text, nullable=False),
        sa.Column("recording_id", sa.Text, nullable=False),
        sa.Column("created_us", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("app_id", "key", name="pk_idempotency"),
    )
    op.create_index("ix_idempotency_created_us", "idempotency", ["created_us"])
