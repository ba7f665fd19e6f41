"""Openers: each asks a media server to stream a session that is to be recorded and does not stream yet."""
