"""Several machines that record as one: whose a session is, a copy of its journal elsewhere, and who goes on with it.

Nothing of it exists where ``cluster.nats_url`` is not set. Why it is so: docs/decisions/0029.
"""
