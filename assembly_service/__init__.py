"""The service that decides what becomes of a session: verify, commit, abort, sweep."""
