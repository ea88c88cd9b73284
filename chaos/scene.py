"""Define the interface of a fault and the scene that it acts on."""

import random
from dataclasses import dataclass
from typing import Final, Protocol

from chaos.load import Load
from chaos.stack import Stack
from chaos.watch import Watch

ORDER_SECONDS: Final = 300.0
"""An order is normally taken within moments; during a second fault, only once that has ended."""


@dataclass(frozen=True)
class Scene:
    """A working stack, the client that sends to it, and a random generator."""

    stack: Stack
    load: Load
    watch: Watch
    chance: random.Random

    def kill_at(self, point: str) -> None:
        """Make the next process that reaches a point die there, and wait until it has."""
        self.stack.order(point)
        try:
            self.stack.wait_until_taken(point, ORDER_SECONDS)
        finally:
            self.stack.withdraw(point)


class Fault(Protocol):
    """One fault to inject into the stack."""

    @property
    def name(self) -> str:
        """Return the fault's name: what happens."""

    @property
    def family(self) -> str:
        """Return what is affected: two simultaneous faults of one family would undo each other."""

    @property
    def is_random(self) -> bool:
        """Say whether the fault may be drawn at random and combined; one that checks its own result may not."""

    def hurt(self, scene: Scene) -> None:
        """Inject the fault and return when it has ended; raise NotHere where it cannot be injected."""
