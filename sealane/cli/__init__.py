"""The `sealane` command: one module a command, each loaded only when it is asked for.

* :mod:`sealane.cli.__main__` the entry point and the one place where errors become exit codes
* :mod:`sealane.cli.exit_codes` what the codes mean, and which failure gets which
* :mod:`sealane.cli.endpoints` where the services are: flag, environment, a local cluster, the default
* :mod:`sealane.cli.output` what goes to stdout and to stderr, for people and for programs
* :mod:`sealane.cli.text` sizes, times and coverage as people read them

`sealane --help` imports neither gRPC nor the SDK: that page must come at once.
"""
