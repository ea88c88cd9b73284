"""Post one message to one webhook: resolve its host once, check the address, and call it within a time limit."""

import asyncio
import logging
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import httpx

from shared.messages.outbox import Outcome
from shared.messages.problems import Problem
from shared.network_addresses import Network, is_named, may_be_called
from worker.messages.lookups import look_up

logging.getLogger("httpx").setLevel(logging.WARNING)  # it would log addresses, whose paths may be secrets

_GONE: Final = 410


@dataclass(frozen=True)
class Rules:
    """Which networks messages may go to, the time limit, and the trusted certificates."""

    networks: Sequence[Network]
    """Networks that may be called besides public addresses."""
    seconds: float
    trusted: ssl.SSLContext


async def post(url: str, headers: Mapping[str, str], body: bytes, rules: Rules) -> Outcome:
    """Send a message and return the outcome; failures of the receiver raise nothing.

    Redirects are not followed and the answer's body is not read: only the status counts.
    """
    deadline = asyncio.get_running_loop().time() + rules.seconds
    try:
        target = httpx.URL(url)
        async with asyncio.timeout_at(deadline):
            addresses = await _look_up(target)
    except httpx.InvalidURL:
        return Outcome(problem=Problem.ADDRESS_REFUSED)
    except (OSError, ValueError):  # the name is unknown or invalid, or the look-up timed out
        return Outcome(problem=Problem.NAME_UNKNOWN)
    try:
        async with asyncio.timeout_at(deadline):
            return await _post(target, addresses, headers, body, rules)
    except TimeoutError:
        return Outcome(problem=Problem.NO_ANSWER)


async def _post(
    url: httpx.URL, addresses: Sequence[str], headers: Mapping[str, str], body: bytes, rules: Rules
) -> Outcome:
    allowed = [address for address in addresses if _may_call(url, address, rules.networks)]
    if not allowed:
        return Outcome(problem=Problem.ADDRESS_REFUSED)
    outcome = Outcome(problem=Problem.NO_CONNECTION)
    for address in allowed:
        outcome = await _call(url.copy_with(host=address), url, headers, body, rules.trusted)
        if outcome.problem is not Problem.NO_CONNECTION:
            break
    return outcome


async def _look_up(url: httpx.URL) -> list[str]:
    """Resolve a host to its addresses, in the order in which to try them."""
    found = await asyncio.wrap_future(look_up(url.raw_host.decode().strip("[]"), url.port or _default_port(url)))
    return list(dict.fromkeys(str(place[4][0]) for place in found))


def _default_port(url: httpx.URL) -> int:
    return 443 if url.scheme == "https" else 80


def _may_call(url: httpx.URL, address: str, networks: Sequence[Network]) -> bool:
    """Tell whether an address may be called; plain HTTP only where a setting lists its network."""
    return may_be_called(address, networks) and (url.scheme == "https" or is_named(address, networks))


async def _call(
    place: httpx.URL, url: httpx.URL, headers: Mapping[str, str], body: bytes, trusted: ssl.SSLContext
) -> Outcome:
    """Call one resolved address of a URL; certificate check and Host header use the URL's host name."""
    # Ignore the environment: a proxy named there would resolve the name again.
    client = httpx.AsyncClient(trust_env=False, follow_redirects=False, verify=trusted)
    request = client.build_request(
        "POST",
        place,
        headers={
            **headers,
            "Host": url.netloc.decode(),
            "Content-Type": "application/json",
            "User-Agent": "PneumoScreen",
        },
        content=body,
        extensions=_server_name(url),
        timeout=None,  # the whole call has one
    )
    async with client:
        try:
            response = await client.send(request, stream=True)
        except httpx.ConnectError as error:
            is_certificate = isinstance(_cause(error), ssl.SSLError)
            return Outcome(problem=Problem.CERTIFICATE if is_certificate else Problem.NO_CONNECTION)
        except httpx.HTTPError:
            return Outcome(problem=Problem.NO_ANSWER)
        await response.aclose()
    return Outcome(response.status_code, _judge(response.status_code))


def _server_name(url: httpx.URL) -> dict[str, Any]:
    return {"sni_hostname": url.raw_host.decode().strip("[]")} if url.scheme == "https" else {}


def _cause(error: BaseException) -> BaseException:
    """Return the root cause of an httpx error."""
    while error.__cause__ is not None or error.__context__ is not None:
        error = error.__cause__ or error.__context__ or error
        if isinstance(error, ssl.SSLError):
            break
    return error


def _judge(status: int) -> Problem | None:
    if 200 <= status < 300:
        return None
    if status == _GONE:
        return Problem.GONE
    return Problem.REDIRECT if 300 <= status < 400 else Problem.ANSWER
