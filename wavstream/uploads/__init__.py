"""Finished files on their way to a store beyond this machine, and what is run once one is there."""
