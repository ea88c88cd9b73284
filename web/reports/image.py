"""Write the PDF report of one image: picture, prediction, model and reviews."""

import io
from typing import Final

from shared.models.spec import Label
from shared.states import State
from shared.tables import Model, Review
from web.base import numbers, suspicion
from web.frame import words
from web.languages.text import N_, _, count, pgettext, translate
from web.lists.listing import ScreeningDetail
from web.reports.contents import Picture
from web.reports.document import LINE, Document

_PICTURE_WIDTH: Final = 130.0
_PICTURE_HEIGHT: Final = 105.0
"""In mm; with these, result and details of most images fit on the same page."""
_SUSPICION: Final[dict[suspicion.Band, str]] = {
    suspicion.Band.BELOW: N_("Suspicion %(number)s of 100. Below the threshold, %(threshold)s."),
    suspicion.Band.NEAR: N_("Suspicion %(number)s of 100. Near the threshold, %(threshold)s."),
    suspicion.Band.ABOVE: N_("Suspicion %(number)s of 100. Above the threshold, %(threshold)s."),
}


def write_image(screening: ScreeningDetail, picture: Picture, model: Model | None, printed: str) -> bytes:
    """Return the report of an image as its viewer may see it, as a PDF."""
    document = Document(screening.file_name, printed)
    document.heading(screening.file_name, 14)
    sent = _(
        "Job %(job)s, sent %(moment)s by %(sender)s",
        job=screening.job_name,
        moment=numbers.moment_text(screening.created_at),
        sender=screening.created_by,
    )
    document.paragraph(sent, soft=True)
    document.ln(2)
    _draw(document, picture, screening)
    document.heading(_("Result"))
    _write_result(document, screening)
    if screening.reviews:
        document.heading(_("Reviews"))
        for review in screening.reviews:
            _write_review(document, review)
    document.heading(_("Details"))
    document.facts(_details(screening, model))
    return document.finish()


def _draw(document: Document, picture: Picture, screening: ScreeningDetail) -> None:
    left = document.l_margin + (document.epw - _PICTURE_WIDTH) / 2
    top = document.get_y()
    if picture.data is None:
        document.set_x(left)
        document.empty_frame(_PICTURE_WIDTH, _PICTURE_HEIGHT / 2, picture.problem)
        document.set_y(top + _PICTURE_HEIGHT / 2 + 2)
        return
    placed = document.image(
        io.BytesIO(picture.data),
        x=left,
        w=_PICTURE_WIDTH,
        h=_PICTURE_HEIGHT,
        keep_aspect_ratio=True,
        alt_text=_("The X-ray %(id)s", id=screening.screening_id),
    )
    document.set_y(top + min(placed.rendered_height, _PICTURE_HEIGHT) + 2)


def _write_result(document: Document, screening: ScreeningDetail) -> None:
    if screening.label is not None:
        _write_prediction(document, screening, screening.label)
    elif screening.is_hidden:
        document.paragraph(_("Result hidden"), bold=True, size=14)
        document.paragraph(
            _(
                "Another reader has read this X-ray. You see what the model and that reader say after you give your "
                "own review."
            )
        )
    else:
        document.paragraph(translate(words.STATES[screening.state].name), bold=True, size=14)
        document.paragraph(say_missing(screening))


def _write_prediction(document: Document, screening: ScreeningDetail, label: Label) -> None:
    p_pneumonia, threshold = screening.p_pneumonia or 0.0, screening.threshold or 0.0
    number, cut = suspicion.number(p_pneumonia, threshold), suspicion.threshold_number(p_pneumonia, threshold)
    document.paragraph(translate(words.LABELS[label].name), bold=True, size=14)
    text = _SUSPICION[suspicion.band(p_pneumonia, threshold)]
    document.paragraph(translate(text, number=number, threshold=cut))
    document.scale(p_pneumonia, threshold, 80)
    document.paragraph(_("X-rays of suspicion %(threshold)s or more are flagged.", threshold=cut), soft=True)


def say_missing(screening: ScreeningDetail) -> str:
    """Say why an image has no result."""
    refusal = screening.refusal
    return refusal.text if refusal else translate(words.STATES[screening.state].meaning)


def _write_review(document: Document, review: Review) -> None:
    document.paragraph(say_review(review), bold=True)
    who = {"reader": review.user.shown_name, "moment": numbers.moment_text(review.created_at)}
    document.paragraph(
        _("%(reader)s, %(moment)s, read blind", **who) if review.is_blind else _("%(reader)s, %(moment)s", **who),
        soft=True,
    )
    if review.note:
        document.paragraph(review.note)
    document.ln(LINE / 3)


def say_review(review: Review) -> str:
    """Describe a reader's finding, and whether the model agrees."""
    if review.finding is None:
        return translate(words.OUTCOMES[review.outcome])
    if review.label is None:
        return translate(words.FINDINGS[review.finding])
    finding = translate(words.FINDINGS[review.finding])
    if review.outcome is review.outcome.AGREE:
        return _("%(finding)s (same as the model)", finding=finding)
    return _("%(finding)s (differs from the model)", finding=finding)


def _details(screening: ScreeningDetail, model: Model | None) -> list[tuple[str, str]]:
    rows = []
    if model is not None and screening.model is not None:
        population = model.spec.get("intended_population") or pgettext(
            "the patients that a model is made for", "not known"
        )
        rows += [(_("Model"), screening.model), (_("Intended for"), str(population))]
    if screening.finished_at is not None and screening.state is State.DONE:
        rows += [(pgettext("when an X-ray was screened", "Screened"), numbers.moment_text(screening.finished_at))]
    if screening.width and screening.height:
        size = {"width": count(screening.width), "height": count(screening.height)}
        rows += [(_("Size"), _("%(width)s \N{MULTIPLICATION SIGN} %(height)s pixels", **size))]
    rows += [(_("Id"), str(screening.screening_id))]
    return rows + ([("SHA-256", screening.sha256)] if screening.sha256 else [])
