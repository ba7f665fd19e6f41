"""Which recordings are to be transcribed, what was said in them, which words, and how much."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "transcriptions",
        sa.Column("recording_id", sa.Text, nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("app_id", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("language", sa.Text),
        sa.Column("since_us", sa.BigInteger, nullable=False),
        sa.Column("due_us", sa.BigInteger),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("progress", sa.Integer, nullable=False, server_default="0"),
        sa.Column("error", sa.Text),
        sa.Column("engine", sa.Text),
        sa.Column("done_us", sa.BigInteger),
        sa.PrimaryKeyConstraint("recording_id", name="pk_transcriptions"),
    )
    op.create_index("ix_transcriptions_due_us_recording_id", "transcriptions", ["due_us", "recording_id"])
    op.create_index("ix_transcriptions_app_id_since_us_id", "transcriptions", ["app_id", "since_us", "id"])
    op.create_index("ix_transcriptions_id", "transcriptions", ["id"])
    op.create_table(
        "transcripts",
        sa.Column("recording_id", sa.Text, nullable=False),
        sa.Column("app_id", sa.Text, nullable=False),
        sa.Column("made_us", sa.BigInteger, nullable=False),
        sa.Column("document", sa.LargeBinary, nullable=False),
        sa.Column("words", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("recording_id", name="pk_transcripts"),
    )
    op.create_table(
        "transcript_words",
        sa.Column("app_id", sa.Text, nullable=False),
        sa.Column("word", sa.Text, nullable=False),
        sa.Column("made_us", sa.BigInteger, nullable=False),
        sa.Column("recording_id", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("app_id", "word", "made_us", "recording_id", name="pk_transcript_words"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "transcribed_speech",
        sa.Column("app_id", sa.Text, nullable=False),
        sa.Column("day", sa.Integer, nullable=False),
        sa.Column("transcripts", sa.BigInteger, nullable=False),
        sa.Column("speech_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("app_id", "day", name="pk_transcribed_speech"),
        sqlite_with_rowid=False,
    )
