"""Telnyx's API: commands to a call, recordings, webhook deliveries, under ``/v2``, in that API's own shapes."""
