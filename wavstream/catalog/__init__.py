"""The catalog: what is known of every recording, app and idempotency key, in one SQL database."""
