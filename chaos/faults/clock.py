"""Faults of the wall clock, as every program of the stack reads it."""

import time
from dataclasses import dataclass
from typing import Final

from chaos.injector import CLOCK
from chaos.scene import Scene

HOUR: Final = 3600.0
JUMP_SECONDS: Final = 6.0


@dataclass(frozen=True)
class ClockJumps:
    """The clock jumps by an hour, and back after a while."""

    seconds: float
    name: str
    family: str = "clock"
    is_random: bool = True

    def hurt(self, scene: Scene) -> None:
        """Set the clock off, then right."""
        scene.stack.order(CLOCK, str(self.seconds))
        try:
            time.sleep(JUMP_SECONDS)
        finally:
            scene.stack.withdraw(CLOCK)


FAULTS: Final = (
    ClockJumps(HOUR, "clock one hour ahead, then corrected"),
    ClockJumps(-HOUR, "clock one hour behind, then corrected"),
)
