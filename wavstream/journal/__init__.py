"""The append-only log of a session: every accepted frame, every event and command, and the passing of time."""
