"""Who speaks when, and what that means for the ends of a recording."""
