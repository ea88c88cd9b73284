"""Identities: which person of an identity provider opens which account, by issuer and subject."""

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

_NAME_LENGTH: Final = 56  # leaves room for a number within the 64 of a name
_MARKS: Final = "._@-"


def is_subject(subject: str) -> bool:
    """Tell whether a text can be the subject of a person."""
    return 0 < len(subject) <= SUBJECT_LENGTH and subject.isascii() and subject.isprintable()


def find_identity(session: Session, issuer: str, subject: str) -> Identity | None:
    """Return what links a person of an identity provider to an account; None where nothing does."""
    return session.scalar(select(Identity).where(Identity.issuer == issuer, Identity.subject == subject))


def identity_of(session: Session, user: User, issuer: str) -> Identity | None:
    """Return the person of an identity provider who opens an account; None where nobody does."""
    return session.scalar(select(Identity).where(Identity.user_id == user.id, Identity.issuer == issuer))


def link_identity(session: Session, user: User, issuer: str, subject: str) -> Identity:
    """Let a person of an identity provider open an account; linking anew what is linked changes nothing.

    Raises AccountRefused where the subject is malformed, the person opens another account already, or the account is
    opened by another person.
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

    What was given out for the account so far ends: it may be in the hands of the person who was linked.
    """
    present = identity_of(session, user, issuer)
    if present is not None:
        # Held first, as a sign-in of that person holds it (`web.accounts.claims`).
        session.get(User, user.id, with_for_update=True)
        session.delete(present)
        end_credentials(session, user)
    return present is not None


def free_name(session: Session, wanted: str) -> str:
    """Make an account's name of what a provider calls a person; a number follows where the name is taken.

    It never finds an account: two people may have one name, and a name may be chosen by its bearer.
    """
    # Accents are split off and left away, so that Müller becomes Muller.
    letters = [letter for letter in normalize("NFKD", wanted) if not combining(letter)]
    kept = "".join(letter if letter.isascii() and (letter.isalnum() or letter in _MARKS) else "-" for letter in letters)
    name = kept.lstrip(_MARKS)[:_NAME_LENGTH].rstrip("-") or "person"
    candidates = chain([name], (f"{name}-{number}" for number in count(2)))
    return next(candidate for candidate in candidates if find_user(session, candidate) is None)
