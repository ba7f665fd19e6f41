"""Which node of a cluster has a recording, and since which take-over of its session: who is behind writes nothing."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Add the columns, and the index by which whoever takes a session finds its rows."""
    op.add_column("recordings", sa.Column("node", sa.Text))
    op.add_column("recordings", sa.Column("epoch", sa.Integer))
    has_node = sa.text("node IS NOT NULL")
    op.create_index(
        "ix_recordings_of_node", "recordings", ["session_id"], sqlite_where=has_node, postgresql_where=has_node
    )
