"""The composition root and the port: the only room that knows which part is used where."""
