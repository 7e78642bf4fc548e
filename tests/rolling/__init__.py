"""Replicas restarted one by one under load, behind a real Envoy: no upload fails (`make rolling`)."""
