"""The gateway's commands, what they started, and the limits and options of apps."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make operations; give recordings a command_uid, and apps a rate limit and options."""
    op.add_column("recordings", sa.Column("command_uid", sa.Text))
    op.add_column("apps", sa.Column("rate_limit", sa.Integer, nullable=False, server_default="0"))
    op.add_column("apps", sa.Column("recording_json", sa.Text, nullable=False, server_default="{}"))
    op.create_table(
        "operations",
        sa.Column("app_id", sa.Text, nullable=False),
        sa.Column("session_id", sa.Text, nullable=False),
        sa.Column("command_uid", sa.Text, nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("command", sa.Text, nullable=False),
        sa.Column("recording_id", sa.Text, nullable=False),
        sa.Column("opened", sa.Boolean, nullable=False),
        sa.Column("created_us", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("app_id", "session_id", "command_uid", name="pk_operations"),
    )
    op.create_index("ix_operations_created_us", "operations", ["created_us"])
    op.create_index("ix_operations_recording_id", "operations", ["recording_id"])
