"""What was said in finished files: transcripts, made beside the server by a program of their own."""
