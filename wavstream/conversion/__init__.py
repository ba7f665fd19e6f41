"""Finished files in the format that they were not recorded in."""
