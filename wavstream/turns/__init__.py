"""Turns between apps: who is next, and pools of threads that go by it."""
