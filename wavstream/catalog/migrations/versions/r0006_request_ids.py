"""Request ids under a name of no vendor's, and whether a recording keeps its streams alive."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Rename ``command_uid``; until now what had one kept its streams alive."""
    op.execute("ALTER TABLE recordings RENAME COLUMN command_uid TO request_id")
    op.execute("ALTER TABLE operations RENAME COLUMN command_uid TO request_id")
    op.add_column("recordings", sa.Column("keepalive", sa.Boolean, nullable=False, server_default="0"))
    op.execute("UPDATE recordings SET keepalive = TRUE WHERE request_id IS NOT NULL")
