"""Resolve host names in a separate thread: the system's resolver has no timeout and cannot be cancelled."""

import socket
import threading
from concurrent.futures import Future
from typing import Any, TypeAlias

AddressInfo: TypeAlias = tuple[Any, ...]
"""What `socket.getaddrinfo` returns of one address: family, kind, protocol, canonical name, address."""


def look_up(host: str, port: int) -> Future[list[AddressInfo]]:
    """Start resolving a host to its addresses, in the order in which to try them.

    A caller that times out just drops the future: its thread ends with the resolver and blocks nothing else, not even
    the exit of the process. Its errors are those of `socket.getaddrinfo`: OSError, ValueError.
    """
    found: Future[list[AddressInfo]] = Future()
    found.set_running_or_notify_cancel()  # a waiter may be cancelled, but not the future, which the thread fills
    threading.Thread(target=_fill, args=[found, host, port], name=f"look up {host}", daemon=True).start()
    return found


def _fill(found: Future[list[AddressInfo]], host: str, port: int) -> None:
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, ValueError) as error:
        found.set_exception(error)
    else:
        found.set_result(addresses)
