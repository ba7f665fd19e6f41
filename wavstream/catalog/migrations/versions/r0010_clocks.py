"""How the clocks of the server were set, and since when, by its time, a recording is kept."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Add the table and the column; what is there is taken to have ended by a clock that was right."""
    op.create_table(
        "clocks",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("boot_id", sa.Text, nullable=False),
        sa.Column("wall_us", sa.BigInteger, nullable=False),
        sa.Column("journal_us", sa.BigInteger, nullable=False),
    )
    op.add_column("recordings", sa.Column("kept_since_us", sa.BigInteger))
    op.execute("UPDATE recordings SET kept_since_us = ended_us WHERE expires_us IS NOT NULL")
