"""Listening to recordings while they are made."""
