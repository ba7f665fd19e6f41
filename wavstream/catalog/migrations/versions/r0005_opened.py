"""Which recordings have an opened stream, whichever API started them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Move ``opened`` from operations to the recordings that they started."""
    op.add_column("recordings", sa.Column("opened", sa.Boolean, nullable=False, server_default="0"))
    op.execute("UPDATE recordings SET opened = TRUE WHERE id IN (SELECT recording_id FROM operations WHERE opened)")
    with op.batch_alter_table("operations") as operations:
        operations.drop_column("opened")
