"""How long a recording is, to be searched by; which are held, to be listed without reading all."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Add the column, with what receipts say, and the index."""
    op.add_column("recordings", sa.Column("length_ms", sa.BigInteger))
    if op.get_bind().dialect.name == "sqlite":  # before 0014 there was no other database, so there are no rows
        op.execute("""
            UPDATE recordings SET length_ms =
                (json_extract(receipt_json, '$.samples') * 1000 + json_extract(receipt_json, '$.sample_rate') / 2)
                / json_extract(receipt_json, '$.sample_rate')
            WHERE json_extract(receipt_json, '$.sample_rate') > 0
        """)
    op.create_index(
        "ix_recordings_held",
        "recordings",
        ["app_id", "created_us", "id"],
        sqlite_where=sa.text("hold_json IS NOT NULL"),
        postgresql_where=sa.text("hold_json IS NOT NULL"),
    )
