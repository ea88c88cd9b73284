"""Detect prefetch requests: made in advance by a browser or a script, for pages not yet opened."""

from typing import Final

from flask import request

PRELOADED: Final = "X-Preload"
"""Sent by a page that prefetches the next image while this one is read."""
PURPOSE: Final = {"purpose": "preload"}
"""The audit trail's note on an image delivered this way."""


def is_fetched_ahead() -> bool:
    """Tell whether the requested page may never be viewed, so that it counts neither as a view nor as a claim.

    Browsers declare it in Sec-Purpose (Fetch Standard), for a page that they prefetch or prerender and for its own
    requests until it is shown.
    """
    purpose = request.headers.get("Sec-Purpose", "").partition(";")[0].strip()
    return purpose == "prefetch" or PRELOADED in request.headers
