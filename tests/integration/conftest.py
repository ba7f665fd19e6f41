"""Fixtures that several tests share."""

from tests.support.faulty_database import catalog, database

__all__ = ["catalog", "database"]
