"""The WebSocket plane: bytes of one socket become messages, which go through their dialect to their session."""
