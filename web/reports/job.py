"""Write the PDF report of a job: numbers flagged, not flagged and refused, and the most suspicious images first."""

from typing import Final

from shared.models.spec import Label
from shared.states import State
from web.base import numbers, suspicion
from web.base.suspicion import COUNTED_FLAGS
from web.frame import words
from web.jobs.progress import FINISHED
from web.jobs.standing import standing
from web.languages.text import N_, _, count, pgettext, plural, translate
from web.lists.listing import ScreeningSummary
from web.reports.contents import ENDED_WITHOUT, MOST_LISTED, MOST_REFUSED, JobContents
from web.reports.document import Column, Document
from web.reports.image import say_review

_ANSWERS: Final = (
    Column("", 12, is_number=True),
    Column(N_("X-ray"), 66, is_name=True),
    Column(N_("Suspicion"), 20, is_number=True),
    Column(N_("Threshold"), 20, is_number=True),
    Column(N_("Result"), 24),
    Column(N_("Newest review"), 36),
)
_MISSING: Final = (Column(N_("X-ray"), 78, is_name=True), Column(N_("State"), 24), Column(N_("Why"), 76))


def write_job(contents: JobContents, source: str, printed: str) -> bytes:
    """Return the report of a job as a PDF."""
    job, progress = contents.job, contents.progress
    document = Document(job.name, printed)
    document.heading(job.name, 14)
    document.paragraph(
        plural(
            progress.total,
            "%(standing)s. %(count)s X-ray, sent %(moment)s by %(sender)s, %(source)s; model %(model)s.",
            "%(standing)s. %(count)s X-rays, sent %(moment)s by %(sender)s, %(source)s; model %(model)s.",
            standing=standing(progress).text,
            moment=numbers.moment_text(job.created_at),
            sender=job.created_by.shown_name,
            source=translate(source),
            model=job.model_name,
        ),
        soft=True,
    )
    if progress.state != FINISHED:
        document.paragraph(
            _("This job has not finished: X-rays that are still waiting are not in this report."), bold=True
        )
    document.heading(pgettext("what was found, above numbers of X-rays", "Found"))
    document.facts(_summary(contents), name_width=60)
    _write_answers(document, contents)
    _write_missing(document, contents)
    return document.finish()


def _summary(contents: JobContents) -> list[tuple[str, str]]:
    counts, labels = contents.progress.counts, contents.labels
    rows = [(translate(COUNTED_FLAGS[label]), labels[label]) for label in (Label.PNEUMONIA, Label.NORMAL)]
    rows += [(_("Result hidden until your own review"), contents.hidden)] if contents.hidden else []
    rows += [(translate(words.COUNTED[State.REJECTED]), counts[State.REJECTED])]
    rows += [(f"    {words.name_refusal(code)}", images) for code, images in contents.reasons]
    ended = [state for state in (State.FAILED, State.CANCELLED) if counts[state]]
    rows += [(translate(words.COUNTED[state]), counts[state]) for state in ended]
    waiting = counts[State.QUEUED] + counts[State.RUNNING]
    rows += [(_("Waiting or being screened"), waiting)] if waiting else []
    return [(name, count(images)) for name, images in rows]


def _write_answers(document: Document, contents: JobContents) -> None:
    if not contents.answered:
        return
    document.heading(_("The most suspicious first"))
    document.table(_ANSWERS, [_answer(number, row) for number, row in enumerate(contents.answered, start=1)])
    left = sum(contents.labels.values()) - len(contents.answered)
    if left > 0:
        last = contents.answered[-1]
        least = suspicion.number(last.p_pneumonia or 0.0, last.threshold or 0.0)
        document.paragraph(
            plural(
                left,
                "%(count)s more X-ray, with suspicion %(least)s or less, is not in this table of the %(most)s most "
                "suspicious. Export CSV on the job page has all of them.",
                "%(count)s more X-rays, with suspicion %(least)s or less, are not in this table of the %(most)s most "
                "suspicious. Export CSV on the job page has all of them.",
                least=least,
                most=count(MOST_LISTED),
            )
        )


def _answer(number: int, row: ScreeningSummary) -> list[str]:
    p_pneumonia, threshold = row.p_pneumonia or 0.0, row.threshold or 0.0
    return [
        f"{number}",
        row.file_name,
        suspicion.number(p_pneumonia, threshold),
        suspicion.threshold_number(p_pneumonia, threshold),
        translate(words.LABELS[row.label].name) if row.label else "",
        say_review(row.reviews[-1]) if row.reviews else translate(words.REVIEW_STATES[row.review_state]),
    ]


def _write_missing(document: Document, contents: JobContents) -> None:
    counts = contents.progress.counts
    if not any(counts[state] for state in ENDED_WITHOUT):
        return
    document.heading(_("Without a result"))
    document.table(_MISSING, [_why(row) for row in contents.missing])
    left = sum(counts[state] for state in ENDED_WITHOUT) - len(contents.missing)
    if left > 0:
        document.paragraph(
            plural(
                left,
                "%(count)s more X-ray without a result is not in this table of the first %(most)s. "
                "Export CSV on the job page has all of them.",
                "%(count)s more X-rays without a result are not in this table of the first %(most)s. "
                "Export CSV on the job page has all of them.",
                most=count(MOST_REFUSED),
            )
        )


def _why(row: ScreeningSummary) -> list[str]:
    refusal = row.refusal
    return [
        row.file_name,
        translate(words.STATES[row.state].name),
        refusal.sentence if refusal else translate(words.STATES[row.state].meaning),
    ]
