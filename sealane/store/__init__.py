"""What sealane asks of an object store: the port, its adapters, and the probe that refuses a store that lies."""
