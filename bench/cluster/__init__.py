"""A cluster in virtual time: the real code that owns, copies, takes over and joins, over an engine that breaks.

``python -m bench.cluster --sessions 100000 --seed 7`` runs it; bench/README.md says what it shows.
"""
