"""What answers look like, for the OpenAPI document."""
