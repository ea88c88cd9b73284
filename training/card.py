"""The model card: what a reader of the figures must know, written from the figures themselves."""

from pathlib import Path
from typing import Any

from shared.modelspec import ModelSpec

_ROWS = (("AUC", "auc"), ("Recall (sensitivity)", "recall"), ("Specificity", "specificity"), ("Accuracy", "accuracy"))


def write_card(path: Path, spec: ModelSpec, figures: dict[str, Any]) -> None:
    """Write the card of a model in Markdown."""
    path.write_text(card(spec, figures))


def card(spec: ModelSpec, figures: dict[str, Any]) -> str:
    """Return the card's text, every number in it from `spec` and `figures` (the content of metrics.json)."""
    return "\n\n".join(
        [
            f"# {spec.name}",
            f"{spec.description}. Decision support, not a diagnosis.",
            _origin(spec, figures),
            _use(spec),
            _validation(spec, figures),
            _shift(figures),
            _limits(figures),
        ]
    ) + "\n"


def _origin(spec: ModelSpec, figures: dict[str, Any]) -> str:
    recipe, films = figures["recipe"], figures["films"]
    return f"""## How the weights came about

Trained from random initialisation by `pneumoscreen train` with the recipe in `metrics.json` (seed {recipe["seed"]},
{recipe["epochs"]} epochs, code at `{spec.commit}`), finished {spec.trained_at:%Y-%m-%d}. {spec.parameters:,} parameters;
input is one grey film of {spec.input_size}x{spec.input_size} pixels, scaled inside the network; output is a logit for each of
{", ".join(spec.classes)}. The weights kept are a moving average over the last steps. sha256 `{spec.sha256}`.

Data: {spec.training_data}. {films["training"]:,} films were trained on and {films["held_out"]:,} held out, by patient;
films stored twice count as one patient's. The official test split was never used. Licence of the weights: {spec.licence};
name the data set when you pass them on."""


def _use(spec: ModelSpec) -> str:
    return f"""## Intended use

{spec.intended_population}, to order a reading list: the most suspicious first, every film read by a clinician.
Not for adults, lateral views, CT, photographs of films, or to rule pneumonia out without a reader."""


def _validation(spec: ModelSpec, figures: dict[str, Any]) -> str:
    report, half = figures["validation"], figures["at_threshold_0.5"]
    rows = "\n".join(
        f"| {title} | {report[key]:.4f} | {report['intervals_95'][key][0]:.4f} to {report['intervals_95'][key][1]:.4f} "
        f"| {half[key]:.4f} |"
        for title, key in (*_ROWS, ("Calibration error (ECE)", "ece"))
    )
    matrix, series, causes = report["confusion"], figures["specificity_by_series"], figures["recall_by_cause"]
    return f"""## Validation

{report["films"]["NORMAL"]} normal and {report["films"]["PNEUMONIA"]} pneumonia films of patients that training never saw. Threshold {spec.threshold}
({spec.threshold_rule}). Intervals: 95 %, bootstrap over patients.

| figure | at the threshold | interval | at 0.5 |
|---|---|---|---|
{rows}

Confusion at the threshold: {matrix["true_positive"]} found, {matrix["false_negative"]} missed, {matrix["true_negative"]} rightly normal, {matrix["false_positive"]} false alarms.
Specificity by series of normal films: IM {series["IM"]:.4f}, NORMAL2-IM {series["NORMAL2-IM"]:.4f}. Recall by cause: bacterial {causes["bacteria"]:.4f}, viral {causes["virus"]:.4f}.
Of the pneumonia films, {figures["cause_accuracy"]:.1%} get the right cause: a hint, not a finding.

Temperature and threshold were fitted on these same films, so recall and calibration are slightly flattered."""


def _shift(figures: dict[str, Any]) -> str:
    rows = "\n".join(
        f"| {name} | {row['auc']:.4f} | {row['recall']:.4f} | {row['specificity']:.4f} |"
        for name, row in figures["stress"].items()
    )
    plain = figures["validation"]
    return f"""## On films from elsewhere

The same held-out films, each changed in one fixed way (`training/stress.py`), at the same threshold:

| change | AUC | recall | specificity |
|---|---|---|---|
| none | {plain["auc"]:.4f} | {plain["recall"]:.4f} | {plain["specificity"]:.4f} |
{rows}

Expect a drop on films of another hospital, above all in specificity: on this data set's own test split, whose normal films
differ from those of the train split, comparable networks fell from a validation AUC of 0.996 to 0.97 and to a
specificity near 0.8. Choose the threshold anew on films of your own before relying on the label."""


def _limits(figures: dict[str, Any]) -> str:
    return """## Limits

One hospital (Guangzhou), one age band, labels from two readers and a third as arbiter, no clinical follow-up. Normal and
pneumonia films were not collected alike, so some of what separates them may belong to how they were taken. Films were
stretched to squares. Subgroups by sex, age, device or severity are not labelled and were not measured. Bacterial and
viral pneumonia overlap on a film. Other findings (effusion, pneumothorax, fracture, tuberculosis) are neither looked for nor
excluded."""
