"""The outbox, its sequences, and where each app's webhooks go."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make outbox and outbox_sequences; give apps a webhook."""
    op.add_column("apps", sa.Column("webhook_json", sa.Text))
    op.create_table(
        "outbox",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("app_id", sa.Text, nullable=False),
        sa.Column("session_id", sa.Text, nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("recording_id", sa.Text),
        sa.Column("at_us", sa.BigInteger, nullable=False),
        sa.Column("body_json", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("begun_us", sa.BigInteger, nullable=False),
        sa.Column("due_us", sa.BigInteger),
        sa.Column("done_us", sa.BigInteger),
        sa.Column("error", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_outbox"),
    )
    for columns, unique in (
        (("app_id", "session_id", "sequence"), True),
        (("app_id", "due_us"), False),
        (("app_id", "state", "done_us", "id"), False),
    ):
        op.create_index(f"ix_outbox_{'_'.join(columns)}", "outbox", list(columns), unique=unique)
    op.create_table(
        "outbox_sequences",
        sa.Column("app_id", sa.Text, nullable=False),
        sa.Column("session_id", sa.Text, nullable=False),
        sa.Column("last", sa.BigInteger, nullable=False),
        sa.Column("used_us", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("app_id", "session_id", name="pk_outbox_sequences"),
    )
    op.create_index("ix_outbox_sequences_used_us", "outbox_sequences", ["used_us"])
