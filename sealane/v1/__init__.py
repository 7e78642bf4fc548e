"""Generated from protos/sealane/v1 by `make protos`; `make check-protos` keeps it so."""
