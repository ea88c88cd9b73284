"""One chaos run: start a stack and a client, inject each fault alone, then all at random, then account for images."""

import random
import sqlite3
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from chaos.errors import ChaosFailed, NotHere
from chaos.images import Pictures
from chaos.ledger import Account, Ledger, total
from chaos.load import Load
from chaos.scene import Fault, Scene
from chaos.stack import Kind, Timing, running
from chaos.watch import Watch

AT_RANDOM: Final = "random faults, often two at once"
TWO_AT_ONCE: Final = 0.5
"""Probability that a fault drawn at random is combined with a second one."""
SETTLE_SECONDS: Final = 900.0
BROKEN: Final = (OSError, subprocess.SubprocessError, sqlite3.Error, psutil.Error, RedisError, SQLAlchemyError)
"""Errors that injecting a fault may itself raise."""
VICTIMS: Final = 5
"""A fault's chosen process may just have died of an earlier one; so many times another is chosen."""
FLOW_SECONDS: Final = 0.5
"""Without a pause between faults only recovery would be tested; the stack works up to this long first."""


@dataclass(frozen=True)
class Plan:
    """The parameters of one run."""

    kind: Kind
    faults: Sequence[Fault]
    times_alone: int
    times_random: int
    images: int
    """The least number of images; a backlog is kept as long as the faults last."""
    seed: int
    timing: Timing


@dataclass
class Line:
    """The table row of one fault."""

    fault: str
    times: int = 0
    recoveries: list[float] = field(default_factory=list)
    """Seconds from the end of the fault to the next image that got its outcome."""
    skipped: str | None = None
    account: Account = field(default_factory=Account)


@dataclass
class Outcome:
    """The result of one run."""

    plan: Plan
    lines: list[Line]
    refusals: dict[int, int]
    doubled_predictions: int
    seconds: float

    @property
    def total(self) -> Line:
        """Add the lines up."""
        account = total(line.account for line in self.lines)
        account.duplicated += self.doubled_predictions
        recoveries = [seconds for line in self.lines for seconds in line.recoveries]
        return Line("total", sum(line.times for line in self.lines), recoveries, None, account)

    @property
    def is_clean(self) -> bool:
        """Say whether nothing was lost, doubled or wrong."""
        account = self.total.account
        return account.images > 0 and not (account.lost or account.duplicated or account.wrong)


def median(recoveries: Sequence[float]) -> float:
    """Return the median of the recovery times, in seconds."""
    return statistics.median(recoveries)


def run(plan: Plan, say: Callable[[str], None]) -> Outcome:
    """Start a stack, inject the planned faults, and account for every image that it accepted.

    Raises ChaosFailed with the ends of the logs where the stack does not recover.
    """
    began = time.monotonic()
    with ExitStack() as cleanup:
        folder = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="pneumoscreen-chaos-")))
        stack = cleanup.enter_context(running(plan.kind, folder, plan.timing))
        watch = Watch(stack.database)
        watch.start()
        cleanup.callback(watch.stop)
        pictures = Pictures(plan.seed)
        load = Load(stack.url, stack.token, pictures, watch)
        try:
            campaign = Campaign(plan, Scene(stack, load, watch, random.Random(plan.seed)), say)
            lines = campaign.inflict_all(pictures)
            return campaign.settle(lines, began)
        except ChaosFailed as error:
            raise ChaosFailed(f"{error}\n{stack.logs()}") from error


class Campaign:
    """The course of one run on one stack."""

    def __init__(self, plan: Plan, scene: Scene, say: Callable[[str], None]) -> None:
        self._plan, self._scene, self._say = plan, scene, say
        self._ledger = Ledger(scene.stack.database)

    def inflict_all(self, pictures: Pictures) -> list[Line]:
        """Record the expected predictions, then inject each fault alone and all at random."""
        self._scene.load.send_all(pictures.plain(), "no fault")
        self._wait_until_settled()
        self._ledger.learn_answers()
        self._scene.load.start()
        order = list(self._plan.faults)
        self._scene.chance.shuffle(order)
        lines = [self._inflict_alone(fault) for fault in order]
        possible = [fault for fault in order if fault.is_random]
        if self._plan.times_random and possible:
            lines.append(self._inflict_at_random(possible))
        return lines

    def settle(self, lines: list[Line], began: float) -> Outcome:
        """Stop the client and account for the images."""
        load = self._scene.load
        load.stop()
        accounts = self._ledger.close(load.accepted)
        for line in lines:
            line.account = accounts.get(line.fault, Account())
        doubled = self._ledger.doubled_predictions()
        return Outcome(self._plan, lines, load.refusals, doubled, time.monotonic() - began)

    def _inflict_alone(self, fault: Fault) -> Line:
        line = Line(fault.name)
        self._scene.load.begin(fault.name)
        try:
            for _ in range(self._plan.times_alone if fault.is_random else 1):
                self._inflict(line, [fault])
        except NotHere as reason:
            line.skipped = str(reason)
        self._end(line)
        return line

    def _inflict_at_random(self, faults: Sequence[Fault]) -> Line:
        line, chance = Line(AT_RANDOM), self._scene.chance
        self._scene.load.begin(AT_RANDOM, self._plan.images - len(self._scene.load.accepted))
        possible = list(faults)
        while line.times < self._plan.times_random:
            chosen = [chance.choice(possible)]
            beside = [fault for fault in possible if fault.family != chosen[0].family]
            if beside and chance.random() < TWO_AT_ONCE:
                chosen.append(chance.choice(beside))
            try:
                self._inflict(line, chosen)
            except NotHere:
                possible = [fault for fault in possible if fault not in chosen]
        self._end(line)
        return line

    def _inflict(self, line: Line, faults: Sequence[Fault]) -> None:
        """Inject faults into a working stack and measure the time until it works again."""
        self._scene.watch.wait_for_movement()
        time.sleep(self._scene.chance.uniform(0.0, FLOW_SECONDS))
        began = time.monotonic()
        with ThreadPoolExecutor(len(faults)) as threads:
            list(threads.map(self._hurt, faults))
        lasted = time.monotonic() - began
        recovery = self._scene.watch.wait_for_movement()
        line.times += len(faults)
        line.recoveries.append(recovery)
        names = " + ".join(fault.name for fault in faults)
        self._say(f"{names}: lasted {lasted:.1f} s, recovered in {recovery:.1f} s")

    def _hurt(self, fault: Fault) -> None:
        for _ in range(VICTIMS):
            try:
                return fault.hurt(self._scene)
            except psutil.NoSuchProcess:
                self._scene.watch.wait_for_movement()
            except BROKEN as error:
                raise ChaosFailed(f"{fault.name}: {error}") from error
        raise ChaosFailed(f"{fault.name}: {VICTIMS} times, the chosen process had already died.")

    def _end(self, line: Line) -> None:
        """Wait until a fault's images have ended before the next fault begins, and record their outcomes."""
        self._scene.load.pause()
        if line.skipped is None:
            self._wait_until_settled()
        self._ledger.look()

    def _wait_until_settled(self) -> None:
        if not self._scene.watch.wait_until_all_are_settled(SETTLE_SECONDS):
            raise ChaosFailed(f"{self._scene.watch.unsettled} images had no outcome after {SETTLE_SECONDS:.0f} s.")
