"""Map an identity provider's claims about a person to an account, its name and its role."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from sqlalchemy.orm import Session

from shared.accounts import people, users
from shared.accounts.administration import give_role
from shared.accounts.identities import find_identity, free_name, link_identity
from shared.accounts.refusal import AccountRefused
from shared.audit.record import Action, record
from shared.db import now
from shared.errors import PneumoScreenError
from shared.settings import Settings
from shared.tables import Identity, Role, User
from web.languages.text import N_, _, translate

Claims = Mapping[str, Any]


class SignInRefused(PneumoScreenError):
    """Say to a person why single sign-on refuses them, and whom to contact."""

    def __init__(self, message: str, user: User | None = None) -> None:
        super().__init__(message)
        self.user_id = user.id if user is not None else None


class RoleTaken(SignInRefused):
    """Say to a person that their provider no longer gives them a role: the account's credentials end."""


class ProviderAway(PneumoScreenError):
    """Say that the identity provider cannot be reached at the moment."""


_ANYBODY: Final = N_("an administrator of PneumoScreen")
"""Default of the setting."""


def name_contact(settings: Settings) -> str:
    """Return whom people should contact, from the settings, or the default in the reader's language."""
    return translate(_ANYBODY) if settings.oidc_contact == _ANYBODY else settings.oidc_contact


def admit(db: Session, settings: Settings, claims: Claims, address: str | None) -> User:
    """Return the account that a person opens; where the settings say so, create it or update its role.

    Raises SignInRefused where no account is linked, it is disabled, or no role matches.
    """
    identity = find_identity(db, claims["iss"], claims["sub"])
    if identity is not None:
        # Checked once more with the account locked: it may have been unlinked or disabled meanwhile.
        db.get(User, identity.user_id, with_for_update=True, populate_existing=True)
        identity = find_identity(db, claims["iss"], claims["sub"])
    if identity is None:
        identity = _add_account(db, settings, claims, address)
    else:
        _check_account(db, settings, claims, identity.user, address)
        _describe(identity.user, claims)
    identity.last_used_at = now()
    return identity.user


def _add_account(db: Session, settings: Settings, claims: Claims, address: str | None) -> Identity:
    if not settings.oidc_create_accounts:
        raise SignInRefused(
            _(
                "The identity provider knows you, but no account here is linked to you. Ask %(contact)s to link one to "
                "this subject: %(subject)s",
                contact=name_contact(settings),
                subject=claims["sub"],
            )
        )
    role = read_role(settings, claims)
    if role is None:
        raise _no_role(settings)
    name = _value(claims, settings.oidc_name_claim)
    user = users.add_user(db, free_name(db, name if isinstance(name, str) else ""), role)
    _describe(user, claims)
    _record(db, user, address, "added by single sign-on")
    return link_identity(db, user, claims["iss"], claims["sub"])


def _describe(user: User, claims: Claims) -> None:
    """Fill in missing display name and e-mail address; values from the provider that are invalid here are left out."""
    # An address that the provider did not verify may be anybody's (OpenID Connect Core 1.0, section 5.1).
    email = claims.get("email") if claims.get("email_verified") is True else None
    user.display_name = user.display_name or _readable(people.read_display_name, claims.get("name"))
    user.email = user.email or _readable(people.read_email, email)


def _readable(read: Callable[[str], str | None], claim: Any) -> str | None:
    try:
        return read(claim) if isinstance(claim, str) else None
    except AccountRefused:
        return None


def _check_account(db: Session, settings: Settings, claims: Claims, user: User, address: str | None) -> None:
    if not user.is_active:
        said = _("The account '%(name)s' is disabled. Ask %(contact)s.", name=user.name, contact=name_contact(settings))
        raise SignInRefused(said, user)
    if not settings.oidc_roles:
        return
    role = read_role(settings, claims)
    if role is None:
        raise RoleTaken(str(_no_role(settings)), user)
    if role is not user.role:
        give_role(db, user, role)
        _record(db, user, address, "role by single sign-on")


def _record(db: Session, user: User, address: str | None, change: str) -> None:
    detail = {"change": change, "role": user.role.value}
    record(db, Action.USER_CHANGED, user_id=user.id, subject=user.id, address=address, detail=detail)


def _no_role(settings: Settings) -> SignInRefused:
    return SignInRefused(
        _(
            "The identity provider knows you, but it gives you no role that PneumoScreen takes. "
            "Ask %(contact)s for one.",
            contact=name_contact(settings),
        )
    )


def read_role(settings: Settings, claims: Claims) -> Role | None:
    """Return the role of the first mapped value that a person has, else the default role, else None."""
    held = _value(claims, settings.oidc_role_claim) if settings.oidc_role_claim else None
    values = held if isinstance(held, list) else [held]
    role = next((role for value, role in settings.oidc_roles.items() if value in values), settings.oidc_default_role)
    return Role(role) if role else None


def _value(claims: Claims, name: str) -> Any:
    """Return a claim by its full name, else along its dots: Keycloak nests roles, and other names are addresses."""
    if name in claims:
        return claims[name]
    outer, _, inner = name.partition(".")
    found = claims.get(outer)
    return _value(found, inner) if inner and isinstance(found, dict) else None


def lacks(settings: Settings, claims: Claims) -> bool:
    """Tell whether a claim named in the settings is missing, so that the provider has to be asked again."""
    named = [settings.oidc_role_claim, settings.oidc_name_claim if settings.oidc_create_accounts else None]
    return any(name is not None and _value(claims, name) is None for name in named)
