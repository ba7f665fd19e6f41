"""What the commands are called with, a module a noun; what they do is imported when they are run."""
