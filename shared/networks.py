"""Which addresses may be called: public ones, and those of networks that a setting names.

Else whoever registers a webhook could have this server ask what only it can reach: its own services, the hospital's
network, a cloud's metadata (server-side request forgery).
"""

import ipaddress
from collections.abc import Sequence
from typing import Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
"""Holds an IPv4 address in its last 32 bits (RFC 6052)."""
_NOT_PUBLIC: Final = tuple(map(ipaddress.ip_network, ("fec0::/10", "3fff::/20", "192.88.99.0/24")))
"""Networks that `ipaddress` calls public and that are not: RFC 3879, RFC 9637 and RFC 7526."""


def read_networks(text: str | None) -> tuple[Network, ...]:
    """Read networks with commas between; raise ValueError that names the one that is none."""
    return tuple(ipaddress.ip_network(part.strip()) for part in (text or "").split(",") if part.strip())


def is_named(address: str, networks: Sequence[Network]) -> bool:
    """Tell whether an address is in one of the networks that the setting names."""
    found = _carried(ipaddress.ip_address(address.partition("%")[0]))
    return any(found in network for network in networks if network.version == found.version)


def may_be_called(address: str, networks: Sequence[Network]) -> bool:
    """Tell whether an address is public or in one of the networks."""
    found = _carried(ipaddress.ip_address(address.partition("%")[0]))
    is_public = found.is_global and not found.is_multicast and not found.is_reserved
    return (is_public and not is_named(address, _NOT_PUBLIC)) or is_named(address, networks)


def _carried(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address stands for, where it does."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    teredo = address.teredo
    return address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else None) or address
