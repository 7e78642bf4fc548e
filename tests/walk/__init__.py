"""``make walk``: sealane as an operator meets it, with real processes, from install to audit (docs/walkthrough.md)."""
