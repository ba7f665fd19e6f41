"""What makes words of speech: a module for each engine."""
