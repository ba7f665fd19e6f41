"""Webhooks: the facts of the outbox, as a vendor's messages, signed and delivered until they arrive."""
