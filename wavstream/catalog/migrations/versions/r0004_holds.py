"""Legal holds."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Give recordings a hold, and the claim of whoever erases one."""
    op.add_column("recordings", sa.Column("hold_json", sa.Text))
    op.add_column("recordings", sa.Column("erasing_us", sa.BigInteger))
