"""What a fault has to work with, and what a fault is."""

import random
from dataclasses import dataclass
from typing import Final, Protocol

from chaos.load import Load
from chaos.stack import Stack
from chaos.watch import Watch

ORDER_SECONDS: Final = 300.0
"""An order is taken within moments; while a second fault hurts the stack, when that has ended."""


@dataclass(frozen=True)
class Scene:
    """A stack at work, the client that sends to it, and chance."""

    stack: Stack
    load: Load
    watch: Watch
    chance: random.Random

    def kill_at(self, point: str) -> None:
        """Have the next process that comes to a point die there, and wait until one has."""
        self.stack.order(point)
        try:
            self.stack.wait_until_taken(point, ORDER_SECONDS)
        finally:
            self.stack.withdraw(point)


class Fault(Protocol):
    """One way to hurt the stack."""

    @property
    def name(self) -> str:
        """Say what happens."""

    @property
    def family(self) -> str:
        """Name what is hurt: two faults of one family at once would undo each other."""

    @property
    def is_random(self) -> bool:
        """Say whether it may be drawn at random and beside another; a fault that counts for itself may not."""

    def hurt(self, scene: Scene) -> None:
        """Inflict the fault and return when it has ended; raise NotHere where it cannot be inflicted."""
