"""One server in several processes: whose a session is, and what a worker asks of the others.

``wavstream serve --workers N`` runs N of the server that one process is otherwise: each accepts from the same sockets,
answers every request, and has the whole of the sessions that are its own. What differs stands in ``boundary``.
"""
