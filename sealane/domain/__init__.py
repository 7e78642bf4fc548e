"""The rules of sealane: pure values and functions; no network, storage, clock, entropy or event loop."""
