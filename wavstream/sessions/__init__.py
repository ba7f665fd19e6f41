"""Live calls: their streams, legs and recordings, and the commands that change them."""
