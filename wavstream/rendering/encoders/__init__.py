"""Samples to file bytes, one module a format."""
