"""The model card: what readers must know about the figures, generated from the figures themselves."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from shared.models.spec import ModelSpec

_ROWS: Final = (
    ("AUC", "auc"),
    ("Recall (sensitivity)", "recall"),
    ("Specificity", "specificity"),
    ("Accuracy", "accuracy"),
    ("Calibration error (ECE)", "ece"),
)

_USE: Final = """## Intended use

{population}.

To order a reading list, the most suspicious first, with every image read by a clinician. Not for adults, lateral views,
CT or photographs of images, and not to rule pneumonia out without a reader."""

_GATE: Final = """## What it does not read

Before the model looks, a gate refuses, each under its code and without a label: other parts of the body, photographs,
screenshots and pictures of a screen (`not_chest`), images on their side or upside down (`rotated`), exchanged black
and white (`inverted`), images that lack a large part of the lungs (`cut_off`), lateral views (`not_frontal`), and
nearly black or nearly white images (`too_dark`, `too_bright`). By DICOM headers it refuses all views that are not
frontal (`not_frontal`), patients outside {youngest} to {oldest} years and other parts of the body
(`outside_intended_use`). By the image alone it knows no adult. How often it is right on pictures that it did not learn
from: `docs/gate.md`, by `python -m training.gate`. A site can let codes pass (`PNEUMOSCREEN_GATE_IGNORES`)."""

_LIMITS: Final = """## Limits

One hospital (Guangzhou), one age band, labels from two readers with a third as arbiter, no clinical follow-up. Normal
and pneumonia images were not collected alike: the normal ones are sharper and show more of the neck and of black
border. Training varies all of that, but some of what separates the classes may still belong to how images were taken.
Images were stretched to squares. Sex, age, device and severity are not labelled and were not measured apart. Bacterial
and viral pneumonia overlap on an image. Other findings (effusion, pneumothorax, fracture, tuberculosis) are neither
looked for nor excluded."""

_ELSEWHERE: Final = """Expect a drop on images of another hospital, above all in specificity. On this data set's own
test split, whose normal images differ from those of the train split, comparable networks fell from a validation AUC of
0.996 to 0.97 and to a specificity between 0.77 and 0.85 at threshold 0.5. Choose the threshold anew on images of your
own before you rely on the label."""


@dataclass(frozen=True)
class Planned:
    """The numbers of a model's recipe; the training may have used less."""

    recipe: str
    """Its name for `pneumoscreen train`."""
    input_size: int
    epochs: int
    """Of all phases."""


def write_card(path: Path, spec: ModelSpec, figures: dict[str, Any], planned: Planned) -> None:
    """Write the card of a model in Markdown."""
    path.write_text(card(spec, figures, planned))


def card(spec: ModelSpec, figures: dict[str, Any], planned: Planned) -> str:
    """Return the card's text; all numbers in it come from `spec`, `figures` (content of metrics.json) and `planned`."""
    parts = (
        f"# {spec.name}",
        f"{spec.description}. Decision support, not a diagnosis.",
        _origin(spec, figures, planned),
        _USE.format(population=spec.intended_population),
        *([_GATE.format(youngest=spec.gate.ages[0], oldest=spec.gate.ages[1])] if spec.gate is not None else []),
        *([_expected(figures)] if "estimates" in figures or "measured_apart" in figures else []),
        _validation(spec, figures),
        _shift(figures),
        *([_guide(figures["guide"])] if figures["guide"] else []),
        _LIMITS,
    )
    return "\n\n".join(parts) + "\n"


def _expected(figures: dict[str, Any]) -> str:
    """Tabulate the estimates side by side, the worst being the one to expect, above what was measured separately."""
    estimates, apart = figures.get("estimates", {}), figures.get("measured_apart")
    rows = [
        f"| {name} | {sum(row['images'].values())} | " + " | ".join(_with_span(row, key) for _, key in _ROWS) + " |"
        for name, row in estimates.items()
    ]
    if apart:
        count = sum(apart["images"].values())
        cells = " | ".join(f"{apart[key]:.4f}" if key in apart else "-" for _, key in _ROWS)
        rows.append(f"| **{apart['what']}, measured apart on {apart['date']}** | {count} | {cells} |")
    titles = " | ".join(title for title, _ in _ROWS)
    parts = "\n".join(
        f"| {row['part']} | {row['figure']} | {row['right']} of {row['images']} | {_span(row['interval_95'])} |"
        for row in estimates.get("elsewhere", {}).get("parts", ())
    )
    table = f"\n\n| images from elsewhere | figure | right | interval |\n|---|---|---|---|\n{parts}" if parts else ""
    return f"""## What to expect

At the threshold, with 95 % intervals by patient (`pneumoscreen estimate`). Go by the worst line: random patients share
the habits of the training set, reframed images are the same ones moved and stretched to where the lungs of another
image are, and the images from elsewhere are of hospitals and ages that the model is not made for. The framing gap,
where it is stated, is of a second training that never saw the half of the normal images laid out most like pneumonia,
measured on the hardest fifth of all normal images, at a threshold fitted on the same images.

| images | count | {titles} |
|---|---|{"---|" * len(_ROWS)}
{chr(10).join(rows)}{table}{_refused(estimates)}"""


def _refused(estimates: dict[str, Any]) -> str:
    """Say how many images a model that frames lungs would refuse."""
    counts = [f"{row['without_lungs']} ({name})" for name, row in estimates.items() if row.get("without_lungs")]
    return (
        f"\n\nImages on which it found no lungs, refused and not in the figures: {', '.join(counts)}." if counts else ""
    )


def _with_span(row: dict[str, Any], key: str) -> str:
    return f"{row[key]:.4f} ({_span(row['intervals_95'][key])})"


def _origin(spec: ModelSpec, figures: dict[str, Any], planned: Planned) -> str:
    recipe, images, journal = figures["recipe"], figures["images"], figures["journal"]
    minutes = sum(epoch["seconds"] for epoch in journal) / 60
    pixels = f"{spec.input_size}x{spec.input_size}"
    kept = "The weights kept are a moving average over the last steps." if recipe["average"] else _raw(recipe)
    return f"""## How the weights came about

Started from {figures["origin"]} and trained by
`pneumoscreen train {planned.recipe}` with the recipe in `metrics.json`:
seed {recipe["seed"]}, {len(journal)} epochs, {minutes:.0f} minutes on two shared CPU cores, finished
{spec.trained_at:%Y-%m-%d}. Code at commit `{spec.commit}`. {kept}
{_budget(recipe, planned, len(journal))}{_policy(recipe)}{_teachers(recipe)}{spec.parameters:,} parameters.
Input: one grey image of {pixels} pixels, scaled inside the network.
Output: a logit each for {", ".join(spec.classes)}.
sha256 `{spec.sha256}`.

Data: {spec.training_data}.
{images["training"]:,} images were trained on and {images["held_out"]:,} held out, by patient.
Images stored twice count as one patient's. The official test split was never used.
Licence of the weights: {spec.licence}; name the data set when you pass them on."""


def _raw(recipe: dict[str, Any]) -> str:
    return (
        "The weights kept are those of the last epoch."
        if recipe["patience"] is None
        else ("The weights kept are those of the epoch with the lowest loss on the held-out images.")
    )


def _policy(recipe: dict[str, Any]) -> str:
    """Say where layers were trained in a lower precision; the figures are of float32."""
    return (
        "Layers learned in bfloat16, on weights of float32.\n"
        if recipe.get("dtype_policy", "float32") != "float32"
        else ""
    )


def _teachers(recipe: dict[str, Any]) -> str:
    if not recipe["teachers"]:
        return ""
    share = recipe["teacher_share"]
    return f"Taught by {', '.join(recipe['teachers'])}: {share:.0%} of each target is what they say of the same crop.\n"


def _budget(recipe: dict[str, Any], planned: Planned, trained: int) -> str:
    """Say where this training used less than its recipe asks for."""
    short = []
    if planned.input_size != recipe["input_size"]:
        short.append(f"images of {recipe['input_size']} pixels where the recipe has {planned.input_size}")
    allowed = sum(phase["epochs"] for phase in recipe["phases"])
    if planned.epochs > allowed:
        short.append(f"at most {allowed} epochs ({trained} run) where the recipe allows {planned.epochs}")
    return f"Budget: {' and '.join(short)}; with the whole recipe the figures would differ.\n" if short else ""


def _validation(spec: ModelSpec, figures: dict[str, Any]) -> str:
    report, half = figures["validation"], figures["at_threshold_0.5"]
    trained = spec.former[0] if spec.former else spec
    rows = "\n".join(
        f"| {title} | {report[key]:.4f} | {_span(report['intervals_95'][key])} | {half[key]:.4f} |"
        for title, key in _ROWS
    )
    images, matrix = report["images"], report["confusion"]
    series, causes = figures["specificity_by_series"], figures["recall_by_cause"]
    told = figures["cause_accuracy"]
    cause = (
        f"Of the pneumonia images {told:.1%} get the right cause: a hint, not a finding."
        if told
        else ("The model tells no causes apart.")
    )
    return f"""## Validation

{images["NORMAL"]} normal and {images["PNEUMONIA"]} pneumonia images of patients that training never saw.
Threshold {trained.threshold}. {trained.threshold_rule}.
{_calibrated_since(spec)}Intervals: 95 %, bootstrap over patients.

| figure | at the threshold | interval | at 0.5 |
|---|---|---|---|
{rows}

At the threshold {matrix["true_positive"]} pneumonia images were found and {matrix["false_negative"]} missed;
{matrix["true_negative"]} normal images were called normal and {matrix["false_positive"]} raised a false alarm.
Specificity by series of normal images: IM {series["IM"]:.4f}, NORMAL2-IM {series["NORMAL2-IM"]:.4f}.
Recall by cause: bacterial {causes["bacteria"]:.4f}, viral {causes["virus"]:.4f}.
{cause}

Threshold and temperature were fitted on these same images and their changed copies below, so recall is stated
slightly too high."""


def _calibrated_since(spec: ModelSpec) -> str:
    return f"The model was calibrated anew since, with the threshold {spec.threshold}.\n" if spec.former else ""


def _span(bounds: list[float]) -> str:
    return f"{bounds[0]:.4f} to {bounds[1]:.4f}"


def _guide(report: dict[str, Any]) -> str:
    images, matrix = report["images"], report["confusion"]
    count = images["NORMAL"] + images["PNEUMONIA"]
    return f"""## On the official validation folder

Its {count} images guided the choice of augmentation, so they are no independent evidence. At the threshold this model
finds {matrix["true_positive"]} of {images["PNEUMONIA"]} pneumonia images there and calls {matrix["true_negative"]} of
{images["NORMAL"]} normal images normal (AUC {report["auc"]:.3f}): few images, but they show the shift to expect."""


def _shift(figures: dict[str, Any]) -> str:
    against, changed = figures["against_making"], figures["changed"]
    changes = {"none": figures["validation"], **figures["stress"]}
    rows = "\n".join(
        f"| {name} | {row['auc']:.4f} | {row['recall']:.4f} | {row['specificity']:.4f} |"
        for name, row in changes.items()
    )
    estimate = "\n".join(
        f"| {title} | {against[key]:.4f} ({_span(against['intervals_95'][key])}) "
        f"| {changed[key]:.4f} ({_span(changed['intervals_95'][key])}) |"
        for title, key in _ROWS
    )
    return f"""## On images from elsewhere

How images were made (sharpness, contrast, black border; `training/style.py`) tells the held-out classes apart with an
AUC of {figures["making_alone_auc"]:.4f} without looking for disease. Two estimates of what to expect of images that
were made differently, at the same threshold, with 95 % intervals: the third of each held-out class whose making looks
most like the other class ({against["images"]["NORMAL"]} normal and {against["images"]["PNEUMONIA"]} pneumonia), and all
held-out images, each changed in {len(figures["stress"])} fixed ways (`evaluation/stress.py`).

| figure | against their making | changed copies |
|---|---|---|
{estimate}

By change:

| change | AUC | recall | specificity |
|---|---|---|---|
{rows}

{_ELSEWHERE}"""
