"""List all faults."""

from typing import Final

from chaos.faults import broker, clock, database, disk, web, worker
from chaos.scene import Fault

FAULTS: Final[tuple[Fault, ...]] = (
    *worker.FAULTS,
    *web.FAULTS,
    *broker.FAULTS,
    *database.FAULTS,
    *disk.FAULTS,
    *clock.FAULTS,
)
