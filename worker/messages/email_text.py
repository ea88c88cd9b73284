"""Compose e-mails: plain text in the account's language, with counts and a link and no patient data.

Headers are written by the standard library, which refuses line breaks in them (`email.headerregistry`).
"""

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

from babel import Locale

from shared.email_addresses import to_ascii
from shared.languages.catalogs import read_translations
from shared.languages.formats import write_count, write_moment
from shared.languages.languages import ENGLISH, LANGUAGES
from shared.languages.zones import find_zone
from shared.messages.digests import Part
from shared.settings import Settings
from shared.states import State
from shared.tables import MessageEvent, User

STOP: Final = "/account/emails/stop"
"""The page to unsubscribe from e-mails (`web.accounts.emails`)."""

_MOST_JOBS: Final = 50
"""The most jobs listed in an e-mail; others are only counted."""
_POLICY: Final = SMTP.clone(cte_type="7bit")
"""Every mail server accepts it, even without 8BITMIME."""
_read = cache(read_translations)


class Writer:
    """Write in the language and the time zone of one account."""

    def __init__(self, user: User, translations: Path) -> None:
        code = user.language if user.language in LANGUAGES else ENGLISH
        self.tag = LANGUAGES[code].tag
        self._locale = None if code == ENGLISH else Locale(code)
        self._zone = find_zone(user.time_zone) or UTC
        self._translations = _read(translations, code)

    def text(self, text: str, /, **values: object) -> str:
        """Translate a text and fill in its `%(name)s` placeholders."""
        return str(self._translations.ugettext(text)) % values

    def plural(self, number: int, one: str, many: str, /, **values: object) -> str:
        """Translate into the singular or plural form that fits a number."""
        text = str(self._translations.ungettext(one, many, number))
        return text % {"count": self.count(number), **values}

    def count(self, number: int) -> str:
        """Write a number."""
        return write_count(number, self._locale)

    def moment(self, iso: str) -> str:
        """Write a time."""
        return write_moment(datetime.fromisoformat(iso), self._zone, self._locale)


def compose(
    message_id: uuid.UUID, parts: Sequence[Part], user: User, settings: Settings, translations: Path
) -> EmailMessage:
    """Write the e-mail for a message with these parts, oldest first.

    Every attempt writes the same e-mail, unless the account has changed or something was deleted meanwhile. Raises
    ValueError where the account's address is invalid, which `shared.messages.emails.why_not` checks first.
    """
    writer = Writer(user, translations)
    newest = parts[-1]
    jobs = {part.body["data"].get("job"): part for part in parts}  # of a job that ended twice, the last end is reported
    if len(jobs) > 1:
        subject, lines = _write_digest(writer, [part.body["data"] for part in jobs.values()], str(settings.public_url))
    else:
        subject, lines = _WRITTEN[newest.event](writer, newest.body["data"], str(settings.public_url))
    email = EmailMessage(policy=_POLICY)
    sender = Address("PneumoScreen", addr_spec=to_ascii(settings.smtp_from or "") or "")
    email["From"] = sender
    # Without the person's name: some versions of Python decode what looks like an encoded word in it, with line breaks
    # (CVE-2024-6923).
    email["To"] = Address(addr_spec=to_ascii(user.email or "") or "")
    email["Subject"] = subject
    email["Date"] = format_datetime(newest.noted_at.astimezone(UTC))
    email["Message-ID"] = f"<{message_id}@{sender.domain}>"
    email["Auto-Submitted"] = "auto-generated"  # RFC 3834: stops out-of-office replies
    email["List-Unsubscribe"] = f"<{settings.public_url}{STOP}>"
    email.set_content("\n".join([*lines, "", "-- ", *_footer(writer, settings)]) + "\n")
    email["Content-Language"] = writer.tag  # only now: `set_content` removes the content headers
    return email


def _footer(writer: Writer, settings: Settings) -> list[str]:
    _ = writer.text
    return [
        "PneumoScreen",
        _("Decision support, not a diagnosis."),
        _("You get this e-mail because your account asks for it. To stop these e-mails, open:"),
        f"{settings.public_url}{STOP}",
    ]


def _write_finished(writer: Writer, data: dict[str, Any], public_url: str) -> tuple[str, list[str]]:
    _ = writer.text
    plural, images = writer.plural, sum(data["counts"].values())
    lines = [
        _("Your job of %(moment)s has finished.", moment=writer.moment(data["sent_at"])),
        "",
        *_counts(writer, data),
        "",
        _("Open the job:"),
        f"{public_url}{data['page_url']}",
    ]
    # Translators: the subject of an e-mail
    subject = plural(images, "Your job of %(count)s X-ray has finished", "Your job of %(count)s X-rays has finished")
    return subject, lines


def _write_flagged(writer: Writer, data: dict[str, Any], public_url: str) -> tuple[str, list[str]]:
    _, plural = writer.text, writer.plural
    moment, flagged = writer.moment(data["sent_at"]), data["flagged"]
    # Translators: the subject of an e-mail
    subject = plural(flagged, "%(count)s X-ray is flagged", "%(count)s X-rays are flagged")
    if "counts" in data:
        lines = [_("A job that was sent on %(moment)s has finished.", moment=moment), "", *_counts(writer, data)]
    else:
        lines = [
            plural(
                flagged,
                "%(count)s X-ray of a job that was sent on %(moment)s is flagged.",
                "%(count)s X-rays of a job that was sent on %(moment)s are flagged.",
                moment=moment,
            ),
        ]
        if data["is_open"]:
            lines.append(_("More of its X-rays may be flagged by the time you open it; no other e-mail tells of them."))
    return subject, [*lines, "", _("Open it:"), f"{public_url}{data['page_url']}"]


def _write_digest(writer: Writer, jobs: Sequence[dict[str, Any]], public_url: str) -> tuple[str, list[str]]:
    """Summarise several jobs, those with flagged images first, as far as there is room."""
    _, plural = writer.text, writer.plural
    flagged = sum(job.get("flagged", 0) for job in jobs)
    if flagged:
        said = {
            "jobs": plural(len(jobs), "%(count)s job", "%(count)s jobs"),
            "flagged": plural(flagged, "%(count)s X-ray is flagged", "%(count)s X-rays are flagged"),
        }
        # Translators: the subject of an e-mail, such as "12 jobs: 3 X-rays are flagged"
        subject = _("%(jobs)s: %(flagged)s", **said)
        lines = [
            _("Jobs that finished, or have flagged X-rays, since the last e-mail; those with flagged X-rays first:")
        ]
    else:
        # Translators: the subject of an e-mail
        subject = plural(len(jobs), "%(count)s job of yours has finished", "%(count)s jobs of yours have finished")
        lines = [_("Your jobs that finished since the last e-mail:")]
    listed = sorted(jobs, key=lambda job: (not job.get("flagged"), job["sent_at"]))[:_MOST_JOBS]
    for job in listed:
        lines += ["", *_list_job(writer, job), f"{public_url}{job['page_url']}"]
    if len(jobs) > len(listed):
        more = plural(
            len(jobs) - len(listed), "And %(count)s more job. All jobs:", "And %(count)s more jobs. All jobs:"
        )
        lines += ["", more, f"{public_url}/jobs"]
    if any(job.get("is_open") for job in jobs):
        said_once = _(
            "More X-rays of these jobs may be flagged by the time you open them; no other e-mail tells of them."
        )
        lines += ["", said_once]
    return subject, lines


def _list_job(writer: Writer, job: dict[str, Any]) -> list[str]:
    """Write when a job was sent, how many of its images are flagged, and how many have no result."""
    moment, flagged, counts = writer.moment(job["sent_at"]), job.get("flagged"), job.get("counts")
    if counts is None:
        said = writer.plural(
            job["flagged"],
            "%(moment)s: %(count)s X-ray is flagged",
            "%(moment)s: %(count)s X-rays are flagged",
            moment=moment,
        )
        return [said]
    images = sum(counts.values())
    if flagged is None:
        said = writer.plural(images, "%(moment)s: %(count)s X-ray", "%(moment)s: %(count)s X-rays", moment=moment)
    else:
        said = writer.plural(
            images,
            "%(moment)s: %(flagged)s of %(count)s X-ray is flagged",
            "%(moment)s: %(flagged)s of %(count)s X-rays are flagged",
            moment=moment,
            flagged=writer.count(flagged),
        )
    return [said, *_without_result(writer, counts)]


def _write_test(writer: Writer, _data: dict[str, Any], public_url: str) -> tuple[str, list[str]]:
    _ = writer.text
    return _("Test e-mail"), [_("E-mails of PneumoScreen reach you at this address."), "", public_url]


def _counts(writer: Writer, data: dict[str, Any]) -> list[str]:
    """Say how a job ended: what was flagged, what was not, and what has no result."""
    plural, counts = writer.plural, data["counts"]
    lines = []
    flagged = data.get("flagged")
    done = counts[State.DONE]
    if flagged is None:
        lines.append(plural(done, "%(count)s X-ray has a result", "%(count)s X-rays have a result"))
    else:
        lines.append(plural(flagged, "%(count)s X-ray is flagged", "%(count)s X-rays are flagged"))
        rest = done - flagged
        lines.append(plural(rest, "%(count)s X-ray is not flagged", "%(count)s X-rays are not flagged"))
    return [*lines, *_without_result(writer, counts)]


def _without_result(writer: Writer, counts: dict[str, int]) -> list[str]:
    plural, lines = writer.plural, []
    refused = counts[State.REJECTED] + counts[State.FAILED]
    if refused:
        lines.append(plural(refused, "%(count)s X-ray could not be screened", "%(count)s X-rays could not be screened"))
    cancelled = counts[State.CANCELLED]
    if cancelled:
        lines.append(plural(cancelled, "%(count)s X-ray was cancelled", "%(count)s X-rays were cancelled"))
    return lines


_WRITTEN: Final = {
    MessageEvent.JOB_FINISHED: _write_finished,
    MessageEvent.IMAGE_FLAGGED: _write_flagged,
    MessageEvent.TEST: _write_test,
}
