"""The HTML report of a model on labelled images: one page that opens offline, prints, and needs no script."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from evaluation import sections
from evaluation.assessment import Assessment
from evaluation.markup import paragraph, section, text
from shared.errors import ModelUnavailable

POLICY: Final = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
"""No script and nothing external, whatever a file name may hold (W3C Content Security Policy Level 3)."""
STYLE: Final = Path(__file__).with_name("report.css")


def read_training(model: Path) -> list[dict[str, float]]:
    """Read the training journal from a model folder's metrics.json, one row per epoch; empty where there is none.

    Raises ModelUnavailable where the file is damaged.
    """
    path = model / "metrics.json"
    if not path.is_file():
        return []
    try:
        rows = json.loads(path.read_bytes()).get("journal", [])
        return [{key: value for key, value in row.items() if isinstance(value, int | float)} for row in rows]
    except (ValueError, AttributeError, TypeError) as error:
        raise ModelUnavailable(f"Model '{model.name}' has a damaged metrics.json ({error}). Restore it.") from error


def report_page(assessment: Assessment, journal: Sequence[dict[str, float]] = ()) -> str:
    """Return the page as HTML with every image embedded."""
    figures = assessment.figures
    shown = [part for part in _parts(assessment, journal) if part[2]]
    links = "".join(f'<li><a href="#{key}">{text(title)}</a></li>' for key, title, _ in shown)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Evaluation of {text(figures["model"])}</title>
<link rel="icon" href="data:,">
<style>
{STYLE.read_text(encoding="utf-8")}</style>
</head>
<body>
<a class="skip" href="#main">Skip to the figures</a>
<div class="frame">
<header>
<h1>Evaluation of {text(figures["model"])}</h1>
{paragraph(f"{sections.counted(figures['images'])} in {figures['folder']}, {sections.date(figures)}", "soft")}
{paragraph(sections.LIMITS, "limits")}
</header>
{sections.headline(figures)}
<div class="columns">
<nav aria-label="Contents"><h2>Contents</h2><ol>{links}</ol></nav>
<main id="main">
{"".join(section(key, title, *parts) for key, title, parts in shown)}
</main>
</div>
<footer class="foot">{text(figures["model"])}. {text(sections.LIMITS)}</footer>
</div>
</body>
</html>
"""


def _parts(assessment: Assessment, journal: Sequence[dict[str, float]]) -> tuple[tuple[str, str, sections.Parts], ...]:
    figures = assessment.figures
    return (
        ("about", "What was measured", sections.about(assessment)),
        ("figures", "Figures", sections.all_figures(figures)),
        ("errors", "Right and wrong calls", sections.errors(figures)),
        ("curves", "Curves", sections.curves(assessment)),
        ("probabilities", "Probabilities", sections.probabilities(assessment)),
        ("thresholds", "Every threshold", sections.thresholds(assessment)),
        ("images", "The worst errors", sections.worst(assessment)),
        ("training", "Training", sections.training(journal)),
        ("refused", "Files without a label", sections.refused(figures["refused"])),
        ("reading", "How to read this", sections.reading(figures)),
    )
