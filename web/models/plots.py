"""The plots in a model folder, drawn at training."""

from pathlib import Path
from typing import Final

from shared.models.metrics import PLOTS_FOLDER
from web.languages.text import N_

PLOTS: Final = {
    "confusion": N_("Right and wrong calls on the validation images, at the threshold"),
    "roc": N_("ROC curve of the validation images"),
    "reliability": N_("Share of pneumonia by probability, of the validation images"),
    "training": N_("Loss and accuracy over the epochs of the training"),
}
"""What each plot shows; a folder may lack some."""


def list_plots(folder: Path) -> dict[str, str]:
    """Return a folder's plots, with what each shows."""
    return {name: said for name, said in PLOTS.items() if find_plot(folder, name) is not None}


def find_plot(folder: Path, name: str) -> Path | None:
    """Return the file of a plot; None where there is none of this name."""
    path = folder / PLOTS_FOLDER / f"{name}.png"
    return path if name in PLOTS and path.is_file() else None
