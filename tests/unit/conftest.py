"""Fixtures that several rooms share."""

from tests.support.faulty_database import catalog, database
from tests.support.recorder_harness import broken_fold, harness

__all__ = ["broken_fold", "catalog", "database", "harness"]
