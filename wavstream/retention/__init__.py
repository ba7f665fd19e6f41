"""When a recording must be deleted, and the sweeper that deletes it."""
