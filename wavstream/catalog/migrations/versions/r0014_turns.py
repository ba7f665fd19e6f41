"""Which machine tells an app of a fact, where several could."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Add the columns."""
    op.add_column("outbox", sa.Column("taken_by", sa.Text))
    op.add_column("outbox", sa.Column("taken_until_us", sa.BigInteger))
