"""Identities: which identity provider's user opens which account, by issuer and subject."""

from itertools import chain, count
from typing import Final
from unicodedata import combining, normalize

from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.accounts.credentials import end_credentials
from shared.accounts.refusal import AccountRefused
from shared.accounts.users import find_user
from shared.tables import Identity, User

SUBJECT_LENGTH: Final = 255
"""OpenID Connect Core 1.0, section 2."""

_NAME_LENGTH: Final = 56  # leaves room for a number within the 64 characters of a name
_MARKS: Final = "._@-"


def is_subject(subject: str) -> bool:
    """Tell whether a text is valid as a subject."""
    return 0 < len(subject) <= SUBJECT_LENGTH and subject.isascii() and subject.isprintable()


def find_identity(session: Session, issuer: str, subject: str) -> Identity | None:
    """Return the link of an identity provider's user to an account; None where there is none."""
    return session.scalar(select(Identity).where(Identity.issuer == issuer, Identity.subject == subject))


def identity_of(session: Session, user: User, issuer: str) -> Identity | None:
    """Return the identity provider's user that is linked to an account; None where there is none."""
    return session.scalar(select(Identity).where(Identity.user_id == user.id, Identity.issuer == issuer))


def link_identity(session: Session, user: User, issuer: str, subject: str) -> Identity:
    """Link an identity provider's user to an account; repeating an existing link changes nothing.

    Raises AccountRefused where the subject is malformed, the user is linked to another account already, or the account
    is linked to another user.
    """
    if not is_subject(subject):
        raise AccountRefused(
            "The subject of a person has 1 to %(most)s printable ASCII characters, as the identity provider shows it. "
            "Received: %(subject)s",
            most=SUBJECT_LENGTH,
            subject=repr(subject),
        )
    known, present = find_identity(session, issuer, subject), identity_of(session, user, issuer)
    if known is not None and known.user_id != user.id:
        raise AccountRefused(
            "This person opens the account '%(name)s' already. Unlink it there first.", name=known.user.name
        )
    if present is not None and present.subject != subject:
        raise AccountRefused("The account '%(name)s' is linked to another person. Unlink it first.", name=user.name)
    if present is None:
        present = Identity(user_id=user.id, issuer=issuer, subject=subject)
        session.add(present)
        session.flush()
    return present


def unlink_identity(session: Session, user: User, issuer: str) -> bool:
    """Unlink single sign-on from an account; False where it had none.

    The account's existing credentials end: they may be in the hands of the person who was linked.
    """
    present = identity_of(session, user, issuer)
    if present is not None:
        # Locked first, as a sign-in of that person locks it (`web.accounts.claims`).
        session.get(User, user.id, with_for_update=True)
        session.delete(present)
        end_credentials(session, user)
    return present is not None


def free_name(session: Session, wanted: str) -> str:
    """Derive an unused account name from the provider's name for a person; a number follows where the name is taken.

    It never looks up an account: two people may share a name, and people may choose their names.
    """
    # Accents are split off and dropped, so that Müller becomes Muller.
    letters = [letter for letter in normalize("NFKD", wanted) if not combining(letter)]
    kept = "".join(letter if letter.isascii() and (letter.isalnum() or letter in _MARKS) else "-" for letter in letters)
    name = kept.lstrip(_MARKS)[:_NAME_LENGTH].rstrip("-") or "person"
    candidates = chain([name], (f"{name}-{number}" for number in count(2)))
    return next(candidate for candidate in candidates if find_user(session, candidate) is None)
