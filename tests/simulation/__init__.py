"""Deterministic simulation: the real services and the real client in one seeded event loop, and what goes wrong."""
