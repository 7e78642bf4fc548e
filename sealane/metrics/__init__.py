"""Prometheus: what a replica counts, and where it is scraped. docs/observability.md has the table.

:mod:`.families` is how a metric is declared, :mod:`.shared` what both services have, :mod:`.exposition` the port. What
one service alone has is in its own package. Nothing that the simulation runs imports any of it: portable code counts in
plain numbers (``statistics.py`` of each service), which are read when somebody scrapes.

Labels are words of the code: methods, codes, operations, reasons. Never a session, a key, a peer or a tenant: a tenant
comes from identity, so their number is the callers', not ours. Per tenant, ask the logs: every line of a call has it.
"""
