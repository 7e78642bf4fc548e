"""sealane: large objects into S3-compatible storage, exactly once, whatever crashes.

``sealane.client`` is the SDK; ``sealane.domain`` the pure protocol; ``sealane.store`` what is asked of the
object store; ``sealane.identity`` who a caller is; ``sealane.rpc`` the wire's manners. See README.md for the drawing
and docs/protocol.md for the why.
"""

__version__ = "0.1.0"
