"""Takes bytes in: verifies every chunk and writes it under keys of its session's own (docs/protocol.md section 4)."""
