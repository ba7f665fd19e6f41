"""One file per vendor: messages of its media WebSocket become events."""
