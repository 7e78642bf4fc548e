"""What one version writes, the next one reads, and the other way round: docs/protocol.md, "Versions of records".

``v1/`` is frozen: a bucket as version 1 left it, and the schema that its reader amounts to. Neither is ever changed; a
VERSION 2 of the records gets a ``v2/`` beside it (``python -m tests.compatibility.freeze``).
"""
