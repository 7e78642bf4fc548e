"""Settings from the environment: ``SEALANE_…``, and ``SEALANE_INGEST_…`` or ``SEALANE_ASSEMBLY_…`` for one service.

A variable with the service's name in it goes before the one without, so both services can share one environment file.
:func:`load` reports every fault at once and ends the process; a secret is never rendered, in no fault and in no log.
"""

from sealane.config.fields import Address, Peers
from sealane.config.load import load
from sealane.config.shared import CommonSettings

__all__ = ["Address", "CommonSettings", "Peers", "load"]
