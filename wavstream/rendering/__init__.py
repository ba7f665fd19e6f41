"""The fold: journal records in, file bytes and facts out. Pure."""
