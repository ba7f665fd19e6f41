"""Where files were uploaded to, which wait for it, for which a program is to be run, and whose the store is.

No key of a file that was erased stays, which may tell of its call.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Add the column and the tables; put the name of what was erased, which is its id, in the place of its key."""
    op.add_column("recordings", sa.Column("stored_json", sa.Text))
    op.create_table(
        "uploads",
        sa.Column("recording_id", sa.Text, nullable=False),
        sa.Column("app_id", sa.Text, nullable=False),
        sa.Column("object_key", sa.Text, nullable=False),
        sa.Column("since_us", sa.BigInteger, nullable=False),
        sa.Column("due_us", sa.BigInteger, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("error", sa.Text),
        sa.Column("tried_json", sa.Text, nullable=False, server_default="[]"),
        sa.PrimaryKeyConstraint("recording_id", name="pk_uploads"),
    )
    op.create_index("ix_uploads_due_us_recording_id", "uploads", ["due_us", "recording_id"])
    op.create_index("ix_uploads_since_us_recording_id", "uploads", ["since_us", "recording_id"])
    op.create_table(
        "stored_runs",
        sa.Column("recording_id", sa.Text, nullable=False),
        sa.Column("due_us", sa.BigInteger, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("error", sa.Text),
        sa.PrimaryKeyConstraint("recording_id", name="pk_stored_runs"),
    )
    op.create_index("ix_stored_runs_due_us_recording_id", "stored_runs", ["due_us", "recording_id"])
    op.create_table(
        "installation",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_installation"),
    )
    op.execute("""
        UPDATE recordings SET object_key = file_name
        WHERE status IN ('deleted', 'expired') AND erasing_us IS NULL AND file_name LIKE id || '.%'
    """)
