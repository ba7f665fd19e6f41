"""Which keys are easy to guess; of those of before nobody knows it any more, since only their digests were kept."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Add the column."""
    op.add_column("app_keys", sa.Column("is_weak", sa.Boolean, nullable=False, server_default="0"))
