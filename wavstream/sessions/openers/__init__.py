"""How a media server is asked to stream a session that is recorded but does not stream yet."""
