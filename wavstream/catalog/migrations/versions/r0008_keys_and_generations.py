"""Several keys an app, apps that are gone for good, what changed of both, and how the master key is made."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Move each app's one key into a table of keys. An app that has recordings and no row was removed."""
    op.create_table(
        "app_keys",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("app_id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("key_lookup", sa.Text, nullable=False),
        sa.Column("key_hash", sa.Text, nullable=False),
        sa.Column("created_us", sa.BigInteger, nullable=False),
        sa.Column("expires_us", sa.BigInteger),
    )
    op.create_index("ix_app_keys_key_lookup", "app_keys", ["key_lookup"], unique=True)
    op.create_index("ix_app_keys_app_id_name", "app_keys", ["app_id", "name"], unique=True)
    if op.get_bind().dialect.name == "sqlite":  # before 0014 there was no other database, so there are no rows
        op.execute(
            "INSERT INTO app_keys (id, app_id, name, key_lookup, key_hash, created_us)"
            " SELECT lower(hex(randomblob(16))), id, 'main', key_lookup, key_hash, created_us FROM apps"
        )
    # A column that is unique cannot be dropped, so the table is made anew.
    op.create_table(
        "apps_now",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("created_us", sa.BigInteger, nullable=False),
        sa.Column("retention_hours", sa.Integer),
        sa.Column("webhook_json", sa.Text),
        sa.Column("rate_limit", sa.Integer, nullable=False, server_default="0"),
        sa.Column("recording_json", sa.Text, nullable=False, server_default="{}"),
        sa.Column("vendor_accounts_json", sa.Text, nullable=False, server_default="{}"),
    )
    kept = "created_us, retention_hours, webhook_json, rate_limit, recording_json, vendor_accounts_json"
    op.execute(f"INSERT INTO apps_now (id, name, {kept}) SELECT id, id, {kept} FROM apps")
    op.drop_table("apps")
    op.rename_table("apps_now", "apps")
    op.create_index("ix_apps_name", "apps", ["name"], unique=True)
    op.create_table(
        "removed_apps",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("generation", sa.Integer, nullable=False),
    )
    # Without an app, callers on loopback are `default`: its recordings do not say that it was one.
    op.execute(
        "INSERT INTO removed_apps (name, generation) SELECT DISTINCT app_id, 1 FROM recordings"
        " WHERE app_id <> 'default' AND app_id NOT IN (SELECT id FROM apps)"
    )
    op.create_table(
        "access",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("master_kind", sa.Text),
        sa.Column("master_salt", sa.Text),
        sa.Column("master_check", sa.Text),
    )
    op.execute(
        "INSERT INTO access (id, version, master_kind) SELECT 1, 1,"
        " CASE WHEN EXISTS (SELECT 1 FROM apps) OR EXISTS (SELECT 1 FROM recordings) THEN 'sha256' END"
    )
