"""Who may come in: app keys, stream tokens, signatures of Twilio, and the limits on wrong keys and on requests."""
