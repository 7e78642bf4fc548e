"""Data whose last chunk is a short one."""

from __future__ import annotations

import random

from ingest_replica import KIB, chunks_of

DATA = random.Random(4).randbytes(3 * KIB + 5)
PIECES = chunks_of(DATA)
