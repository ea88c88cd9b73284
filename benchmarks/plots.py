"""Draw the plots of README and docs/performance.md from the benchmark's results."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib import pyplot as plt

from benchmarks.bulk import LARGE, SMALL
from benchmarks.endurance import Endured
from benchmarks.growth import DATABASE_MS, PAGE_MS
from benchmarks.targets import compared

_INK, _OURS, _PEERS = "#24292f", "#0f766e", "#94a3b8"
_STYLE: Final[dict[Any, Any]] = {
    "svg.hashsalt": "pneumoscreen",  # makes the files reproducible
    "svg.fonttype": "none",
    "font.size": 10,
    "text.color": _INK,
    "axes.edgecolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def draw(results: Mapping[str, Any], folder: Path) -> list[Path]:
    """Draw what was measured; return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    with mpl.rc_context(_STYLE):
        if "bulk" in results:
            made.append(_draw_bulk(results, folder / "bulk.svg"))
        if "growth" in results:
            made.append(_draw_growth(results["growth"], folder / "growth.svg"))
        if "memory" in results:
            made.append(_draw_memory(Endured(**results["memory"]), folder / "memory.svg"))
    return made


def _draw_bulk(results: Mapping[str, Any], path: Path) -> Path:
    """Draw images a second, this system beside its peers, and the floor as a line."""
    found = compared(results)
    ours = found.ours
    measured = [peer for peer in found.peers.values() if peer.rates]
    everyone = [ours, *sorted(measured, key=lambda peer: -(peer.median(SMALL) or 0))]
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.4), sharey=True, layout="constrained")
    for axis, name in zip(axes, (SMALL, LARGE), strict=True):
        rates = [one.median(name) or 0.0 for one in everyone]
        bars = axis.barh([one.title for one in everyone], rates, color=[_OURS, *[_PEERS] * len(measured)])
        axis.bar_label(bars, [f"{rate:,.0f}" for rate in rates], padding=3)
        axis.axvline(found.floor.median(name) or 0.0, color=_INK, linestyle=":", linewidth=1)
        axis.set_title(f"{name}: images a second (dotted: decoding and network alone)", fontsize=10, loc="left")
        axis.margins(x=0.12)
        axis.invert_yaxis() if axis is axes[0] else None
    return _save(figure, path)


def _draw_growth(growth: Mapping[str, Any], path: Path) -> Path:
    """Draw request latencies, fastest first: a line for each size of each database, the targets dotted."""
    figure, axes = plt.subplots(1, 2, figsize=(10, 3), sharey=True, layout="constrained")
    for axis, part, target in zip(axes, ("database", "page"), (DATABASE_MS, PAGE_MS), strict=True):
        for title, found in growth.items():
            slowest = sorted(question[f"{part}_p95"] for question in found["questions"])
            shares = [100 * (rank + 1) / len(slowest) for rank in range(len(slowest))]
            axis.plot(slowest, shares, label=title)
        axis.axvline(target, color=_INK, linestyle=":", linewidth=1)
        axis.set(title=f"{part}: p95, milliseconds (dotted: target)", ylabel="% of questions", xlim=0)
    axes[0].legend(frameon=False, loc="lower right")
    return _save(figure, path)


def _draw_memory(found: Endured, path: Path) -> Path:
    """Draw what the largest process of each part held over the time."""
    figure, axis = plt.subplots(figsize=(10, 2.6), layout="constrained")
    for part, values in found.resident_mb.items():
        minutes = [found.minutes * index / len(values) for index in range(len(values))]
        axis.plot(minutes, values, label=part, linewidth=1.2)
    axis.set_ylim(bottom=0)
    axis.set_xlabel("minutes of load")
    axis.set_ylabel("MB resident")
    axis.legend(frameon=False, ncols=4, loc="upper right")
    return _save(figure, path)


def _save(figure: Any, path: Path) -> Path:
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
    return path
