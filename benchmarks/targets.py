"""Compare performance targets with measurements: a row for each target, met or not."""

import statistics
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.bulk import FLOOR, LARGE, OURS, SMALL, ZIPPED, Rates
from benchmarks.endurance import Endured
from benchmarks.growth import DATABASE_MS, PAGE_MS
from benchmarks.latency import Latency
from benchmarks.scaling import Scaled

FLASK: Final = "flask"
Results = Mapping[str, Any]
"""The results of each part of the benchmark, by its name."""


@dataclass(frozen=True)
class Row:
    """One target."""

    what: str
    target: str
    measured: str
    is_met: bool


def rows(results: Results) -> Iterator[Row]:
    """Yield a row for each target whose parts were measured."""
    for needs, make in _MAKERS:
        if all(part in results for part in needs):
            yield from make(results)


@dataclass(frozen=True)
class Compared:
    """Rates measured in turns."""

    ours: Rates
    floor: Rates
    peers: dict[str, Rates]
    """By name."""

    def share(self, name: str) -> float:
        """Return the fraction of the floor that this system reaches with a set: the median of the pairs."""
        return statistics.median(a / b for a, b in zip(self.ours.rates[name], self.floor.rates[name], strict=True))


def compared(results: Results) -> Compared:
    """Read the rates of this system, of the floor and of each peer."""
    found = {name: Rates(**rates) for name, rates in results["bulk"].items()}
    return Compared(found.pop(OURS), found.pop(FLOOR), found)


def _at_least(what: str, value: float, target: float, text: str) -> Row:
    return Row(what, f"at least {target:g} {text}".rstrip(), f"{value:.2f}", value >= target)


def _at_most(what: str, value: float, target: float, unit: str) -> Row:
    return Row(what, f"at most {target:g} {unit}", f"{value:.3g} {unit}", value <= target)


def _times(what: str, rate: float, other: float | None, target: float) -> Row:
    if other is None:
        return Row(what, f"at least {target:g} x", "not measured", is_met=False)
    return _at_least(what, rate / other, target, "x")


_BULK: Final = {SMALL: (0.60, 20.0, 2.0), LARGE: (0.70, 8.0, 1.5)}
"""Share of the floor, times plain Flask, times the best peer."""


def _bulk(results: Results) -> Iterator[Row]:
    found = compared(results)
    ours, peers = found.ours, found.peers
    for name, (share, flask, best) in _BULK.items():
        rate = ours.median(name) or 0.0
        yield Row(f"bulk, {name}, end to end", "measured", f"{rate:,.0f} images/s", is_met=True)
        yield _at_least(f"bulk, {name}, share of the floor", found.share(name), share, "")
        plain = peers[FLASK].median(name) if FLASK in peers else None
        yield _times(f"bulk, {name}, times plain Flask", rate, plain, flask)
        rivals = {peer.title: median for peer in peers.values() if (median := peer.median(name))}
        title = max(rivals, key=lambda peer: rivals[peer], default="none was measured")
        yield _times(f"bulk, {name}, times the best peer ({title})", rate, rivals.get(title), best)
    yield Row("bulk, one ZIP of 2,000 images", "measured", f"{ours.median(ZIPPED) or 0:,.0f} images/s", is_met=True)


def _latency(results: Results) -> Iterator[Row]:
    idle, beside = (Latency(tuple(results["latency"][name])) for name in ("idle", "beside_bulk"))
    yield _at_most("one image, idle, p50", 1000 * idle.percentile(0.50), 80, "ms")
    yield _at_most("one image, idle, p99", 1000 * idle.percentile(0.99), 250, "ms")
    count = len(beside.seconds)
    yield _at_most(f"one image beside bulk jobs of 5,000, p95 of {count}", 1000 * beside.percentile(0.95), 500, "ms")


def _latency_of_peers(results: Results) -> Iterator[Row]:
    middle = 1000 * Latency(tuple(results["latency"]["idle"])).percentile(0.50)
    measured = [peer for peer in compared(results).peers.values() if peer.alone_ms]
    best, title = min(((statistics.median(peer.alone_ms), peer.title) for peer in measured), default=(0.0, "none"))
    target = f"at most {best:.0f} ms ({title})"
    yield Row("one image, idle, beside the best peer", target, f"{middle:.0f} ms", middle <= best)


def _scaling(results: Results) -> Iterator[Row]:
    found = {one["cores"]: Scaled(**one) for one in results["scaling"]}
    if 2 in found:
        one, two = found[1], found[2]
        ours = statistics.median(two.ours) / statistics.median(one.ours)
        least = statistics.median(two.floor) / statistics.median(one.floor)
        yield _at_least("one core to two, end to end", ours, 1.8, "x")
        yield Row("one core to two, decoding and network alone", "measured", f"{least:.2f}", is_met=True)


def _queue(results: Results) -> Iterator[Row]:
    most = max(one["workers"] for one in results["queue"])
    carried = statistics.median(one["screened"] for one in results["queue"] if one["workers"] == most)
    yield Row("queue alone on PostgreSQL", "at least 5,000 images/s", f"{carried:,.0f} images/s", carried >= 5000)


def _growth(results: Results) -> Iterator[Row]:
    for title, found in results["growth"].items():
        questions = found["questions"]
        met = [q for q in questions if q["database_p95"] <= DATABASE_MS and q["page_p95"] <= PAGE_MS]
        worst = max(questions, key=lambda q: q["database_p95"])
        yield Row(
            f"history, filters, job page: {title}",
            f"p95 at most {DATABASE_MS:.0f} ms in the database, {PAGE_MS:.0f} ms at the page",
            f"{len(met)} of {len(questions)} questions; slowest {worst['database_p95']:.0f} ms "
            f"({worst['question']}, {worst['who']})",
            len(met) == len(questions),
        )
        if export := found.get("export"):
            grown = export["megabytes_grown"]
            measured = f"{export['rows']:,} rows, {export['rows_a_second']:,.0f}/s, {grown:+.0f} MB"
            yield Row(f"export: {title}", "constant memory", measured, grown < 32)


_RESIDENT_MB: Final = {"web": 120, "worker": 350}
_FLAT: Final = 0.03


def _memory(results: Results) -> Iterator[Row]:
    found = Endured(**results["memory"])
    for part, limit in _RESIDENT_MB.items():
        yield _at_most(f"memory of {part}, most in {found.minutes:.0f} minutes of load", found.most(part), limit, "MB")
        change = found.late(part) / found.early(part) - 1
        yield Row(f"memory of {part}, growth over that time", "flat (within 3%)", f"{change:+.1%}", change <= _FLAT)


def _start(results: Results) -> Iterator[Row]:
    for name, target in (("page", 2.0), ("first_result", 5.0)):
        value = statistics.median(start[name] for start in results["start"])
        yield _at_most(f"warm start until the {name.replace('_', ' ')}", value, target, "s")


_MAKERS: Final[tuple[tuple[tuple[str, ...], Callable[[Results], Iterator[Row]]], ...]] = (
    (("bulk",), _bulk),
    (("latency",), _latency),
    (("latency", "bulk"), _latency_of_peers),
    (("scaling",), _scaling),
    (("queue",), _queue),
    (("growth",), _growth),
    (("memory",), _memory),
    (("start",), _start),
)
