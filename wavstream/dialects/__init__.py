"""The vendors' rules for messages on the media WebSocket: message in, events out."""
