"""Runs the migrations on the connection that it is given; nothing here knows where the database is."""

from __future__ import annotations

from alembic import context

from wavstream.catalog.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
    render_as_batch=True,
)
context.run_migrations()
