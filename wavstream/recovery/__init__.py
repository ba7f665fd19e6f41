"""What a crash or a stop left: journals become sessions again, rows and files are made to agree."""
