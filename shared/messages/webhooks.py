"""Webhooks: register addresses that receive events, and sign the messages to them.

Messages are signed according to Standard Webhooks (github.com/standard-webhooks/standard-webhooks, version 1):
HMAC-SHA256 of id, time and body. The secret is derived from the session signing key and a salt of the webhook, so that
neither the database nor a backup contains it.
"""

import base64
import hashlib
import hmac
import ipaddress
import secrets
import uuid
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final
from urllib.parse import urlsplit

from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.db import new_id, now
from shared.errors import TranslatableError
from shared.network_addresses import Network, is_named, may_be_called
from shared.tables import MessageEvent, Webhook

SECRET_PREFIX: Final = "whsec_"  # noqa: S105  # prefix of a Standard Webhooks secret
MOST: Final = 20
"""The most webhooks of an installation: each event is a row for each of them."""
LONGEST_URL: Final = 1024

_SALT_BYTES: Final = 16


class WebhookRefused(TranslatableError):
    """Say why a webhook cannot be registered."""


def register(
    session: Session,
    url: str,
    events: Collection[MessageEvent],
    user_id: uuid.UUID,
    networks: Sequence[Network],
    *,
    webhook_id: uuid.UUID | None = None,
) -> Webhook:
    """Register a webhook; raise WebhookRefused where its address is unusable or there are too many."""
    address = read_url(url, networks)
    if not events:
        raise WebhookRefused("Choose at least one event.")
    if len(session.scalars(select(Webhook.id)).all()) >= MOST:
        raise WebhookRefused("There are %(most)s webhooks already. Delete one first.", most=MOST)
    webhook = Webhook(
        id=webhook_id or new_id(),
        url=address,
        events=[event.value for event in MessageEvent if event in events],
        salt=new_salt(),
        created_by_id=user_id,
        failures=0,
    )
    session.add(webhook)
    session.flush()
    return webhook


def read_url(url: str, networks: Sequence[Network]) -> str:
    """Return a URL as it is stored; raise WebhookRefused where it may not be called.

    Host names are resolved, and their addresses checked, with every message.
    """
    text = url.strip()
    if not text.isascii() or any(letter <= " " for letter in text) or len(text) > LONGEST_URL:
        raise WebhookRefused("An address has at most %(most)s ASCII characters and no spaces.", most=LONGEST_URL)
    try:
        parts = urlsplit(text)
        has_port = parts.port != 0
    except ValueError as error:
        raise WebhookRefused("This is not an address: %(problem)s.", problem=error) from error
    if parts.scheme not in {"https", "http"} or not parts.hostname or not has_port:
        raise WebhookRefused("Give a full address, such as https://pacs.example.org/hooks/pneumoscreen.")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise WebhookRefused("Leave user, password and what follows # out of the address; messages are signed.")
    _check_literal(parts.hostname, parts.scheme, networks)
    return text


def _check_literal(host: str, scheme: str, networks: Sequence[Network]) -> None:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return
    if not may_be_called(host, networks):
        raise WebhookRefused(
            "%(host)s is not a public address. "
            "PNEUMOSCREEN_WEBHOOK_NETWORKS names the other networks that may be called.",
            host=host,
        )
    if scheme == "http" and not is_named(host, networks):
        raise WebhookRefused(
            "Use https: unencrypted messages may only go to the networks of PNEUMOSCREEN_WEBHOOK_NETWORKS."
        )


def new_salt() -> str:
    """Make a salt, which gives a webhook a unique secret."""
    return secrets.token_hex(_SALT_BYTES)


def mark_of(webhook: Webhook) -> str:
    """Return what tells the present secret of a webhook from those before and after it, and says nothing of it."""
    return hashlib.sha256(webhook.salt.encode()).hexdigest()[:16]


def secret_of(key: str, webhook_id: uuid.UUID, salt: str) -> str:
    """Return the secret of a webhook, in the format of Standard Webhooks libraries."""
    purpose = f"pneumoscreen webhook v1 {webhook_id} {salt}".encode()
    return SECRET_PREFIX + base64.b64encode(hmac.new(key.encode(), purpose, hashlib.sha256).digest()).decode()


def sign(secret: str, message_id: str, at: datetime, body: bytes) -> dict[str, str]:
    """Return the headers with a message's id, time and signature."""
    seconds = str(int(at.timestamp()))
    signed = b".".join([message_id.encode(), seconds.encode(), body])
    digest = hmac.new(base64.b64decode(secret.removeprefix(SECRET_PREFIX)), signed, hashlib.sha256).digest()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": seconds,
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


def stop(webhook: Webhook, why: str) -> None:
    """Stop a webhook: no more messages are sent or written until `outbox.start`."""
    webhook.stopped_at, webhook.stopped_for = now(), why
