"""The mutation gate: every guard of the protocol removed in turn, and the tests must notice (`make mutants`)."""
