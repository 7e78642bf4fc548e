"""Everything sealane needs on one machine: an embedded SeaweedFS, and the two services as child processes.

For `sealane dev`, the tests and the demo; never imported by a service or by the SDK.

* :mod:`sealane.dev.process` supervises one child: own process group, log file, dies with its parent.
* :mod:`sealane.dev.ports` finds free ports, a batch at a time.
* :mod:`sealane.dev.seaweed` runs SeaweedFS, a real S3-compatible store, from the ``dev-store`` extra.
* :mod:`sealane.dev.signed_http` signs the few requests that tell whether the store is ready.

Synchronous throughout: starting and stopping processes blocks. Asynchronous callers use ``asyncio.to_thread``.
"""
