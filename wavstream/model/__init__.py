"""Values that every room shares: audio formats, ids, options, recordings, calls and apps."""
