"""Whose words a recording was asked for in, when its status changed, and where its facts go."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add the columns. Until now what had a request id was the gateway's, and a session was told in one line."""
    op.add_column("recordings", sa.Column("origin_json", sa.Text, nullable=False, server_default="{}"))
    op.add_column("recordings", sa.Column("updated_us", sa.BigInteger))
    op.add_column("recordings", sa.Column("skipped_us", sa.BigInteger, nullable=False, server_default="0"))
    op.execute("""UPDATE recordings SET origin_json = '{"api":"gateway"}' WHERE request_id IS NOT NULL""")
    op.add_column("apps", sa.Column("vendor_accounts_json", sa.Text, nullable=False, server_default="{}"))
    op.add_column("outbox", sa.Column("line", sa.Text, nullable=False, server_default=""))
    op.add_column("outbox", sa.Column("api", sa.Text, nullable=False, server_default="gateway"))
    op.add_column("outbox", sa.Column("url", sa.Text))
    op.add_column("outbox", sa.Column("tries_json", sa.Text, nullable=False, server_default="[]"))
    op.execute("UPDATE outbox SET line = session_id")
    op.drop_index("ix_outbox_app_id_session_id_sequence", "outbox")
    op.create_index("ix_outbox_app_id_line_sequence", "outbox", ["app_id", "line", "sequence"], unique=True)
    op.create_index("ix_outbox_app_id_api_begun_us_id", "outbox", ["app_id", "api", "begun_us", "id"])
    op.execute("ALTER TABLE outbox_sequences RENAME COLUMN session_id TO line")
