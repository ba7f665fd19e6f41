"""A synthetic media server: plays spoken calls and load to a server over the wire, with faults where wanted."""
