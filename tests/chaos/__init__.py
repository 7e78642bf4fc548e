"""Real processes on a real store, broken on purpose: ``make chaos`` (docs/reliability.md).

Two ingest and two assembly replicas, SeaweedFS, and clients that upload and commit, while a seeded hand kills, stops
and restarts every process, and a proxy cuts, delays, resets and swallows what passes between them. In the end
everything that was acknowledged is looked for through plain S3, byte by byte.
"""
