"""Who may come in: app keys, stream tokens, tenancy and the limit on wrong keys."""
