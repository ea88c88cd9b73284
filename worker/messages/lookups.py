"""Look a name up in a thread of its own: the system's resolver knows no deadline and cannot be broken off."""

import socket
import threading
from concurrent.futures import Future
from typing import Any, TypeAlias

AddressInfo: TypeAlias = tuple[Any, ...]
"""What `socket.getaddrinfo` returns of one address: family, kind, protocol, canonical name, address."""


def look_up(host: str, port: int) -> Future[list[AddressInfo]]:
    """Begin to look the addresses of a host up, in the order in which to try them.

    Who has waited long enough leaves the future alone: its thread ends with the resolver, and holds nothing else up,
    not even the end of the process. Its errors are those of `socket.getaddrinfo`: OSError, ValueError.
    """
    found: Future[list[AddressInfo]] = Future()
    found.set_running_or_notify_cancel()  # who waits may be cancelled, but not the future, which the thread fills
    threading.Thread(target=_fill, args=[found, host, port], name=f"look up {host}", daemon=True).start()
    return found


def _fill(found: Future[list[AddressInfo]], host: str, port: int) -> None:
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, ValueError) as error:
        found.set_exception(error)
    else:
        found.set_result(addresses)
