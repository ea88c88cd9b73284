"""Whether a request is a prefetch: made ahead by a browser or a script, of what nobody has opened yet."""

from typing import Final

from flask import request

PRELOADED: Final = "X-Preload"
"""Sent by a page that fetches the next image while this one is read."""
PURPOSE: Final = {"purpose": "preload"}
"""What the audit trail says of an image that was given out so."""


def is_fetched_ahead() -> bool:
    """Tell whether what is asked for may never be looked at, so that it is neither a view nor a claim.

    Browsers say so in Sec-Purpose (Fetch Standard), of a page that they prefetch or prerender and of what it asks for
    until it is shown.
    """
    purpose = request.headers.get("Sec-Purpose", "").partition(";")[0].strip()
    return purpose == "prefetch" or PRELOADED in request.headers
