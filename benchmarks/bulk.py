"""Measure images a second of this system, the floor and the peers, in turns within one run.

For this system the clock runs from the first byte uploaded until the job is seen to have finished, all rows committed;
for a peer from the first byte sent to the last answer. All read the same images over HTTP, run the same network and
have all cores.
"""

import io
import statistics
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks import floor, images, load, peer_servers
from benchmarks.scratch import new_folder
from benchmarks.stack import Form, NamedImage, Stack, fresh, make_form, make_forms, running

SMALL, LARGE, ZIPPED = "224 px", "originals", "one ZIP of 224 px"
OURS, FLOOR = "PneumoScreen", "decoding and network alone"
SETS: Final[dict[str, Callable[[], list[Path]]]] = {
    SMALL: partial(images.small, 2000),
    LARGE: partial(images.originals, 300),
}
TURNS: Final = 3
"""How often each set is measured in a round."""
PEER_SECONDS: Final = 8.0
"""About how long a peer is measured in a round: slow ones get fewer images."""
FEWEST: Final = 64


@dataclass
class Rates:
    """Images a second by set, in order of time: TURNS values a round of this system and the floor, one of a peer."""

    title: str
    rates: dict[str, list[float]] = field(default_factory=dict)
    alone_ms: list[float] = field(default_factory=list)
    """One image at a time over one connection: the median, one value a round."""
    processor_ms: dict[str, dict[str, float]] = field(default_factory=dict)
    """For this system: processor time per image by set and part in the last turn; with that turn's rate it shows how
    busy the cores were."""
    trouble: str | None = None

    def note(self, name: str, rate: float) -> None:
        """Record one round's rate."""
        self.rates.setdefault(name, []).append(rate)

    def median(self, name: str) -> float | None:
        """Return the median of the rounds."""
        return statistics.median(self.rates[name]) if self.rates.get(name) else None


def zipped(sent: Sequence[NamedImage]) -> Form:
    """Put images into one ZIP like a packed folder: stored uncompressed, since JPEGs do not shrink."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for number, (name, data) in enumerate(sent):
            archive.writestr(f"ward/{number:05}-{name}", data)
    return make_form([("ward.zip", out.getvalue())])


def screen(stack: Stack, forms: Sequence[Form], count: int) -> float:
    """Screen images as one job; return images a second from the first byte sent until it is seen to have finished."""
    started = time.perf_counter()
    stack.wait(stack.send(forms))
    return count / (time.perf_counter() - started)


def measure_ours(ours: Rates, least: Rates) -> None:
    """Start this system on a new data folder, warm it up and screen every set, the floor before each.

    They are measured in pairs, because a shared machine may be half as fast a second later.
    """
    with running(new_folder()) as stack, floor.held_ready() as floor_of:
        # The first images of a new store create its folders; after so many it is in a steady state.
        stack.wait(stack.send(make_forms(fresh(images.small(2000), 1))))
        for turn in range(TURNS):
            for kind, choose in SETS.items():
                least.note(kind, floor_of(kind))
                _measure_set(stack, ours, kind, fresh(choose(), 100 + turn))
        sent = fresh(images.small(2000), 200)
        ours.note(ZIPPED, screen(stack, [zipped(sent)], len(sent)))


def _measure_set(stack: Stack, ours: Rates, kind: str, sent: Sequence[NamedImage]) -> None:
    forms, before = make_forms(sent), _processor_seconds(stack)
    ours.note(kind, screen(stack, forms, len(sent)))
    spent = {part: seconds - before[part] for part, seconds in _processor_seconds(stack).items()}
    ours.processor_ms[kind] = {part: 1000 * seconds / len(sent) for part, seconds in spent.items()}


def _processor_seconds(stack: Stack) -> dict[str, float]:
    """Return the processor time of each part so far, including the client that sends the images."""
    return {**stack.processor_seconds(), "client": time.process_time()}


def measure_peer(peer: peer_servers.Peer, found: Rates) -> None:
    """Start a peer, warm it up and saturate it with every set, or as much of it as it can do in PEER_SECONDS."""
    with peer_servers.running(peer) as server:
        server.screen(peer_servers.read(images.small(peer_servers.WARM_UP_IMAGES)))
        for kind, choose in SETS.items():
            paths = choose()
            trial = server.screen(peer_servers.read(paths[:FEWEST]))
            count = min(len(paths), max(FEWEST, int(PEER_SECONDS * trial.rate)))
            run = server.screen(peer_servers.read(paths[:: len(paths) // count][:count]))
            found.note(kind, run.rate)
        alone: load.Load = server.screen(peer_servers.read(images.originals(30)), connections=1)
        found.alone_ms.append(1000 * alone.percentile(0.5))


def measure(rounds: int, names: Sequence[str] | None = None) -> dict[str, Rates]:
    """Measure all in turns, this system first, and return them by name, with the reason where a peer fails to start."""
    peers = [peer for peer in peer_servers.PEERS if names is None or peer.name in names]
    ours, least, others = Rates(OURS), Rates(FLOOR), {peer.name: Rates(peer.title) for peer in peers}
    for _ in range(rounds):
        measure_ours(ours, least)
        for peer in peers:
            if others[peer.name].trouble is None:
                _try_peer(peer, others[peer.name])
    return {OURS: ours, FLOOR: least, **others}


def _try_peer(peer: peer_servers.Peer, found: Rates) -> None:
    try:
        measure_peer(peer, found)
    except (peer_servers.PeerFailed, load.Unanswered, OSError) as failure:
        found.trouble = str(failure)
